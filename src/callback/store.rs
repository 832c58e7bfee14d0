//! Where callbacks wait, and stay until their turn.
//!
//! - I1 A key has one holder: the [`Callback`](super::Callback) until it is used up, then its
//!   place in the ring. It is removed when its holder gives it up, not before; so an id stays
//!   known until the call is over and its turn has passed.
//! - I2 The call of a key stands in the place of the key's slot, unless it was canceled.

use core::cell::RefCell;
use core::panic::Location;

use crate::call::Body;
use crate::call::inline::{Packed, Places};
use crate::slots::{Key, Slots};

/// How far a callback is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Created.
    Waiting,
    /// Answered: the ring has a place for it.
    Pending,
    /// Canceled; its holder is still there.
    Canceled,
}

pub(crate) struct Callbacks {
    stages: RefCell<Slots<Stage>>,
    calls: Places,
}

impl Callbacks {
    pub(crate) fn new() -> Self {
        Self { stages: RefCell::new(Slots::new()), calls: Places::new(1) }
    }

    /// Stores a callback, as the body that waits for its value.
    #[inline]
    pub(crate) fn create(&self, body: impl Body, site: &'static Location<'static>) -> Key {
        let key = self.stages.borrow_mut().insert(Stage::Waiting);
        let place = place(key);
        if place > self.calls.mask() as u64 {
            self.calls.grow(0..place);
        }
        self.calls.put(place, body, site);
        key
    }

    /// Makes a waiting callback pending, with the body that `join` makes of the one that waited.
    /// If it was canceled it is removed; false then.
    #[inline]
    pub(crate) fn answer<W: Body, B: Body>(
        &self,
        key: Key,
        site: &'static Location<'static>,
        join: impl FnOnce(W) -> B,
    ) -> bool {
        if self.advance(key, Stage::Pending) == Some(Stage::Waiting)
            && let Some(waiting) = self.calls.unpack(place(key))
        {
            self.calls.put(place(key), join(waiting), site);
            return true;
        }
        self.stages.borrow_mut().remove(key);
        false
    }

    /// Cancels a callback, leaving it to its holder. Returns the stage it was in (none if its
    /// holder has given it up), and what is to be dropped.
    #[inline]
    pub(crate) fn cancel(&self, key: Key) -> (Option<Stage>, Option<Packed>) {
        let stage = self.advance(key, Stage::Canceled);
        (stage, self.clear(key, stage))
    }

    /// As [`cancel`](Self::cancel), on behalf of the holder: removes the callback.
    #[inline]
    pub(crate) fn remove(&self, key: Key) -> (Option<Stage>, Option<Packed>) {
        let stage = self.stages.borrow_mut().remove(key);
        (stage, self.clear(key, stage))
    }

    /// Removes an answered callback, whose turn it is, and returns its place; none if it was
    /// canceled. The call is to be dialed from there at once.
    #[inline]
    pub(crate) fn take_answered(&self, key: Key) -> Option<(&Places, u64)> {
        let stage = self.stages.borrow_mut().remove(key);
        (stage == Some(Stage::Pending)).then(|| (&self.calls, place(key)))
    }

    /// Whether a callback is canceled, and still known.
    pub(crate) fn is_canceled(&self, key: Key) -> bool {
        self.stages.borrow_mut().get_mut(key).is_some_and(|stage| *stage == Stage::Canceled)
    }

    /// Where the call of a callback was created, or scheduled if it is.
    pub(crate) fn site(&self, key: Key) -> &'static Location<'static> {
        self.calls.site(place(key))
    }

    pub(crate) fn keys(&self) -> alloc::vec::Vec<Key> {
        self.stages.borrow().keys()
    }

    /// Sets the stage of a callback, and returns the one before.
    #[inline]
    fn advance(&self, key: Key, stage: Stage) -> Option<Stage> {
        let mut stages = self.stages.borrow_mut();
        Some(core::mem::replace(stages.get_mut(key)?, stage))
    }

    #[inline]
    fn clear(&self, key: Key, stage: Option<Stage>) -> Option<Packed> {
        stage.and_then(|_| self.calls.clear(place(key))).flatten()
    }
}

fn place(key: Key) -> u64 {
    u64::from(key.slot)
}
