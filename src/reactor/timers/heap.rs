//! Values that wait for their time, first the one that is due first.
//!
//! A heap of [`ARITY`] children per node. Each value has a node of its own, which knows its position
//! in the heap; a [`Handle`] points to it weakly. So arming takes O(1) for deadlines that come in
//! order, and O(log n) at worst, as do removing and popping; the first is at hand; and what is
//! removed gives its memory back. (`docs/design.md` has what was measured.)
//!
//! - I1 No entry ranks before its parent.
//! - I2 The node of `entries[i]` holds `i`.
//! - I3 `entries` holds the only strong reference to each node.

use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::Cell;
use core::time::Duration;
use std::time::Instant;

const ARITY: usize = 8;

/// Deadline, then how many were armed before, in one number: that compares much faster than a pair
/// which begins with an [`Instant`].
type Rank = u128;

/// Values ordered by deadline, then by when they were armed.
///
/// The order of deadlines is exact to the nanosecond within 292 years of the origin.
pub(super) struct Heap<T> {
    entries: Vec<Entry<T>>,
    origin: Instant,
    armed: u64,
}

struct Entry<T> {
    rank: Rank,
    node: Rc<Node<T>>,
}

struct Node<T> {
    at: Cell<usize>,
    deadline: Instant,
    value: T,
}

/// What is known of the first value.
pub(super) struct First<'a, T> {
    pub(super) deadline: Instant,
    /// How many were armed before it.
    pub(super) serial: u64,
    pub(super) value: &'a T,
}

/// Names one value, as long as it is in the heap.
pub(super) struct Handle<T>(Weak<Node<T>>);

impl<T> Handle<T> {
    /// The name of nothing.
    pub(super) const fn none() -> Self {
        Self(Weak::new())
    }
}

impl<T> Heap<T> {
    /// A heap for deadlines around `origin`.
    pub(super) const fn new(origin: Instant) -> Self {
        Self { entries: Vec::new(), origin, armed: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds a value, behind all others with that deadline.
    pub(super) fn arm(&mut self, deadline: Instant, value: T) -> Handle<T> {
        let rank = self.rank(deadline);
        self.armed += 1;
        let at = self.entries.len();
        let node = Rc::new(Node { at: Cell::new(at), deadline, value });
        let handle = Handle(Rc::downgrade(&node));
        self.entries.push(Entry { rank, node });
        self.rise(at);
        handle
    }

    /// Takes a value out, unless it is out already.
    pub(super) fn remove(&mut self, handle: &Handle<T>) -> Option<T> {
        let at = handle.0.upgrade()?.at.get();
        self.take(at)
    }

    /// Whether the value is the first.
    pub(super) fn is_first(&self, handle: &Handle<T>) -> bool {
        handle.0.upgrade().is_some_and(|node| node.at.get() == 0)
    }

    /// How many values were ever added.
    pub(super) const fn armed(&self) -> u64 {
        self.armed
    }

    pub(super) fn first(&self) -> Option<First<'_, T>> {
        let Entry { rank, node } = self.entries.first()?;
        // The low half of the rank.
        Some(First { deadline: node.deadline, serial: *rank as u64, value: &node.value })
    }

    /// Takes the first value out.
    pub(super) fn pop(&mut self) -> Option<T> {
        if self.entries.is_empty() { None } else { self.take(0) }
    }

    fn take(&mut self, at: usize) -> Option<T> {
        let taken = self.entries.swap_remove(at);
        if at < self.entries.len() && self.rise(at) == at {
            self.sink(at);
        }
        // Half of what is given back is kept, so that the next growth is far.
        if self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.capacity() / 2);
        }
        Rc::into_inner(taken.node).map(|node| node.value)
    }

    /// Moves the entry at `at` up to where it is not before its parent; returns where that is.
    fn rise(&mut self, mut at: usize) -> usize {
        while at > 0 {
            let parent = (at - 1) / ARITY;
            if self.entries[parent].rank <= self.entries[at].rank {
                break;
            }
            self.swap_down(parent, at);
            at = parent;
        }
        self.entries[at].node.at.set(at);
        at
    }

    /// Moves the entry at `at` down to where no child is before it.
    fn sink(&mut self, mut at: usize) {
        while let Some((child, rank)) = self.first_child(at)
            && rank < self.entries[at].rank
        {
            self.swap_down(child, at);
            at = child;
        }
        self.entries[at].node.at.set(at);
    }

    /// Swaps the entry at `mover`, which goes on moving, with the one at `other`, which stays.
    fn swap_down(&mut self, other: usize, mover: usize) {
        self.entries.swap(other, mover);
        self.entries[mover].node.at.set(mover);
    }

    fn first_child(&self, at: usize) -> Option<(usize, Rank)> {
        let start = at * ARITY + 1;
        let rest = self.entries.get(start..)?;
        // Nearly always there are all; then the number is known and the loop unrolled.
        let (i, rank) = match rest.first_chunk::<ARITY>() {
            Some(all) => least(all)?,
            None => least(rest)?,
        };
        Some((start + i, rank))
    }

    fn rank(&self, deadline: Instant) -> Rank {
        // Half of the numbers are for deadlines before the origin.
        const ORIGIN: u64 = 1 << 63;
        let nanos = match deadline.checked_duration_since(self.origin) {
            Some(after) => ORIGIN.saturating_add(nanos(after)),
            None => ORIGIN.saturating_sub(nanos(self.origin.duration_since(deadline))),
        };
        Rank::from(nanos) << 64 | Rank::from(self.armed)
    }
}

/// The first of the entries that ranks before all others, and its rank.
#[inline]
fn least<T>(entries: &[Entry<T>]) -> Option<(usize, Rank)> {
    let mut least = (0, entries.first()?.rank);
    for (i, entry) in entries.iter().enumerate().skip(1) {
        if entry.rank < least.1 {
            least = (i, entry.rank);
        }
    }
    Some(least)
}

/// At most a little less than 585 years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::rc::Rc;
    use alloc::vec::Vec;
    use core::time::Duration;
    use std::time::Instant;

    use super::{ARITY, Handle, Heap};

    /// Xorshift.
    struct Random(u64);

    impl Random {
        fn below(&mut self, n: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % n
        }
    }

    fn check<T>(heap: &Heap<T>) {
        for (i, entry) in heap.entries.iter().enumerate() {
            assert_eq!(entry.node.at.get(), i, "I2");
            assert_eq!(Rc::strong_count(&entry.node), 1, "I3");
            if i > 0 {
                assert!(heap.entries[(i - 1) / ARITY].rank < entry.rank, "I1");
            }
        }
        assert!(heap.entries.capacity() <= 4 * heap.len().max(4), "capacity");
    }

    /// Random operations on a heap and on a `BTreeMap`, armed up to `most` at a time, with
    /// deadlines up to `spread` nanoseconds around the origin.
    fn compare(seed: u64, most: usize, spread: u64, steps: usize) {
        let mut random = Random(seed);
        let origin = Instant::now() + Duration::from_secs(1000);
        let base = origin - Duration::from_nanos(spread / 2);
        let mut heap = Heap::new(origin);
        let mut model = BTreeMap::new();
        let mut handles: Vec<((Instant, u64), Handle<u64>)> = Vec::new();
        let mut grow = true;
        let mut serial = 0;
        for step in 0..steps {
            if heap.len() >= most {
                grow = false;
            } else if heap.len() == 0 {
                grow = true;
            }
            match (random.below(10), grow) {
                (0..7, true) | (0..3, false) => {
                    let deadline = base + Duration::from_nanos(random.below(spread));
                    model.insert((deadline, serial), serial);
                    handles.push(((deadline, serial), heap.arm(deadline, serial)));
                    serial += 1;
                }
                (7..9, true) | (3..7, false) if !handles.is_empty() => {
                    // Also those that were popped or removed before.
                    let i = random.below(handles.len() as u64) as usize;
                    let (key, handle) = &handles[i];
                    assert_eq!(heap.remove(handle), model.remove(key));
                    if random.below(2) == 0 {
                        handles.swap_remove(i);
                    }
                }
                _ => assert_eq!(heap.pop(), model.pop_first().map(|(_, value)| value)),
            }
            assert_eq!(heap.len(), model.len());
            assert_eq!(
                heap.first().map(|first| (first.deadline, first.serial, *first.value)),
                model.first_key_value().map(|(key, &value)| (key.0, key.1, value)),
            );
            if most < 100 || step % 64 == 0 {
                check(&heap);
            }
        }
        while let Some(value) = heap.pop() {
            assert_eq!(Some(value), model.pop_first().map(|(_, value)| value));
        }
        assert!(model.is_empty());
        assert!(handles.iter().all(|(_, handle)| heap.remove(handle).is_none()));
        check(&heap);
    }

    #[test]
    fn a_heap_does_what_a_btree_map_would() {
        for (i, most) in [1, 2, 5, 9, 10, 30, 100, 500, 2000].into_iter().enumerate() {
            for (j, spread) in [1, 3, 1000, 60_000_000_000].into_iter().enumerate() {
                compare(1 + i as u64 * 10 + j as u64, most, spread, 20_000);
            }
        }
    }

    #[test]
    fn values_of_equal_deadlines_come_in_the_order_they_were_armed() {
        let now = Instant::now();
        let mut heap = Heap::new(now);
        let handles: Vec<_> = (0..2000).map(|i| heap.arm(now, i)).collect();
        for handle in handles.iter().skip(1).step_by(2) {
            assert!(heap.remove(handle).is_some());
        }
        for i in (0..2000).step_by(2) {
            assert_eq!(heap.pop(), Some(i));
        }
        assert_eq!(heap.pop(), None);
    }

    #[test]
    fn a_removed_value_is_gone_at_once() {
        let now = Instant::now();
        let mut heap = Heap::new(now);
        let value = Rc::new(());
        let handle = heap.arm(now, value.clone());
        drop(heap.remove(&handle));
        assert_eq!(Rc::strong_count(&value), 1);
        assert!(heap.remove(&handle).is_none());
        let again = heap.arm(now, value.clone());
        assert!(heap.remove(&handle).is_none());
        drop(heap);
        assert_eq!(Rc::strong_count(&value), 1);
        drop(again);
    }

    #[test]
    fn deadlines_that_are_far_come_last() {
        let now = Instant::now();
        let century = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        let mut heap = Heap::new(now);
        let _ = heap.arm(now + 5 * century, "never");
        let _ = heap.arm(now + 4 * century, "never either");
        let _ = heap.arm(now + century, "late");
        assert_eq!(heap.first().map(|first| first.deadline), Some(now + century));
        let _ = heap.arm(now, "now");
        assert_eq!(heap.first().map(|first| first.deadline), Some(now));
        assert_eq!(
            [heap.pop(), heap.pop(), heap.pop()],
            [Some("now"), Some("late"), Some("never")]
        );
        assert!(heap.first().is_some_and(|first| first.deadline > now + 2 * century));
    }
}
