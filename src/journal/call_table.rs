//! Values by call, up to a limit.
//!
//! - I1 `slots` is empty, or a power of two long and at least a quarter of it is free; so a search ends.
//! - I2 From a call's home to the slot that it is in, no slot is free.
//! - I3 `len` slots are taken, at most `limit`: beyond that, each new call replaces an arbitrary one.
//!   `room` is what may be taken of these slots (I1, I3).

use alloc::vec::Vec;
use core::mem;

use crate::id::CallId;

pub(super) struct CallTable<V> {
    slots: Vec<Option<(CallId, V)>>,
    len: usize,
    room: usize,
    limit: usize,
}

impl<V> CallTable<V> {
    /// An empty table of at most `limit` calls, which must not be 0.
    pub(super) const fn new(limit: usize) -> Self {
        Self { slots: Vec::new(), len: 0, room: 0, limit }
    }

    /// Sets the value of a call.
    #[inline]
    pub(super) fn insert(&mut self, call: CallId, value: V) {
        if self.len == self.room {
            self.make_room(call);
        }
        let mut place = self.home(call);
        while let Some(slot) = self.slots.get_mut(place) {
            match slot {
                Some((taken, old)) if *taken == call => return *old = value,
                Some(_) => place = self.after(place),
                None => {
                    *slot = Some((call, value));
                    self.len += 1;
                    return;
                }
            }
        }
    }

    pub(super) fn contains(&self, call: CallId) -> bool {
        self.slots.get(self.find(call)).is_some_and(Option::is_some)
    }

    /// Takes a call out.
    #[inline]
    pub(super) fn remove(&mut self, call: CallId) -> Option<V> {
        let mut hole = self.home(call);
        let value = loop {
            let slot = self.slots.get_mut(hole)?;
            match slot {
                Some((taken, _)) if *taken == call => break slot.take()?.1,
                Some(_) => hole = self.after(hole),
                None => return None,
            }
        };
        self.len -= 1;
        if self.slots.get(self.after(hole)).is_some_and(Option::is_some) {
            self.close(hole);
        }
        Some(value)
    }

    /// Takes out the calls that `keeps` returns false for, and returns memory.
    pub(super) fn retain(&mut self, keeps: impl Fn(CallId) -> bool) {
        let kept = mem::take(&mut self.slots).into_iter().flatten();
        let kept: Vec<_> = kept.filter(|(call, _)| keeps(*call)).collect();
        (self.len, self.room) = (0, 0);
        kept.into_iter().for_each(|(call, value)| self.insert(call, value));
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Where a call is, or where it would be inserted; anywhere if there is no slot.
    #[inline]
    fn find(&self, call: CallId) -> usize {
        let mut slot = self.home(call);
        while self.slots.get(slot).is_some_and(|taken| is_of_another(taken.as_ref(), call)) {
            slot = self.after(slot);
        }
        slot
    }

    /// Where the search for a call begins. Spreads sequential ids far apart, and evenly.
    #[inline]
    fn home(&self, call: CallId) -> usize {
        let word = call.key() ^ call.queue().get().rotate_left(32);
        let mixed = word.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 32) as usize & self.slots.len().wrapping_sub(1)
    }

    #[inline]
    const fn after(&self, slot: usize) -> usize {
        (slot + 1) & self.slots.len().wrapping_sub(1)
    }

    /// Fills a hole with what the search would not find behind it (I2).
    #[inline(never)]
    fn close(&mut self, mut hole: usize) {
        let mut slot = self.after(hole);
        while let Some(Some((call, _))) = self.slots.get(slot) {
            let mask = self.slots.len() - 1;
            let distance = slot.wrapping_sub(self.home(*call)) & mask;
            if distance >= slot.wrapping_sub(hole) & mask {
                self.slots.swap(hole, slot);
                hole = slot;
            }
            slot = self.after(slot);
        }
    }

    /// Keeps I1 and I3 while `call` is inserted.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, call: CallId) {
        if self.len >= self.limit {
            let mut slot = self.home(call);
            while self.slots[slot].is_none() {
                slot = self.after(slot);
            }
            self.slots[slot] = None;
            self.len -= 1;
            return self.close(slot);
        }
        let slots = (self.slots.len() * 2).max(16);
        let old = mem::take(&mut self.slots);
        self.slots.resize_with(slots, || None);
        self.room = self.limit.min(slots / 4 * 3);
        for (call, value) in old.into_iter().flatten() {
            let slot = self.find(call);
            self.slots[slot] = Some((call, value));
        }
    }
}

fn is_of_another<V>(taken: Option<&(CallId, V)>, call: CallId) -> bool {
    taken.is_some_and(|(other, _)| *other != call)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::num::NonZeroU64;

    use super::CallTable;
    use crate::id::CallId;

    fn call(key: u64) -> CallId {
        CallId::new(NonZeroU64::MIN, key)
    }

    /// Beside a list, at random; keys a few, so that they meet.
    #[test]
    fn a_table_holds_what_a_list_holds() {
        let (mut table, mut list) = (CallTable::new(1000), Vec::<(u64, u64)>::new());
        let mut dice = 7_u64;
        for round in 0..20_000 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = (dice >> 33) % 200 * (1 << 20);
            let place = list.iter().position(|(listed, _)| *listed == key);
            let listed = place.map(|place| list.swap_remove(place).1);
            assert_eq!(table.contains(call(key)), listed.is_some());
            if (dice >> 60) < 8 {
                assert_eq!(table.remove(call(key)), listed);
            } else {
                table.insert(call(key), round);
                list.push((key, round));
            }
            assert_eq!(table.len(), list.len());
        }
        table.retain(|kept| kept.key() < 100 << 20);
        list.retain(|(key, _)| *key < 100 << 20);
        assert_eq!(table.len(), list.len());
        assert!(list.iter().all(|(key, value)| table.remove(call(*key)) == Some(*value)));
    }

    #[test]
    fn beyond_the_limit_each_that_comes_takes_the_place_of_another() {
        let mut table = CallTable::new(16);
        for key in 0..10_000 {
            table.insert(call(key), key);
            assert!(table.contains(call(key)) && table.len() <= 16);
        }
        assert_eq!((table.len(), table.slots.len()), (16, 32));
        let left = (0..10_000).filter(|key| table.remove(call(*key)) == Some(*key)).count();
        assert_eq!((left, table.len()), (16, 0));
    }
}
