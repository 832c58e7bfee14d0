//! The storage of calls: its edges, and every operation against a naive model.
//!
//! Run it with `--cfg small_blocks` too, so that a few calls meet every edge of a block.

use alloc::collections::VecDeque;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::vec;

use super::Key;
use super::*;

pub(super) struct Context;

/// What dials report.
#[derive(Default)]
pub(super) struct At {
    /// The positions that began.
    pub(super) begun: Vec<u64>,
    /// The callbacks whose recipient was gone.
    pub(super) gone: Vec<Key>,
    /// The calls that were deferred.
    pub(super) deferred: Vec<(Key, Erased<Context>)>,
}

impl DialContext for Context {
    type At<'a> = At;

    fn begin(at: &mut At, position: u64) {
        at.begun.push(position);
    }

    fn gone(at: &mut At, key: Key, _: Site) {
        at.gone.push(key);
    }
}

std::thread_local! {
    /// How many blocks were made.
    pub(super) static BLOCKS: Cell<u64> = const { Cell::new(0) };
}

pub(super) fn here() -> Site {
    Location::caller()
}

pub(super) fn note(number: u64) -> Option<NonZeroU64> {
    NonZeroU64::new(number)
}

// What does not depend on a type is no part of what is generic: there are two thousand types.

/// Writes to `bytes` what [`is_whole`] looks for.
pub(super) fn fill(bytes: &mut [u8]) {
    bytes.iter_mut().enumerate().for_each(|(index, byte)| *byte = index as u8);
}

pub(super) fn is_whole(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().all(|(index, byte)| *byte == index as u8)
}

fn calls(first: u64) -> Calls<Context> {
    let calls = Calls::new(first);
    calls.set_limit(u64::MAX);
    calls
}

mod payloads {
    //! Payloads of any size and alignment leave their words just once.

    use super::*;

    struct Counts {
        dialed: Cell<u32>,
        dropped: Cell<u32>,
        panics_in_dial: Cell<bool>,
        panics_in_drop: Cell<bool>,
    }

    struct Sized<const N: usize, A> {
        bytes: [u8; N],
        _align: [A; 0],
    }

    std::thread_local!(static COUNTS: Counts = const {
        Counts {
            dialed: Cell::new(0),
            dropped: Cell::new(0),
            panics_in_dial: Cell::new(false),
            panics_in_drop: Cell::new(false),
        }
    });

    impl<const N: usize, A: 'static> Sized<N, A> {
        fn new() -> Self {
            let mut bytes = [0; N];
            fill(&mut bytes);
            Self { bytes, _align: [] }
        }

        #[track_caller]
        fn check(&self) {
            assert!((&raw const *self).is_aligned() && is_whole(&self.bytes));
        }
    }

    impl<const N: usize, A: 'static> Payload<Context> for Sized<N, A> {
        fn dial(self, _: &mut At, _: Site) {
            self.check();
            note_dial();
        }

        fn recipient(&self) -> u64 {
            self.check();
            N as u64
        }
    }

    impl<const N: usize, A> Drop for Sized<N, A> {
        fn drop(&mut self) {
            note_drop();
        }
    }

    fn note_dial() {
        COUNTS.with(|counts| counts.dialed.set(counts.dialed.get() + 1));
        assert!(!COUNTS.with(|counts| counts.panics_in_dial.take()), "asked to panic");
    }

    fn note_drop() {
        COUNTS.with(|counts| counts.dropped.set(counts.dropped.get() + 1));
        assert!(!COUNTS.with(|counts| counts.panics_in_drop.take()), "asked to panic");
    }

    #[track_caller]
    fn expect(dialed: u32, dropped: u32) {
        let counts = COUNTS.with(|counts| (counts.dialed.take(), counts.dropped.take()));
        assert_eq!(counts, (dialed, dropped));
    }

    #[track_caller]
    fn panics(in_drop: bool, action: impl FnOnce()) {
        COUNTS.with(|counts| {
            if in_drop { &counts.panics_in_drop } else { &counts.panics_in_dial }.set(true);
        });
        assert!(catch_unwind(AssertUnwindSafe(action)).is_err());
    }

    fn check<const N: usize, A: 'static>() {
        let push = |calls: &Calls<Context>| calls.push(Sized::<N, A>::new, here());
        ways_out(N as u64, &push, &|| Erased::new(Sized::<N, A>::new(), here()));
    }

    /// All ways out of the storage.
    fn ways_out(
        number: u64,
        push: &dyn Fn(&Calls<Context>) -> u64,
        new: &dyn Fn() -> Erased<Context>,
    ) {
        let calls = calls(6);
        let at = &mut At::default();
        let put = || push(&calls);

        assert_eq!(put(), 6);
        assert_eq!(calls.recipient_at(6), number);
        assert!(matches!(calls.cancel(6, None), Canceled::Call(Some(_))));
        expect(0, 1);
        assert!(matches!(calls.cancel(6, note(1)), Canceled::Already));
        assert_eq!(calls.dial_next(7, at), DialNext::Tombstone(None));
        assert_eq!(calls.dial_next(8, at), DialNext::Empty);
        expect(0, 0);

        assert_eq!(put(), 7);
        assert_eq!(calls.dial_next(8, at), DialNext::Dialed);
        expect(1, 1);
        assert!(matches!(calls.cancel(7, None), Canceled::NotThere));

        put();
        panics(false, || _ = calls.dial_next(u64::MAX, at));
        expect(1, 1);
        put();
        panics(true, || _ = calls.dial_next(u64::MAX, at));
        expect(1, 1);
        put();
        panics(true, || drop(calls.cancel(10, note(10))));
        expect(0, 1);
        assert!(calls.head() == 10 && matches!(calls.pop(), Popped::Tombstone(Some(_))));

        put();
        let Popped::Call(11, call) = calls.pop() else { panic!("a call was put") };
        assert_eq!(call.recipient(), number);
        call.dial(11, at);
        expect(1, 1);
        put();
        let Popped::Call(12, call) = calls.pop() else { panic!("a call was put") };
        panics(true, || drop(call));
        expect(0, 1);

        put();
        drop(calls.replace(13, new()).ok());
        expect(0, 1);
        drop(calls.replace(14, new()).err());
        expect(0, 1);
        put();
        put();
        panics(true, || drop(calls));
        expect(0, 3);
        assert_eq!(at.begun, [6, 7, 8, 9, 11]);
    }

    #[repr(align(16))]
    struct Align16;
    #[repr(align(32))]
    struct Align32;
    #[repr(align(64))]
    struct Align64;
    #[repr(align(128))]
    struct Align128;

    macro_rules! check_sizes {
        ($($size:literal)*) => {$(
            check::<$size, u8>();
            check::<$size, u16>();
            check::<$size, u32>();
            check::<$size, u64>();
            check::<$size, Align16>();
            check::<$size, Align32>();
            check::<$size, Align64>();
            check::<$size, Align128>();
        )*};
    }

    /// The sizes from 0 on, from 64 on, and so on.
    macro_rules! tests {
        ($($name:ident: $($size:literal)*;)*) => {$(
            #[test]
            fn $name() {
                let hook = std::panic::take_hook();
                std::panic::set_hook(std::boxed::Box::new(|_| ()));
                check_sizes!($($size)*);
                std::panic::set_hook(hook);
            }
        )*};
    }
    include!("test_sizes.rs");
}

mod memory {
    //! How much memory is kept, and when.

    use super::*;

    struct Word(#[expect(dead_code, reason = "only stored")] u64);

    impl Payload<Context> for Word {
        fn dial(self, _: &mut At, _: Site) {}
    }

    /// One that needs a drop.
    struct Counted(Rc<Cell<u64>>);

    impl Payload<Context> for Counted {
        fn dial(self, _: &mut At, _: Site) {}
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }

    const MIB: usize = 1 << 20;
    const MANY: u64 =
        if cfg!(any(small_blocks, debug_assertions)) { 1_000_000 } else { 10_000_000 };

    fn push(calls: &Calls<Context>, count: u64) {
        for n in 0..count {
            calls.push(|| Word(n), here());
        }
    }

    fn dial_all(calls: &Calls<Context>) {
        let at = &mut At::default();
        while calls.dial_next(u64::MAX, at) != DialNext::Empty {
            at.begun.clear();
        }
    }

    #[test]
    fn a_burst_goes_back_by_itself() {
        let calls = calls(0);
        assert_eq!(calls.memory(), 0);
        push(&calls, MANY);
        assert!(calls.memory() >= MANY as usize * 64);
        dial_all(&calls);
        assert!(calls.memory() < MIB, "{}", calls.memory());
        push(&calls, MANY);
        dial_all(&calls);
        assert!(calls.memory() < 5 * MIB, "{}", calls.memory());
        for _ in 0..MANY / 64 {
            push(&calls, 64);
            dial_all(&calls);
        }
        assert!(calls.memory() < 16 << 10, "{}", calls.memory());
        calls.release();
        assert_eq!(calls.memory(), 0);
        push(&calls, 1);
        calls.release();
        assert!(calls.memory() < 8 << 10);
        dial_all(&calls);
    }

    #[test]
    fn tombstones_behind_a_pending_call_take_a_few_bytes() {
        let calls = calls(0);
        let dropped = Rc::new(Cell::new(0));
        push(&calls, 1);
        for n in 0..MANY {
            let position = calls.push(|| Counted(dropped.clone()), here());
            if n % 2 == 1 {
                // The one before last first, so that all orders occur.
                drop(calls.cancel(position, None));
                drop(calls.cancel(position - 1, None));
            }
        }
        assert_eq!((calls.tombstones(), dropped.get()), (MANY, MANY));
        if !cfg!(small_blocks) {
            assert!(calls.memory() < MIB, "{}", calls.memory());
        }
        assert!(calls.is_tombstone(1) && calls.is_tombstone(MANY / 2) && calls.is_tombstone(MANY));
        assert!(matches!(calls.cancel(MANY / 2, None), Canceled::Already));
        assert!(!calls.is_tombstone(0));
        let at = &mut At::default();
        assert_eq!(calls.dial_next(1, at), DialNext::Dialed);
        for _ in 0..MANY {
            assert_eq!(calls.dial_next(u64::MAX, at), DialNext::Tombstone(None));
        }
        assert_eq!(calls.dial_next(u64::MAX, at), DialNext::Empty);
        assert_eq!(calls.tombstones(), 0);
    }

    #[test]
    fn notes_outlive_the_memory_of_their_block() {
        let calls = calls(5);
        push(&calls, 30_000);
        for position in 6..30_000 {
            drop(calls.cancel(position, note(if position % 7 == 0 { position } else { 0 })));
        }
        assert!(calls.memory() < 700 << 10, "{}", calls.memory());
        assert!(matches!(calls.pop(), Popped::Call(5, _)));
        for at in 6..30_000 {
            let position = calls.head();
            let Popped::Tombstone(kept) = calls.pop() else { panic!("at {at}") };
            assert_eq!((position, kept), (at, note(if at % 7 == 0 { at } else { 0 })));
        }
        assert!(matches!(calls.pop(), Popped::Call(30_000, _)));
    }

    /// Steady traffic settles: after some cycles, memory stays what it is, and no block is made.
    #[test]
    fn steady_traffic_allocates_nothing() {
        let batches = [1, 2, 3, 5, 60, 63, 64, 65, 100, 127, 128, 192, 500, 1000, 1023, 1024, 1025]
            .into_iter()
            .chain([2048, 3000, 4095, 4096, 4097, 5000, 8191, 8192, 20_000, 65_535, 65_536]);
        for burst in [0, 200_000] {
            for batch in batches.clone() {
                let calls = calls(0);
                push(&calls, burst);
                dial_all(&calls);
                let cycles = (300_000 / batch).clamp(10, 100_000);
                for _ in 0..cycles {
                    push(&calls, batch);
                    dial_all(&calls);
                }
                let made = BLOCKS.get();
                for _ in 0..cycles {
                    push(&calls, batch);
                    dial_all(&calls);
                }
                // Small blocks have their number capped at so few calls that batches do not fit.
                if !cfg!(small_blocks) {
                    assert_eq!(BLOCKS.get() - made, 0, "batches of {batch} after {burst}");
                }
            }
        }
    }

    #[test]
    fn many_pending_calls_drop_on_a_small_stack() {
        let drop_many = || {
            let (calls, dropped) = (calls(0), Rc::new(Cell::new(0)));
            for _ in 0..MANY {
                calls.push(|| Counted(dropped.clone()), here());
            }
            drop(calls);
            assert_eq!(dropped.get(), MANY);
        };
        let thread = std::thread::Builder::new().stack_size(256 << 10);
        thread.spawn(drop_many).expect("a thread starts").join().expect("no panic");
    }

    #[test]
    fn every_position_is_found_in_whatever_blocks() {
        let calls = calls((1 << 63) - 1_000_000);
        let mut random = Random(7);
        for _ in 0..200 {
            push(&calls, random.below(6000));
            for _ in 0..100 {
                let span = calls.tail() - calls.head();
                let position = calls.head() + random.below(span.max(1));
                let expected = span > 0 && !calls.is_tombstone(position);
                if random.below(2) == 0 {
                    let tombstones = calls.tombstones();
                    assert_eq!(calls.cancel_fast(position), expected);
                    assert_eq!(calls.tombstones(), tombstones + u64::from(expected));
                    continue;
                }
                assert_eq!(calls.site_at(position).is_some(), expected);
                let canceled = calls.cancel(position, note(position));
                assert_eq!(matches!(canceled, Canceled::Call(None)), expected);
            }
            for _ in 0..random.below(6000) {
                let position = calls.head();
                match calls.pop() {
                    Popped::Tombstone(kept) => {
                        assert!(kept == note(position) || kept.is_none());
                    }
                    Popped::Call(..) => (),
                    Popped::Empty => break,
                }
            }
        }
    }

    #[test]
    fn the_limit_makes_pushes_slow_and_positions_do_not_overflow() {
        let calls = Calls::<Context>::new(u64::MAX - 200);
        push(&calls, 1);
        assert!(!calls.is_fast());
        calls.set_limit(3);
        push(&calls, 1);
        // A small block is full by now.
        assert_eq!(calls.is_fast(), !cfg!(small_blocks));
        push(&calls, 1);
        assert!(!calls.is_fast());
        push(&calls, 1);
        assert_eq!(calls.tail() - calls.head(), 4);
        calls.set_limit(u64::MAX);
        assert_eq!(calls.is_fast(), !cfg!(small_blocks));
        let all = catch_unwind(AssertUnwindSafe(|| push(&calls, 300)));
        assert!(all.is_err());
        dial_all(&calls);
    }
}

mod recipients {
    //! A payload that is asked for its recipient stays where it is, even if it panics.

    use super::*;

    type Shared = Rc<Calls<Context>>;

    struct Asked {
        calls: Weak<Calls<Context>>,
        act: fn(&Shared),
        /// That it is still there.
        number: Box<u64>,
    }

    impl Payload<Context> for Asked {
        fn dial(self, _: &mut At, _: Site) {
            assert_eq!(*self.number, 7);
        }

        fn recipient(&self) -> u64 {
            if let Some(calls) = self.calls.upgrade() {
                (self.act)(&calls);
            }
            *self.number
        }
    }

    #[track_caller]
    fn check(panics: bool, act: fn(&Shared)) {
        for (first, before) in (0..5).flat_map(|before| [(before, before), (1 << 62, before)]) {
            let calls = Rc::new(calls(first));
            let put = || {
                let (calls, number) = (Rc::downgrade(&calls), Box::new(7));
                Asked { calls, act, number }
            };
            for _ in 0..=before {
                calls.push(put, here());
            }
            for position in calls.head()..calls.tail() {
                let asked = catch_unwind(AssertUnwindSafe(|| calls.recipient_at(position)));
                assert_eq!(asked.ok(), (!panics).then_some(7));
            }
            assert_eq!((calls.head(), calls.tail()), (first, first + before + 1));
            calls.push(put, here());
            let at = &mut At::default();
            for _ in 0..before + 2 {
                assert_eq!(calls.dial_next(u64::MAX, at), DialNext::Dialed);
            }
            assert_eq!(calls.dial_next(u64::MAX, at), DialNext::Empty);
        }
    }

    #[test]
    fn one_that_dials_cancels_or_replaces_meanwhile_finds_nothing() {
        check(false, |calls| {
            let at = &mut At::default();
            assert_eq!(calls.dial_next(u64::MAX, at), DialNext::Empty);
            assert!(matches!(calls.pop(), Popped::Empty) && !calls.is_fast());
            for position in (0..20).chain((1 << 62)..(1 << 62) + 20) {
                assert!(matches!(calls.cancel(position, None), Canceled::NotThere));
                assert!(!calls.cancel_fast(position) && calls.site_at(position).is_none());
                let new = Erased::new(
                    Asked { calls: Weak::new(), act: |_| (), number: Default::default() },
                    here(),
                );
                assert!(calls.replace(position, new).is_err());
                assert_eq!(calls.recipient_at(position), 0);
            }
            calls.set_limit(3);
        });
    }

    #[test]
    fn one_that_pushes_or_frees_memory_meanwhile_panics() {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| ()));
        check(true, |calls| {
            calls.push(
                || Asked { calls: Weak::new(), act: |_| (), number: Default::default() },
                here(),
            );
        });
        check(true, |calls| calls.release());
        std::panic::set_hook(hook);
    }
}

/// How many random sequences are tried: more with `ROUNDS=10` in the environment.
pub(super) fn rounds(count: u64) -> u64 {
    let times = std::env::var("ROUNDS").ok().and_then(|times| times.parse().ok());
    times.unwrap_or(1) * count / if cfg!(debug_assertions) { 8 } else { 1 }
}

/// Other sequences with `SEED` in the environment.
pub(super) fn seed() -> u64 {
    std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0)
}

/// A generator of numbers that look random (xorshift).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

mod model {
    //! Every operation, also from within dials and drops, against a queue of plain values.

    use super::*;

    /// What a call does when it is dialed, and when it is dropped.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Act {
        Nothing,
        Push,
        PushMany,
        Dial,
        Pop,
        CancelHead,
        CancelTail,
        Release,
    }

    const ACTS: [Act; 8] = [
        Act::Nothing,
        Act::Push,
        Act::PushMany,
        Act::Dial,
        Act::Pop,
        Act::CancelHead,
        Act::CancelTail,
        Act::Release,
    ];

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Op {
        /// A call that acts when dialed, and when dropped.
        Push(Act, Act),
        /// The same, boxed.
        PushLarge(Act, Act),
        Act(Act),
        Cancel(u64, u64),
        Replace(u64, Act),
        Ask(u64),
        Limit(u64),
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Event {
        Dialed(u64, u64),
        Dropped(u64),
        Passed(u64, Option<NonZeroU64>),
        Popped(u64),
        Recipient(u64),
    }

    /// The same acts on the calls and on the model.
    trait World {
        fn push(&self, on_dial: Act, on_drop: Act, large: bool);
        fn dial(&self);
        fn pop(&self);
        fn span(&self) -> u64;
        fn cancel(&self, nth: u64, note: u64);
        fn replace(&self, nth: u64, on_drop: Act);
        fn ask(&self, nth: u64);
        fn release(&self) {}
        fn limit(&self, _: u64) {}

        fn act(&self, act: Act) {
            match act {
                Act::Nothing => (),
                Act::Push => self.push(Act::Nothing, Act::Nothing, false),
                Act::PushMany => (0..5).for_each(|_| self.act(Act::Push)),
                Act::Dial => self.dial(),
                Act::Pop => self.pop(),
                Act::CancelHead => self.cancel(0, 0),
                Act::CancelTail => self.cancel(self.span().saturating_sub(1), 77),
                Act::Release => self.release(),
            }
        }

        fn apply(&self, op: Op) {
            match op {
                Op::Push(on_dial, on_drop) => self.push(on_dial, on_drop, false),
                Op::PushLarge(on_dial, on_drop) => self.push(on_dial, on_drop, true),
                Op::Act(act) => self.act(act),
                Op::Cancel(nth, note) => self.cancel(nth, note),
                Op::Replace(nth, on_drop) => self.replace(nth, on_drop),
                Op::Ask(nth) => self.ask(nth),
                Op::Limit(limit) => self.limit(limit),
            }
        }
    }

    type Log = RefCell<Vec<Event>>;

    struct Real {
        calls: Calls<Context>,
        log: Rc<Log>,
        made: Cell<u64>,
        own: Weak<Self>,
    }

    struct Probe {
        number: u64,
        on_dial: Act,
        on_drop: Act,
        log: Rc<Log>,
        world: Weak<Real>,
    }

    struct Large(Probe, #[expect(dead_code, reason = "only stored")] [u64; 9]);

    impl Payload<Context> for Probe {
        fn dial(self, at: &mut At, _: Site) {
            let position = *at.begun.last().expect("begun");
            self.log.borrow_mut().push(Event::Dialed(position, self.number));
            if let Some(world) = self.world.upgrade() {
                world.act(self.on_dial);
            }
        }

        fn recipient(&self) -> u64 {
            self.number
        }
    }

    impl Payload<Context> for Large {
        fn dial(self, at: &mut At, site: Site) {
            self.0.dial(at, site);
        }

        fn recipient(&self) -> u64 {
            self.0.number
        }
    }

    impl Drop for Probe {
        fn drop(&mut self) {
            self.log.borrow_mut().push(Event::Dropped(self.number));
            if let Some(world) = self.world.upgrade() {
                world.act(self.on_drop);
            }
        }
    }

    impl Real {
        fn probe(&self, on_dial: Act, on_drop: Act) -> Probe {
            self.made.set(self.made.get() + 1);
            let (number, log, world) = (self.made.get(), self.log.clone(), self.own.clone());
            Probe { number, on_dial, on_drop, log, world }
        }
    }

    impl World for Real {
        fn push(&self, on_dial: Act, on_drop: Act, large: bool) {
            let probe = || self.probe(on_dial, on_drop);
            if large {
                self.calls.push(|| Large(probe(), [1; 9]), here());
            } else {
                self.calls.push(probe, here());
            }
        }

        fn dial(&self) {
            let (head, mut at) = (self.calls.head(), At::default());
            if let DialNext::Tombstone(note) = self.calls.dial_next(u64::MAX, &mut at) {
                self.log.borrow_mut().push(Event::Passed(head, note));
            }
        }

        fn pop(&self) {
            let head = self.calls.head();
            match self.calls.pop() {
                Popped::Call(position, _call) => {
                    self.log.borrow_mut().push(Event::Popped(position));
                }
                Popped::Tombstone(note) => {
                    self.log.borrow_mut().push(Event::Passed(head, note));
                }
                Popped::Empty => (),
            }
        }

        fn span(&self) -> u64 {
            self.calls.tail() - self.calls.head()
        }

        fn cancel(&self, nth: u64, number: u64) {
            let position = self.calls.head() + nth;
            // (What is dropped here must not be canceled on the fast path.)
            assert!(!self.calls.cancel_fast(position));
            drop(self.calls.cancel(position, note(number)));
        }

        fn replace(&self, nth: u64, on_drop: Act) {
            let new = Erased::new(self.probe(Act::Nothing, on_drop), here());
            drop(self.calls.replace(self.calls.head() + nth, new));
        }

        fn ask(&self, nth: u64) {
            let recipient = self.calls.recipient_at(self.calls.head() + nth);
            self.log.borrow_mut().push(Event::Recipient(recipient));
        }

        fn release(&self) {
            self.calls.release();
        }

        fn limit(&self, limit: u64) {
            self.calls.set_limit(limit);
        }
    }

    #[derive(Clone, Copy)]
    struct Call {
        number: u64,
        on_dial: Act,
        on_drop: Act,
    }

    #[derive(Default)]
    struct Model {
        pending: RefCell<VecDeque<Result<Call, Option<NonZeroU64>>>>,
        head: Cell<u64>,
        log: Log,
        made: Cell<u64>,
    }

    impl Model {
        fn call(&self, on_dial: Act, on_drop: Act) -> Call {
            self.made.set(self.made.get() + 1);
            Call { number: self.made.get(), on_dial, on_drop }
        }

        fn log(&self, event: Event) {
            self.log.borrow_mut().push(event);
        }

        fn end(&self, call: Call) {
            self.log(Event::Dropped(call.number));
            self.act(call.on_drop);
        }

        fn next(&self) -> Option<(u64, Result<Call, Option<NonZeroU64>>)> {
            let next = self.pending.borrow_mut().pop_front()?;
            let position = self.head.get();
            self.head.set(position + 1);
            Some((position, next))
        }
    }

    impl World for Model {
        fn push(&self, on_dial: Act, on_drop: Act, _: bool) {
            let call = self.call(on_dial, on_drop);
            self.pending.borrow_mut().push_back(Ok(call));
        }

        fn dial(&self) {
            match self.next() {
                Some((position, Ok(call))) => {
                    self.log(Event::Dialed(position, call.number));
                    self.act(call.on_dial);
                    self.end(call);
                }
                Some((position, Err(note))) => self.log(Event::Passed(position, note)),
                None => (),
            }
        }

        fn pop(&self) {
            match self.next() {
                Some((position, Ok(call))) => {
                    self.log(Event::Popped(position));
                    self.end(call);
                }
                Some((position, Err(note))) => self.log(Event::Passed(position, note)),
                None => (),
            }
        }

        fn span(&self) -> u64 {
            self.pending.borrow().len() as u64
        }

        fn cancel(&self, nth: u64, number: u64) {
            let mut pending = self.pending.borrow_mut();
            let Some(place) = pending.get_mut(nth as usize) else { return };
            if let Ok(call) = *place {
                *place = Err(note(number));
                drop(pending);
                self.end(call);
            }
        }

        fn replace(&self, nth: u64, on_drop: Act) {
            let new = self.call(Act::Nothing, on_drop);
            let mut pending = self.pending.borrow_mut();
            let old = match pending.get_mut(nth as usize) {
                Some(Ok(call)) => mem::replace(call, new),
                _ => new,
            };
            drop(pending);
            self.end(old);
        }

        fn ask(&self, nth: u64) {
            let call = self.pending.borrow().get(nth as usize).and_then(|call| call.ok());
            self.log(Event::Recipient(call.map_or(0, |call| call.number)));
        }
    }

    #[track_caller]
    fn check(ops: &[Op], first: u64) {
        let model = Model::default();
        model.head.set(first);
        let real = Rc::new_cyclic(|own| Real {
            calls: calls(first),
            log: Rc::default(),
            made: Cell::new(0),
            own: own.clone(),
        });
        for (nth, op) in ops.iter().enumerate() {
            model.apply(*op);
            real.apply(*op);
            let seen = || format_args_of(&ops[..=nth]);
            assert_eq!(*real.log.borrow(), *model.log.borrow(), "{}", seen());
            let pending = model.pending.borrow();
            let tail = model.head.get() + pending.len() as u64;
            assert_eq!(
                (real.calls.head(), real.calls.tail()),
                (model.head.get(), tail),
                "{}",
                seen()
            );
            let tombstones = pending.iter().filter(|place| place.is_err()).count() as u64;
            assert_eq!(real.calls.tombstones(), tombstones, "{}", seen());
            for (position, place) in (model.head.get()..).zip(&*pending) {
                assert_eq!(real.calls.is_tombstone(position), place.is_err(), "{}", seen());
                assert_eq!(real.calls.site_at(position).is_some(), place.is_ok(), "{}", seen());
            }
            assert!(!real.calls.contains(tail) && !real.calls.is_tombstone(tail));
        }
        let log = real.log.clone();
        drop(real);
        for call in model.pending.take().into_iter().flatten() {
            model.log(Event::Dropped(call.number));
        }
        assert_eq!(*log.borrow(), *model.log.borrow(), "dropped after {}", format_args_of(ops));
    }

    fn format_args_of(ops: &[Op]) -> std::string::String {
        std::format!("{ops:?}")
    }

    fn random_op(random: &mut Random) -> Op {
        let mut act = || ACTS[random.below(16).saturating_sub(8) as usize];
        let (on_dial, on_drop) = (act(), act());
        let nth = random.below(40);
        match random.below(24) {
            0..7 => Op::Push(on_dial, on_drop),
            7 | 8 => Op::PushLarge(on_dial, on_drop),
            9 | 10 => Op::Act(Act::PushMany),
            11..16 => Op::Act(Act::Dial),
            16 => Op::Act(Act::Pop),
            17..21 => Op::Cancel(nth, nth % 3),
            21 => Op::Replace(nth, on_drop),
            22 => Op::Act([Act::Release, Act::CancelHead, Act::CancelTail][nth as usize % 3]),
            _ if nth.is_multiple_of(2) => Op::Limit(nth),
            _ => Op::Ask(nth),
        }
    }

    #[test]
    fn random_operations_do_what_a_plain_queue_does() {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ seed());
        for round in 0..rounds(20_000) {
            let count = 1 + random.below(120);
            let ops: Vec<Op> = (0..count).map(|_| random_op(&mut random)).collect();
            check(&ops, if round % 2 == 0 { round } else { (1 << 63) - 1 - round });
        }
    }

    #[test]
    fn all_short_sequences_do_what_a_plain_queue_does() {
        use Act::*;
        let symbols = vec![
            Op::Push(Nothing, Nothing),
            Op::Push(Push, CancelHead),
            Op::Push(Dial, Push),
            Op::PushLarge(CancelTail, Pop),
            Op::Push(PushMany, Release),
            Op::Act(PushMany),
            Op::Act(Dial),
            Op::Act(Pop),
            Op::Act(Release),
            Op::Act(CancelTail),
            Op::Cancel(0, 1),
            Op::Cancel(1, 0),
            Op::Cancel(2, 3),
            Op::Cancel(3, 4),
            Op::Replace(1, Push),
            Op::Ask(0),
        ];
        let depth = if cfg!(debug_assertions) { 4 } else { 5 };
        let mut digits = vec![0; depth];
        loop {
            let ops: Vec<Op> = digits.iter().map(|digit| symbols[*digit]).collect();
            check(&ops, 0);
            let Some(last) = digits.iter().rposition(|digit| digit + 1 < symbols.len()) else {
                return;
            };
            digits[last] += 1;
            digits[last + 1..].fill(0);
        }
    }
}
