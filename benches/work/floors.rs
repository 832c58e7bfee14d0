//! What a queue by hand costs, without ids, cancel, recipients or counts: the floors.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::hint::black_box;
use std::rc::Rc;

use super::{Run, Words, add, added, take_in, timed};

/// A call by hand: a function, for a queue of type `Q`, and its words.
type Entry<Q> = (fn(&mut Q, Words), Words);

/// A ring of function pointers and words.
#[derive(Default)]
struct Ring(VecDeque<Entry<Self>>);

impl Ring {
    fn dial_all(&mut self) {
        while let Some((function, words)) = self.0.pop_front() {
            function(self, words);
        }
    }
}

/// Two vectors of the same, swapped at each drain.
#[derive(Default)]
struct Swapped {
    pending: Vec<Entry<Self>>,
    spare: Vec<Entry<Self>>,
}

impl Swapped {
    fn dial_all(&mut self) {
        while !self.pending.is_empty() {
            let spare = std::mem::take(&mut self.spare);
            let mut now = std::mem::replace(&mut self.pending, spare);
            for (function, words) in now.drain(..) {
                function(self, words);
            }
            self.spare = now;
        }
    }
}

/// A ring of boxed closures.
#[derive(Default)]
struct Boxed(VecDeque<Closure>);

type Closure = Box<dyn FnOnce(&mut Boxed)>;

impl Boxed {
    fn dial_all(&mut self) {
        while let Some(closure) = self.0.pop_front() {
            closure(self);
        }
    }
}

pub fn ring_calls(batch: u64) -> Run {
    let mut ring = Ring::default();
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                ring.0.push_back((|_, words| add(words), [1, n, n]));
            }
            ring.dial_all();
        }
        added()
    })
}

pub fn swapped_calls(batch: u64) -> Run {
    let mut queue = Swapped::default();
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                queue.pending.push((|_, words| add(words), [1, n, n]));
            }
            queue.dial_all();
        }
        added()
    })
}

pub fn boxed_calls(batch: u64) -> Run {
    let mut queue = Boxed::default();
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                let words = [1, n, n];
                queue.0.push_back(Box::new(move |_| add(words)));
            }
            queue.dial_all();
        }
        added()
    })
}

/// A recipient by hand: it may be gone, and is borrowed while it is live.
type Sum = Rc<RefCell<u64>>;

fn boxed_calls_to(batch: u64, recipients: u64) -> Run {
    let mut queue = Boxed::default();
    let sums: Vec<Sum> = (0..recipients).map(|_| Sum::default()).collect();
    timed(move |calls| {
        for _ in 0..calls / batch {
            for _ in 0..batch / recipients {
                for (n, sum) in sums.iter().enumerate() {
                    let (to, words) = (Rc::downgrade(sum), [1, n as u64, n as u64]);
                    queue.0.push_back(Box::new(move |_| {
                        if let Some(sum) = to.upgrade() {
                            take_in(&mut sum.borrow_mut(), words);
                        }
                    }));
                }
            }
            queue.dial_all();
        }
        sums.iter().map(|sum| sum.take()).sum()
    })
}

pub fn boxed_calls_to_one(batch: u64) -> Run {
    boxed_calls_to(batch, 1)
}

pub fn boxed_calls_to_many(batch: u64) -> Run {
    boxed_calls_to(batch, 1000)
}

pub fn ring_chain(_: u64) -> Run {
    fn link(ring: &mut Ring, [left, a, b]: Words) {
        add([1, a, b]);
        if left > 1 {
            ring.0.push_back((link, [left - 1, a, b]));
        }
    }
    let mut ring = Ring::default();
    timed(move |calls| {
        ring.0.push_back((link, black_box([calls, 2, 2])));
        ring.dial_all();
        added()
    })
}

pub fn swapped_chain(_: u64) -> Run {
    fn link(queue: &mut Swapped, [left, a, b]: Words) {
        add([1, a, b]);
        if left > 1 {
            queue.pending.push((link, [left - 1, a, b]));
        }
    }
    let mut queue = Swapped::default();
    timed(move |calls| {
        queue.pending.push((link, black_box([calls, 2, 2])));
        queue.dial_all();
        added()
    })
}

pub fn boxed_chain(_: u64) -> Run {
    fn link(queue: &mut Boxed, [left, a, b]: Words) {
        add([1, a, b]);
        if left > 1 {
            queue.0.push_back(Box::new(move |queue| link(queue, [left - 1, a, b])));
        }
    }
    let mut queue = Boxed::default();
    timed(move |calls| {
        let words = black_box([calls, 2, 2]);
        queue.0.push_back(Box::new(move |queue| link(queue, words)));
        queue.dial_all();
        added()
    })
}
