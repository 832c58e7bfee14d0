//! Promises of the docs that no call would break: sizes, auto traits, errors and how things print.

use std::error::Error;
use std::fmt::Debug;
use std::marker::PhantomData;

use switchboard::future::{CallbackFuture, OpFuture};
use switchboard::{
    Address, Budget, CallId, CallQueue, Callback, Cancellation, QueueHandle, Recipient,
    RecipientInfo, Refusal, Report, ScheduleErrorKind, Step, Tally,
};

/// Whether a type has a trait: the inherent constant, which is preferred, is there only
/// if it does.
struct Has<T: ?Sized>(PhantomData<T>);

trait HasNot {
    const SEND: bool = false;
    const SYNC: bool = false;
    const DEBUG: bool = false;
}

impl<T: ?Sized> HasNot for Has<T> {}

impl<T: ?Sized + Send> Has<T> {
    const SEND: bool = true;
}

impl<T: ?Sized + Sync> Has<T> {
    const SYNC: bool = true;
}

impl<T: ?Sized + Debug> Has<T> {
    const DEBUG: bool = true;
}

// A queue, and all that refers to it, stays on its thread.
const _: () = assert!(!Has::<CallQueue>::SEND && !Has::<CallQueue>::SYNC);
const _: () = assert!(!Has::<QueueHandle>::SEND && !Has::<QueueHandle>::SYNC);
const _: () = assert!(!Has::<Recipient<u8>>::SEND && !Has::<Recipient<u8>>::SYNC);
const _: () = assert!(!Has::<Address<u8>>::SEND && !Has::<Address<u8>>::SYNC);
const _: () = assert!(!Has::<Callback<u8>>::SEND && !Has::<Callback<u8>>::SYNC);
const _: () = assert!(!Has::<Budget<'static>>::SEND && !Has::<Budget<'static>>::SYNC);
const _: () = assert!(!Has::<CallbackFuture<u8>>::SEND && !Has::<CallbackFuture<u8>>::SYNC);
const _: () = assert!(!Has::<OpFuture<u8, u8>>::SEND && !Has::<OpFuture<u8, u8>>::SYNC);

// What is only data goes anywhere.
const _: () = assert!(Has::<CallId>::SEND && Has::<CallId>::SYNC);
const _: () = assert!(Has::<Cancellation>::SEND && Has::<Cancellation>::SYNC);
const _: () = assert!(Has::<Tally>::SEND && Has::<Tally>::SYNC);
const _: () = assert!(Has::<Report>::SEND && Has::<Report>::SYNC);
const _: () = assert!(Has::<Step>::SEND && Has::<Step>::SYNC);
const _: () = assert!(Has::<Refusal>::SEND && Has::<Refusal>::SYNC);
const _: () = assert!(Has::<RecipientInfo>::SEND && Has::<RecipientInfo>::SYNC);
const _: () = assert!(
    Has::<switchboard::ScheduleError<u8>>::SEND && Has::<switchboard::ScheduleError<u8>>::SYNC
);

/// A reactor stays on its thread as well. What others send through goes anywhere, whatever it is
/// addressed to.
#[cfg(feature = "mio")]
mod reactor {
    use std::rc::Rc;

    use switchboard::reactor::{Guest, Reactor, ReactorHandle, Remote, RemoteAddress, Timer};
    use switchboard::reactor::{RemoteCallback, SendError};

    use super::{Has, HasNot};

    const _: () = assert!(!Has::<Reactor>::SEND && !Has::<Reactor>::SYNC);
    const _: () = assert!(!Has::<ReactorHandle>::SEND && !Has::<ReactorHandle>::SYNC);
    const _: () = assert!(!Has::<Guest>::SEND && !Has::<Guest>::SYNC);
    const _: () = assert!(!Has::<Timer>::SEND && !Has::<Timer>::SYNC);

    const _: () = assert!(Has::<Remote>::SEND && Has::<Remote>::SYNC);
    const _: () = assert!(Has::<RemoteAddress<Rc<u8>>>::SEND && Has::<RemoteAddress<Rc<u8>>>::SYNC);
    const _: () =
        assert!(Has::<RemoteCallback<Rc<u8>>>::SEND && Has::<RemoteCallback<Rc<u8>>>::SYNC);
    const _: () = assert!(Has::<SendError<u8>>::SEND && Has::<SendError<u8>>::SYNC);

    #[test]
    fn handles_for_other_threads_print_what_they_are() {
        let reactor = Reactor::new().unwrap();
        let recipient = reactor.queue().recipient(super::Plain);
        assert_eq!(format!("{:?}", reactor.remote()), "Remote { .. }");
        assert_eq!(format!("{:?}", reactor.remote_to(&recipient)), "RemoteAddress { .. }");
        let callback = reactor.remote_callback(reactor.queue().callback(|_, ()| ()));
        assert_eq!(format!("{callback:?}"), format!("RemoteCallback({})", callback.id()));
        callback.decline("printed");
    }
}

/// What is not [`Debug`].
struct Plain;
const _: () = assert!(!Has::<Plain>::DEBUG);
const _: () = assert!(Has::<CallbackFuture<Plain>>::DEBUG && Has::<OpFuture<Plain, Plain>>::DEBUG);

const WORD: usize = size_of::<usize>();
const _: () = assert!(size_of::<CallId>() == 16);
const _: () = assert!(size_of::<Option<CallId>>() == 16);
const _: () = assert!(size_of::<CallQueue>() == WORD);
const _: () = assert!(size_of::<QueueHandle>() == WORD);
const _: () = assert!(size_of::<Recipient<[u64; 9]>>() == WORD);
const _: () = assert!(size_of::<Address<[u64; 9]>>() == WORD);
const _: () = assert!(size_of::<Option<Address<[u64; 9]>>>() == WORD);
const _: () = assert!(size_of::<Callback<[u64; 9]>>() <= 8 + 3 * WORD);

#[test]
fn a_rejected_call_is_an_error_that_names_the_cause() {
    let queue = CallQueue::new();
    let handle = queue.handle();
    drop(queue);
    let captured = PhantomData::<*const u8>;
    let error = handle.try_call(move |_| _ = captured).unwrap_err();
    assert_eq!(format!("{error:?}"), "ScheduleError(QueueDropped, ..)");
    let error: Box<dyn Error> = Box::new(error);
    let text = "call not scheduled: the owner of the queue has dropped it; use a live queue";
    assert_eq!(error.to_string(), text);
    assert!(error.source().is_none());
    let exhausted = ScheduleErrorKind::IdsExhausted;
    assert!(exhausted.to_string().contains("2^62"));
    assert!(exhausted.to_string().ends_with("make a new queue"));
}

#[test]
fn what_people_print_names_what_it_is() {
    let queue = CallQueue::new();
    let server = queue.recipient(Vec::<String>::new());
    assert_eq!(format!("{server:?}"), "Recipient(Vec(0))");
    assert_eq!(format!("{:?}", server.address()), "Address(Vec(0))");
    assert!(format!("{queue:?}").starts_with("CallQueue(Tally {"));
    assert!(format!("{:?}", queue.handle()).starts_with("QueueHandle(Tally {"));
    server.call(|_, cx| assert_eq!(format!("{cx:?}"), "Context(#0 to Vec(0))"));
    assert_eq!(queue.dial_all().dialed, 1);
    let zeros = "0 unscheduled + 0 pending + 0 live + 1 finished + 0 canceled + 0 refused";
    let tally = format!("1 created = {zeros} + 0 abandoned + 0 panicked");
    assert_eq!(queue.tally().to_string(), tally);
    assert_eq!(format!("{:?}", Budget::calls(7)), "Budget(7 calls)");
    assert_eq!(format!("{:?}", Budget::calls(7).until(&|| true)), "Budget(7 calls, condition)");
}

#[test]
fn a_default_queue_is_empty() {
    let queue = CallQueue::default();
    assert_eq!(
        (queue.tally(), queue.is_idle(), queue.is_closed()),
        (Tally::default(), true, false)
    );
    assert_eq!(queue.dial_all(), Report::default());
}
