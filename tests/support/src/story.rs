//! The engine of all stories, in which acts, laws and oracles meet:
//!
//! - A *world* is what a story plays on: a queue, a reactor, modules. Each story has a world of its own.
//! - An *act* is one thing that is done to it, from outside or by user code that it runs. Which,
//!   [`Decisions`] say, and nothing else does.
//! - A *law* holds after each act, and others hold once all has come to its end.
//! - An *oracle* knows what must have come of the acts: a naive model, or books that are kept by those
//!   who act.
//!
//! Three front ends run a story ([`Story::seeds`], [`Story::corpus`], [`Story::every`]): from seeds, from
//! the bytes of a fuzzer, and through all decisions up to a depth.

mod decisions;
mod front;
mod laws;

pub use decisions::Decisions;
pub use front::every;
pub(crate) use front::text;
pub use laws::{Acting, Verdict, attempt, unwind, unwind_perhaps};

/// How often things happened in a story, each at a place of its own, to see that stories say something.
pub type Counts = Vec<u64>;

pub trait World: Sized {
    fn begin(decisions: Decisions) -> Self;

    fn is_over(&self) -> bool;

    /// One act.
    fn act(&mut self);

    /// What holds after each act.
    ///
    /// # Errors
    ///
    /// The law that is broken.
    fn check(&self) -> Result<(), String>;

    /// Lets everything come to its end, and checks what holds then.
    ///
    /// # Errors
    ///
    /// The law that is broken.
    fn end(self) -> Result<Counts, String>;
}

/// A kind of stories.
pub struct Story {
    name: &'static str,
    /// Plays one. An error, and a panic, says which law was broken.
    play: fn(Decisions) -> Result<Counts, String>,
    /// How many seeds there are, unless `SEEDS` says so, after which each count is above this.
    seeds: u64,
    often: u64,
    /// How many decisions `every` goes through, unless `DECISIONS` says so.
    depth: usize,
}

impl Story {
    pub const fn of<W: World>(name: &'static str, seeds: u64, often: u64, depth: usize) -> Self {
        Self { name, play: play::<W>, seeds, often, depth }
    }
}

fn play<W: World>(decisions: Decisions) -> Result<Counts, String> {
    let mut world = W::begin(decisions);
    while !world.is_over() {
        world.act();
        world.check()?;
    }
    world.end()
}

/// The tests of a story, one for each front end.
#[macro_export]
macro_rules! tests_of {
    ($($name:ident: $story:ident),*) => {$(
        mod $name {
            use $crate::worlds::$story;

            #[test]
            fn seeds() {
                $story.seeds();
            }

            #[test]
            fn corpus() {
                $story.corpus();
            }

            #[test]
            fn every() {
                $story.every();
            }
        }
    )*};
}
