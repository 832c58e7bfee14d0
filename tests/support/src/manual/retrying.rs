//! Retries of operations that the test completes by hand.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use switchboard::Report;
use switchboard::op::{AsyncOp, OpError};
use switchboard::reactor::Reactor;
use switchboard::samples::{MlRetries, Module, Retry, RetryPolicy};

use super::{Manual, Outcomes, Result, check_over};

/// An attempt that may be repeated.
pub const AGAIN: Result = Err(OpError::Retryable("again"));

/// `MlRetries` over operations completed by hand, on a reactor whose time does not pass by itself.
pub struct Bench {
    pub reactor: Reactor,
    pub lower: Manual,
    pub module: Option<MlRetries<Manual>>,
    pub outcomes: Outcomes<u32>,
    pub now: Rc<Cell<Instant>>,
}

impl Bench {
    pub fn new(policy: RetryPolicy<&'static str>) -> Self {
        let reactor = Reactor::new().expect("a reactor");
        let now = Rc::new(Cell::new(Instant::now()));
        let clock = Rc::clone(&now);
        reactor.set_clock(move || clock.get());
        let lower = Manual::default();
        let module = MlRetries::new(&reactor.handle(), lower.clone(), policy);
        module.open();
        let outcomes = Outcomes::new(reactor.queue());
        Self { reactor, lower, module: Some(module), outcomes, now }
    }

    /// Starts an operation whose requests count up from 0.
    #[track_caller]
    pub fn start(&self) -> AsyncOp {
        self.start_with(|_| ())
    }

    /// The same; `also` is called with the number of each request.
    #[track_caller]
    pub fn start_with(&self, also: impl Fn(u32) + 'static) -> AsyncOp {
        let mut next = 0..;
        let retry = Retry::new(move |_, _| {
            let number = next.next().expect("a number");
            also(number);
            number
        });
        let module = self.module.as_ref().expect("the module is there");
        module.start(retry, self.outcomes.done()).expect("it is open")
    }

    /// Lets time pass, and turns until nothing is pending.
    #[track_caller]
    pub fn pass(&mut self, time: Duration) {
        self.now.set(self.now.get() + time);
        loop {
            let Report { remaining, .. } = self.reactor.turn(Some(Duration::ZERO)).expect("a turn");
            if remaining == 0 {
                return;
            }
        }
    }

    /// Ends the attempt that runs.
    #[track_caller]
    pub fn end_attempt(&mut self, result: Result) {
        self.lower.complete(result);
        self.pass(Duration::ZERO);
    }

    pub fn timer_count(&self) -> usize {
        self.reactor.handle().timer_count()
    }

    /// Checks that all is over.
    #[track_caller]
    pub fn finish(mut self) {
        self.pass(Duration::ZERO);
        assert_eq!((self.outcomes.count(), self.timer_count(), self.lower.running()), (0, 0, 0));
        check_over(self.reactor.queue());
        self.module = None;
        assert_eq!(self.lower.references(), 1, "nothing holds the layer below");
    }
}
