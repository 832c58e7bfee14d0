//! Scripts: how the lowest operations of one operation end, one after the other, and when.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use switchboard::samples::Module;

use super::low::{Cue, Held, Low, Spoil, SpuriousReadiness};

/// How a lowest operation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Answer(u8),
    Retryable,
    Failed,
}

/// When a lowest operation is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    AtOnce,
    Later,
}

impl When {
    /// All orders of as many.
    pub fn orders(count: usize) -> impl Iterator<Item = Vec<Self>> {
        let when = |bit| if bit == 0 { Self::AtOnce } else { Self::Later };
        (0..1 << count).map(move |bits: usize| (0..count).map(|n| when(bits >> n & 1)).collect())
    }
}

/// Makes a lowest operation ready.
pub type Trigger = Box<dyn FnOnce()>;

/// What is still to be played, and how to make those lowest operations ready that were started.
#[derive(Clone, Default)]
pub struct Script {
    lines: Rc<RefCell<VecDeque<(End, When)>>>,
    triggers: Rc<RefCell<VecDeque<Trigger>>>,
    spurious: Rc<RefCell<Vec<SpuriousReadiness>>>,
    spoils: Rc<RefCell<Vec<Spoil>>>,
    held: Rc<Held>,
}

impl Script {
    pub fn new(lines: impl IntoIterator<Item = (End, When)>) -> Self {
        let lines = Rc::new(RefCell::new(lines.into_iter().collect()));
        Self { lines, ..Self::default() }
    }

    /// Makes the lowest operation ready that has waited longest; false if none waits.
    pub fn trigger(&self) -> bool {
        let trigger = self.triggers.borrow_mut().pop_front();
        trigger.map(|trigger| trigger()).is_some()
    }

    /// Causes spurious readiness of all lowest operations that run, where that is possible.
    pub fn cause_spurious_readiness(&self) {
        for cause in &*self.spurious.borrow() {
            cause();
        }
    }

    /// Lets all lowest operations that run fail, if they are not ready.
    pub fn spoil(&self) {
        for spoil in &*self.spoils.borrow() {
            spoil();
        }
    }

    /// Lowest operations not started yet.
    pub fn left(&self) -> usize {
        self.lines.borrow().len()
    }

    /// Lowest operations that wait for their trigger.
    pub fn waiting(&self) -> usize {
        self.triggers.borrow().len()
    }

    /// Requests that are not dropped yet, with their sockets or closures.
    pub fn held(&self) -> usize {
        Arc::strong_count(&*self.held) - 1
    }

    /// How many hold this script, to make requests with it.
    pub fn users(&self) -> usize {
        Rc::strong_count(&self.lines)
    }

    pub(super) fn next<L: Low>(&self) -> <L::Module as Module>::Request {
        let (end, when) = self.lines.borrow_mut().pop_front().expect("the script goes on");
        let (request, Cue { trigger, spurious, spoil }) = L::request(end, Held::clone(&self.held));
        match when {
            When::AtOnce => trigger(),
            When::Later => self.triggers.borrow_mut().push_back(trigger),
        }
        self.spurious.borrow_mut().push(spurious);
        self.spoils.borrow_mut().push(spoil);
        request
    }
}
