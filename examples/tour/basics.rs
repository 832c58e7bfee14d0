//! Calls and operations: how they end, and what happens to those that come to a bad end.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use switchboard::op::{AsyncOp, OpError, OpResult, OpState};
use switchboard::reactor::Reactor;
use switchboard::samples::{LlRealCancel, Module, Read, Socket};
use switchboard::{CallId, Cancellation, Recipient};

use super::story::{Ends, Outcome, Story, ended, ensure, say};

pub(crate) const STORIES: &[Story] = &[
    (
        "An operation completes",
        "A read waits on a socket. The peer sends, so the socket becomes ready: that is a call to the \
         reader, which completes the operation; its result is a call to the client.",
        completes,
    ),
    (
        "An operation is canceled while it waits",
        "The same, but the client cancels. It receives one call, with Canceled, and what the peer \
         sends afterwards reaches no one.",
        canceled_while_waiting,
    ),
    (
        "An operation is canceled late",
        "The client cancels when the result is scheduled already. That changes nothing: the real \
         result arrives. It is also too late to cancel the call that delivered it.",
        canceled_late,
    ),
    (
        "A callback is canceled before it is scheduled",
        "The recipient does not want the call any more. Its caller need not know: it answers, and \
         no handler runs.",
        canceled_before_scheduled,
    ),
    (
        "Three handlers schedule calls",
        "Calls are dialed in the order in which they were scheduled, and handlers schedule at the \
         tail: first all three, then what each of them has scheduled.",
        in_order,
    ),
    (
        "A handler dials the queue",
        "Call A is to a server, whose handler dials. The call to another recipient is dialed within, \
         but call B, to the server itself, is refused: the server is live with A. That is a bug, \
         reported with both calls.",
        nested_dial,
    ),
    (
        "A callback is dropped",
        "Its caller forgot to answer it. That is a bug as well, reported with the site that created it.",
        dropped_callback,
    ),
    (
        "A call is canceled twice",
        "The second cancel returns Already: the first reason stays. Unlike the cancel of an operation, \
         that of a call is silent: no handler runs.",
        canceled_twice,
    ),
    (
        "A recipient is dropped while a call is pending",
        "Its owner drops it. The call to it is refused when the queue reaches the call; its caller \
         need not know.",
        recipient_goes,
    ),
    (
        "A handler panics",
        "The panic unwinds to the code that dials, here the tour. The call behind it is still pending, \
         and is dialed in the next turn.",
        panicking_handler,
    ),
];

fn completes(reactor: &mut Reactor) -> Outcome {
    let mut reading = Reading::start(reactor)?;
    reading.peer.write_all(b"hello")?;
    let ended = ended(reactor, |reactor| reading.wait(reactor))?;
    let text = reading.text()?;
    say(&format!("The client got {text:?}."));
    ensure(text == "hello", "the client got what the peer sent")?;
    ensure(ended == Ends { finished: 2, ..Ends::default() }, "two calls finished")
}

fn canceled_while_waiting(reactor: &mut Reactor) -> Outcome {
    let mut reading = Reading::start(reactor)?;
    let ended = ended(reactor, |reactor| {
        let cancellation = reading.op.cancel();
        say(&format!("The client cancels the operation: {cancellation:?}."));
        ensure(cancellation == Cancellation::Canceled, "the operation was canceled in time")?;
        // The socket is closed by now, so this may fail; no one reads it in any case.
        let _ = reading.peer.write_all(b"anybody there?");
        reading.wait(reactor)
    })?;
    let result = reading.client.result.take();
    let canceled = matches!(result, Some(Err(OpError::Canceled)));
    ensure(canceled, "the client was notified that the operation is canceled")?;
    ensure(ended == Ends { finished: 1, ..Ends::default() }, "that was the only call")
}

fn canceled_late(reactor: &mut Reactor) -> Outcome {
    let mut reading = Reading::start(reactor)?;
    reading.peer.write_all(b"too late")?;
    let ended = ended(reactor, |reactor| {
        // One call a turn, so that there is a moment between completion and client.
        reactor.set_budget(1);
        while reading.op.state() != OpState::Completed {
            let _ = reactor.turn(None)?;
        }
        reactor.set_budget(1024);
        let cancellation = reading.op.cancel();
        say(&format!("The client cancels the operation: {cancellation:?}."));
        ensure(cancellation == Cancellation::Late, "the cancel came too late")?;
        reading.wait(reactor)?;
        let cancellation = reactor.queue().cancel(reading.done, "just to be sure");
        ensure(cancellation == Cancellation::Late, "the call cannot be canceled either")
    })?;
    let text = reading.text()?;
    say(&format!("The client got {text:?}."));
    ensure(text == "too late", "the real result arrived")?;
    ensure(ended == Ends { finished: 2, ..Ends::default() }, "two calls finished")
}

fn canceled_before_scheduled(reactor: &mut Reactor) -> Outcome {
    let client = reactor.queue().recipient(Client::default());
    let ended = ended(reactor, |reactor| {
        let callback = client.callback(|client, _, answer| client.answer.set(Some(answer)));
        let queue = reactor.queue();
        let canceled = queue.cancel(callback.id(), "the client went away");
        ensure(canceled == Cancellation::Canceled, "the callback was canceled")?;
        callback.answer(42);
        say("The caller answers.");
        let report = queue.dial_all();
        ensure(report.dialed == 0, "nothing was dialed")
    })?;
    ensure(ended == Ends { canceled: 1, ..Ends::default() }, "one call ended canceled")
}

fn in_order(reactor: &mut Reactor) -> Outcome {
    /// A recipient, and the order in which all of them were called.
    struct Clerk(&'static str, Rc<RefCell<Vec<&'static str>>>);

    let order = Rc::new(RefCell::new(Vec::new()));
    let clerk = |name| reactor.queue().recipient(Clerk(name, Rc::clone(&order)));
    let clerks = ["Ann", "Bob", "Cid"].map(clerk);
    let ended = ended(reactor, |reactor| {
        for clerk in &clerks {
            clerk.call(|clerk, cx| {
                clerk.1.borrow_mut().push(clerk.0);
                cx.call(|clerk, _| clerk.1.borrow_mut().push(clerk.0));
            });
        }
        let _ = reactor.queue().dial_all();
        Ok(())
    })?;
    say(&format!("Called, in this order: {}.", order.borrow().join(", ")));
    let expected = ["Ann", "Bob", "Cid", "Ann", "Bob", "Cid"];
    ensure(*order.borrow() == expected, "they were called in the order of scheduling")?;
    ensure(ended == Ends { finished: 6, ..Ends::default() }, "six calls finished")
}

fn nested_dial(reactor: &mut Reactor) -> Outcome {
    struct Server;
    struct Other;
    let queue = reactor.queue();
    let (server, other) = (queue.recipient(Server), queue.recipient(Other));
    let ended = ended(reactor, |reactor| {
        let a = server.call(|_, cx| {
            let _ = cx.queue().dial_all();
        });
        other.call(|_, _| ());
        let b = server.call(|_, _| ());
        say(&format!("Call A is {a}, call B is {b}."));
        let _ = reactor.queue().dial_all();
        Ok(())
    })?;
    let expected = Ends { finished: 2, refused: 1, ..Ends::default() };
    ensure(ended == expected, "two calls finished, and one was refused")
}

fn canceled_twice(reactor: &mut Reactor) -> Outcome {
    let ended = ended(reactor, |reactor| {
        let queue = reactor.queue();
        let call = queue.call(|_| ());
        ensure(queue.cancel(call, "unwanted") == Cancellation::Canceled, "the call was canceled")?;
        let again = queue.cancel(call, "unwanted still");
        say(&format!("The second cancel returns {again:?}."));
        ensure(again == Cancellation::Already, "the second cancel changed nothing")?;
        ensure(queue.dial_all().dialed == 0, "nothing was dialed")
    })?;
    ensure(ended == Ends { canceled: 1, ..Ends::default() }, "one call ended canceled")
}

fn recipient_goes(reactor: &mut Reactor) -> Outcome {
    let ended = ended(reactor, |reactor| {
        let client = reactor.queue().recipient(Client::default());
        client.call(|_, _| ());
        client.hang_up();
        ensure(reactor.queue().dial_all().refused == 1, "the call was refused")
    })?;
    ensure(ended == Ends { refused: 1, ..Ends::default() }, "one call ended refused")
}

fn dropped_callback(reactor: &mut Reactor) -> Outcome {
    let client = reactor.queue().recipient(Client::default());
    let ended = ended(reactor, |_| {
        drop(client.callback(|client, _, answer| client.answer.set(Some(answer))));
        Ok(())
    })?;
    ensure(ended == Ends { abandoned: 1, ..Ends::default() }, "one call was abandoned")
}

fn panicking_handler(reactor: &mut Reactor) -> Outcome {
    let client = reactor.queue().recipient(Client::default());
    let ended = ended(reactor, |reactor| {
        client.call(|_, _| panic!("the handler lost its head"));
        client.call(|client, _| client.answer.set(Some(1)));
        let turn = panic::catch_unwind(AssertUnwindSafe(|| reactor.turn(None)));
        ensure(turn.is_err(), "the panic came here")?;
        let report = reactor.turn(None)?;
        ensure(report.dialed == 1, "the next turn dialed the next call")
    })?;
    let expected = Ends { finished: 1, panicked: 1, ..Ends::default() };
    ensure(ended == expected, "one call panicked, and one finished")
}

// What the stories share.

/// The outcome of a read.
type Received = OpResult<Vec<u8>, io::Error>;

/// Who gets results. Its fields can be looked at from outside.
#[derive(Clone, Default)]
struct Client {
    result: Rc<RefCell<Option<Received>>>,
    answer: Rc<Cell<Option<u32>>>,
}

/// A read that runs, and the peer that it reads from.
struct Reading {
    op: AsyncOp,
    /// The call that notifies the client.
    done: CallId,
    peer: TcpStream,
    client: Client,
    _recipient: Recipient<Client>,
}

impl Reading {
    fn start(reactor: &Reactor) -> Result<Self, Box<dyn Error>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let source = TcpStream::connect(listener.local_addr()?)?;
        let (peer, _) = listener.accept()?;
        source.set_nonblocking(true)?;
        let source = mio::net::TcpStream::from_std(source);

        let client = Client::default();
        let recipient = reactor.queue().recipient(client.clone());
        let reads = LlRealCancel::new();
        reads.open();
        let callback = recipient.callback(|client, _, result| {
            client.result.replace(Some(result));
        });
        let done = callback.id();
        let from = Socket::stream(&reactor.handle(), source)?;
        let op = reads.start(Read { from, limit: 1024 }, callback)?;
        Ok(Self { op, done, peer, client, _recipient: recipient })
    }

    /// Turns until the client has the result.
    fn wait(&self, reactor: &mut Reactor) -> Outcome {
        while self.client.result.borrow().is_none() {
            let _ = reactor.turn(None)?;
        }
        ensure(reactor.handle().registration_count() == 0, "no source is registered any more")
    }

    fn text(&self) -> Result<String, Box<dyn Error>> {
        let result = self.client.result.take().ok_or("the client got no result")?;
        Ok(String::from_utf8(result?)?)
    }
}
