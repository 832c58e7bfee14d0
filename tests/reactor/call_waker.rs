//! Hazard: a future polled by calls that is not polled again, or polled without end.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{self, Poll, Waker};
use std::thread;
use std::time::Duration;

use switchboard::reactor::Reactor;
use switchboard::{CallId, Context, Recipient, Step, future};

/// Counts the calls of a waker.
struct Woken {
    times: Rc<Cell<u32>>,
}

fn world() -> (Reactor, Recipient<Woken>, Rc<Cell<u32>>, Waker) {
    let reactor = Reactor::new().unwrap();
    let times = Rc::new(Cell::new(0));
    let recipient = reactor.queue().recipient(Woken { times: Rc::clone(&times) });
    let waker = reactor
        .remote_to(&recipient)
        .waker(|woken: &mut Woken, _| woken.times.set(woken.times.get() + 1));
    (reactor, recipient, times, waker)
}

fn turn(reactor: &mut Reactor) -> u64 {
    reactor.turn(Some(Duration::ZERO)).unwrap().dialed
}

#[test]
fn wake_ups_merge_until_the_call_is_live() {
    let (mut reactor, _recipient, times, waker) = world();
    for _ in 0..3 {
        waker.wake_by_ref();
        let clone = waker.clone();
        clone.wake_by_ref();
        drop(clone);
        assert_eq!((turn(&mut reactor), turn(&mut reactor)), (1, 0));
    }
    assert_eq!(times.get(), 3);
    // Pending and not dialed yet: still the same call.
    reactor.set_budget(0);
    waker.wake_by_ref();
    turn(&mut reactor);
    waker.wake_by_ref();
    turn(&mut reactor);
    assert_eq!(reactor.queue().tally().pending, 1);
}

#[test]
fn a_wake_up_within_the_call_leads_to_another() {
    let mut reactor = Reactor::new().unwrap();
    let waker = Rc::new(Cell::new(None::<Waker>));
    let left = reactor.queue().recipient((5, Rc::clone(&waker)));
    waker.set(Some(reactor.remote_to(&left).waker(
        |(left, waker): &mut (u32, Rc<Cell<Option<Waker>>>), _| {
            *left -= 1;
            if let Some(own) = waker.take()
                && *left > 0
            {
                own.wake_by_ref();
                own.wake_by_ref();
                waker.set(Some(own));
            }
        },
    )));
    let first = waker.take().unwrap();
    waker.set(Some(first.clone()));
    first.wake();
    reactor.run().unwrap(); // ends, as the waker is gone in the end
    assert_eq!(reactor.queue().tally().finished, 5);
}

#[test]
fn a_wake_up_that_is_deferred_comes_right_after_the_live_call() {
    let (mut reactor, recipient, times, waker) = world();
    // A handler of the same recipient dials the queue when the wake-up is pending.
    let own = waker.clone();
    recipient.call(move |woken, cx| {
        let report = cx.queue().dial_all();
        assert_eq!((report.dialed, report.refused, report.remaining), (0, 0, 1));
        own.wake_by_ref(); // merges: the call is still pending
        let times = Rc::clone(&woken.times);
        cx.queue().call(move |_| assert_eq!(times.get(), 1, "something came first"));
    });
    waker.wake_by_ref();
    assert_eq!((turn(&mut reactor), times.get()), (3, 1));
    assert_eq!((turn(&mut reactor), reactor.queue().tally().refused), (0, 0));
    waker.wake_by_ref();
    assert_eq!((turn(&mut reactor), times.get()), (1, 2));
}

#[test]
fn a_wake_up_that_is_canceled_comes_again() {
    let (mut reactor, _recipient, times, waker) = world();
    let last = Rc::new(Cell::new(None));
    let seen = Rc::clone(&last);
    reactor.queue().add_observer(move |id: CallId, step: &Step| {
        if let Step::Scheduled { .. } = step {
            seen.set(Some(id));
        }
    });
    reactor.set_budget(0);
    waker.wake_by_ref();
    turn(&mut reactor);
    reactor.queue().cancel(last.take().unwrap(), "by a stranger");
    reactor.set_budget(10);
    assert_eq!((turn(&mut reactor), times.get()), (1, 1));
}

#[test]
fn a_waker_whose_recipient_is_gone_does_nothing_more() {
    let (mut reactor, recipient, times, waker) = world();
    reactor.set_budget(0);
    waker.wake_by_ref();
    turn(&mut reactor);
    drop(recipient);
    reactor.set_budget(10);
    turn(&mut reactor);
    assert_eq!(reactor.queue().tally().refused, 1);
    assert_eq!(reactor.poll_timeout(), None, "it does not come again");
    waker.wake_by_ref();
    turn(&mut reactor);
    assert_eq!((reactor.queue().tally().refused, times.get()), (2, 0));
    assert_eq!(reactor.poll_timeout(), None);
}

#[test]
fn a_waker_may_outlive_the_reactor() {
    let (reactor, recipient, times, waker) = world();
    waker.wake_by_ref();
    drop(reactor);
    waker.wake_by_ref();
    drop(recipient);
    waker.wake();
    assert_eq!(times.get(), 0);
}

#[test]
fn bounds_do_not_keep_wake_ups_away() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(0);
    let address = reactor.remote_to(&recipient).bounded(0);
    assert!(address.call(|_, _| ()).is_err());
    address.waker(|times: &mut i32, _| *times += 1).wake();
    assert_eq!(turn(&mut reactor), 1);
}

/// An async function that is a recipient.
struct Session {
    body: Pin<Box<dyn Future<Output = ()>>>,
    waker: Waker,
    polls: Rc<Cell<u32>>,
}

impl Session {
    fn poll(&mut self, cx: &Context<'_, Self>) {
        self.polls.set(self.polls.get() + 1);
        if self.body.as_mut().poll(&mut task::Context::from_waker(&self.waker)).is_ready() {
            cx.hang_up();
        }
    }
}

fn session(
    reactor: &Reactor,
    body: impl Future<Output = ()> + 'static,
) -> (Recipient<Session>, Rc<Cell<u32>>) {
    let polls = Rc::new(Cell::new(0));
    let session = reactor.queue().recipient_with(|own| Session {
        body: Box::pin(body),
        waker: reactor.remote_to(own).waker(Session::poll),
        polls: Rc::clone(&polls),
    });
    session.call(Session::poll);
    (session, polls)
}

#[test]
fn a_future_is_polled_by_the_queue_until_it_is_ready() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let sum = Rc::new(Cell::new(0));
    let total = Rc::clone(&sum);
    let (session, polls) = session(&reactor, async move {
        for step in 1..=10 {
            let (due, elapsed) = future::callback(handle.queue());
            let _timer = handle.after(Duration::from_micros(100), due);
            elapsed.await.unwrap();
            total.set(total.get() + step);
        }
    });
    reactor.run().unwrap();
    assert!(session.is_gone());
    assert_eq!((sum.get(), polls.get()), (55, 11), "one poll for each wake-up");
}

#[test]
fn a_future_is_woken_by_another_thread() {
    struct Baton(Arc<Mutex<(bool, Option<Waker>)>>);
    impl Future for Baton {
        type Output = ();
        fn poll(self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<()> {
            let mut state = self.0.lock().unwrap();
            state.1 = Some(context.waker().clone());
            if state.0 { Poll::Ready(()) } else { Poll::Pending }
        }
    }
    let mut reactor = Reactor::new().unwrap();
    let state = Arc::new(Mutex::new((false, None::<Waker>)));
    let (session, _) = session(&reactor, Baton(Arc::clone(&state)));
    turn(&mut reactor);
    let thread = thread::spawn(move || {
        let waker = {
            let mut state = state.lock().unwrap();
            state.0 = true;
            state.1.take()
        };
        waker.expect("it was polled").wake();
    });
    reactor.run().unwrap(); // asleep until then: the waker is alive
    thread.join().unwrap();
    assert!(session.is_gone());
}

#[test]
fn dropping_the_recipient_drops_its_future() {
    let reactor = Reactor::new().unwrap();
    let (callback, answer) = future::callback::<()>(reactor.queue());
    let (session, _) = session(&reactor, async move { answer.await.unwrap() });
    drop(session);
    assert!(!callback.is_wanted());
    callback.decline("no one waits");
}
