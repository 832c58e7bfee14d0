//! What decides in a story: a seed, the bytes of a fuzzer, or the path that an enumeration takes. The
//! same seed, the same bytes and the same path decide the same.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A story from a seed is over after so many decisions, if it asks.
const LENGTH: usize = 500;

/// Numbers, one for each decision. Once a story that bytes or a path decide is over, a generator goes on.
#[derive(Clone)]
pub struct Decisions(Rc<Inner>);

struct Inner {
    origin: Origin,
    /// How many bytes, or choices, are used up.
    used: Cell<usize>,
    /// Of a linear congruential generator.
    state: Cell<u64>,
}

enum Origin {
    Seed,
    Bytes(Vec<u8>),
    /// The choices made, each with how many there were, and how many are to be made.
    Path(RefCell<Vec<Choice>>, usize),
}

#[derive(Clone, Copy)]
struct Choice {
    taken: usize,
    of: usize,
}

impl Decisions {
    fn new(origin: Origin, seed: u64) -> Self {
        // (Those of neighbors are far apart.)
        let state = Cell::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ seed >> 7);
        Self(Rc::new(Inner { origin, used: Cell::new(0), state }))
    }

    pub fn of_seed(seed: u64) -> Self {
        Self::new(Origin::Seed, seed)
    }

    /// One byte decides, or four if one is not enough.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let seed = bytes.iter().fold(0, |sum: u64, byte| sum.wrapping_mul(31) + u64::from(*byte));
        Self::new(Origin::Bytes(bytes.to_vec()), seed)
    }

    /// The first of all paths of up to `depth` decisions, which chooses 0 always.
    pub fn first_path(depth: usize) -> Self {
        Self::new(Origin::Path(RefCell::default(), depth), 0)
    }

    /// The path after this one, which was taken to its end, that differs in one of the first `depth`
    /// choices.
    pub fn next_path(&self, depth: usize) -> Option<Self> {
        let Origin::Path(path, most) = &self.0.origin else { return None };
        let mut path = path.borrow().clone();
        path.truncate(depth);
        while path.last().is_some_and(|choice| choice.taken + 1 == choice.of) {
            path.pop();
        }
        path.last_mut()?.taken += 1;
        Some(Self::new(Origin::Path(RefCell::new(path), *most), 0))
    }

    /// The choices of a path so far.
    pub fn path(&self) -> Vec<usize> {
        let Origin::Path(path, _) = &self.0.origin else { return Vec::new() };
        path.borrow().iter().map(|choice| choice.taken).collect()
    }

    /// Whether the story should end.
    pub fn are_over(&self) -> bool {
        self.0.used.get()
            >= match &self.0.origin {
                Origin::Seed => LENGTH,
                Origin::Bytes(bytes) => bytes.len(),
                Origin::Path(_, depth) => *depth,
            }
    }

    /// A number less than `end`, which is at most 2^31.
    pub fn below(&self, end: usize) -> usize {
        self.decided(end).unwrap_or_else(|| {
            let state = &self.0.state;
            let next = state.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.set(next);
            (next >> 33) as usize % end
        })
    }

    /// The number that the bytes or the path decide, unless they are used up.
    fn decided(&self, end: usize) -> Option<usize> {
        let used = &self.0.used;
        let begin = used.get();
        match &self.0.origin {
            Origin::Seed => {
                used.set(begin + 1);
                None
            }
            Origin::Bytes(bytes) => {
                let count = if end <= 256 { 1 } else { 4 };
                used.set(begin + count);
                let bytes = bytes.get(begin..begin + count)?;
                Some(bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)) % end)
            }
            Origin::Path(path, depth) => {
                if begin == *depth {
                    return None;
                }
                used.set(begin + 1);
                let mut path = path.borrow_mut();
                if begin == path.len() {
                    path.push(Choice { taken: 0, of: end });
                }
                assert_eq!(path[begin].of, end, "the same decides the same");
                Some(path[begin].taken)
            }
        }
    }

    pub fn one_in(&self, odds: usize) -> bool {
        self.below(odds) == 0
    }

    /// A place among `len`, if there is any.
    pub fn place(&self, len: usize) -> Option<usize> {
        (len > 0).then(|| self.below(len))
    }

    /// One of `of`, or none if there is none.
    pub fn one<T: Clone>(&self, of: &[T]) -> Option<T> {
        self.place(of.len()).map(|at| of[at].clone())
    }

    /// Takes an element out.
    pub fn take<T>(&self, of: &RefCell<Vec<T>>) -> Option<T> {
        let len = of.borrow().len();
        self.place(len).map(|at| of.borrow_mut().swap_remove(at))
    }

    /// Lends an element out.
    pub fn lend<T, R>(&self, of: &RefCell<Vec<T>>, to: impl FnOnce(&T) -> R) -> Option<R> {
        let element = self.take(of)?;
        let result = to(&element);
        of.borrow_mut().push(element);
        Some(result)
    }
}
