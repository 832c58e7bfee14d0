//! Hazard: an error that does not go through `?`, a queue that `catch_unwind` does not take, a map that
//! an address cannot be the key of.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::hash::{BuildHasher, Hash, RandomState};
use std::panic::{RefUnwindSafe, UnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use switchboard::{
    Address, CallQueue, Callback, QueueHandle, Recipient, Recipients, ScheduleError,
    ScheduleErrorKind,
};

type AnyError = Box<dyn Error + Send + Sync>;

#[test]
fn the_kind_of_an_error_goes_through_a_question_mark_whatever_the_closure_captured() {
    fn schedule(queue: &QueueHandle, shared: &Rc<u32>) -> Result<(), AnyError> {
        let captured = Rc::clone(shared);
        queue.try_call(move |_| drop(captured)).map_err(ScheduleError::into_kind)?;
        Ok(())
    }
    fn call(recipient: &Address<Rc<u32>>, shared: &Rc<u32>) -> Result<(), ScheduleErrorKind> {
        let captured = Rc::clone(shared);
        recipient.try_call(move |_, _| drop(captured))?;
        Ok(())
    }
    let (queue, shared) = (CallQueue::bounded(1), Rc::new(5));
    let recipient = queue.recipient(Rc::clone(&shared));
    schedule(&queue, &shared).unwrap();
    let error = schedule(&queue, &shared).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&ScheduleErrorKind::Full));
    assert!(error.to_string().contains("the queue is full"), "{error}");
    assert!(error.source().is_none());
    assert_eq!(call(&recipient, &shared), Err(ScheduleErrorKind::Full));
    assert_eq!(Rc::strong_count(&shared), 3, "the one that is pending, and the recipient's");

    // Split, it is the kind and the closure that was rejected.
    let captured = Rc::clone(&shared);
    let rejected = queue.try_call(move |_| drop(captured)).unwrap_err();
    assert_eq!(rejected.to_string(), ScheduleErrorKind::Full.to_string());
    let (kind, closure) = rejected.into_parts();
    assert_eq!(kind, ScheduleErrorKind::Full);
    queue.dial_all();
    queue.call(closure);
    assert_eq!(queue.dial_all().dialed, 1);
    let handle = queue.handle();
    drop(queue);
    let error = schedule(&handle, &shared).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&ScheduleErrorKind::QueueDropped));
    assert_eq!(Rc::strong_count(&shared), 2);
}

#[test]
fn r10_what_a_queue_is_made_of_is_unwind_safe() {
    fn is_unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}
    /// Not so by itself.
    type Cell = std::cell::Cell<u32>;
    is_unwind_safe::<CallQueue>();
    is_unwind_safe::<QueueHandle>();
    is_unwind_safe::<Recipient<Cell>>();
    is_unwind_safe::<Recipients<Cell>>();
    is_unwind_safe::<Address<Cell>>();
    is_unwind_safe::<Callback<Cell>>();
    #[cfg(feature = "mio")]
    {
        is_unwind_safe::<switchboard::reactor::Reactor>();
        is_unwind_safe::<switchboard::reactor::ReactorHandle>();
    }

    // So a loop that goes on behind a panic needs no assertion.
    let queue = CallQueue::new();
    let recipient = queue.recipient(0);
    queue.call(|_| resume_unwind(Box::new("a handler")));
    recipient.call(|count, _| *count += 1);
    assert!(catch_unwind(|| queue.dial_all()).is_err());
    assert!(catch_unwind(|| recipient.call(|count, _| *count += 1)).is_ok());
    let callback = recipient.callback(|count, _, more: u32| *count += more);
    assert!(catch_unwind(move || callback.answer(5)).is_ok());
    recipient.call(|count, _| assert_eq!(*count, 7));
    assert_eq!(queue.dial_all().dialed, 4);
}

#[test]
#[expect(clippy::mutable_key_type, reason = "they compare and hash by what they refer to")]
fn addresses_and_handles_hash_as_they_compare() {
    fn hash<T: Hash>(hasher: &RandomState, value: &T) -> u64 {
        hasher.hash_one(value)
    }
    let hasher = RandomState::new();
    let (queue, other) = (CallQueue::new(), CallQueue::new());
    assert_eq!(hash(&hasher, &queue.handle()), hash(&hasher, &queue.handle()));
    let handles = HashSet::from([queue.handle(), other.handle(), queue.handle()]);
    assert_eq!(handles.len(), 2);
    assert!(handles.contains(&*queue));

    // A zero-sized value has an address of its own, too.
    let recipients = [(); 3].map(|()| queue.recipient(()));
    let mut names: HashMap<Address<()>, usize> = HashMap::new();
    for (name, recipient) in recipients.iter().enumerate() {
        assert_eq!(names.insert(recipient.address(), name), None);
    }
    for (name, recipient) in recipients.iter().enumerate() {
        assert_eq!(names.get(&recipient.address()), Some(&name));
        assert_eq!(hash(&hasher, &recipient.address()), hash(&hasher, &recipient.address()));
    }
    // It stays the same when the recipient is gone.
    let [first, ..] = recipients;
    let address = first.address();
    first.hang_up();
    assert_eq!(names.remove(&address), Some(0));

    let ids = HashSet::from([queue.call(|_| ()), other.call(|_| ()), queue.call(|_| ())]);
    assert_eq!(ids.len(), 3);
}
