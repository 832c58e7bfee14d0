//! Hazard: code of users that uses the queue at any of the points where the queue runs it.

use std::cell::RefCell;
use std::rc::Rc;

use switchboard::{Budget, CallId, CallQueue, Step};

/// It was notified of the end only.
#[test]
fn an_observer_that_the_condition_of_a_turn_sets_sees_the_dial() {
    let queue = CallQueue::new();
    queue.call(|_| ());
    let steps = Rc::new(RefCell::new(Vec::new()));
    let condition = || {
        let reported = Rc::clone(&steps);
        queue.add_observer(move |_: CallId, step: &Step| reported.borrow_mut().push(*step));
        false
    };
    let _ = queue.dial(Budget::calls(1).until(&condition));
    assert_eq!(steps.take(), [Step::Dialed, Step::Finished]);
}
