//! The storage of callbacks: its edges, and every operation against a naive model.

use alloc::collections::VecDeque;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{format, vec};

use super::*;
use crate::erased::tests::{At, Context, Random, fill, here, is_whole, rounds, seed};
use crate::erased::{DialNext, Popped};

std::thread_local! {
    /// How many chunks were made.
    pub(super) static CHUNKS: Cell<u64> = const { Cell::new(0) };
}

fn storage<X>(rest: X) -> Rc<Storage<Context, X>> {
    let storage = Rc::new(Storage::new(0, rest));
    storage.calls().set_limit(u64::MAX);
    storage
}

mod types {
    //! Joins and values of any size and alignment are moved out just once.

    use super::*;

    struct Counts {
        dialed: Cell<u32>,
        joins: Cell<u32>,
        values: Cell<u32>,
        join_panics: Cell<bool>,
        value_panics: Cell<bool>,
        dial_panics: Cell<bool>,
        is_busy: Cell<bool>,
    }

    std::thread_local!(static COUNTS: Counts = const {
        Counts {
            dialed: Cell::new(0),
            joins: Cell::new(0),
            values: Cell::new(0),
            join_panics: Cell::new(false),
            value_panics: Cell::new(false),
            dial_panics: Cell::new(false),
            is_busy: Cell::new(false),
        }
    });

    struct Bytes<const N: usize, L> {
        bytes: [u8; N],
        _align: [L; 0],
    }

    impl<const N: usize, L> Bytes<N, L> {
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

    struct Handler<const N: usize, L>(Bytes<N, L>);
    struct Value<const N: usize, L>(Bytes<N, L>);

    impl<const N: usize, L: 'static, const M: usize, K: 'static> Join<Context, Value<M, K>>
        for Handler<N, L>
    {
        type Busy = ();

        fn busy(&self) -> Option<()> {
            self.0.check();
            take_busy()
        }

        fn defer((): (), key: Key, call: Erased<Context>, at: &mut At) {
            at.deferred.push((key, call));
        }

        fn dial(self, value: Value<M, K>, _: Key, _: &mut At, _: Site) {
            self.0.check();
            value.0.check();
            note_dial();
        }

        fn recipient(&self) -> u64 {
            self.0.check();
            N as u64
        }
    }

    impl<const N: usize, L> Drop for Handler<N, L> {
        fn drop(&mut self) {
            note_drop_of_join();
        }
    }

    impl<const N: usize, L> Drop for Value<N, L> {
        fn drop(&mut self) {
            note_drop_of_value();
        }
    }

    fn take_busy() -> Option<()> {
        COUNTS.with(|counts| counts.is_busy.take()).then_some(())
    }

    fn note_dial() {
        COUNTS.with(|counts| counts.dialed.set(counts.dialed.get() + 1));
        assert!(!COUNTS.with(|counts| counts.dial_panics.take()), "asked to panic");
    }

    fn note_drop_of_join() {
        COUNTS.with(|counts| counts.joins.set(counts.joins.get() + 1));
        assert!(!COUNTS.with(|counts| counts.join_panics.take()), "asked to panic");
    }

    fn note_drop_of_value() {
        COUNTS.with(|counts| counts.values.set(counts.values.get() + 1));
        assert!(!COUNTS.with(|counts| counts.value_panics.take()), "asked to panic");
    }

    #[track_caller]
    fn expect(dialed: u32, joins: u32, values: u32) {
        let counts =
            COUNTS.with(|counts| (counts.dialed.take(), counts.joins.take(), counts.values.take()));
        assert_eq!(counts, (dialed, joins, values));
    }

    #[track_caller]
    fn panics(choose: impl FnOnce(&Counts) -> &Cell<bool>, action: impl FnOnce()) {
        COUNTS.with(|counts| choose(counts).set(true));
        assert!(catch_unwind(AssertUnwindSafe(action)).is_err());
    }

    fn check<const N: usize, L: 'static, const M: usize, K: 'static>() {
        let create = |storage: &Rc<Storage<Context, ()>>, group: &Group| {
            storage.create(Some(group), Handler::<N, L>(Bytes::new()), here())
        };
        ways_out(N as u64, &create, &|| Value::<M, K>(Bytes::new()));
    }

    /// Creates a callback of a group.
    type Create<A> = dyn Fn(&Rc<Storage<Context, ()>>, &Group) -> Waiting<Context, (), A>;

    /// The fast path, if the value fits.
    fn fast<A: 'static>(
        storage: &Rc<Storage<Context, ()>>,
        create: &Create<A>,
        value: &dyn Fn() -> A,
    ) {
        let (group, is_done) = (Group::new(), Cell::new(false));
        for is_room in [false, true] {
            let waiting = create(storage, &group);
            let result = waiting.answer_fast(value(), here(), |()| is_done.set(true));
            let fits =
                size_of::<A>() <= 48 - size_of::<usize>() && align_of::<A>() <= align_of::<u64>();
            assert_eq!((result.is_ok(), is_done.get()), (fits && is_room, fits && is_room));
            if let Err((waiting, value)) = result {
                assert!(matches!(waiting.answer(value, here()), Answer::Pushed(_)));
            }
            assert_eq!(storage.calls().dial_next(u64::MAX, &mut At::default()), DialNext::Dialed);
            expect(1, 1, 1);
        }
        let waiting = create(storage, &group);
        drop(storage.release_next(&group));
        assert!(waiting.answer_fast(value(), here(), |()| unreachable!("not wanted")).is_err());
        expect(0, 1, 1);
    }

    /// All ways out of the storage.
    fn ways_out<A: 'static>(number: u64, create: &Create<A>, value: &dyn Fn() -> A) {
        fast(&storage(()), create, value);
        let (storage, group) = (storage(()), Group::new());
        let at = &mut At::default();
        let calls = storage.calls();
        let create = || create(&storage, &group);
        let answer = || {
            let waiting = create();
            let key = waiting.key();
            assert!(matches!(waiting.answer(value(), here()), Answer::Pushed(_)));
            key
        };
        let mut dial = || calls.dial_next(u64::MAX, at);

        // Dialed.
        let key = answer();
        assert_eq!((storage.stage(key), calls.recipient_at(0)), (Stage::Pending(0), number));
        let other = Erased::new(Gone { slot: NonNull::dangling() }, here());
        let Err(other) = calls.replace(0, other) else { panic!("a callback stays") };
        mem::forget(other);
        assert_eq!(dial(), DialNext::Dialed);
        expect(1, 1, 1);
        assert_eq!(storage.stage(key), Stage::Unknown);
        assert!(matches!(storage.cancel(key), Cancel::NotThere));
        answer();
        panics(|counts| &counts.dial_panics, || _ = dial());
        expect(1, 1, 1);
        answer();
        panics(|counts| &counts.join_panics, || _ = dial());
        expect(1, 1, 1);
        answer();
        panics(|counts| &counts.value_panics, || _ = dial());
        expect(1, 1, 1);

        // Given up, and canceled while it waits.
        assert!(create().give_up().is_some());
        expect(0, 1, 0);
        let waiting = create();
        assert!(waiting.is_wanted() && matches!(storage.cancel(waiting.key()), Cancel::Waiting(_)));
        expect(0, 1, 0);
        assert!(matches!(storage.cancel(waiting.key()), Cancel::Already));
        assert!(!waiting.is_wanted() && waiting.stage() == Stage::Canceled);
        assert!(matches!(waiting.answer(value(), here()), Answer::Unwanted(_)));
        expect(0, 0, 1);
        let waiting = create();
        panics(|counts| &counts.join_panics, || drop(storage.cancel(waiting.key())));
        expect(0, 1, 0);
        assert!(waiting.give_up().is_none());
        expect(0, 0, 0);

        // Canceled while pending.
        let key = answer();
        assert_eq!(storage.stage(key), Stage::Pending(4));
        let Cancel::Pending(Some(call)) = storage.cancel(key) else { panic!("it is pending") };
        assert!(matches!(storage.cancel(key), Cancel::Already));
        panics(|counts| &counts.join_panics, || drop(call));
        expect(0, 1, 1);
        assert_eq!(storage.stage(key), Stage::Unknown);
        assert_eq!(dial(), DialNext::Tombstone(Some(key.note())));
        assert_eq!(Key::from_note(key.note()), key);
        answer();
        assert!(matches!(calls.pop(), Popped::Call(5, _)));
        expect(0, 1, 1);

        // Released while it waits.
        let waiting = create();
        drop(storage.release_next(&group).expect("one callback"));
        expect(0, 1, 0);
        assert!(storage.release_next(&group).is_none());
        assert_eq!((waiting.is_wanted(), waiting.stage()), (false, Stage::Released));
        let key = waiting.key();
        assert!(matches!(waiting.answer(value(), here()), Answer::Pushed(Some(_))));
        expect(0, 0, 1);
        assert_eq!((storage.stage(key), calls.recipient_at(6)), (Stage::Pending(6), 0));
        assert_eq!(dial(), DialNext::Dialed);
        assert_eq!(storage.stage(key), Stage::Unknown);
        let waiting = create();
        drop(storage.release_next(&group));
        assert!(matches!(storage.cancel(waiting.key()), Cancel::Waiting(_)));
        assert!(waiting.give_up().is_none());
        expect(0, 1, 0);

        // Released while pending.
        let key = answer();
        panics(|counts| &counts.join_panics, || drop(storage.release_next(&group)));
        expect(0, 1, 1);
        assert!(storage.release_next(&group).is_none());
        assert_eq!(storage.stage(key), Stage::Pending(7));
        assert_eq!(dial(), DialNext::Dialed);
        let key = answer();
        drop(storage.release_next(&group));
        expect(0, 1, 1);
        assert!(storage.stage(key) == Stage::Pending(8));
        assert!(matches!(storage.cancel(key), Cancel::Pending(Some(_))));
        assert_eq!(dial(), DialNext::Tombstone(Some(key.note())));

        // Deferred.
        let busy = || COUNTS.with(|counts| counts.is_busy.set(true));
        let mut at = At::default();
        let mut defer = || {
            busy();
            let key = answer();
            assert_eq!(calls.dial_next(u64::MAX, &mut at), DialNext::Dialed);
            expect(0, 0, 0);
            let (deferred, call) = at.deferred.pop().expect("deferred");
            let position = calls.head() - 1;
            assert_eq!((deferred, storage.stage(key)), (key, Stage::Deferred(position)));
            assert!(matches!(storage.cancel(key), Cancel::Deferred(_)));
            (key, call)
        };
        let (key, call) = defer();
        assert_eq!(call.recipient(), number);
        let at = &mut At::default();
        busy();
        call.dial(9, at);
        let (_, call) = at.deferred.pop().expect("deferred again");
        call.dial(9, at);
        expect(1, 1, 1);
        assert_eq!(storage.stage(key), Stage::Unknown);
        let (_, call) = defer();
        panics(|counts| &counts.value_panics, || drop(call));
        expect(0, 1, 1);
        let (key, call) = defer();
        drop(storage.release_next(&group));
        expect(0, 1, 0);
        assert_eq!(storage.stage(key), Stage::Deferred(11));
        assert_eq!(call.recipient(), 0);
        call.dial(11, at);
        expect(0, 0, 1);
        assert_eq!(at.gone.pop(), Some(key));
        let (_, call) = defer();
        drop(storage.release_next(&group));
        drop(call);
        expect(0, 1, 1);

        // The storage drops, some of its callbacks being elsewhere.
        let (_, deferred) = defer();
        let (_, released) = defer();
        let (key, _) = (answer(), answer());
        let Popped::Call(_, popped) = calls.pop() else { panic!("it is pending") };
        let waiting = [create(), create(), create()];
        assert!(matches!(storage.cancel(waiting[2].key()), Cancel::Waiting(_)));
        expect(0, 1, 0);
        drop(waiting);
        drop(storage);
        // One pending call, and two that were waiting.
        expect(0, 3, 1);
        drop(group);
        deferred.dial(0, at);
        expect(1, 1, 1);
        drop(released);
        popped.dial(0, at);
        expect(1, 2, 2);
        assert!(at.gone.is_empty() && key.slot > 0);
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
            check::<$size, u8, 8, u8>();
            check::<$size, u16, 40, u64>();
            check::<$size, u32, 41, u8>();
            check::<$size, u64, 0, u8>();
            check::<$size, Align16, 8, u64>();
            check::<$size, Align32, 16, Align16>();
            check::<$size, Align64, 256, u8>();
            check::<$size, Align128, 64, Align128>();
        )*};
    }

    #[test]
    fn joins_and_values_of_any_size_are_moved_out_just_once() {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| ()));
        check_sizes!(0 1 2 3 4 7 8 9 15 16 17 24 31 32 33 40 47 48 49 56 63 64 65 127 128 129 255 256);
        std::panic::set_hook(hook);
    }

    #[test]
    fn a_slot_takes_96_bytes() {
        #[cfg(target_pointer_width = "64")]
        assert_eq!(size_of::<Slot<Context>>(), 96);
        assert!(size_of::<Slot<Context>>() <= 96);
    }
}

/// A join that does nothing, and needs a drop.
struct Counted(Rc<Cell<u64>>);

impl Join<Context, u64> for Counted {
    type Busy = ();

    fn busy(&self) -> Option<()> {
        None
    }

    fn defer((): (), _: Key, _: Erased<Context>, _: &mut At) {}

    fn dial(self, _: u64, _: Key, _: &mut At, _: Site) {}
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

mod memory {
    use super::*;

    fn dial_all(storage: &Storage<Context, ()>) {
        let at = &mut At::default();
        while storage.calls().dial_next(u64::MAX, at) != DialNext::Empty {
            at.begun.clear();
        }
    }

    fn callbacks(storage: &Rc<Storage<Context, ()>>, count: u64, dropped: &Rc<Cell<u64>>) {
        for _ in 0..count {
            let waiting = storage.create(None, Counted(dropped.clone()), here());
            assert!(matches!(waiting.answer(1, here()), Answer::Pushed(_)));
        }
    }

    const MANY: u64 = if cfg!(debug_assertions) { 200_000 } else { 1_000_000 };

    #[test]
    fn a_burst_goes_back_by_itself() {
        let (storage, dropped) = (storage(()), Rc::new(Cell::new(0)));
        let waiting: Vec<_> =
            (0..MANY).map(|_| storage.create(None, Counted(dropped.clone()), here())).collect();
        assert!(storage.memory() > MANY as usize * size_of::<Slot<Context>>());
        for waiting in waiting {
            assert!(matches!(waiting.answer(1, here()), Answer::Pushed(_)));
        }
        dial_all(&storage);
        assert_eq!(dropped.get(), MANY);
        if !cfg!(small_blocks) {
            let slots = storage.slots.slab().memory();
            assert!(slots <= 64 << 10, "{slots}");
        }
        for _ in 0..10 {
            callbacks(&storage, 1000, &dropped);
            dial_all(&storage);
        }
        storage.free_memory();
        if !cfg!(small_blocks) {
            assert!(storage.memory() <= 32 << 10, "{}", storage.memory());
        }
        callbacks(&storage, 1000, &dropped);
        storage.free_memory();
        dial_all(&storage);
    }

    #[test]
    fn steady_traffic_allocates_nothing() {
        for batch in [1, 2, 30, 31, 32, 255, 256, 287, 300, 1024, 5000, 65_536] {
            let (storage, dropped) = (storage(()), Rc::new(Cell::new(0)));
            for _ in 0..3 {
                callbacks(&storage, batch, &dropped);
                dial_all(&storage);
            }
            let made = CHUNKS.get();
            for _ in 0..10 {
                callbacks(&storage, batch, &dropped);
                dial_all(&storage);
            }
            if !cfg!(small_blocks) {
                assert_eq!(CHUNKS.get(), made, "batches of {batch}");
            }
        }
    }

    #[test]
    fn many_waiting_and_pending_callbacks_drop_on_a_small_stack() {
        let drop_many = || {
            let (storage, dropped) = (storage(()), Rc::new(Cell::new(0)));
            callbacks(&storage, MANY, &dropped);
            for _ in 0..MANY {
                drop(storage.create(None, Counted(dropped.clone()), here()));
            }
            drop(storage);
            assert_eq!(dropped.get(), 2 * MANY);
        };
        let thread = std::thread::Builder::new().stack_size(256 << 10);
        thread.spawn(drop_many).expect("a thread starts").join().expect("no panic");
    }

    #[test]
    fn generations_go_on_in_a_chunk_that_is_made_again() {
        let (storage, dropped) = (storage(()), Rc::new(Cell::new(0)));
        let mut keys = std::collections::HashSet::new();
        for round in 0..20 {
            let create = |_| storage.create(None, Counted(dropped.clone()), here());
            let waiting: Vec<Waiting<_, _, u64>> = (0..1000).map(create).collect();
            for waiting in waiting {
                assert!(keys.insert(waiting.key()), "a key came again");
                drop(waiting.give_up());
            }
            if round % 3 == 0 {
                storage.free_memory();
            }
        }
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_is_retired() {
        let (storage, dropped) = (storage(()), Rc::new(Cell::new(0)));
        let create = || storage.create::<u64, _>(None, Counted(dropped.clone()), here());
        let mut all = Vec::new();
        // All slots of the first chunk, and some of the next.
        for _ in 0..FIRST + 2 {
            all.push(create());
        }
        let first = all[0].key();
        assert_eq!(first.slot >> INDEX_BITS, 0);
        for waiting in all.drain(..) {
            let slot = waiting.slot();
            let key = waiting.key();
            if key.slot >> INDEX_BITS == 0 {
                slot.generation.set(u32::MAX);
                let last = waiting.key();
                drop(waiting.give_up());
                assert_eq!(storage.stage(last), Stage::Unknown);
            } else {
                drop(waiting.give_up());
            }
        }
        for _ in 0..10 {
            let waiting = create();
            assert_ne!(waiting.key().slot >> INDEX_BITS, 0);
            all.push(waiting);
        }
        storage.free_memory();
        assert!(create().key().slot >> INDEX_BITS != 0);
    }

    #[test]
    fn a_group_of_two_storages_releases_those_of_the_one_asked() {
        let (one, other, dropped) = (storage(()), storage(()), Rc::new(Cell::new(0)));
        let group = Group::new();
        let create = |storage: &Rc<Storage<Context, ()>>| {
            storage.create::<u64, _>(Some(&group), Counted(dropped.clone()), here())
        };
        let (a, b, c) = (create(&one), create(&other), create(&one));
        assert!(one.release_next(&group).is_some() && one.release_next(&group).is_some());
        assert!(one.release_next(&group).is_none());
        assert!(!a.is_wanted() && b.is_wanted() && !c.is_wanted());
        drop(group);
        assert!(matches!(b.answer(1, here()), Answer::Pushed(_)));
        drop(other);
        assert_eq!(dropped.get(), 3);
    }
}

mod model {
    use super::*;

    /// What a join or a value does at its dial or drop.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Act {
        Nothing,
        Create,
        Answer,
        CancelFirst,
        CancelLast,
        Release,
        Dial,
        GiveUp,
        DropGroup,
        Free,
        Redial,
    }

    const ACTS: [Act; 11] = [
        Act::Nothing,
        Act::Create,
        Act::Answer,
        Act::CancelFirst,
        Act::CancelLast,
        Act::Release,
        Act::Dial,
        Act::GiveUp,
        Act::DropGroup,
        Act::Free,
        Act::Redial,
    ];

    #[derive(Clone, Copy, Debug)]
    enum Op {
        /// In a group, or in none; acts at the dial, and at the drop.
        Create(usize, Act, Act),
        /// The n-th one held, with a value that acts at its drop.
        Answer(usize, Act),
        GiveUp(usize),
        /// The n-th one ever created.
        Cancel(usize),
        Release(usize),
        DropGroup(usize),
        Busy(usize, bool),
        Dial,
        Pop,
        Redial(usize),
        DropDeferred(usize),
        Free,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Event {
        Dialed(usize),
        Gone(usize),
        Tombstone(usize),
        Join(usize),
        Value(usize),
    }

    type Log = RefCell<Vec<Event>>;

    const GROUPS: usize = 3;

    trait World {
        fn apply(&self, op: Op);
        fn created(&self) -> usize;

        fn act(&self, act: Act) {
            let last = self.created().saturating_sub(1);
            match act {
                Act::Nothing => (),
                Act::Create => self.apply(Op::Create(1, Act::Nothing, Act::Nothing)),
                Act::Answer => self.apply(Op::Answer(0, Act::Nothing)),
                Act::CancelFirst => (0..3).for_each(|nth| self.apply(Op::Cancel(nth))),
                Act::CancelLast => self.apply(Op::Cancel(last)),
                Act::Release => self.apply(Op::Release(1)),
                Act::Dial => self.apply(Op::Dial),
                Act::GiveUp => self.apply(Op::GiveUp(0)),
                Act::DropGroup => self.apply(Op::DropGroup(1)),
                Act::Free => self.apply(Op::Free),
                Act::Redial => self.apply(Op::Redial(0)),
            }
        }
    }

    struct Real {
        log: Rc<Log>,
        groups: [RefCell<Rc<Group>>; GROUPS],
        busy: [Rc<Cell<bool>>; GROUPS],
        held: RefCell<Vec<Waiting<Context, Weak<Self>, Value>>>,
        keys: RefCell<Vec<Key>>,
        deferred: RefCell<VecDeque<Erased<Context>>>,
        storage: Rc<Storage<Context, Weak<Self>>>,
    }

    struct Handler {
        number: usize,
        on_dial: Act,
        on_drop: Act,
        busy: Rc<Cell<bool>>,
        log: Rc<Log>,
        world: Weak<Real>,
    }

    struct Value {
        number: usize,
        on_drop: Act,
        log: Rc<Log>,
        world: Weak<Real>,
    }

    impl Join<Context, Value> for Handler {
        type Busy = ();

        fn busy(&self) -> Option<()> {
            self.busy.get().then_some(())
        }

        fn defer((): (), key: Key, call: Erased<Context>, at: &mut At) {
            at.deferred.push((key, call));
        }

        fn dial(self, value: Value, _: Key, _: &mut At, _: Site) {
            self.log.borrow_mut().push(Event::Dialed(self.number));
            if let Some(world) = self.world.upgrade() {
                world.act(self.on_dial);
            }
            drop(value);
        }
    }

    impl Drop for Handler {
        fn drop(&mut self) {
            self.log.borrow_mut().push(Event::Join(self.number));
            if let Some(world) = self.world.upgrade() {
                world.act(self.on_drop);
            }
        }
    }

    impl Drop for Value {
        fn drop(&mut self) {
            self.log.borrow_mut().push(Event::Value(self.number));
            if let Some(world) = self.world.upgrade() {
                world.act(self.on_drop);
            }
        }
    }

    impl Real {
        fn number(&self, key: Key) -> usize {
            self.keys.borrow().iter().position(|known| *known == key).expect("a key of ours")
        }

        fn dialed(&self, at: At) {
            self.deferred.borrow_mut().extend(at.deferred.into_iter().map(|(_, call)| call));
            for key in at.gone {
                self.log.borrow_mut().push(Event::Gone(self.number(key)));
            }
        }
    }

    impl World for Real {
        fn created(&self) -> usize {
            self.keys.borrow().len()
        }

        fn apply(&self, op: Op) {
            match op {
                Op::Create(group, on_dial, on_drop) => {
                    let handler = Handler {
                        number: self.created(),
                        on_dial,
                        on_drop,
                        busy: self.busy[group].clone(),
                        log: self.log.clone(),
                        world: self.storage.rest().clone(),
                    };
                    let in_group = self.groups[group].borrow().clone();
                    let waiting =
                        self.storage.create((group > 0).then_some(&*in_group), handler, here());
                    self.keys.borrow_mut().push(waiting.key());
                    self.held.borrow_mut().push(waiting);
                }
                Op::Answer(nth, on_drop) => {
                    let mut held = self.held.borrow_mut();
                    if nth >= held.len() {
                        return;
                    }
                    let waiting = held.remove(nth);
                    drop(held);
                    let (log, world) = (self.log.clone(), self.storage.rest().clone());
                    let number = self.number(waiting.key());
                    let value = Value { number, on_drop, log, world };
                    if let Err((waiting, value)) = waiting.answer_fast(value, here(), |_| ()) {
                        drop(waiting.answer(value, here()));
                    }
                }
                Op::GiveUp(nth) => {
                    let mut held = self.held.borrow_mut();
                    if nth < held.len() {
                        let waiting = held.remove(nth);
                        drop(held);
                        drop(waiting.give_up());
                    }
                }
                Op::Cancel(nth) => {
                    let key = self.keys.borrow().get(nth).copied();
                    if let Some(key) = key {
                        drop(self.storage.cancel(key));
                    }
                }
                Op::Release(group) => {
                    let group = self.groups[group].borrow().clone();
                    for _ in 0..3 {
                        drop(self.storage.release_next(&group));
                    }
                }
                Op::DropGroup(group) => {
                    drop(self.groups[group].replace(Rc::new(Group::new())));
                }
                Op::Busy(group, is_busy) => self.busy[group].set(is_busy),
                Op::Dial => {
                    let mut at = At::default();
                    if let DialNext::Tombstone(note) =
                        self.storage.calls().dial_next(u64::MAX, &mut at)
                    {
                        let number = self.number(Key::from_note(note.expect("a key")));
                        self.log.borrow_mut().push(Event::Tombstone(number));
                    }
                    self.dialed(at);
                }
                Op::Pop => match self.storage.calls().pop() {
                    Popped::Call(_, call) => drop(call),
                    Popped::Tombstone(note) => {
                        let number = self.number(Key::from_note(note.expect("a key")));
                        self.log.borrow_mut().push(Event::Tombstone(number));
                    }
                    Popped::Empty => (),
                },
                Op::Redial(nth) => {
                    let call = self.deferred.borrow_mut().remove(nth);
                    let mut at = At::default();
                    if let Some(call) = call {
                        call.dial(0, &mut at);
                    }
                    self.dialed(at);
                }
                Op::DropDeferred(nth) => {
                    let call = self.deferred.borrow_mut().remove(nth);
                    drop(call);
                }
                Op::Free => self.storage.free_memory(),
            }
        }
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum State {
        Waiting,
        Canceled,
        Released,
        Pending,
        Deferred,
        Over,
    }

    struct Callback {
        state: State,
        has_join: bool,
        /// The group that it is in, and which one of those there were.
        group: Option<(usize, usize)>,
        busy: usize,
        on_dial: Act,
        on_drop: Act,
        /// What its value does at its drop.
        value: Act,
    }

    #[derive(Clone, Copy)]
    enum Place {
        Call(usize),
        Gone(usize),
        Tombstone(usize),
    }

    #[derive(Default)]
    struct Model {
        log: Log,
        callbacks: RefCell<Vec<Callback>>,
        held: RefCell<Vec<usize>>,
        pending: RefCell<VecDeque<Place>>,
        deferred: RefCell<VecDeque<usize>>,
        busy: [Cell<bool>; GROUPS],
        groups: [Cell<usize>; GROUPS],
    }

    impl Model {
        fn log(&self, event: Event) {
            self.log.borrow_mut().push(event);
        }

        fn with<R>(&self, number: usize, change: impl FnOnce(&mut Callback) -> R) -> R {
            change(&mut self.callbacks.borrow_mut()[number])
        }

        fn set(&self, number: usize, state: State) {
            self.with(number, |callback| callback.state = state);
        }

        /// Takes the join out: whether there was one.
        fn take_join(&self, number: usize) -> bool {
            self.with(number, |callback| mem::take(&mut callback.has_join))
        }

        fn drop_join(&self, number: usize) {
            self.log(Event::Join(number));
            self.act(self.with(number, |callback| callback.on_drop));
        }

        fn drop_value(&self, number: usize) {
            self.log(Event::Value(number));
            self.act(self.with(number, |callback| callback.value));
        }

        /// Drops an answered call, wherever it is.
        fn drop_call(&self, number: usize) {
            self.set(number, State::Over);
            if self.take_join(number) {
                self.drop_join(number);
            }
            self.drop_value(number);
        }

        fn gone(&self, number: usize) {
            self.set(number, State::Over);
            self.log(Event::Gone(number));
        }

        fn dial(&self, number: usize) {
            let (busy, on_dial) = self.with(number, |callback| (callback.busy, callback.on_dial));
            if self.busy[busy].get() {
                self.set(number, State::Deferred);
                self.deferred.borrow_mut().push_back(number);
                return;
            }
            self.set(number, State::Over);
            self.take_join(number);
            self.log(Event::Dialed(number));
            self.act(on_dial);
            self.drop_value(number);
            self.drop_join(number);
        }
    }

    impl World for Model {
        fn created(&self) -> usize {
            self.callbacks.borrow().len()
        }

        fn apply(&self, op: Op) {
            match op {
                Op::Create(group, on_dial, on_drop) => {
                    self.held.borrow_mut().push(self.created());
                    self.callbacks.borrow_mut().push(Callback {
                        state: State::Waiting,
                        has_join: true,
                        group: (group > 0).then(|| (group, self.groups[group].get())),
                        busy: group,
                        on_dial,
                        on_drop,
                        value: Act::Nothing,
                    });
                }
                Op::Answer(nth, on_drop) => {
                    let mut held = self.held.borrow_mut();
                    if nth >= held.len() {
                        return;
                    }
                    let number = held.remove(nth);
                    drop(held);
                    let state = self.with(number, |callback| {
                        callback.value = on_drop;
                        callback.state
                    });
                    match state {
                        State::Waiting => {
                            self.set(number, State::Pending);
                            self.pending.borrow_mut().push_back(Place::Call(number));
                        }
                        State::Released => {
                            self.set(number, State::Pending);
                            self.pending.borrow_mut().push_back(Place::Gone(number));
                            self.drop_value(number);
                        }
                        _ => {
                            self.set(number, State::Over);
                            self.drop_value(number);
                        }
                    }
                }
                Op::GiveUp(nth) => {
                    let mut held = self.held.borrow_mut();
                    if nth < held.len() {
                        let number = held.remove(nth);
                        drop(held);
                        self.set(number, State::Over);
                        if self.take_join(number) {
                            self.drop_join(number);
                        }
                    }
                }
                Op::Cancel(number) => {
                    if number >= self.created() {
                        return;
                    }
                    match self.with(number, |callback| callback.state) {
                        State::Waiting | State::Released => {
                            self.set(number, State::Canceled);
                            if self.take_join(number) {
                                self.drop_join(number);
                            }
                        }
                        State::Pending => {
                            let mut pending = self.pending.borrow_mut();
                            let place = pending.iter_mut().find(|place| {
                                matches!(place, Place::Call(n) | Place::Gone(n) if *n == number)
                            });
                            let place = place.expect("it is pending");
                            let was = mem::replace(place, Place::Tombstone(number));
                            drop(pending);
                            match was {
                                Place::Call(_) => self.drop_call(number),
                                _ => self.set(number, State::Over),
                            }
                        }
                        _ => (),
                    }
                }
                Op::Release(group) => {
                    let group = Some((group, self.groups[group].get()));
                    for _ in 0..3 {
                        let callbacks = self.callbacks.borrow();
                        let mut all = callbacks.iter();
                        let found =
                            all.position(|callback| callback.has_join && callback.group == group);
                        drop(callbacks);
                        let Some(number) = found else { return };
                        self.take_join(number);
                        match self.with(number, |callback| callback.state) {
                            State::Waiting => {
                                self.set(number, State::Released);
                                self.drop_join(number);
                            }
                            State::Pending => {
                                for place in &mut *self.pending.borrow_mut() {
                                    if matches!(place, Place::Call(n) if *n == number) {
                                        *place = Place::Gone(number);
                                    }
                                }
                                self.drop_join(number);
                                self.drop_value(number);
                            }
                            _ => self.drop_join(number),
                        }
                    }
                }
                Op::DropGroup(group) => self.groups[group].set(self.groups[group].get() + 1),
                Op::Busy(group, is_busy) => self.busy[group].set(is_busy),
                Op::Dial => {
                    let next = self.pending.borrow_mut().pop_front();
                    match next {
                        Some(Place::Call(number)) => self.dial(number),
                        Some(Place::Gone(number)) => self.gone(number),
                        Some(Place::Tombstone(number)) => self.log(Event::Tombstone(number)),
                        None => (),
                    }
                }
                Op::Pop => {
                    let next = self.pending.borrow_mut().pop_front();
                    match next {
                        Some(Place::Call(number)) => self.drop_call(number),
                        Some(Place::Gone(number)) => self.set(number, State::Over),
                        Some(Place::Tombstone(number)) => self.log(Event::Tombstone(number)),
                        None => (),
                    }
                }
                Op::Redial(nth) => {
                    let next = self.deferred.borrow_mut().remove(nth);
                    match next {
                        Some(number) if self.with(number, |callback| callback.has_join) => {
                            self.dial(number);
                        }
                        Some(number) => {
                            self.set(number, State::Over);
                            // The dial's report is looked at after it.
                            self.drop_value(number);
                            self.gone(number);
                        }
                        None => (),
                    }
                }
                Op::DropDeferred(nth) => {
                    let next = self.deferred.borrow_mut().remove(nth);
                    if let Some(number) = next {
                        self.drop_call(number);
                    }
                }
                Op::Free => (),
            }
        }
    }

    #[track_caller]
    fn check(ops: &[Op], keep_deferred: bool) {
        let model = Model::default();
        let real = Rc::new_cyclic(|own: &Weak<Real>| Real {
            log: Rc::default(),
            groups: core::array::from_fn(|_| RefCell::new(Rc::new(Group::new()))),
            busy: core::array::from_fn(|_| Rc::default()),
            held: RefCell::default(),
            keys: RefCell::default(),
            deferred: RefCell::default(),
            storage: storage(own.clone()),
        });
        for (nth, op) in ops.iter().enumerate() {
            model.apply(*op);
            real.apply(*op);
            let seen = || format!("{:?}", &ops[..=nth]);
            assert_eq!(*real.log.borrow(), *model.log.borrow(), "{}", seen());
            let calls = real.storage.calls();
            let pending = (calls.tail() - calls.head()) as usize;
            assert_eq!(pending, model.pending.borrow().len(), "{}", seen());
            let mut known = 0;
            for (key, callback) in real.keys.borrow().iter().zip(&*model.callbacks.borrow()) {
                let state = match real.storage.stage(*key) {
                    Stage::Unknown => State::Over,
                    Stage::Waiting => State::Waiting,
                    Stage::Canceled => State::Canceled,
                    Stage::Released => State::Released,
                    Stage::Pending(position) => {
                        assert!(calls.contains(position));
                        State::Pending
                    }
                    Stage::Deferred(_) => State::Deferred,
                };
                assert_eq!(state, callback.state, "{key:?} after {}", seen());
                assert_eq!(real.storage.stage(*key) != Stage::Unknown, state != State::Over);
                known += u32::from(state != State::Over);
            }
            let mut from = 0;
            while let Some((key, stage)) = real.storage.first_known(from) {
                assert_eq!(real.storage.stage(key), stage);
                (from, known) = (key.slot + 1, known - 1);
            }
            assert_eq!(known, 0, "known callbacks are found after {}", seen());
        }
        let Ok(real) = Rc::try_unwrap(real) else { panic!("nobody else has the world") };
        let Real { log, groups, held, deferred, storage, .. } = real;
        let mut deferred = deferred.into_inner();
        if !keep_deferred {
            deferred.clear();
        }
        drop((groups, held, storage));
        drop(deferred);
        let count = |of: fn(usize) -> Event| {
            (0..model.created())
                .map(|number| log.borrow().iter().filter(|event| **event == of(number)).count())
                .collect::<Vec<_>>()
        };
        assert_eq!(count(Event::Join), vec![1; model.created()], "{ops:?}");
        assert!(count(Event::Value).iter().all(|count| *count <= 1), "{ops:?}");
    }

    fn random_op(random: &mut Random) -> Op {
        let mut act = || ACTS[random.below(22).saturating_sub(11) as usize];
        let (on_dial, on_drop) = (act(), act());
        let nth = random.below(5) as usize;
        let group = random.below(GROUPS as u64) as usize;
        match random.below(28) {
            0..8 => Op::Create(group, on_dial, on_drop),
            8..14 => Op::Answer(nth, on_drop),
            14 => Op::GiveUp(nth),
            15..18 => Op::Cancel(random.below(40) as usize),
            18 => Op::Release(group.max(1)),
            19 => Op::DropGroup(group.max(1)),
            20 => Op::Busy(group, random.below(2) == 0),
            21..25 => Op::Dial,
            25 => Op::Redial(nth / 2),
            26 if nth == 0 => Op::Free,
            26 => Op::DropDeferred(nth / 2),
            _ => Op::Pop,
        }
    }

    #[test]
    fn random_operations_do_what_plain_lists_do() {
        let mut random = Random(0x1234_5678_9abc_def1 ^ seed());
        for round in 0..rounds(40_000) {
            let count = 1 + random.below(100);
            let ops: Vec<Op> = (0..count).map(|_| random_op(&mut random)).collect();
            check(&ops, round % 2 == 0);
        }
    }

    #[test]
    fn all_short_sequences_do_what_plain_lists_do() {
        use Act::*;
        let symbols = vec![
            Op::Create(0, Nothing, Nothing),
            Op::Create(1, Nothing, Create),
            Op::Create(1, CancelLast, Release),
            Op::Create(1, Release, CancelFirst),
            Op::Create(2, Dial, GiveUp),
            Op::Answer(0, Nothing),
            Op::Answer(0, Dial),
            Op::Answer(1, CancelLast),
            Op::GiveUp(0),
            Op::Cancel(0),
            Op::Cancel(1),
            Op::Release(1),
            Op::DropGroup(1),
            Op::Busy(1, true),
            Op::Busy(1, false),
            Op::Dial,
            Op::Pop,
            Op::Redial(0),
            Op::DropDeferred(0),
            Op::Free,
        ];
        let depth = if cfg!(debug_assertions) { 4 } else { 5 };
        let mut digits = vec![0; depth];
        loop {
            let ops: Vec<Op> = digits.iter().map(|digit| symbols[*digit]).collect();
            check(&ops, digits[0] % 2 == 0);
            let Some(last) = digits.iter().rposition(|digit| digit + 1 < symbols.len()) else {
                return;
            };
            digits[last] += 1;
            digits[last + 1..].fill(0);
        }
    }
}
