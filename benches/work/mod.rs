//! The work that the benches do: groups of contenders, each doing the same calls in its own way.
//!
//! Every call carries 24 bytes, three words `[1, n, n]`, which its handler takes in as 1 + n - n.
//! So the sum of what arrived is the number of calls that did: what runs a contender compares
//! them, and nothing can be optimized away.
//!
//! The crate of the peers has these files from a library (`benches/shared.rs`), and adds its contenders to the same
//! groups.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each bench takes what it needs, and so does the crate of the peers"
)]

use std::cell::Cell;
use std::time::{Duration, Instant};

pub mod calls;
#[cfg(feature = "mio")]
pub mod echo;
pub mod floors;
#[cfg(feature = "mio")]
pub mod io;
#[cfg(feature = "mio")]
pub mod layers;
#[cfg(feature = "mio")]
pub mod names;
#[cfg(feature = "mio")]
pub mod remote;
#[cfg(feature = "mio")]
pub mod waiting;

/// Words that a call captures.
pub type Words = [u64; 3];

/// Does that many calls, a multiple of the batch that it was made for. Returns the sum of what
/// arrived, and the time that it took.
pub type Run = Box<dyn FnMut(u64) -> (u64, Duration)>;

/// One way of doing the work of a group.
pub struct Contender {
    pub name: &'static str,
    /// The largest batch that is reasonable.
    pub most: u64,
    /// Sets up for batches of that many calls.
    pub start: fn(u64) -> Run,
}

/// The same work, by several contenders.
pub struct Group {
    pub name: &'static str,
    /// What one call of it is.
    pub what: &'static str,
    pub batches: &'static [u64],
    /// Of so many calls one arrives (2 if every second is canceled).
    pub one_in: u64,
    pub contenders: Vec<Contender>,
}

impl Group {
    fn new(
        name: &'static str,
        what: &'static str,
        batches: &'static [u64],
        start: fn(u64) -> Run,
    ) -> Self {
        let contenders = vec![contender("switchboard", start)];
        Self { name, what, batches, one_in: 1, contenders }
    }

    fn against(mut self, name: &'static str, start: fn(u64) -> Run) -> Self {
        self.contenders.push(contender(name, start));
        self
    }

    /// Whether its cost depends on how two threads meet, so that it differs from run to run.
    pub fn has_two_threads(&self) -> bool {
        ["remote_other", "resolve"].contains(&self.name)
    }

    /// Runs a contender, and checks that it did its work.
    #[inline]
    pub fn run(&self, contender: &Contender, run: &mut Run, calls: u64) -> Duration {
        let (arrived, time) = run(calls);
        assert_eq!(arrived, calls / self.one_in, "{} did {} of {calls}", contender.name, self.name);
        time
    }
}

/// A contender for batches of any size.
pub const fn contender(name: &'static str, start: fn(u64) -> Run) -> Contender {
    Contender { name, most: u64::MAX, start }
}

/// Times `work` as a whole.
pub fn timed(mut work: impl FnMut(u64) -> u64 + 'static) -> Run {
    Box::new(move |calls| {
        let start = Instant::now();
        let arrived = work(calls);
        (arrived, start.elapsed())
    })
}

/// All groups of the crate itself, with the floors.
pub fn groups() -> Vec<Group> {
    let groups = calls::groups().into_iter();
    #[cfg(feature = "mio")]
    let groups = groups
        .chain(waiting::groups())
        .chain(io::groups())
        .chain(layers::groups())
        .chain(remote::groups())
        .chain(names::groups())
        .chain(echo::groups());
    groups.collect()
}

thread_local! {
    static SUM: Cell<u64> = const { Cell::new(0) };
}

/// What a handler does with the words of its call.
#[inline(always)]
pub fn take_in(sum: &mut u64, [a, b, c]: Words) {
    *sum = sum.wrapping_add(a).wrapping_add(b).wrapping_sub(c);
}

/// The same, for handlers without a recipient.
#[inline(always)]
pub fn add(words: Words) {
    SUM.with(|sum| {
        let mut value = sum.get();
        take_in(&mut value, words);
        sum.set(value);
    });
}

/// The sum of all that was added since the last time.
pub fn added() -> u64 {
    SUM.take()
}
