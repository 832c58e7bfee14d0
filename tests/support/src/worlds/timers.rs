//! Timers beside a list of them, on a clock that goes on, stands still and goes back (rule M7).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use switchboard::reactor::{Reactor, ReactorHandle, Timer};
use switchboard::{CallId, Callback};

use crate::story::{Counts, Decisions, World, attempt, unwind};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Life {
    Armed,
    /// Due: its call is pending, or will be in this turn.
    Due,
    Outcomes,
    Canceled,
}

/// A reactor, and the list of its timers.
pub struct Timers {
    reactor: Reactor,
    model: Rc<Model>,
}

struct Model {
    decisions: Decisions,
    reactor: ReactorHandle,
    now: Cell<Instant>,
    /// In the order they were armed.
    timers: RefCell<Vec<(Instant, Life, CallId)>>,
    held: RefCell<Vec<(usize, Timer)>>,
    /// Those that are due, in the order in which they are to be reported.
    due: RefCell<VecDeque<usize>>,
    /// When the last turn began, if it has left some of those that were due: what is armed comes behind
    /// them.
    floor: Cell<Option<Instant>>,
}

impl Model {
    fn arm(self: &Rc<Self>) {
        let number = self.timers.borrow().len();
        let callback: Callback<()> = {
            let model = Rc::clone(self);
            self.reactor.queue().callback(move |_, ()| model.fire(number))
        };
        let id = callback.id();
        let amount = self.decisions.below(256);
        let (now, short) = (self.now.get(), Duration::from_nanos(amount as u64 * 100_000));
        let timer = match self.decisions.below(8) {
            0 => self.reactor.after(Duration::ZERO, callback),
            1 => self.reactor.after(Duration::MAX, callback),
            2 => self.reactor.at(now - short, callback),
            3 => self.reactor.at(now, callback),
            _ => self.reactor.after(short, callback),
        };
        let deadline = Some(timer.deadline()).max(self.floor.get()).expect("a deadline");
        self.timers.borrow_mut().push((deadline, Life::Armed, id));
        if self.decisions.below(4) == 0 {
            timer.detach();
        } else {
            self.held.borrow_mut().push((number, timer));
        }
    }

    fn fire(self: &Rc<Self>, number: usize) {
        assert_eq!(self.due.borrow_mut().pop_front(), Some(number), "early, late or out of order");
        let life = std::mem::replace(&mut self.timers.borrow_mut()[number].1, Life::Outcomes);
        assert_eq!(life, Life::Due);
        match self.decisions.below(8) {
            0 => self.arm(),
            1 => self.drop_one(),
            2 => unwind(),
            _ => {}
        }
    }

    fn cancel(&self, number: usize) {
        let life = &mut self.timers.borrow_mut()[number].1;
        if matches!(life, Life::Armed | Life::Due) {
            *life = Life::Canceled;
            self.due.borrow_mut().retain(|due| *due != number);
        }
    }

    fn drop_one(&self) {
        let len = self.held.borrow().len();
        let Some(at) = self.decisions.place(len) else { return };
        let (number, timer) = self.held.borrow_mut().swap_remove(at);
        self.cancel(number);
        drop(timer);
    }

    fn cancel_by_id(&self) {
        let len = self.timers.borrow().len();
        let Some(at) = self.decisions.place(len) else { return };
        self.cancel(at);
        let id = self.timers.borrow()[at].2;
        let _ = self.reactor.queue().cancel(id, "canceled");
    }

    /// What is due now is reported next, by deadline and then by age, behind what was due before.
    fn make_due(&self) {
        let mut timers = self.timers.borrow_mut();
        let mut due: Vec<_> = (0..timers.len())
            .filter(|at| timers[*at].1 == Life::Armed && timers[*at].0 <= self.now.get())
            .collect();
        due.sort_by_key(|at| (timers[*at].0, *at));
        due.iter().for_each(|at| timers[*at].1 = Life::Due);
        self.due.borrow_mut().extend(due);
    }

    fn turn(&self, reactor: &mut Reactor, budget: usize) {
        let pending = reactor.queue().tally().pending as usize;
        self.make_due();
        let entering = self.due.borrow().len() - pending;
        let is_left = entering > share(budget, pending);
        // What a handler arms comes behind what is due, if the turn leaves any.
        self.floor.set(is_left.then(|| self.now.get()));
        let _ = attempt(|| reactor.turn(Some(Duration::ZERO)).expect("a turn"));
        // What is left is due again, unless the clock goes back.
        let mut due = self.due.borrow_mut();
        for at in due.split_off(reactor.queue().tally().pending as usize) {
            assert!(is_left, "due, and not fired");
            self.timers.borrow_mut()[at].1 = Life::Armed;
        }
    }

    fn count(&self, life: Life) -> usize {
        self.timers.borrow().iter().filter(|timer| timer.1 == life).count()
    }

    fn compare(&self) {
        let tally = self.reactor.queue().tally();
        assert!(tally.balances(), "{tally}");
        let armed = self.count(Life::Armed);
        assert_eq!(tally.unscheduled, armed as u64, "{tally}");
        assert_eq!(tally.pending, self.due.borrow().len() as u64, "{tally}");
        assert_eq!(tally.canceled, self.count(Life::Canceled) as u64, "{tally}");
        assert!(self.reactor.timer_count() >= armed);
        let timers = self.timers.borrow();
        let next = timers.iter().filter(|timer| timer.1 == Life::Armed).map(|timer| timer.0).min();
        let sleep = next.map(|next| next.saturating_duration_since(self.now.get()));
        let expected = if tally.pending > 0 { Some(Duration::ZERO) } else { sleep };
        assert_eq!(self.reactor.poll_timeout(), expected, "how long to sleep (rule M5)");
    }
}

/// How many timers fire in a turn (rule M6).
fn share(budget: usize, pending: usize) -> usize {
    let budget = if matches!(budget, 0 | usize::MAX) { 1024 } else { budget };
    budget.saturating_sub(pending).max(budget.div_ceil(8))
}

impl World for Timers {
    fn begin(decisions: Decisions) -> Self {
        let reactor = Reactor::new().expect("a reactor");
        let model = Rc::new(Model {
            decisions,
            reactor: reactor.handle(),
            // A machine may not have been up for long.
            now: Cell::new(Instant::now() + Duration::from_secs(3600)),
            timers: RefCell::default(),
            held: RefCell::default(),
            due: RefCell::default(),
            floor: Cell::new(None),
        });
        let clock = Rc::downgrade(&model);
        let end = model.now.get();
        reactor.set_clock(move || clock.upgrade().map_or(end, |model| model.now.get()));
        Self { reactor, model }
    }

    fn is_over(&self) -> bool {
        self.model.decisions.are_over()
    }

    fn act(&mut self) {
        let Self { reactor, model } = self;
        let decisions = &model.decisions;
        match decisions.below(8) {
            0..3 => model.arm(),
            3 => model.drop_one(),
            4 => model.cancel_by_id(),
            5 => {
                let by = Duration::from_nanos(decisions.below(256) as u64 * 100_000);
                let (now, back) = (model.now.get(), decisions.one_in(8));
                model.now.set(if back { now - by } else { now + by });
            }
            _ => {
                let few = decisions.one_in(4);
                let budget = if few { decisions.below(4) } else { usize::MAX };
                reactor.set_budget(budget);
                model.turn(reactor, budget);
            }
        }
    }

    fn check(&self) -> Result<(), String> {
        self.model.compare();
        Ok(())
    }

    fn end(self) -> Result<Counts, String> {
        let Self { mut reactor, model } = self;
        // All but those of a hundred years are answered in the end.
        model.now.set(model.now.get() + Duration::from_secs(10));
        reactor.set_budget(usize::MAX);
        model.turn(&mut reactor, usize::MAX);
        while !model.due.borrow().is_empty() {
            let before = model.due.borrow().len();
            let _ = attempt(|| reactor.queue().dial_all());
            assert!(model.due.borrow().len() < before, "nothing is answered");
        }
        model.compare();
        drop(model.held.take());
        drop(reactor);
        let tally = model.reactor.queue().tally();
        assert_eq!((tally.unscheduled, tally.pending, tally.abandoned), (0, 0, 0), "{tally}");
        assert_eq!(model.reactor.timer_count(), 0);
        assert_eq!(Rc::strong_count(&model), 1, "leaked");
        Ok([Life::Outcomes, Life::Canceled].map(|life| model.count(life) as u64).to_vec())
    }
}
