//! What is stored of a call, and what it is dialed with.

#![deny(unsafe_code)]

use alloc::boxed::Box;
use core::panic::Location;

use super::key::Key;
use super::words::Words;

/// Where a call was scheduled.
pub(crate) type Site = &'static Location<'static>;

/// What a dial passes to calls. The storage hands it through, and knows nothing else of it.
pub(crate) trait DialContext: 'static {
    /// The context of one dial.
    type At<'a>;

    /// The queue has reached the call at `position`, which is not that of a callback.
    fn begin(at: &mut Self::At<'_>, position: u64);

    /// The call that has begun is that of the callback `key`, answered at `site`, and its recipient is
    /// gone.
    fn gone(at: &mut Self::At<'_>, key: Key, site: Site);
}

/// What is stored of a call.
///
/// `dial` and the drop may use the storage in any way; all may panic.
pub(crate) trait Payload<C: DialContext>: Sized + 'static {
    /// Set if the payload is that of a callback, which nothing else may take the place of.
    const CALLBACK: Option<Functions> = None;

    /// Delivers the call, scheduled at `site`.
    fn dial(self, at: &mut C::At<'_>, site: Site);

    /// The number of the recipient, or 0 for none. There seem to be no calls meanwhile, and a push
    /// panics.
    fn recipient(&self) -> u64 {
        0
    }
}

impl<C: DialContext, P: Payload<C>> Payload<C> for Box<P> {
    const CALLBACK: Option<Functions> = P::CALLBACK;

    #[inline(always)]
    fn dial(self, at: &mut C::At<'_>, site: Site) {
        (*self).dial(at, site);
    }

    #[inline(always)]
    fn recipient(&self) -> u64 {
        (**self).recipient()
    }
}

/// What can be done with a callback whose types are no longer known.
pub(crate) struct Functions {
    /// Drops the join in place; `None` if that would do nothing.
    pub(super) drop_join: Option<unsafe fn(*mut Words)>,
    /// Leaves to the `Answered` in the words its value only.
    pub(super) disown: unsafe fn(*mut Words),
}

impl Functions {
    /// For what is in no slot.
    pub(super) const NONE: Self = Self { drop_join: None, disown: |_| () };
}
