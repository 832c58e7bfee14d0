//! The origin of a call: the `tracing` span that is entered where the call is created, or that was
//! entered where its source was registered or where another thread sent it.
//!
//! Spans of calls are counted, as each keeps its parent open: [`DialSpans`](crate::DialSpans) begins a
//! chain anew that gets too long.

#[cfg(feature = "tracing")]
pub(crate) use spans::{Origin, Scopes};

/// Where something was set up that creates calls later. Nothing without the feature `tracing`, or if no
/// span was entered.
#[cfg(feature = "mio")]
pub(crate) struct SetUp {
    #[cfg(feature = "tracing")]
    origin: Option<alloc::boxed::Box<Origin>>,
}

#[cfg(feature = "mio")]
impl SetUp {
    /// Takes note of where this is called.
    #[inline]
    pub(crate) fn here() -> Self {
        Self {
            #[cfg(feature = "tracing")]
            origin: Origin::here().map(alloc::boxed::Box::new),
        }
    }

    /// Until the result is dropped, calls that are created have the origin of this, for observers.
    #[inline(always)]
    pub(crate) fn replay(&self, is_observed: bool) -> Option<impl Sized + use<>> {
        #[cfg(feature = "tracing")]
        let origin = self.origin.as_deref().filter(|_| is_observed);
        #[cfg(not(feature = "tracing"))]
        let origin = Some(()).filter(|()| is_observed);
        #[cfg(feature = "tracing")]
        return origin.map(|origin| spans::Replay::new(origin.clone()));
        #[cfg(not(feature = "tracing"))]
        origin
    }
}

#[cfg(feature = "tracing")]
mod spans {
    use alloc::vec::Vec;
    use core::cell::{Cell, RefCell};

    use tracing::Span;

    /// The origin of a call.
    #[derive(Clone)]
    pub(crate) struct Origin {
        /// The span that was entered there, of the user's or of a call.
        pub(crate) parent: Span,
        /// How many spans of calls that is in, itself included.
        pub(crate) depth: usize,
        /// The innermost span of the user's that `parent` is, or is in, and how many spans of calls that
        /// is in.
        pub(crate) own: Option<(Span, usize)>,
    }

    /// What runs, each within the one before.
    #[derive(Default)]
    pub(crate) struct Scopes {
        scopes: RefCell<Vec<Scope>>,
        entered: Cell<u64>,
    }

    struct Scope {
        number: u64,
        origin: Option<Origin>,
        is_replay: bool,
    }

    impl Scopes {
        /// Enters a scope in which new calls have this `origin`, unless a span is entered there. With
        /// `is_replay`, even then. Returns its number.
        pub(crate) fn enter(&self, origin: Option<Origin>, is_replay: bool) -> u64 {
            let number = self.entered.get();
            self.entered.set(number + 1);
            self.scopes.borrow_mut().push(Scope { number, origin, is_replay });
            number
        }

        /// Leaves a scope, and those within it that were not left. Returns the origin that it had.
        pub(crate) fn leave(&self, number: u64) -> Option<Origin> {
            let mut scopes = self.scopes.borrow_mut();
            let outer = scopes.iter().take_while(|scope| scope.number < number).count();
            let left = scopes.split_off(outer);
            // With nothing borrowed, as it runs code of the subscriber.
            drop(scopes);
            left.into_iter().next().and_then(|scope| scope.origin)
        }

        /// Leaves a scope, and none within it. Returns the origin that it had.
        pub(crate) fn remove(&self, number: u64) -> Option<Origin> {
            let mut scopes = self.scopes.borrow_mut();
            let at = scopes.iter().position(|scope| scope.number == number)?;
            scopes.remove(at).origin
        }

        /// Returns the origin of a call that is created now.
        pub(crate) fn here(&self) -> Option<Origin> {
            // Taken out to be cloned, which runs code of the subscriber.
            let top = self.scopes.borrow_mut().pop();
            let copy = top.as_ref().map(|scope| (scope.origin.clone(), scope.is_replay));
            self.scopes.borrow_mut().extend(top);
            let (origin, is_replay) = copy.unwrap_or((None, false));
            if is_replay {
                return origin;
            }
            let current = Span::current();
            let is_known = origin.as_ref().is_some_and(|origin| origin.parent.id() == current.id());
            if current.is_none() || is_known {
                return origin;
            }
            let depth = origin.map_or(0, |origin| origin.depth);
            Some(Origin { parent: current.clone(), depth, own: Some((current, depth)) })
        }
    }

    #[cfg(feature = "mio")]
    std::thread_local! {
        /// Of all queues of a thread, as what one of them runs may set up something for another.
        static OF_THREAD: Scopes = Scopes::default();
    }

    #[cfg(feature = "mio")]
    impl Origin {
        /// Returns the origin of what is created or set up here.
        pub(crate) fn here() -> Option<Self> {
            OF_THREAD.try_with(Scopes::here).ok().flatten()
        }

        /// Runs `with` on the scopes of the thread, unless they are gone, as it ends.
        pub(crate) fn with_scopes<R>(with: impl FnOnce(&Scopes) -> R) -> Option<R> {
            OF_THREAD.try_with(with).ok()
        }
    }

    /// A scope of calls with another origin.
    #[cfg(feature = "mio")]
    pub(super) struct Replay(Option<u64>);

    #[cfg(feature = "mio")]
    impl Replay {
        pub(super) fn new(origin: Origin) -> Self {
            Self(Origin::with_scopes(|scopes| scopes.enter(Some(origin), true)))
        }
    }

    #[cfg(feature = "mio")]
    impl Drop for Replay {
        fn drop(&mut self) {
            if let Some(number) = self.0 {
                let _origin = Origin::with_scopes(|scopes| scopes.leave(number));
            }
        }
    }
}
