//! Hazard: a call that a shim schedules is reported as the shim's, or its name outlives it.

use std::cell::RefCell;
use std::rc::Rc;

use switchboard::{CallId, CallQueue, Observer, Reporter, Step};

/// Notes the names that it is notified of.
#[derive(Default)]
struct Names(RefCell<Vec<(CallId, String)>>);

impl Observer for Names {
    fn observe(&self, _: CallId, _: &Step) {}

    fn observe_name(&self, call: CallId, name: &str) {
        self.0.borrow_mut().push((call, name.to_owned()));
    }
}

#[test]
fn a_queue_is_observed_from_its_first_observer_to_its_last_and_not_once_it_is_closed() {
    let owner = CallQueue::new();
    let queue = owner.handle();
    assert!(!queue.is_observed());
    let ids = [(), ()].map(|()| queue.add_observer(Names::default()));
    assert!(queue.is_observed());
    assert!(queue.remove_observer(ids[0]) && queue.is_observed());
    assert!(queue.remove_observer(ids[1]) && !queue.is_observed());
    queue.add_observer(Names::default());
    drop(owner);
    assert!(!queue.is_observed());
    queue.add_observer(Names::default());
    assert!(!queue.is_observed());
}

#[test]
fn a_name_is_observed_while_the_call_is_not_over() {
    let (queue, other) = (CallQueue::new(), CallQueue::new());
    let names = Rc::new(Names::default());
    queue.add_observer(Rc::clone(&names));
    let call = queue.call(|_| ());
    queue.name_call(call, "a call");
    other.name_call(call, "of another queue");
    let callback = queue.callback(|_, ()| ());
    let waiting = callback.id();
    queue.name_call(waiting, "waiting");
    callback.answer(());
    queue.name_call(waiting, "pending");
    let canceled = [queue.call(|_| ()), queue.callback(|_, ()| ()).id()];
    for canceled in canceled {
        queue.cancel(canceled, "unwanted");
        queue.name_call(canceled, "over");
    }
    queue.dial_all();
    for over in [call, waiting] {
        queue.name_call(over, "over");
    }
    // The slot of the callback is used again.
    let next = queue.callback(|_, ()| ());
    queue.name_call(waiting, "over");
    next.decline("not needed");
    let expected = [(call, "a call"), (waiting, "waiting"), (waiting, "pending")];
    assert!(names.0.take().into_iter().eq(expected.map(|(id, name)| (id, name.to_owned()))));
    queue.clear_observers();
    let unobserved = queue.call(|_| ());
    queue.name_call(unobserved, "unobserved");
}

#[test]
fn a_report_has_the_name_of_the_call_and_the_next_one_has_not() {
    let queue = CallQueue::new();
    let lines = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&lines);
    queue.add_observer(Reporter::new(move |line| log.borrow_mut().push(line.to_owned())));
    let recipient = queue.recipient(());
    let unwanted = recipient.call(|(), _| ());
    queue.name_call(unwanted, "main.lua:12");
    recipient.call(|(), _| ());
    recipient.hang_up();
    queue.dial_all();
    let lines = lines.take();
    assert!(lines[0].starts_with("call #0 \"main.lua:12\" to "), "{lines:?}");
    assert!(lines[1].starts_with("call #1 to "), "{lines:?}");
}

#[test]
fn a_shim_that_tracks_its_caller_needs_no_name() {
    #[track_caller]
    fn shim(queue: &CallQueue) {
        queue.call(|_| ());
    }
    let queue = CallQueue::new();
    let sites = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&sites);
    queue.add_observer(move |_: CallId, step: &Step| {
        if let Step::Scheduled { site } = step {
            seen.borrow_mut().push(site.line());
        }
    });
    shim(&queue);
    assert_eq!(*sites.borrow(), [line!() - 1]);
}
