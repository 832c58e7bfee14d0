//! Ids that are kept for good: of calls that are over, of queues that are gone, of slots that are used
//! again, and of places that the ring has used many times since. Each is tried on each queue.

use std::cell::Cell;
use std::collections::HashSet;
use std::rc::Rc;

use switchboard::{Budget, CallId, CallQueue, Callback, Cancellation, QueueHandle};

use crate::story::{Counts, Decisions, World};

/// How a call ended, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Open,
    /// Dialed, or given up by its caller.
    Over,
    Canceled,
}

/// What all handlers do.
fn dial(end: &Cell<End>) {
    assert_eq!(end.replace(End::Over), End::Open);
}

pub struct Ids {
    decisions: Decisions,
    /// The last three queues that were made, with their numbers.
    queues: Vec<(usize, CallQueue)>,
    made: usize,
    handles: Vec<QueueHandle>,
    callbacks: Vec<(Callback<()>, Rc<Cell<End>>)>,
    /// All ids that were ever given out, and the number of their queue.
    ids: Vec<(CallId, usize, Rc<Cell<End>>)>,
    known: HashSet<CallId>,
}

impl Ids {
    fn add_queue(&mut self) {
        if self.queues.len() == 3 {
            self.queues.remove(0);
        }
        let queue = CallQueue::new();
        self.handles.push(queue.handle());
        self.queues.push((self.made, queue));
        self.made += 1;
    }

    fn keep(&mut self, id: CallId, queue: usize, end: Rc<Cell<End>>) {
        assert!(self.known.insert(id), "{id:?} was given out twice");
        self.ids.push((id, queue, end));
    }

    /// Asserts that canceling does what it says, to the call that is meant and to no other one.
    fn cancel(&self, id: usize, queue: usize) {
        let (id, home, end) = &self.ids[id];
        let handle = &self.handles[queue];
        let before = handle.tally();
        let result = handle.cancel(*id, "canceled");
        let after = handle.tally();
        assert!(after.balances(), "{after}");
        assert_eq!(result == Cancellation::Foreign, queue != *home, "{id:?}: {result:?}");
        let canceled = u64::from(result == Cancellation::Canceled);
        assert_eq!(after.canceled, before.canceled + canceled, "{id:?}: {result:?}");
        let waits = before.unscheduled + before.pending;
        assert_eq!(after.unscheduled + after.pending, waits - canceled, "{id:?}: {result:?}");
        if queue == *home {
            let late = end.get() == End::Over;
            assert!(!late || result == Cancellation::Late, "{id:?} is over");
        }
        if result == Cancellation::Canceled {
            let again = handle.cancel(*id, "again");
            assert!(matches!(again, Cancellation::Already | Cancellation::Late), "{again:?}");
            assert_eq!(end.replace(End::Canceled), End::Open, "{id:?}");
        }
    }
}

impl World for Ids {
    fn begin(decisions: Decisions) -> Self {
        let mut world = Self {
            decisions,
            queues: Vec::new(),
            made: 0,
            handles: Vec::new(),
            callbacks: Vec::new(),
            ids: Vec::new(),
            known: HashSet::new(),
        };
        world.add_queue();
        world
    }

    fn is_over(&self) -> bool {
        self.decisions.are_over()
    }

    fn act(&mut self) {
        let decisions = self.decisions.clone();
        let (number, queue) = &self.queues[decisions.below(self.queues.len())];
        let (number, queue) = (*number, queue.handle());
        match decisions.below(8) {
            0 | 1 => {
                for _ in 0..=decisions.below(100) {
                    let end = Rc::new(Cell::new(End::Open));
                    let ends = Rc::clone(&end);
                    let id = queue.call(move |_| dial(&ends));
                    self.keep(id, number, end);
                }
            }
            2 => {
                let end = Rc::new(Cell::new(End::Open));
                let ends = Rc::clone(&end);
                let callback = queue.callback(move |_, ()| dial(&ends));
                self.keep(callback.id(), number, Rc::clone(&end));
                self.callbacks.push((callback, end));
            }
            3 if !self.callbacks.is_empty() => {
                let (callback, end) = self.callbacks.remove(decisions.below(self.callbacks.len()));
                let how = decisions.below(3);
                if how < 2 && end.get() == End::Open {
                    end.set(End::Over);
                }
                match how {
                    0 => callback.decline("declined"),
                    1 => drop(callback),
                    _ => callback.answer(()),
                }
            }
            4 => drop(queue.dial(Budget::calls(decisions.below(200)))),
            5 if decisions.below(8) == 0 => self.add_queue(),
            _ if !self.ids.is_empty() => {
                let at = decisions.below(256) << 8 | decisions.below(256);
                // From the latest on.
                let id = self.ids.len() - 1 - at % self.ids.len();
                let home = self.ids[id].1;
                let queue = if decisions.below(4) == 0 { decisions.below(self.made) } else { home };
                self.cancel(id, queue);
            }
            _ => {}
        }
    }

    /// (Each cancel is checked as it is.)
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn end(mut self) -> Result<Counts, String> {
        for (_, queue) in &self.queues {
            queue.dial_all();
        }
        self.callbacks.clear();
        for id in 0..self.ids.len() {
            self.cancel(id, self.ids[id].1);
        }
        for (handle, queue) in self.handles.iter().zip(0..) {
            let tally = handle.tally();
            assert_eq!((tally.pending, tally.unscheduled, tally.live), (0, 0, 0), "{tally}");
            let made = self.ids.iter().filter(|(_, home, _)| *home == queue).count() as u64;
            assert_eq!((tally.created, tally.balances()), (made, true), "{tally}");
        }
        Ok(Counts::new())
    }
}
