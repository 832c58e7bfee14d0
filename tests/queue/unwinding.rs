//! Hazard: what the queue runs while a panic unwinds panics too: an observer that is notified of that, or
//! the captures of a call of whose end an observer was notified. The first panic goes on.

use std::cell::RefCell;
use std::num::NonZeroU64;
use std::panic::resume_unwind;

use support::util::{PanicsInCheck, panic_of};
use switchboard::op::{OpResult, Operation};
use switchboard::{
    Call, CallId, CallQueue, Callback, Context, Observer, QueueHandle, Recipient, Step, TurnStep,
};

/// Panics at each step whose name is here.
struct PanicsAt(&'static [&'static str]);

impl PanicsAt {
    fn see(&self, step: String) {
        if self.0.iter().any(|name| step.starts_with(name)) {
            resume_unwind(Box::new(step));
        }
    }
}

impl Observer for PanicsAt {
    fn observe(&self, _: CallId, step: &Step) {
        self.see(format!("{step:?}"));
    }

    fn observe_turn(&self, _: NonZeroU64, step: &TurnStep) {
        self.see(format!("{step:?}"));
    }
}

/// Asserts that a panic at the first of `steps` is what `action` panics with, and that the queue is right
/// after that.
#[track_caller]
fn assert_first(steps: &'static [&'static str], action: impl FnOnce(&QueueHandle)) {
    let queue = CallQueue::new();
    let observer = queue.add_observer(PanicsAt(steps));
    let panic = panic_of(|| action(&queue));
    assert!(panic.starts_with(steps[0]), "{panic}");
    assert!(queue.tally().balances() && queue.tally().live == 0, "{}", queue.tally());
    queue.remove_observer(observer);
    queue.call(|_| ());
    assert_eq!(queue.dial_all().remaining, 0);
}

/// A value whose drop panics.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        resume_unwind(Box::new("in a drop"));
    }
}

/// A callback that captures a bomb.
fn armed(queue: &QueueHandle) -> Callback<()> {
    let bomb = Bomb;
    queue.callback(move |_, ()| drop(bomb))
}

#[test]
fn an_observer_panics_as_it_is_notified_of_a_panic() {
    let queue = CallQueue::new();
    queue.add_observer(PanicsAt(&["Panicked", "Ends"]));
    queue.call(|_| resume_unwind(Box::new("in a handler")));
    let server = queue.recipient(());
    server.schedule(PanicsInCheck);
    server.call(|(), cx| {
        cx.hang_up();
        resume_unwind(Box::new("in a handler"));
    });
    for panicked in 1..4 {
        let panic = panic_of(|| queue.dial_all());
        assert_eq!(panic, ["in a handler", "in a check", "in a handler"][panicked - 1]);
        assert_eq!(queue.tally().panicked, panicked as u64);
    }
}

#[test]
fn an_observer_panics_as_a_turn_begins_and_as_that_turn_ends() {
    assert_first(&["Begins", "Ends"], |queue| _ = queue.dial_all());
}

#[test]
fn an_observer_panics_as_an_operation_is_answered_in_an_unwinding() {
    let queue = CallQueue::new();
    let done = queue.callback(|_, result: OpResult<(), ()>| assert!(result.is_err()));
    let op = Operation::new(done, (), |_| ());
    let observer = queue.add_observer(PanicsAt(&["Scheduled"]));
    let unwinding = move || {
        let _op = op;
        resume_unwind(Box::new("in a handler"))
    };
    assert_eq!(panic_of(unwinding), "in a handler");
    queue.remove_observer(observer);
    assert_eq!(queue.dial_all().dialed, 1);
}

#[test]
fn an_observer_that_drops_the_queue_panics_at_the_dial_and_at_the_end_of_the_call() {
    let queue = CallQueue::new();
    let (handle, bomb) = (queue.handle(), Bomb);
    handle.call(move |_| drop(bomb));
    let owner = RefCell::new(Some(queue));
    handle.add_observer(move |_: CallId, step: &Step| match step {
        Step::Dialed => {
            owner.take();
            resume_unwind(Box::new("at the dial"));
        }
        Step::Canceled { .. } => resume_unwind(Box::new("at the end")),
        _ => (),
    });
    assert_eq!(panic_of(|| handle.dial_all()), "at the dial");
    assert_eq!((handle.tally().canceled, handle.tally().pending), (1, 0));
}

#[test]
fn captures_panic_after_the_observer_of_a_cancel() {
    assert_first(&["Canceled"], |queue| {
        let bomb = Bomb;
        let id = queue.call(move |_| drop(bomb));
        queue.cancel(id, "unwanted");
    });
    assert_first(&["Canceled"], |queue| {
        let waiting = armed(queue);
        queue.cancel(waiting.id(), "unwanted");
    });
    assert_first(&["Canceled"], |queue| {
        let waiting = armed(queue);
        let id = waiting.id();
        waiting.answer(());
        queue.cancel(id, "unwanted");
    });
    assert_first(&["Canceled"], |queue| armed(queue).decline("never"));
    assert_first(&["Abandoned"], |queue| drop(armed(queue)));
    assert_first(&["Canceled"], |queue| {
        let server = queue.recipient(());
        let bomb = Bomb;
        let deferred = server.callback(move |(), _, ()| drop(bomb));
        let id = deferred.id();
        server.call(move |(), cx| {
            cx.queue().dial_all();
            cx.queue().cancel(id, "unwanted");
        });
        deferred.answer(());
        queue.dial_all();
    });
}

#[test]
fn captures_panic_after_the_observer_of_the_end_of_their_queue() {
    let queue = CallQueue::new();
    let handle = queue.handle();
    let bomb = Bomb;
    handle.call(move |_| drop(bomb));
    handle.add_observer(PanicsAt(&["Canceled"]));
    let waiting = armed(&handle);
    assert!(panic_of(|| drop(queue)).starts_with("Canceled"));
    assert!(panic_of(|| armed(&handle)).starts_with("in a drop"));
    drop(waiting);
    assert_eq!((handle.tally().canceled, handle.tally().unscheduled), (3, 0));
}

/// A call that its own check refuses.
struct Refused(Bomb);

impl Call for Refused {
    type Recipient = ();

    fn can_dial(&self, (): &()) -> Result<(), &'static str> {
        Err("refused")
    }

    fn dial(self, (): &mut (), _: &Context<'_, ()>) {}
}

/// A value that owns its recipient.
struct Owner(RefCell<Option<Recipient<Self>>>, Bomb);

/// A call that is refused by its own check, which hangs the recipient up.
struct HangsUp;

impl Call for HangsUp {
    type Recipient = Owner;

    fn can_dial(&self, owner: &Owner) -> Result<(), &'static str> {
        drop(owner.0.take());
        Err("refused")
    }

    fn dial(self, _: &mut Owner, _: &Context<'_, Owner>) {}
}

#[test]
fn captures_and_a_value_panic_after_the_observer_of_a_refusal() {
    let queue = CallQueue::bounded(0);
    queue.add_observer(PanicsAt(&["Refused"]));
    let bomb = Bomb;
    assert!(panic_of(|| queue.call(move |_| drop(bomb))).starts_with("Refused"));

    assert_first(&["Refused"], |queue| {
        let server = queue.recipient(());
        server.schedule(Refused(Bomb));
        queue.dial_all();
    });
    assert_first(&["Refused"], |queue| {
        let address = queue.recipient(()).address();
        address.schedule(Refused(Bomb));
        queue.dial_all();
    });
    assert_first(&["Refused"], |queue| {
        let server = queue.recipient(());
        server.call(|(), cx| _ = cx.queue().dial_all());
        server.schedule(Refused(Bomb));
        queue.dial_all();
    });
    assert_first(&["Refused"], |queue| {
        let server = queue.recipient(Owner(RefCell::default(), Bomb));
        let address = server.address();
        address.call(move |owner, _| _ = owner.0.replace(Some(server)));
        address.schedule(HangsUp);
        queue.dial_all();
    });
}

#[test]
fn a_value_panics_after_the_observer_of_the_call_that_hung_it_up() {
    assert_first(&["Finished"], |queue| {
        let server = queue.recipient(Bomb);
        server.call(|_, cx| cx.hang_up());
        queue.dial_all();
    });
}
