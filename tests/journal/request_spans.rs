//! Hazard: what a handler logs does not carry the request that it works for, as its call was created
//! elsewhere, or comes from a timer, an operation, a source or another thread.

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use mio::Interest;
use mio::net;
use switchboard::op::OpResult;
use switchboard::reactor::{Reactor, ReactorHandle, Readiness, Registration};
use switchboard::samples::{LlFakeCancel, Module, ModuleExt, ThreadPool, Work};
use switchboard::{CallQueue, Context, DialSpans, QueueHandle, Recipient, Recipients};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber, debug_span, info, info_span};
use tracing_core::span::Current;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;

/// What the formatter of `tracing-subscriber` writes.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Lines {
    /// All that was written.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines so far whose message begins with `message`, which are at least one.
    #[track_caller]
    fn of(&self, message: &str) -> Vec<String> {
        let text = self.text();
        let message = format!(": {message}");
        let lines: Vec<_> =
            text.lines().filter(|line| line.contains(&message)).map(str::to_owned).collect();
        assert!(!lines.is_empty(), "no line of {message:?} in:\n{text}");
        lines
    }
}

/// Runs a story whose lines are formatted, once with the spans of calls and once without.
pub(crate) fn formatted(story: impl Fn(&Lines)) {
    for level in [Level::DEBUG, Level::INFO] {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .without_time()
            .with_writer(lines.clone())
            .finish();
        let _default = subscriber.set_default();
        story(&lines);
    }
}

/// A server whose requests are read from a socket, worked on by a thread, wait for a timer, and are
/// answered.
struct Server {
    reactor: ReactorHandle,
    work: Rc<LlFakeCancel<u8, io::Error>>,
    sessions: Recipients<Session>,
}

struct Session {
    socket: Registration<net::TcpStream>,
    reactor: ReactorHandle,
    work: Rc<LlFakeCancel<u8, io::Error>>,
}

impl Server {
    fn accepted(&mut self, client: u32, socket: TcpStream) {
        let _request = info_span!("request", client).entered();
        info!("accepted");
        let (reactor, work) = (&self.reactor, Rc::clone(&self.work));
        self.sessions.insert_with(|own| {
            let socket = net::TcpStream::from_std(socket);
            let socket = reactor.register(socket, Interest::READABLE, own, Session::ready);
            Session { socket: socket.unwrap(), reactor: reactor.clone(), work }
        });
    }
}

impl Session {
    fn ready(&mut self, cx: &Context<'_, Self>, _: &Readiness<'_>) {
        let mut byte = [0];
        if self.socket.source_mut().read(&mut byte).is_ok() {
            info!("read");
            let work: Work<u8, io::Error> = Box::new(move || Ok(byte[0] + 1));
            let worked = cx.address().callback(Self::worked);
            self.work.start(work, worked).unwrap();
        }
    }

    fn worked(&mut self, cx: &Context<'_, Self>, result: OpResult<u8, io::Error>) {
        info!("worked");
        let waited =
            cx.address().callback(move |session: &mut Self, cx: &Context<'_, Self>, ()| {
                info!("waited");
                session.socket.source_mut().write_all(&[result.unwrap()]).unwrap();
                cx.call(|_, cx| {
                    info!("answered");
                    cx.hang_up();
                });
            });
        self.reactor.after(Duration::ZERO, waited).detach();
    }
}

#[test]
fn a_requests_lines_carry_its_span_from_accept_to_answer() {
    formatted(|lines| {
        let mut reactor = Reactor::new().unwrap();
        reactor.queue().add_observer(DialSpans::new());
        let work = LlFakeCancel::new(&reactor.handle(), &ThreadPool::new(2));
        work.open();
        let sessions = Recipients::new(reactor.queue());
        let server = Server { reactor: reactor.handle(), work: Rc::new(work), sessions };
        let server = reactor.queue().recipient(server);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut clients: Vec<_> = (1..=3)
            .map(|client| {
                let own = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let (socket, _) = listener.accept().unwrap();
                socket.set_nonblocking(true).unwrap();
                server.call(move |server, _| server.accepted(client, socket));
                own
            })
            .collect();
        for (client, socket) in (10..).zip(&mut clients) {
            socket.write_all(&[client]).unwrap();
        }
        reactor.run().unwrap();
        for (client, socket) in (10..).zip(&mut clients) {
            let mut answer = [0];
            socket.read_exact(&mut answer).unwrap();
            assert_eq!(answer, [client + 1]);
        }
        for message in ["accepted", "read", "worked", "waited", "answered"] {
            let found = lines.of(message);
            for client in 1..=3 {
                let span = format!("request{{client={client}}}");
                let its = found.iter().filter(|line| line.matches(&span).count() == 1);
                assert_eq!((its.count(), found.len()), (1, 3), "{span} in {found:#?}");
            }
            assert!(found.iter().all(|line| line.matches("request{").count() == 1), "{found:#?}");
        }
    });
}

/// Asserts that there is one line of the message, which carries the span once.
#[track_caller]
fn assert_carries(lines: &Lines, message: &str, span: &str) {
    let found = lines.of(message);
    let carries = found.iter().all(|line| line.matches(span).count() == 1);
    assert!(found.len() == 1 && carries, "{span} in {found:#?}");
}

/// A queue whose handlers' lines are looked at.
fn queue() -> CallQueue {
    let queue = CallQueue::new();
    queue.add_observer(DialSpans::new());
    queue
}

#[test]
fn a_span_that_is_entered_within_a_handler_goes_with_what_is_created_there() {
    formatted(|lines| {
        let queue = queue();
        let server: Recipient<()> = queue.recipient(());
        let address = server.address();
        queue.call(move |queue: &QueueHandle| {
            info_span!("request", id = 1).in_scope(|| {
                queue.call(|_| info!("now called"));
                address.callback(|(), _, ()| info!("now answered")).answer(());
                let kept = address.callback(|(), _, ()| info!("later answered"));
                queue.call(move |_| info_span!("other").in_scope(|| kept.answer(())));
            });
            queue.call(|_| info!("not of it"));
        });
        queue.dial_all();
        assert_carries(lines, "now called", "request{id=1}");
        assert_carries(lines, "now answered", "request{id=1}");
        assert_carries(lines, "later answered", "request{id=1}");
        assert!(!lines.of("not of it")[0].contains("request{"));
    });
}

#[test]
fn what_another_thread_sends_or_answers_carries_a_span_too() {
    formatted(|lines| {
        let mut reactor = Reactor::new().unwrap();
        reactor.queue().add_observer(DialSpans::new());
        let answered = info_span!("request", id = 2)
            .in_scope(|| reactor.queue().callback(|_, ()| info!("answered from a thread")));
        let (answered, remote) = (reactor.remote_callback(answered), reactor.remote());
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        let sender = thread::spawn(move || {
            let _default = dispatch.set_default();
            let _sends = info_span!("thread", name = "sender").entered();
            remote.call(|_| info!("sent by a thread")).unwrap();
            answered.answer(()).unwrap();
        });
        reactor.run().unwrap();
        sender.join().unwrap();
        assert_carries(lines, "sent by a thread", "thread{name=\"sender\"}");
        assert_carries(lines, "answered from a thread", "request{id=2}");
    });
}

#[test]
fn an_operation_that_is_retried_and_has_a_deadline_carries_the_span_that_it_was_started_in() {
    formatted(|lines| {
        let mut reactor = Reactor::new().unwrap();
        reactor.queue().add_observer(DialSpans::new());
        let work = LlFakeCancel::<u8, io::Error>::new(&reactor.handle(), &ThreadPool::new(1));
        let module = Rc::new(work).within(&reactor.handle(), Duration::from_secs(600));
        module.open();
        let done =
            |_: &QueueHandle, result: OpResult<u8, io::Error>| info!("done: {}", result.is_ok());
        info_span!("request", id = 3).in_scope(|| {
            let done = reactor.queue().callback(done);
            module.start(Box::new(|| Ok(1)), done).unwrap();
        });
        reactor.run().unwrap();
        assert_carries(lines, "done: true", "request{id=3}");
    });
}

/// The span was lost once the chain of calls had begun anew.
#[test]
fn a_long_chain_of_calls_carries_the_span_that_it_was_begun_in() {
    fn link(queue: &QueueHandle, left: u32) {
        if left > 0 {
            queue.call(move |queue| link(queue, left - 1));
        } else {
            info!("the last one");
        }
    }
    formatted(|lines| {
        let queue = queue();
        queue.call(|queue| info_span!("request", id = 4).in_scope(|| link(queue, 100)));
        queue.dial_all();
        assert_carries(lines, "the last one", "request{id=4}");
        let calls = lines.of("the last one")[0].matches("call{").count();
        assert!(calls <= 17, "{calls} spans of calls");
    });
}

/// Each of these spans is within the last, so at some time one of them begins anew.
#[test]
fn a_chain_of_spans_that_goes_on_forever_keeps_a_bounded_number_of_calls_open() {
    fn link(queue: &QueueHandle, left: u32, most: &Rc<Cell<usize>>, lines: &Lines) {
        let _own = debug_span!("step").entered();
        if left > 0 {
            let (most, lines) = (Rc::clone(most), lines.clone());
            queue.call(move |queue| link(queue, left - 1, &most, &lines));
        } else {
            info!("the end");
            most.set(lines.of("the end")[0].matches("call{").count());
        }
    }
    formatted(|lines| {
        let queue = queue();
        let (most, copy) = (Rc::new(Cell::new(0)), lines.clone());
        let calls = Rc::clone(&most);
        queue.call(move |queue| link(queue, 100, &most, &copy));
        queue.dial_all();
        assert!(calls.get() <= 17, "{} spans of calls", calls.get());
    });
}

#[test]
fn spans_that_are_removed_within_a_handler_are_left_though_another_queue_has_them() {
    formatted(|lines| {
        let (spans, queue, other) = (Rc::new(DialSpans::new()), CallQueue::new(), CallQueue::new());
        other.add_observer(Rc::clone(&spans));
        let id = queue.add_observer(Rc::clone(&spans));
        info_span!("request", id = 5).in_scope(|| {
            queue.call(move |queue| {
                queue.call(|_| ());
                queue.remove_observer(id);
                info!("removed");
            });
        });
        queue.dial_all();
        assert!(!lines.of("removed")[0].contains("request{"));
        assert_eq!(format!("{spans:?}"), "DialSpans(0 waiting, 0 live)");
    });
}

thread_local! {
    /// Called whenever a reference to a span drops.
    static ON_DROP: RefCell<Option<QueueHandle>> = const { RefCell::new(None) };
}

/// A registry of spans that uses a queue whenever a reference to a span drops.
struct UsesQueue(Registry);

impl Subscriber for UsesQueue {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.0.new_span(span)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.0.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.0.record_follows_from(span, follows);
    }

    fn event(&self, event: &Event<'_>) {
        self.0.event(event);
    }

    fn enter(&self, span: &Id) {
        self.0.enter(span);
    }

    fn exit(&self, span: &Id) {
        self.0.exit(span);
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.0.clone_span(span)
    }

    fn current_span(&self) -> Current {
        self.0.current_span()
    }

    fn try_close(&self, span: Id) -> bool {
        let queue = ON_DROP.take();
        if let Some(queue) = &queue {
            let call = queue.call(|_| ());
            let _ = queue.cancel(call, "not needed");
        }
        ON_DROP.set(queue);
        self.0.try_close(span)
    }
}

/// Where a call was answered was dropped while the list of calls was borrowed.
#[test]
fn a_subscriber_may_use_the_queue_whenever_a_span_drops() {
    let _default = UsesQueue(Registry::default()).set_default();
    let queue = queue();
    ON_DROP.set(Some(queue.handle()));
    queue.call(|queue| {
        let first = info_span!("first").in_scope(|| queue.callback(|_, ()| ()));
        info_span!("second").in_scope(|| first.answer(()));
    });
    queue.dial_all();
    ON_DROP.take();
    assert_eq!(queue.tally().pending, 0);
}
