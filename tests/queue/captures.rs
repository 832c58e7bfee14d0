//! What calls capture: of any size and alignment, dropped exactly once, whatever ends the call.

use std::cell::Cell;

use support::util::{Counts, NONE, assert_counts, figures};
use switchboard::{Call, CallId, CallQueue, Cancellation, Context, QueueHandle, Recipient};

thread_local! {
    static ALIVE: Cell<i64> = const { Cell::new(0) };
    static DIALED: Cell<u64> = const { Cell::new(0) };
}

/// `N` bytes to capture, aligned as `A`, that know whether they are whole. (They count in a static:
/// some of them have no room for a counter.)
struct Bytes<const N: usize, A> {
    bytes: [u8; N],
    aligned: [A; 0],
}

impl<const N: usize, A> Bytes<N, A> {
    fn new() -> Self {
        ALIVE.set(ALIVE.get() + 1);
        Self { bytes: std::array::from_fn(|n| n as u8), aligned: [] }
    }

    fn check(&self) {
        assert!((&raw const *self).is_aligned());
        assert!((&raw const self.aligned).is_aligned());
        assert!(self.bytes.iter().enumerate().all(|(n, byte)| *byte == n as u8));
    }

    /// What handlers do with it.
    fn dialed(&self) {
        self.check();
        DIALED.set(DIALED.get() + 1);
    }
}

impl<const N: usize, A> Drop for Bytes<N, A> {
    fn drop(&mut self) {
        self.check();
        ALIVE.set(ALIVE.get() - 1);
    }
}

/// It is a call, too.
impl<const N: usize, A: 'static> Call for Bytes<N, A> {
    type Recipient = ();

    fn dial(self, (): &mut (), _: &Context<'_, ()>) {
        self.dialed();
    }
}

#[track_caller]
fn expect(dialed: u64, alive: i64) {
    assert_eq!((DIALED.get(), ALIVE.get()), (dialed, alive));
}

/// One call of each kind, five in all, which capture six values together.
fn schedule<const N: usize, A: 'static>(queue: &QueueHandle) -> (Recipient<()>, Vec<CallId>) {
    let server = queue.recipient(());
    let [first, second, third, fourth, value] = [(); 5].map(|()| Bytes::<N, A>::new());
    let mut ids = vec![
        queue.call(move |_| first.dialed()),
        server.call(move |(), _| second.dialed()),
        server.schedule(Bytes::<N, A>::new()),
    ];
    let to_function = queue.callback(move |_, ()| third.dialed());
    let to_recipient = server.callback(move |(), _, value: Bytes<N, A>| {
        value.check();
        fourth.dialed();
    });
    ids.extend([to_function.id(), to_recipient.id()]);
    to_function.answer(());
    to_recipient.answer(value);
    // Growing the queue moves them all.
    for _ in 0..100 {
        let id = queue.call(|_| ());
        queue.cancel(id, "only to grow");
    }
    (server, ids)
}

/// Sees `N` bytes aligned as `A` through all ends of a call.
fn check<const N: usize, A: 'static>() {
    DIALED.set(0);
    let queue = CallQueue::new();

    let _server = schedule::<N, A>(&queue);
    expect(0, 6);
    assert_eq!(figures(queue.dial_all()), [5, 100, 0, 0]);
    expect(5, 0);

    let (_server, ids) = schedule::<N, A>(&queue);
    for id in ids {
        assert_eq!(queue.cancel(id, "unwanted"), Cancellation::Canceled);
    }
    expect(5, 0);
    assert_eq!(figures(queue.dial_all()), [0, 105, 0, 0]);

    let (server, _) = schedule::<N, A>(&queue);
    server.hang_up();
    assert_eq!(figures(queue.dial_all()), [2, 100, 3, 0]);
    expect(7, 0);

    let [first, second, third] = [(); 3].map(|()| Bytes::<N, A>::new());
    queue.callback(move |_, ()| first.dialed()).decline("never");
    drop(queue.callback(move |_, ()| second.dialed()));
    let canceled = queue.callback(move |_, _| third.dialed());
    queue.cancel(canceled.id(), "unwanted");
    expect(7, 0);
    canceled.answer(Bytes::<N, A>::new());
    expect(7, 0);

    let _server = schedule::<N, A>(&queue);
    let captured = Bytes::<N, A>::new();
    let waiting = queue.callback(move |_, _| captured.dialed());
    let (handle, rejected) = (queue.handle(), Bytes::<N, A>::new());
    expect(7, 8);
    drop(queue);
    expect(7, 1);
    waiting.answer(rejected);
    expect(7, 0);
    let captured = Bytes::<N, A>::new();
    let Err(rejected) = handle.try_call(move |_| captured.dialed()) else { panic!("scheduled") };
    expect(7, 1);
    rejected.into_inner()(&handle);
    expect(8, 0);
    let counts =
        Counts { finished: 7, canceled: 5 + 2 + 5 + 1 + 400, refused: 3, abandoned: 1, ..NONE };
    assert_counts(&handle, counts);
}

#[test]
fn captures_of_no_size() {
    check::<0, ()>();
}

#[test]
fn captures_of_one_byte() {
    check::<1, ()>();
}

#[test]
fn captures_that_just_fit_beside_a_recipient() {
    check::<40, ()>();
    check::<40, u64>();
}

#[test]
fn captures_that_just_do_not_fit_beside_a_recipient() {
    check::<41, ()>();
}

#[test]
fn captures_that_just_fit_into_a_function_call() {
    check::<48, ()>();
    check::<48, u64>();
}

#[test]
fn captures_that_just_do_not_fit_into_a_function_call() {
    check::<49, ()>();
}

#[test]
fn captures_of_a_page() {
    check::<4096, ()>();
}

#[repr(align(16))]
struct Sixteen;

#[repr(align(64))]
struct SixtyFour;

#[test]
fn captures_that_are_small_and_strictly_aligned() {
    check::<0, Sixteen>();
    check::<8, Sixteen>();
    check::<0, SixtyFour>();
    check::<8, SixtyFour>();
}

#[test]
fn captures_that_are_large_and_strictly_aligned() {
    check::<4096, SixtyFour>();
}
