//! Calls that are put back, as an observer panics when it is notified of their dial.

use std::cell::Cell;
use std::rc::Rc;

use support::util::panic_of;
use switchboard::journal::Journal;
use switchboard::{CallQueue, Step};

use crate::bounds::watched;
use crate::production::Session;

/// It was taken for live until it was over, and all that happened meanwhile for its doing.
#[test]
fn r10_a_call_that_was_put_back_is_pending_in_the_journal_until_it_is_dialed_again() {
    let queue = CallQueue::new();
    let journal = Rc::new(Journal::new());
    let panics = Cell::new(true);
    queue.add_observer(Rc::clone(&journal));
    queue.add_observer(move |_, step: &Step| {
        assert!(!(matches!(step, Step::Dialed) && panics.replace(false)), "the observer panics");
    });
    let scheduled_within = Rc::new(Cell::new(None));
    let within = Rc::clone(&scheduled_within);
    let session = queue.recipient(Session);
    let call = session.call(move |_, cx| within.set(Some(cx.queue().call(|_| ()))));
    panic_of(|| queue.dial_all());
    assert_eq!(watched(&journal), "1 calls pending, 0 live, 0 labels and names)");
    let record = journal.history().call(call).cloned().unwrap();
    assert!(record.dialed.is_none() && record.ended.is_none());
    let from_outside = queue.call(|_| ());
    queue.dial_all();
    let history = journal.history();
    assert_eq!(history.causes(from_outside), []);
    assert_eq!(history.causes(scheduled_within.get().unwrap()), [call]);
    assert!(history.call(call).unwrap().dialed.is_some());
    assert_eq!(watched(&journal), "0 calls pending, 0 live, 0 labels and names)");
    let figures = journal.figures();
    assert_eq!((figures.counts.dialed, figures.counts.finished), (3, 3), "each once");
    assert_eq!((figures.waiting.count, figures.handling.count), (3, 3), "each once");
}

#[test]
fn r10_a_call_whose_queue_an_observer_drops_as_it_panics_is_not_live_in_the_journal() {
    let queue = Rc::new(std::cell::RefCell::new(Some(CallQueue::new())));
    let handle = queue.borrow().as_ref().unwrap().handle();
    let journal = Rc::new(Journal::new());
    handle.add_observer(Rc::clone(&journal));
    let owner = Rc::clone(&queue);
    handle.add_observer(move |_, step: &Step| {
        if matches!(step, Step::Dialed) {
            drop(owner.take());
            panic!("the observer panics");
        }
    });
    let call = handle.call(|_| ());
    panic_of(|| handle.dial_all());
    assert_eq!(handle.tally().canceled, 1);
    assert!(journal.history().call(call).unwrap().ended.is_some());
    assert_eq!(watched(&journal), "0 calls pending, 0 live, 0 labels and names)");
}
