//! What a callback is created with.

#![deny(unsafe_code)]

use alloc::boxed::Box;

use crate::erased::{DialContext, Erased, Key, Site};

/// A call that lacks its value of type `A`.
///
/// All functions, and the drop, may use the storage in any way, and may panic. While `busy` or
/// `recipient` looks at the callback, it seems to be unknown.
pub(crate) trait Join<C: DialContext, A: 'static>: Sized + 'static {
    /// Why a call is deferred, and what is needed for that.
    type Busy;

    /// Why the call may not be dialed now; `None` if it may.
    fn busy(&self) -> Option<Self::Busy>;

    /// Takes the call of the callback `key`, which is still pending, to be dialed later.
    fn defer(busy: Self::Busy, key: Key, call: Erased<C>, at: &mut C::At<'_>);

    /// Delivers the call, answered at `site`.
    fn dial(self, value: A, key: Key, at: &mut C::At<'_>, site: Site);

    /// The number of the recipient, or 0 for none.
    fn recipient(&self) -> u64 {
        0
    }
}

impl<C: DialContext, A: 'static, J: Join<C, A>> Join<C, A> for Box<J> {
    type Busy = J::Busy;

    fn busy(&self) -> Option<J::Busy> {
        (**self).busy()
    }

    fn defer(busy: J::Busy, key: Key, call: Erased<C>, at: &mut C::At<'_>) {
        J::defer(busy, key, call, at);
    }

    fn dial(self, value: A, key: Key, at: &mut C::At<'_>, site: Site) {
        (*self).dial(value, key, at, site);
    }

    fn recipient(&self) -> u64 {
        (**self).recipient()
    }
}
