//! Where callbacks wait, and what is known of them until their turn.
//!
//! - I1 A key has one holder: the [`Callback`](super::Callback) until it is used up, then its
//!   place in the ring. It is removed when its holder gives it up, not before; so an id stays
//!   known until the call is over and its turn has passed.
//! - I2 The body of a waiting callback stands in the place of the key's slot. That of a pending one
//!   stands in the ring, in the place that its stage names.

use alloc::vec::Vec;
use core::cell::RefCell;
use core::mem;
use core::panic::Location;

use crate::call::Body;
use crate::call::inline::{Packed, Places};
use crate::slots::{Key, Slots};

/// How far a callback is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Created.
    Waiting,
    /// Answered: the call is at this position of the ring.
    Pending(u64),
    /// Canceled; its holder is still there.
    Canceled,
}

pub(crate) struct Callbacks {
    stages: RefCell<Slots<Stage>>,
    waiting: Places,
}

impl Callbacks {
    pub(crate) fn new() -> Self {
        Self { stages: RefCell::default(), waiting: Places::new(1) }
    }

    /// Stores a callback, as the body that waits for its value.
    ///
    /// # Panics
    ///
    /// If there are 2^31 callbacks already.
    #[inline]
    pub(crate) fn create(&self, body: impl Body, site: &'static Location<'static>) -> Key {
        let key = self.stages.borrow_mut().insert(Stage::Waiting);
        let place = place(key);
        if place > self.waiting.mask() as u64 {
            self.waiting.grow(0..place);
        }
        self.waiting.put(place, body, site);
        key
    }

    /// Makes a waiting callback pending, to be put at `position`; returns the body that waited. If
    /// it was canceled it is removed instead.
    #[inline]
    pub(crate) fn answer<W: Body>(&self, key: Key, position: u64) -> Option<W> {
        let mut stages = self.stages.borrow_mut();
        let stage = stages.get_mut(key)?;
        if *stage == Stage::Waiting {
            *stage = Stage::Pending(position);
            return self.waiting.unpack(place(key));
        }
        stages.remove(key);
        None
    }

    /// Cancels a callback, leaving it to its holder. Returns the stage it was in; none if its holder
    /// has given it up.
    #[inline]
    pub(crate) fn cancel(&self, key: Key) -> Option<Stage> {
        let mut stages = self.stages.borrow_mut();
        stages.get_mut(key).map(|stage| mem::replace(stage, Stage::Canceled))
    }

    /// Removes a callback on behalf of its holder. Returns the stage it was in.
    #[inline]
    pub(crate) fn remove(&self, key: Key) -> Option<Stage> {
        self.stages.borrow_mut().remove(key)
    }

    /// Takes out the body of a callback that was waiting, to be dropped.
    #[inline]
    pub(crate) fn clear(&self, key: Key) -> Option<Packed> {
        self.waiting.clear(place(key)).flatten()
    }

    /// Whether a callback is canceled, and still known.
    pub(crate) fn is_canceled(&self, key: Key) -> bool {
        self.stages.borrow_mut().get_mut(key).is_some_and(|stage| *stage == Stage::Canceled)
    }

    /// Where a waiting callback was created.
    pub(crate) fn site(&self, key: Key) -> &'static Location<'static> {
        self.waiting.site(place(key))
    }

    /// All that are known.
    pub(crate) fn known(&self) -> Vec<(Key, Stage)> {
        self.stages.borrow().iter().map(|(key, stage)| (key, *stage)).collect()
    }
}

fn place(key: Key) -> u64 {
    u64::from(key.slot)
}
