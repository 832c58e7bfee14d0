//! A stream on a scripted source, driven by a function.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use switchboard::streams::{Input, Output, Stream, StreamSource, StreamStatus};
use switchboard::testing::{Peer, ScriptedReactor, ScriptedSource};
use switchboard::{Context, Recipient};

type Process = Box<dyn FnMut(&mut Input, &mut Output)>;

/// Drives a stream by a function, and notes how it is.
pub(crate) struct Driver<S: StreamSource + 'static> {
    pub(crate) stream: Stream<S>,
    process: Process,
    status: Rc<Cell<Option<StreamStatus>>>,
    calls: Rc<Cell<usize>>,
}

impl<S: StreamSource + 'static> Driver<S> {
    pub(crate) fn on_ready(&mut self, _: &Context<'_, Self>) {
        self.calls.set(self.calls.get() + 1);
        self.status.set(Some(self.stream.drive(&mut self.process)));
    }
}

pub(crate) struct Rig<S: StreamSource + 'static = ScriptedSource> {
    pub(crate) reactor: ScriptedReactor,
    pub(crate) driver: Recipient<Driver<S>>,
    pub(crate) peer: Peer,
    pub(crate) status: Rc<Cell<Option<StreamStatus>>>,
    pub(crate) calls: Rc<Cell<usize>>,
}

impl<S: StreamSource + fmt::Debug + 'static> Rig<S> {
    /// On what `wrap` makes of the scripted source.
    pub(crate) fn around(
        wrap: impl FnOnce(ScriptedSource) -> S,
        process: impl FnMut(&mut Input, &mut Output) + 'static,
    ) -> Self {
        let reactor = ScriptedReactor::new().unwrap();
        let (source, peer) = reactor.pair();
        let (status, calls) = (Rc::new(Cell::new(None)), Rc::new(Cell::new(0)));
        let (noted, counted) = (Rc::clone(&status), Rc::clone(&calls));
        let driver = reactor.queue().recipient_with(|own| Driver {
            stream: Stream::new(&reactor.handle(), wrap(source), own, Driver::on_ready).unwrap(),
            process: Box::new(process),
            status: noted,
            calls: counted,
        });
        Self { reactor, driver, peer, status, calls }
    }

    /// Settles, and checks that no bytes are lost.
    #[track_caller]
    pub(crate) fn run(&mut self) -> StreamStatus {
        self.reactor.settle(1000).unwrap();
        self.with(|stream| {
            let waiting = (stream.input().len() + stream.output().len()) as u64;
            assert_eq!(stream.received(), stream.sent() + waiting, "{stream:?}");
        });
        self.status.get().expect("it was called")
    }

    /// Looks at the stream.
    #[track_caller]
    pub(crate) fn with<R: 'static>(&self, look: impl FnOnce(&mut Stream<S>) -> R + 'static) -> R {
        let seen = Rc::new(RefCell::new(None));
        let result = Rc::clone(&seen);
        self.driver.call(move |driver, _| *result.borrow_mut() = Some(look(&mut driver.stream)));
        self.reactor.queue().dial_all();
        seen.take().unwrap()
    }
}

impl Rig {
    pub(crate) fn new(process: impl FnMut(&mut Input, &mut Output) + 'static) -> Self {
        Self::around(|source| source, process)
    }

    /// Settles, and checks that no bytes are lost, and that no source was left unread.
    #[track_caller]
    pub(crate) fn settle(&mut self) -> StreamStatus {
        let status = self.run();
        self.reactor.check_drained().unwrap();
        status
    }

    pub(crate) fn echo() -> Self {
        Self::new(echo)
    }
}

/// Sends back what comes, and ends when that does.
pub(crate) fn echo(input: &mut Input, output: &mut Output) {
    output.append(input);
    if input.is_over() {
        output.finish();
    }
}
