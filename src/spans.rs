//! What of the life of calls goes to `tracing`: bad ends as events, and each dial as a span.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use core::panic::Location;

use tracing::span::{EnteredSpan, Span};

use crate::id::CallId;
use crate::observe::Observer;
use crate::step::{RecipientInfo, Step};

/// How many spans may stand one within the other, unless [`DialSpans::with_depth`] says otherwise.
const DEPTH: usize = 16;

/// An observer that opens a `tracing` span for each dial, so that what handlers log carries the
/// call (feature `tracing`).
///
/// The span is entered while the handler runs, also if that unwinds. Its parent is the span of the
/// live call that scheduled it (for a callback: that answered it). A call that was scheduled from
/// outside any has the span for parent that was entered there, if any. It is at debug level, named
/// `call`, with the fields `id`, `recipient` (none for a function call) and `site`, where the call
/// was scheduled.
///
/// A span keeps its parent open. So that a chain of calls that goes on forever neither keeps all
/// its spans open nor makes its log lines ever longer, the chain begins anew after 16 spans: with
/// a span that has no parent, but follows from the one before.
///
/// Calls that were scheduled before the observer was set have no parent. Belongs to one thread, as
/// its queue does; two queues of a thread can share one, in an `Rc`.
///
/// If another observer panics when it is notified of a dial, the call is pending again (rule R10), and its
/// span stays entered until it is over.
///
/// Cost: an entry for each call that is not over, and what the subscriber does with the span.
///
/// # Examples
///
/// ```
/// use switchboard::{CallQueue, DialSpans};
///
/// let queue = CallQueue::new();
/// queue.add_observer(DialSpans::new());
/// queue.call(|queue| {
///     tracing::info!("first"); // in the span call{id=#0}
///     queue.call(|_| tracing::info!("second")); // in call{id=#0}:call{id=#1}
/// });
/// queue.dial_all();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DialSpans {
    depth: usize,
    /// Calls that are neither live nor over.
    waiting: RefCell<BTreeMap<CallId, Undialed>>,
    /// Calls that are live, each within the one before, and how deep their spans are.
    live: RefCell<Vec<(CallId, usize, EnteredSpan)>>,
}

/// What is known of a call that is to be dialed.
#[derive(Default)]
struct Undialed {
    recipient: Option<RecipientInfo>,
    site: Option<&'static Location<'static>>,
    parent: Option<Span>,
    depth: usize,
}

impl DialSpans {
    /// Makes the observer.
    pub fn new() -> Self {
        Self::with_depth(DEPTH)
    }

    /// Makes the observer, with chains of calls that begin anew after `depth` spans; 0 counts as 1.
    pub fn with_depth(depth: usize) -> Self {
        let depth = depth.max(1);
        Self { depth, waiting: RefCell::default(), live: RefCell::default() }
    }

    fn scheduled(&self, call: CallId, site: &'static Location<'static>) {
        // The innermost span is taken out and put back, as code of the subscriber clones it.
        let top = self.live.borrow_mut().pop();
        let (depth, parent) = match top {
            Some((live, depth, span)) => {
                let parent = Span::clone(&span);
                self.live.borrow_mut().push((live, depth, span));
                (depth, parent)
            }
            None => (0, Span::current()),
        };
        let mut waiting = self.waiting.borrow_mut();
        let entry = waiting.entry(call).or_default();
        entry.site = Some(site);
        entry.depth = depth;
        let old = entry.parent.replace(parent);
        drop(waiting);
        drop(old);
    }

    fn dialed(&self, call: CallId) {
        let waiting = self.waiting.borrow_mut().remove(&call).unwrap_or_default();
        let Undialed { recipient, site, parent, depth } = waiting;
        let recipient = recipient.map(tracing::field::display);
        let site = site.map(tracing::field::display);
        let id = tracing::field::display(call);
        let (span, depth) = if depth < self.depth {
            let parent = parent.as_ref().and_then(Span::id);
            (tracing::debug_span!(parent: parent, "call", %id, recipient, site), depth + 1)
        } else {
            let span = tracing::debug_span!(parent: None, "call", %id, recipient, site);
            span.follows_from(parent.as_ref().and_then(Span::id));
            (span, 1)
        };
        let entered = span.entered();
        self.live.borrow_mut().push((call, depth, entered));
    }

    /// Leaves the span of a live call, and those within it that were not left (which takes an
    /// observer before this one that panics).
    fn left(&self, call: CallId) {
        if self.live.borrow().iter().any(|(live, ..)| *live == call) {
            loop {
                let top = self.live.borrow_mut().pop();
                let Some((live, _, span)) = top else { return };
                drop(span);
                if live == call {
                    return;
                }
            }
        }
    }

    fn over(&self, call: CallId) {
        let waiting = self.waiting.borrow_mut().remove(&call);
        drop(waiting);
    }
}

impl Observer for DialSpans {
    fn observe(&self, call: CallId, step: &Step) {
        match step {
            Step::Created { recipient, .. } => {
                let waiting = Undialed { recipient: *recipient, ..Undialed::default() };
                self.waiting.borrow_mut().insert(call, waiting);
            }
            Step::Scheduled { site } => self.scheduled(call, site),
            Step::Dialed => self.dialed(call),
            Step::Finished => self.left(call),
            Step::Panicked => {
                self.left(call);
                // It was not dialed if its check has panicked.
                self.over(call);
            }
            Step::Canceled { .. } | Step::Refused { .. } | Step::Abandoned { .. } => {
                self.over(call);
            }
            Step::LateCancel { .. } | Step::Deferred { .. } | Step::Undrained { .. } => {}
        }
    }
}

impl Default for DialSpans {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for DialSpans {
    /// Leaves what is entered, the innermost first.
    fn drop(&mut self) {
        let live = self.live.get_mut();
        while let Some((.., span)) = live.pop() {
            drop(span);
        }
    }
}

impl fmt::Debug for DialSpans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (waiting, live) = (self.waiting.borrow().len(), self.live.borrow().len());
        write!(f, "DialSpans({waiting} waiting, {live} live)")
    }
}
