//! Labels of recipients and names of calls, kept as long as the ring may hold steps that they are for.
//!
//! - I1 `until` lists the texts to forget, the first one first, and is never longer than the limit.
//! - I2 `late` are the keys that had no text when the ring was stopped. None of its steps are for them: these
//!   texts displace no other, and go when they are released.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::Hash;
use core::num::NonZeroU64;

use crate::journal::map::Map;
use crate::step::RecipientInfo;

/// Whose label it is: numbers of recipients are those of their queue.
pub(super) type Labeled = (NonZeroU64, RecipientInfo);

/// What is shown for a key, if anything.
pub(super) type Text = Arc<str>;

pub(super) struct Texts<K> {
    limit: usize,
    texts: Map<K, (Text, Option<u64>)>,
    /// The number of the step before which no text is needed any more.
    until: VecDeque<(u64, K)>,
    /// Keys of texts first set since the ring was stopped (I2).
    late: Map<K, ()>,
}

impl<K: Copy + Eq + Hash> Texts<K> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, texts: Map::default(), until: VecDeque::new(), late: Map::default() }
    }

    /// Sets a text that stays until it is released.
    pub(super) fn set(&mut self, key: K, text: &str, is_stopped: bool) {
        if self.texts.insert(key, (text.into(), None)).is_none() && is_stopped {
            self.late.insert(key, ());
        }
    }

    /// Sets a text that is dropped as soon as a released one ([`release`](Self::release)).
    pub(super) fn set_until(&mut self, key: K, text: &str, step: u64) {
        match self.texts.get_mut(&key) {
            // It is listed already (I1).
            Some((old, Some(until))) if *until == step => *old = text.into(),
            _ => {
                self.set(key, text, false);
                self.release(key, step);
            }
        }
    }

    /// The ring takes steps again.
    pub(super) fn resume(&mut self) {
        self.late = Map::default();
    }

    /// Drops a text once step `step`, which is the next one, has been dropped.
    pub(super) fn release(&mut self, key: K, step: u64) {
        if self.late.remove(&key).is_some() {
            self.texts.remove(&key);
            return;
        }
        let Some((_, until)) = self.texts.get_mut(&key) else { return };
        *until = Some(step);
        self.until.push_back((step, key));
        if self.until.len() > self.limit {
            self.forget_first();
        }
    }

    /// The same of all texts for whose keys `goes` returns true.
    pub(super) fn release_all(&mut self, step: u64, goes: impl Fn(&K) -> bool) {
        let held = self.texts.iter().filter(|(_, (_, until))| until.is_none());
        let held: Vec<_> = held.map(|(key, _)| *key).filter(goes).collect();
        held.into_iter().for_each(|key| self.release(key, step));
    }

    /// All steps before `step` have been dropped.
    #[inline]
    pub(super) fn forget_before(&mut self, step: u64) {
        while self.until.front().is_some_and(|(until, _)| *until <= step) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((step, key)) = self.until.pop_front()
            && self.texts.get(&key).is_some_and(|(_, until)| *until == Some(step))
        {
            self.texts.remove(&key);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    pub(super) fn all(&self) -> Map<K, Text> {
        self.texts.iter().map(|(key, (text, _))| (*key, Arc::clone(text))).collect()
    }
}
