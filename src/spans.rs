//! Calls in `tracing`: ends other than Finished as events, and each dial as a span.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use core::mem;
use core::num::NonZeroU64;
use core::panic::Location;

use tracing::field::display;
use tracing::span::{EnteredSpan, Span};

use crate::id::CallId;
use crate::observe::Observer;
use crate::origin::{Origin, Scopes};
use crate::step::{RecipientInfo, Step};

/// How many spans may be nested, unless [`DialSpans::with_depth`] sets another number.
const DEPTH: usize = 16;

/// An observer that opens a `tracing` span for each dial, so that log lines of handlers carry the call
/// and the span that caused it (feature `tracing`).
///
/// The span is entered while the handler runs, even if that unwinds. Its parent is the span that was
/// entered where the call was **created**: one of the user's, or that of the live call. So a callback that waits in a
/// timer, an operation or another thread, and is answered from somewhere else, carries the span of the request that
/// it was created for. (It then *follows from* the span in which it was answered. If it was created in no span, that
/// is its parent.) The span is at debug level, named `call`, with the fields `id`, `recipient` (none for a function call)
/// and `site`, where the call was scheduled. Where the subscriber does not want it, the parent is entered instead.
///
/// A span keeps its parent open. So that an endless chain of calls neither keeps all its spans open nor
/// makes its log lines ever longer, the chain begins anew after 16 spans: as a child of the user's span
/// that it was begun in, if any, and following from the span before.
///
/// Readiness calls are created where their source was registered (or redirected), calls of other threads where they were
/// sent. (A span that was entered in another thread is found if the feature `mio` is enabled.)
///
/// Calls that were created before the observer was set have no parent but where they are scheduled. Belongs to
/// one thread, as its queue does; two queues of a thread can share one, in an `Rc`.
///
/// If another observer panics when it is notified of a dial, the call is pending again (rule R10): its span is
/// left, and entered again with the handler.
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
///     let _request = tracing::info_span!("request", client = 7).entered();
///     queue.call(|_| tracing::info!("second")); // in call{id=#0}:request{client=7}:call{id=#1}
/// });
/// queue.dial_all();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DialSpans {
    depth: usize,
    /// Calls that are neither live nor over.
    waiting: RefCell<BTreeMap<CallId, Undialed>>,
    /// Calls that are live, each within the one before.
    live: RefCell<Vec<Live>>,
    #[cfg(not(feature = "mio"))]
    scopes: Scopes,
}

/// What is known of a call that is not dialed yet.
#[derive(Default)]
struct Undialed {
    recipient: Option<RecipientInfo>,
    site: Option<&'static Location<'static>>,
    origin: Option<Origin>,
    /// Where it was answered, if that is not where it was created.
    answered_in: Option<Span>,
}

struct Live {
    call: CallId,
    /// The number of its scope, in which calls are created in its span.
    scope: u64,
    entered: EnteredSpan,
}

impl DialSpans {
    /// Creates the observer, with chains of at most 16 spans.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{CallQueue, DialSpans};
    ///
    /// let queue = CallQueue::new();
    /// queue.add_observer(DialSpans::new());
    /// queue.call(|_| tracing::info!("in the span of the call"));
    /// assert_eq!(queue.dial_all().dialed, 1);
    /// ```
    pub fn new() -> Self {
        Self::with_depth(DEPTH)
    }

    /// Creates the observer, with chains of calls that begin anew after `depth` spans; 0 counts as 1.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{CallQueue, DialSpans};
    ///
    /// let queue = CallQueue::new();
    /// // Log lines name the call itself, and none of those that led to it.
    /// queue.add_observer(DialSpans::with_depth(1));
    /// queue.call(|queue| {
    ///     queue.call(|_| tracing::info!("second"));
    /// });
    /// assert_eq!(queue.dial_all().dialed, 2);
    /// ```
    pub fn with_depth(depth: usize) -> Self {
        let depth = depth.max(1);
        Self {
            depth,
            waiting: RefCell::default(),
            live: RefCell::default(),
            #[cfg(not(feature = "mio"))]
            scopes: Scopes::default(),
        }
    }

    /// Runs `with` on what runs on this thread.
    #[cfg(feature = "mio")]
    #[expect(clippy::unused_self, reason = "without a thread's storage, they are the observer's")]
    fn with_scopes<R: Default>(&self, with: impl FnOnce(&Scopes) -> R) -> R {
        Origin::with_scopes(with).unwrap_or_default()
    }

    /// Runs `with` on what the queue runs.
    #[cfg(not(feature = "mio"))]
    fn with_scopes<R: Default>(&self, with: impl FnOnce(&Scopes) -> R) -> R {
        with(&self.scopes)
    }

    fn created(&self, call: CallId, recipient: Option<RecipientInfo>) {
        let origin = self.with_scopes(Scopes::here);
        let entry = Undialed { recipient, origin, ..Undialed::default() };
        let old = self.waiting.borrow_mut().insert(call, entry);
        drop(old);
    }

    fn scheduled(&self, call: CallId, site: &'static Location<'static>) {
        let mut here = self.with_scopes(Scopes::here);
        let mut waiting = self.waiting.borrow_mut();
        let entry = waiting.entry(call).or_default();
        entry.site = Some(site);
        if entry.origin.is_none() {
            entry.origin = here.take();
        } else if let (Some(origin), Some(here)) = (&entry.origin, &mut here)
            && origin.parent.id() != here.parent.id()
        {
            let answered_in = mem::replace(&mut here.parent, Span::none());
            entry.answered_in = Some(answered_in);
        }
        // With nothing borrowed, as it runs code of the subscriber.
        drop(waiting);
        drop(here);
    }

    fn dialed(&self, call: CallId) {
        let waiting = self.waiting.borrow_mut().remove(&call).unwrap_or_default();
        let Undialed { recipient, site, mut origin, answered_in } = waiting;
        let (recipient, site) = (recipient.map(display), site.map(display));
        let mut before = None;
        if let Some(last) = origin.take_if(|origin| origin.depth >= self.depth) {
            let own = last.own.filter(|(_, depth)| *depth < self.depth);
            origin = own.map(|(parent, depth)| {
                let own = Some((parent.clone(), depth));
                Origin { parent, depth, own }
            });
            before = Some(last.parent);
        }
        let parent = origin.as_ref().and_then(|origin| origin.parent.id());
        let id = display(call);
        let span = tracing::debug_span!(parent: parent, "call", %id, recipient, site);
        for other in [before, answered_in].iter().flatten() {
            span.follows_from(other.id());
        }
        // A span that the subscriber does not want must not hide the one that it would be in.
        if !span.is_disabled() {
            let (depth, own) = origin.map_or((0, None), |origin| (origin.depth, origin.own));
            origin = Some(Origin { parent: span, depth: depth + 1, own });
        }
        self.enter(call, origin);
    }

    /// Enters the span of a call, which is the parent of what is created in `origin`.
    fn enter(&self, call: CallId, origin: Option<Origin>) {
        let span = origin.as_ref().map_or_else(Span::none, |origin| origin.parent.clone());
        let entered = span.entered();
        let scope = self.with_scopes(|scopes| scopes.enter(origin, false));
        self.live.borrow_mut().push(Live { call, scope, entered });
    }

    /// Leaves the span of a live call, and those within it that were not left (which takes an
    /// observer before this one that panics). Returns what it was entered with.
    fn left(&self, call: CallId) -> Option<Origin> {
        if !self.live.borrow().iter().any(|live| live.call == call) {
            return None;
        }
        loop {
            let Live { call: live, scope, entered } = self.live.borrow_mut().pop()?;
            drop(entered);
            let origin = self.with_scopes(|scopes| scopes.leave(scope));
            if live == call {
                return origin;
            }
        }
    }

    /// Leaves the span of a call that is pending again, and keeps it for when it is dialed.
    fn put_back(&self, call: CallId) {
        let entry = Undialed { origin: self.left(call), ..Undialed::default() };
        let old = self.waiting.borrow_mut().insert(call, entry);
        drop(old);
    }

    fn dialed_again(&self, call: CallId) {
        let entry = self.waiting.borrow_mut().remove(&call);
        self.enter(call, entry.and_then(|entry| entry.origin));
    }

    /// Leaves the spans of a queue's calls, and forgets those that are not over.
    fn forget(&self, queue: NonZeroU64) {
        let (gone, left): (Vec<_>, _) =
            self.live.take().into_iter().partition(|live| live.call.queue() == queue);
        // (Calls of other queues may be live within them, and around them.)
        self.live.replace(left);
        for Live { scope, entered, .. } in gone.into_iter().rev() {
            drop(entered);
            let _origin = self.with_scopes(|scopes| scopes.remove(scope));
        }
        let mut waiting = self.waiting.borrow_mut();
        let (gone, left) =
            mem::take(&mut *waiting).into_iter().partition(|(call, _)| call.queue() == queue);
        *waiting = left;
        drop(waiting);
        let _: BTreeMap<_, _> = gone;
    }

    /// Forgets a call that is over. (It was dialed if an observer dropped the queue then, and panicked.)
    fn over(&self, call: CallId) {
        let origin = self.left(call);
        drop(origin);
        let waiting = self.waiting.borrow_mut().remove(&call);
        drop(waiting);
    }
}

impl Observer for DialSpans {
    fn observe(&self, call: CallId, step: &Step) {
        match step {
            Step::Created { recipient, .. } => self.created(call, *recipient),
            Step::Scheduled { site } => self.scheduled(call, site),
            Step::Dialed => self.dialed(call),
            Step::Finished => _ = self.left(call),
            // (It was not dialed if its check has panicked.)
            Step::Panicked
            | Step::Canceled { .. }
            | Step::Refused { .. }
            | Step::Abandoned { .. } => self.over(call),
            Step::LateCancel { .. } | Step::Deferred { .. } | Step::Undrained { .. } => {}
        }
    }

    fn observe_put_back(&self, call: CallId) {
        self.put_back(call);
    }

    fn observe_dial_again(&self, call: CallId) {
        self.dialed_again(call);
    }

    fn observe_removal(&self, queue: NonZeroU64) {
        self.forget(queue);
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
        while let Some(Live { scope, entered, .. }) = self.live.get_mut().pop() {
            drop(entered);
            let _origin = self.with_scopes(|scopes| scopes.leave(scope));
        }
    }
}

impl fmt::Debug for DialSpans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (waiting, live) = (self.waiting.borrow().len(), self.live.borrow().len());
        write!(f, "DialSpans({waiting} waiting, {live} live)")
    }
}
