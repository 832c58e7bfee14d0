//! Where callbacks wait, and what is known of them until their turn.
//!
//! - I1 A key has one holder: the [`Callback`](super::Callback) until it is used up, then its
//!   place in the ring. Its slot becomes vacant when its holder gives it up, not before; so an id
//!   stays known until the call is over and its turn has passed.
//! - I2 The body of a callback stands in its slot while it waits or is pending; the value that it
//!   was answered with stands in the ring.

use alloc::vec::Vec;
use core::cell::RefCell;
use core::panic::Location;

use crate::erased::Erased;
use crate::erased::Payload;
use crate::queue::{Attempt, Dialing};
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

struct Entry {
    body: Erased<Dialing>,
    /// Where the call is in the ring, or one of the constants below.
    position: u64,
}

/// Positions of callbacks that are not in the ring, in which positions are less than 2^63.
const WAITING: u64 = u64::MAX;
const CANCELED: u64 = u64::MAX - 1;
/// That of no callback.
const VACANT: u64 = u64::MAX - 2;

#[derive(Default)]
pub(crate) struct Callbacks {
    entries: RefCell<Slots<Entry>>,
}

impl Callbacks {
    /// Stores a callback, as the body that waits for its value.
    ///
    /// # Panics
    ///
    /// If there are 2^31 callbacks already.
    #[inline(always)]
    pub(crate) fn create(
        &self,
        body: impl Payload<Dialing>,
        site: &'static Location<'static>,
    ) -> Key {
        let mut entries = self.entries.borrow_mut();
        let (key, entry) = entries.occupy(0);
        entry.position = WAITING;
        entry.body.fill(body, site);
        key
    }

    /// Makes a waiting callback pending, to be put at `position`. If it was canceled, it is forgotten
    /// instead.
    #[inline(always)]
    pub(crate) fn answer(&self, key: Key, position: u64) -> bool {
        let waiting = self.with(key, |entry| {
            let waiting = entry.position == WAITING;
            if waiting {
                entry.position = position;
            }
            waiting
        });
        let waiting = waiting == Some(true);
        if !waiting {
            self.forget(key);
        }
        waiting
    }

    /// Takes out the body of a callback, whose turn has come.
    #[inline(always)]
    pub(crate) fn take<B: Payload<Dialing>>(&self, key: Key) -> Option<B> {
        let mut entries = self.entries.borrow_mut();
        let entry = entries.vacate(key)?;
        entry.position = VACANT;
        entry.body.unpack()
    }

    /// Cancels a callback, leaving it to its holder. Returns the stage it was in, and what is to be
    /// dropped; none if its holder has given it up.
    pub(crate) fn cancel(&self, key: Key) -> Option<(Stage, Option<Erased<Dialing>>)> {
        self.with(key, |entry| entry.end(CANCELED))
    }

    /// Forgets a callback on behalf of its holder. Returns the stage it was in, and what is to be
    /// dropped.
    pub(crate) fn remove(&self, key: Key) -> Option<(Stage, Option<Erased<Dialing>>)> {
        self.entries.borrow_mut().vacate(key).map(|entry| entry.end(VACANT))
    }

    /// Forgets a callback that was canceled, on behalf of its holder.
    #[cold]
    pub(crate) fn forget(&self, key: Key) {
        let removed = self.remove(key);
        debug_assert!(removed.is_none_or(|(stage, _)| stage == Stage::Canceled));
    }

    /// Whether a callback is canceled, and still known.
    pub(crate) fn is_canceled(&self, key: Key) -> bool {
        self.with(key, |entry| entry.position == CANCELED) == Some(true)
    }

    /// Where a callback that is known was created.
    pub(crate) fn site(&self, key: Key) -> Option<&'static Location<'static>> {
        self.with(key, |entry| entry.body.site())
    }

    /// All that are known.
    pub(crate) fn known(&self) -> Vec<(Key, Stage)> {
        let entries = self.entries.borrow();
        let known = entries.all().filter(|(_, entry)| entry.position != VACANT);
        known.map(|(key, entry)| (key, entry.stage())).collect()
    }

    /// Looks at a callback that is known, or changes it.
    #[inline(always)]
    fn with<R>(&self, key: Key, access: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        self.entries.borrow_mut().get_mut(key).map(access)
    }
}

impl Entry {
    /// Ends what this is the entry of: from now on it is at `position`. Returns the stage it was in,
    /// and what is to be dropped.
    fn end(&mut self, position: u64) -> (Stage, Option<Erased<Dialing>>) {
        let stage = self.stage();
        self.position = position;
        (stage, self.body.clear())
    }

    const fn stage(&self) -> Stage {
        match self.position {
            WAITING => Stage::Waiting,
            CANCELED => Stage::Canceled,
            position => Stage::Pending(position),
        }
    }
}

impl Default for Entry {
    fn default() -> Self {
        Self { body: Erased::EMPTY, position: VACANT }
    }
}

/// What the ring holds instead once the callback is canceled.
pub(crate) struct Canceled(pub(crate) Key);

impl Payload<Dialing> for Canceled {
    #[cold]
    fn dial(self, attempt: &mut Attempt<'_>, _: &'static Location<'static>) {
        attempt.at_canceled(self.0);
    }
}
