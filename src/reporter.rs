//! Reports of bugs, in sentences: what rules R2 and R5 call one, and calls that were refused.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use core::cell::RefCell;
use core::fmt::{self, Write};
use core::num::NonZeroU64;
use core::panic::Location;

use crate::id::CallId;
use crate::observe::Observer;
use crate::step::{RecipientInfo, Refusal, Step};

/// How often the same bug is reported of the same place.
const REPEATS: u32 = 10;

/// An observer that reports bugs, one line for each: what happened, where, and what to do.
///
/// It reports callbacks that were dropped without being called (rule R5), calls that were deferred or
/// refused because their recipient was live (rule R2), calls that were refused by a full queue, by their
/// own check, or because their recipient was gone, and handlers of readiness that did not drain (rule M3). Of one place in the source, the same thing is
/// reported 10 times at most.
///
/// It stands beside other observers ([`QueueHandle::add_observer`](crate::QueueHandle::add_observer)).
///
/// # Examples
///
/// ```
/// use std::cell::RefCell;
/// use std::rc::Rc;
/// use switchboard::{CallQueue, Reporter};
///
/// let queue = CallQueue::new();
/// let lines = Rc::new(RefCell::new(Vec::new()));
/// let log = Rc::clone(&lines);
/// queue.add_observer(Reporter::new(move |line| log.borrow_mut().push(line.to_owned())));
///
/// drop(queue.callback(|_, ()| ()));
/// assert!(lines.borrow()[0].contains("was dropped without being called"));
/// ```
///
/// Cost: that of an observer, and an entry for each place that is reported, and each call that is
/// not over and has a recipient or a name.
pub struct Reporter {
    sink: Box<dyn Fn(&str)>,
    state: RefCell<ReporterState>,
}

#[derive(Default)]
struct ReporterState {
    /// The recipients of calls that are not over.
    recipients: BTreeMap<CallId, RecipientInfo>,
    /// By queue and recipient.
    labels: BTreeMap<(NonZeroU64, u64), Rc<str>>,
    /// The names of calls that are not over.
    names: BTreeMap<CallId, Rc<str>>,
    /// How many times each kind of thing was reported of each place.
    reported: BTreeMap<(ReportKind, SourcePlace), u32>,
}

type SourcePlace = (&'static str, u32, u32);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ReportKind {
    Abandoned,
    Deferred,
    Live,
    Gone,
    Check,
    NotAdmitted,
    Undrained,
}

impl Reporter {
    /// Creates a reporter that passes each line to `sink`, without a line break.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use std::rc::Rc;
    /// use switchboard::{CallQueue, Reporter};
    ///
    /// let queue = CallQueue::new();
    /// let lines = Rc::new(RefCell::new(Vec::new()));
    /// let log = Rc::clone(&lines);
    /// queue.add_observer(Reporter::new(move |line| log.borrow_mut().push(line.to_owned())));
    /// drop(queue.callback(|_, ()| ())); // a bug: neither answered nor declined
    /// assert_eq!(lines.borrow().len(), 1);
    /// ```
    pub fn new(sink: impl Fn(&str) + 'static) -> Self {
        Self { sink: Box::new(sink), state: RefCell::default() }
    }

    /// Creates a reporter that writes to standard error.
    ///
    /// ```
    /// use switchboard::{CallQueue, Reporter};
    ///
    /// let queue = CallQueue::new();
    /// queue.add_observer(Reporter::stderr());
    /// ```
    #[cfg(any(feature = "journal", feature = "mio"))]
    pub fn stderr() -> Self {
        use std::io::Write as _;

        // (A failure has no place to be reported. `eprintln` would panic, in whatever is observed.)
        Self::new(|line| drop(writeln!(std::io::stderr(), "switchboard: {line}")))
    }

    fn report(&self, kind: ReportKind, site: &'static Location<'static>, text: fmt::Arguments<'_>) {
        let place = (site.file(), site.line(), site.column());
        let mut state = self.state.borrow_mut();
        let reported = state.reported.entry((kind, place)).or_default();
        *reported += 1;
        let count = *reported;
        drop(state);
        if count < REPEATS {
            (self.sink)(&text.to_string());
        } else if count == REPEATS {
            (self.sink)(&alloc::format!("{text} (reported {REPEATS} times, and no more)"));
        }
    }
}

impl ReporterState {
    /// ` "main.lua:12" to Server(3) "10.0.0.7"`: what there is of that.
    fn details(&self, call: CallId) -> String {
        let mut text = String::new();
        if let Some(name) = self.names.get(&call) {
            let _ = write!(text, " {name:?}");
        }
        text += &self.to(call, self.recipients.get(&call));
        text
    }

    fn to(&self, call: CallId, recipient: Option<&RecipientInfo>) -> String {
        let mut text = String::new();
        if let Some(recipient) = recipient {
            let _ = write!(text, " to {recipient}");
            if let Some(label) = self.labels.get(&(call.queue(), recipient.number)) {
                let _ = write!(text, " {label:?}");
            }
        }
        text
    }

    fn forget(&mut self, call: CallId) {
        self.recipients.remove(&call);
        self.names.remove(&call);
    }
}

impl Observer for Reporter {
    fn observe(&self, call: CallId, step: &Step) {
        let to = match step {
            Step::Created { recipient: Some(recipient), .. } => {
                self.state.borrow_mut().recipients.insert(call, *recipient);
                return;
            }
            // (A call that is dialed may be put back.)
            Step::Created { .. }
            | Step::Scheduled { .. }
            | Step::Dialed
            | Step::LateCancel { .. } => return,
            Step::Finished | Step::Canceled { .. } | Step::Panicked => {
                self.state.borrow_mut().forget(call);
                return;
            }
            Step::Deferred { .. } => self.state.borrow().details(call),
            Step::Undrained { recipient, .. } => self.state.borrow().to(call, recipient.as_ref()),
            Step::Refused { .. } | Step::Abandoned { .. } => {
                let mut state = self.state.borrow_mut();
                let to = state.details(call);
                state.forget(call);
                to
            }
        };
        match step {
            Step::Abandoned { site } => self.report(ReportKind::Abandoned, site, format_args!(
                "callback {call}{to}, created at {site}, was dropped without being called; answer it, \
                 or decline it with a reason"
            )),
            Step::Deferred { live, live_site, site } => self.report(ReportKind::Deferred, site, format_args!(
                "call {call}{to}, scheduled at {site}, was deferred: its recipient is live with call \
                 {live}, scheduled at {live_site}, whose handler dials the queue; do not wait for {call} \
                 in that handler"
            )),
            Step::Refused { refusal: Refusal::Live { live, site: live_site }, site } => {
                self.report(ReportKind::Live, site, format_args!(
                    "call {call}{to}, scheduled at {site}, was refused: its recipient is live with call \
                     {live}, scheduled at {live_site}, whose handler dials the queue; do not dial there, \
                     or let the recipient defer its calls (Recipient::set_defers_calls)"
                ));
            }
            Step::Refused { refusal: Refusal::Gone, site } => self.report(ReportKind::Gone, site, format_args!(
                "call {call}{to}, scheduled at {site}, was refused: its recipient is gone; cancel the calls \
                 of a recipient before it is dropped"
            )),
            Step::Refused { refusal: Refusal::Check(reason), site } => {
                self.report(ReportKind::Check, site, format_args!(
                    "call {call}{to}, scheduled at {site}, was refused by its own check: {reason}"
                ));
            }
            Step::Refused { refusal: Refusal::NotAdmitted(kind), site } => {
                self.report(ReportKind::NotAdmitted, site, format_args!(
                    "call {call}{to}, scheduled at {site}, was refused: {kind}"
                ));
            }
            Step::Undrained { site, .. } => self.report(ReportKind::Undrained, site, format_args!(
                "readiness call {call}{to}, of the source registered at {site}, stopped before its source \
                 would block, so it may never be called again; continue until an attempt would block, \
                 ask to be called again (Readiness::again), or keep the rest for another handler \
                 (Readiness::keep)"
            )),
            _ => {}
        }
    }

    fn observe_name(&self, call: CallId, name: &str) {
        self.state.borrow_mut().names.insert(call, name.into());
    }

    fn observe_label(&self, queue: NonZeroU64, recipient: RecipientInfo, label: Option<&str>) {
        let (key, labels) = ((queue, recipient.number), &mut self.state.borrow_mut().labels);
        match label {
            Some(label) => _ = labels.insert(key, label.into()),
            None => _ = labels.remove(&key),
        }
    }

    fn observe_removal(&self, queue: NonZeroU64) {
        let ReporterState { recipients, labels, names, .. } = &mut *self.state.borrow_mut();
        recipients.retain(|call, _| call.queue() != queue);
        labels.retain(|(of, _), _| *of != queue);
        names.retain(|call, _| call.queue() != queue);
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter").finish_non_exhaustive()
    }
}
