//! Modules that break the rules, each in one way.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::error::Error;
use std::mem;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use mio::Interest;
use mio::net::UnixStream;
use switchboard::conformance::{Started, Subject, Timing};
use switchboard::op::{AsyncOp, OpError, OpResult, OpState, Operation};
use switchboard::reactor::{Reactor, ReactorHandle};
use switchboard::{Callback, QueueHandle};

/// What a [`Bell`] does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    // Of the start function.
    AcceptsBeforeOpen,
    AcceptsAfterClose,
    RefusesWhileOpen,
    AnswersAFailedStart,
    AnswersAFailedStartAfterwards,
    DropsTheCallbackOfAFailedStart,
    ForgetsTheCallbackOfAFailedStart,
    DialsInStart,
    DropsTheCallback,
    DeclinesTheCallback,
    ForgetsTheCallback,
    KeepsTheCallback,
    GivesNoTrigger,
    CompletesTooSoon,
    CompletesTheOther,
    // Of the cancel hook.
    DialsInCancel,
    IgnoresCancel,
    NeverCompletesOnceCanceled,
    CompletesWhenCanceled,
    CancelsTheFirst,
    CancelsTheLast,
    // Of its handles.
    GivesAnotherHandle,
    CancelsByItself,
    IsCanceledTooLate,
    HasNoHandleAndDoesNotCancelAll,
    // Of the completion.
    LosesTheOperation,
    NeverCompletes,
    AbandonsACallbackOfItsOwn,
    CallsARecipientThatIsLive,
    // Of what it leaves.
    LeavesARegistration,
    ForgetsARegistration,
    LeavesARegistrationWhenCanceled,
    LeavesATimer,
    LeavesACallback,
    LeavesATimerBehindItself,
    CallsWithoutEnd,
    OwnsItself,
    KeepsTheReactor,
    KeepsTheQueue,
    KeepsARemote,
    Panics,
}

/// Lets its users wait for a bell.
pub(crate) struct Bell {
    fault: Fault,
    reactor: ReactorHandle,
    open: Cell<bool>,
    was_open: Cell<bool>,
    waits: Rc<RefCell<VecDeque<Wait>>>,
    kept: RefCell<Vec<Box<dyn Any>>>,
}

type Done = Callback<OpResult<u8, Infallible>>;
type Wait = Operation<Waiting, u8, Infallible>;

/// The context of one operation.
pub(crate) struct Waiting {
    fault: Fault,
    reactor: ReactorHandle,
    wait: RefCell<Option<Wait>>,
    waits: Weak<RefCell<VecDeque<Wait>>>,
}

impl Bell {
    pub(crate) fn new(fault: Fault, reactor: &Reactor) -> Self {
        Self {
            fault,
            reactor: reactor.handle(),
            open: Cell::new(false),
            was_open: Cell::new(false),
            waits: Rc::default(),
            kept: RefCell::default(),
        }
    }

    /// Takes the callback of a start that fails.
    fn refuse(&self, done: Done) {
        match self.fault {
            Fault::AnswersAFailedStart => done.answer(Err(OpError::Canceled)),
            Fault::AnswersAFailedStartAfterwards => {
                let later = move |_: &QueueHandle| done.answer(Ok(0));
                self.reactor.queue().call(later);
            }
            Fault::DropsTheCallbackOfAFailedStart => drop(done),
            Fault::ForgetsTheCallbackOfAFailedStart => mem::forget(done),
            _ => done.decline("not open"),
        }
    }

    /// Takes the callback of a start that succeeds; gives it back if the operation is to have it.
    fn lose(&self, done: Done) -> Option<Done> {
        match self.fault {
            Fault::DropsTheCallback => drop(done),
            Fault::DeclinesTheCallback => done.decline("for no reason"),
            Fault::ForgetsTheCallback => mem::forget(done),
            Fault::KeepsTheCallback => self.keep(done),
            _ => return Some(done),
        }
        None
    }

    /// Leaves something.
    fn leave(&self) {
        let callback = || self.reactor.queue().callback(|_, ()| ());
        let hour = Duration::from_secs(3600);
        match self.fault {
            Fault::LeavesARegistration => self.keep(registration(&self.reactor)),
            Fault::ForgetsARegistration => mem::forget(registration(&self.reactor)),
            Fault::LeavesATimer => self.keep(self.reactor.after(hour, callback())),
            Fault::LeavesATimerBehindItself => self.reactor.after(hour, callback()).detach(),
            Fault::LeavesACallback => self.keep(callback()),
            Fault::KeepsTheReactor => {
                self.reactor.set_clock(Instant::now);
                mem::forget(self.reactor.clone());
            }
            Fault::KeepsARemote => mem::forget(self.reactor.remote()),
            Fault::KeepsTheQueue => mem::forget(self.reactor.queue().clone()),
            Fault::CallsWithoutEnd => call_without_end(self.reactor.queue(), true),
            Fault::AbandonsACallbackOfItsOwn => drop(callback()),
            _ => {}
        }
    }

    fn keep(&self, what: impl Any) {
        self.kept.borrow_mut().push(Box::new(what));
    }

    /// An operation that does nothing.
    fn idle(&self, done: Done) -> Wait {
        let (fault, reactor) = (self.fault, self.reactor.clone());
        let waits = Rc::downgrade(&self.waits);
        Wait::new(done, Waiting { fault, reactor, wait: RefCell::default(), waits }, cancel)
    }

    /// The handle of an operation that no one waits for.
    fn other_handle(&self) -> AsyncOp {
        let unwanted = self.reactor.queue().callback(|_, _| ());
        let _ = self.reactor.queue().cancel(unwanted.id(), "no one waits");
        let other = self.idle(unwanted);
        let handle = other.handle();
        self.keep(other);
        handle
    }

    fn handle(&self, wait: &Wait) -> Option<AsyncOp> {
        match self.fault {
            Fault::GivesAnotherHandle => Some(self.other_handle()),
            Fault::IsCanceledTooLate => {
                let other = self.other_handle();
                let _ = other.cancel();
                Some(other)
            }
            Fault::HasNoHandleAndDoesNotCancelAll => None,
            _ => Some(wait.handle()),
        }
    }
}

fn registration(reactor: &ReactorHandle) -> impl Any + use<> {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let recipient = reactor.queue().recipient(());
    let registered = reactor.register(ours, Interest::READABLE, &recipient, |(), _, _| ());
    (registered.expect("a registration"), theirs, recipient)
}

/// Keeps now one call pending, now two.
fn call_without_end(queue: &QueueHandle, two: bool) {
    let _ = queue.call(move |queue| call_without_end(queue, !two));
    if two {
        let _ = queue.call(|_| ());
    }
}

/// The cancel hook.
fn cancel(wait: &Wait) {
    let result = match wait.context().fault {
        Fault::IgnoresCancel | Fault::NeverCompletesOnceCanceled => return,
        Fault::CompletesWhenCanceled => Ok(0),
        _ => Err(OpError::Canceled),
    };
    drop(any_that_runs(wait).as_ref().unwrap_or(wait).complete(result));
    let reactor = &wait.context().reactor;
    match wait.context().fault {
        Fault::DialsInCancel => drop(reactor.queue().dial_all()),
        Fault::LeavesARegistrationWhenCanceled => mem::forget(registration(reactor)),
        _ => {}
    }
}

/// The operation that a confused module cancels.
fn any_that_runs(wait: &Wait) -> Option<Wait> {
    let waits = wait.context().waits.upgrade()?;
    let mut waits = waits.borrow_mut();
    waits.retain(|wait| wait.state() != OpState::Completed);
    match wait.context().fault {
        Fault::CancelsTheFirst => waits.pop_front(),
        Fault::CancelsTheLast => waits.pop_back(),
        _ => None,
    }
}

/// The completion.
fn ring(wait: &Wait) {
    let queue = wait.context().reactor.queue();
    match wait.context().fault {
        Fault::NeverCompletes => return,
        Fault::NeverCompletesOnceCanceled if wait.state() == OpState::Canceling => return,
        Fault::CallsARecipientThatIsLive => {
            let bell = Rc::new(queue.recipient(()));
            let same = Rc::clone(&bell);
            let handler = move |(): &mut (), cx: &switchboard::Context<'_, ()>| {
                cx.call(|(), _| ());
                let _ = cx.queue().dial_all();
                drop(same);
            };
            bell.call(handler);
        }
        Fault::CancelsByItself | Fault::IsCanceledTooLate => {
            return drop(wait.complete(Err(OpError::Canceled)));
        }
        Fault::Panics => panic!("the bell has cracked"),
        _ => {}
    }
    drop(wait.complete(Ok(7)));
}

impl Subject for Bell {
    type Answer = u8;
    type Error = Infallible;

    fn open(&self) {
        self.open.set(self.fault != Fault::RefusesWhileOpen);
        self.was_open.set(true);
    }

    fn close(&self) {
        self.open.set(false);
    }

    fn start(&self, ready: Timing, done: Done) -> Result<Started, Box<dyn Error>> {
        let accepted = match self.fault {
            Fault::AcceptsBeforeOpen => !self.was_open.get(),
            Fault::AcceptsAfterClose => self.was_open.get(),
            _ => false,
        };
        if !self.open.get() && !accepted {
            self.refuse(done);
            return Err("the bell is not there".into());
        }
        let Some(done) = self.lose(done) else {
            return Ok(Started::new(self.other_handle()).with_trigger(|| ()));
        };
        self.leave();
        let wait = self.idle(done);
        if self.fault == Fault::OwnsItself {
            wait.context().wait.replace(Some(wait.clone()));
        }
        let started = self.handle(&wait).map_or_else(Started::without_handle, Started::new);
        if ready == Timing::AtOnce || self.fault == Fault::CompletesTooSoon {
            ring(&wait);
            if self.fault == Fault::DialsInStart {
                let _ = self.reactor.queue().dial_all();
            }
        }
        if matches!(self.fault, Fault::CancelsTheFirst | Fault::CancelsTheLast) {
            self.waits.borrow_mut().push_back(wait.clone());
        }
        match self.fault {
            Fault::GivesNoTrigger => {
                self.keep(wait);
                Ok(started)
            }
            Fault::LosesTheOperation => Ok(started.with_trigger(|| ())),
            Fault::CompletesTheOther => {
                let waits = Rc::clone(&self.waits);
                waits.borrow_mut().push_back(wait);
                Ok(started.with_trigger(move || {
                    let first = waits.borrow_mut().pop_front();
                    first.iter().for_each(ring);
                }))
            }
            _ => Ok(started.with_trigger(move || ring(&wait))),
        }
    }
}
