//! The heap beside a `BTreeMap`, and what only it does.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::time::Duration;
use std::time::Instant;

use super::{ARITY, FEW, Handle, Heap, IN_RUN, NONE, Tick};

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
        assert_eq!(heap.slots.place(entry.slot), Some(i as u32), "I2");
        if i > 0 {
            assert!(heap.entries[(i - 1) / ARITY].rank() < entry.rank(), "I1");
        }
    }
    assert!(heap.run.is_sorted_by(|one, other| one.rank() > other.rank()), "I1");
    assert!(heap.run.last().is_none_or(|last| last.slot != NONE), "I1");
    let mut in_run = 0;
    for (i, entry) in heap.run.iter().enumerate().filter(|(_, entry)| entry.slot != NONE) {
        assert_eq!(heap.slots.place(entry.slot), Some(i as u32 | IN_RUN), "I2");
        in_run += 1;
    }
    assert_eq!(heap.entries.len() + in_run, heap.len(), "I3");
    assert!(heap.entries.capacity() <= 4 * heap.entries.len().max(FEW), "capacity");
    assert!(heap.run.capacity() <= 4 * heap.run.len().max(FEW), "capacity");
}

/// Random operations on a heap and on a `BTreeMap`, armed up to `most` at a time, with
/// deadlines up to `spread` nanoseconds around the origin.
fn compare(seed: u64, most: usize, spread: u64, steps: usize) {
    let mut random = Random(seed);
    let origin = Instant::now() + Duration::from_secs(1000);
    let base = origin - Duration::from_nanos(spread / 2);
    let mut heap = Heap::new(origin);
    let mut model = BTreeMap::new();
    let mut handles: Vec<((Tick, u64), Handle)> = Vec::new();
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
                let key = (heap.moment(deadline), heap.armed()); // (equal where the clock takes times for equal)
                model.insert(key, serial);
                handles.push((key, heap.arm(deadline, serial)));
                serial += 1;
            }
            (7, true) | (3, false) if !handles.is_empty() => {
                let deadline = base + Duration::from_nanos(random.below(spread));
                let i = random.below(handles.len() as u64) as usize;
                let (key, handle) = handles[i];
                let value = model.remove(&key);
                let moved = heap.reset(handle, deadline);
                assert_eq!(moved.is_some(), value.is_some());
                if let (Some(moved), Some(value)) = (moved, value) {
                    // It comes behind all that were armed or moved before.
                    let key = (heap.moment(deadline), heap.armed() - 1);
                    model.insert(key, value);
                    handles[i] = (key, moved);
                    assert_eq!(heap.get_mut(moved), Some(&mut { value }));
                }
                assert!(heap.get_mut(handle).is_none(), "the name before");
            }
            (8, true) | (4..7, false) if !handles.is_empty() => {
                // Also those that were popped or removed before.
                let i = random.below(handles.len() as u64) as usize;
                let (key, handle) = &handles[i];
                assert_eq!(heap.remove(*handle), model.remove(key));
                if random.below(2) == 0 {
                    handles.swap_remove(i);
                }
            }
            _ => assert_eq!(heap.pop(), model.pop_first().map(|(_, value)| value)),
        }
        if random.below(64) == 0 {
            let most = random.below(64) as usize;
            heap.expect(heap.moment(base + Duration::from_nanos(random.below(spread))), most);
        }
        assert_eq!(heap.len(), model.len());
        assert_eq!(
            heap.first().map(|first| (first.deadline, *first.value)),
            model.first_key_value().map(|(key, &value)| (key.0, value)),
        );
        if most < 100 || step % 64 == 0 {
            check(&heap);
        }
    }
    while let Some(value) = heap.pop() {
        assert_eq!(Some(value), model.pop_first().map(|(_, value)| value));
    }
    assert!(model.is_empty());
    assert!(handles.iter().all(|(_, handle)| heap.remove(*handle).is_none()));
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
    for handle in handles.into_iter().skip(1).step_by(2) {
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
    drop(heap.remove(handle));
    assert_eq!(Rc::strong_count(&value), 1);
    assert!(heap.remove(handle).is_none());
    let again = heap.arm(now, value.clone());
    assert!(heap.remove(handle).is_none());
    drop(heap);
    assert_eq!(Rc::strong_count(&value), 1);
    assert_ne!(handle.serial, again.serial);
}

#[test]
fn many_that_are_due_are_in_the_run_and_others_may_come_before_them() {
    let now = Instant::now();
    let due = |i: u64| now + Duration::from_secs(10 + i);
    let mut heap = Heap::new(now);
    let handles: Vec<_> = (0..100).map(|i| heap.arm(due(i * 7 % 100), i * 7 % 100)).collect();
    heap.expect(heap.moment(due(49)), usize::MAX);
    assert_eq!((heap.run.len(), heap.entries.len(), heap.len()), (50, 50, 100));
    check(&heap);
    assert_eq!(heap.pop(), Some(0));
    let _ = heap.arm(now, 100);
    // The second, which stands at the end of the run, and one in its midst.
    for gone in [1, 30] {
        let handle = handles[(0..100).position(|i| i * 7 % 100 == gone).unwrap()];
        assert_eq!((heap.remove(handle), heap.remove(handle)), (Some(gone), None));
        check(&heap);
    }
    // What is left of a run goes into the next.
    heap.expect(heap.moment(due(79)), usize::MAX);
    assert_eq!(heap.entries.len(), 20);
    check(&heap);
    let rest: Vec<_> = core::iter::from_fn(|| heap.pop()).collect();
    let expected = (2..100).filter(|i| *i != 30);
    assert!(rest.into_iter().eq([100].into_iter().chain(expected)));
}

#[test]
fn few_that_are_due_stay_in_the_heap() {
    let now = Instant::now();
    let mut heap = Heap::new(now);
    for i in 0..100 {
        let _ = heap.arm(now + Duration::from_secs(i), i);
    }
    heap.expect(heap.moment(now + Duration::from_secs(4)), usize::MAX);
    assert!(heap.run.is_empty());
    heap.expect(heap.moment(now + Duration::from_secs(5)), usize::MAX);
    assert_eq!(heap.run.len(), 6);
}

#[test]
fn memory_goes_with_the_values_also_if_one_stays() {
    let now = Instant::now();
    let mut heap = Heap::new(now);
    let mut handles: Vec<_> = (0..10_000).map(|i| heap.arm(now, i)).collect();
    let last = handles.pop();
    assert!(handles.into_iter().all(|handle| heap.remove(handle).is_some()));
    check(&heap);
    assert!(heap.entries.capacity() <= 4 * FEW && heap.slots.room() <= 128, "one stays");
    assert_eq!(last.and_then(|last| heap.remove(last)), Some(9_999));
    assert_eq!(heap.slots.room(), 64, "a chunk is kept");
    let _ = heap.arm(now, 1);
    check(&heap);
}

#[test]
fn deadlines_that_are_far_come_last() {
    let now = Instant::now();
    let century = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    let mut heap = Heap::new(now);
    let _ = heap.arm(now + 5 * century, "never");
    let _ = heap.arm(now + 4 * century, "never either");
    let _ = heap.arm(now + century, "late");
    let deadline = |heap: &Heap<_>, time| {
        heap.first().is_some_and(|first| first.deadline == heap.moment(time))
    };
    assert!(deadline(&heap, now + century));
    let _ = heap.arm(now, "now");
    assert!(deadline(&heap, now));
    assert_eq!([heap.pop(), heap.pop(), heap.pop()], [Some("now"), Some("late"), Some("never")]);
    assert!(heap.first().is_some_and(|first| first.deadline > heap.moment(now + 2 * century)));
}
