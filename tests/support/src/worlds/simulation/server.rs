//! Recipients that echo what they read, on scripted sources, and keep the books of it.

use std::io::ErrorKind;
use std::rc::Rc;

use mio::Interest;
use switchboard::Context;
use switchboard::reactor::{Readiness, Registration};
use switchboard::testing::{Peer, ScriptedSource};

use super::stage::{Stage, handle};
use crate::echo::Echo;
use crate::worlds::books::{Flow, Served};

/// The test's end of a connection.
pub struct Link {
    pub peer: Peer,
    pub flow: Flow,
}

impl Link {
    pub fn push(&self, bytes: usize) {
        let bytes = self.flow.next(bytes);
        self.peer.push(&bytes);
        Flow::add(&self.flow.pushed, bytes.len());
    }
}

/// A recipient with connections.
#[derive(Default)]
pub struct Server(Vec<Connection>);

pub struct Connection {
    registration: Registration<ScriptedSource>,
    link: Rc<Link>,
    echo: Echo,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.link.flow.discard();
    }
}

impl Server {
    /// Takes a random connection out.
    pub fn take(&mut self, stage: &Stage) -> Option<Connection> {
        (!self.0.is_empty()).then(|| self.0.swap_remove(stage.pick(self.0.len())))
    }

    pub fn connect(&mut self, stage: &Rc<Stage>, cx: &Context<'_, Self>) {
        let (source, peer) = stage.sources.pair();
        if stage.fault(8) {
            peer.fail_registering(ErrorKind::OutOfMemory);
        }
        let link = Rc::new(Link { peer, flow: Flow::default() });
        if stage.one_in(2) {
            link.push(3);
        }
        let both = Interest::READABLE | Interest::WRITABLE;
        let (own, reported) = (Rc::clone(stage), Rc::clone(&link));
        let registered = stage.handle.register(source, both, cx, move |server, cx, ready| {
            Self::ready(server, &own, &reported, cx, ready);
        });
        // One that is refused is closed.
        if let Ok(registration) = registered {
            let connection =
                Connection { registration, link: Rc::clone(&link), echo: Echo::default() };
            self.0.push(connection);
        }
        stage.links.borrow_mut().push(link);
    }

    fn ready(
        &mut self,
        stage: &Rc<Stage>,
        link: &Rc<Link>,
        cx: &Context<'_, Self>,
        ready: &Readiness<'_>,
    ) {
        let verdict = stage.verdict();
        verdict.check("L4", link.flow.reported.replace(false), || {
            "readiness that was not reported".into()
        });
        let (due, attempts) = (link.flow.due.take(), stage.calls.attempts());
        let in_time = due.is_none_or(|due| attempts <= due);
        verdict.check("L8", in_time, || format!("seen at attempt {attempts}, due at {due:?}"));
        let place = self.0.iter().position(|connection| Rc::ptr_eq(&connection.link, link));
        let Some(place) = place else {
            verdict.check("L4", false, || "readiness of a source that is gone".into());
            return;
        };
        let Connection { registration, echo, .. } = &mut self.0[place];
        match link.flow.serve(echo, registration.source_mut(), 16, verdict) {
            Served::Blocked => {}
            Served::More => {
                link.flow.reported.set(true);
                ready.again();
            }
            Served::Over => drop(self.0.swap_remove(place)),
        }
        if stage.fault(20) {
            drop(self.take(stage));
            self.connect(stage, cx);
        }
        if stage.fault(60) {
            cx.hang_up();
        }
        handle(stage, cx.queue());
    }
}
