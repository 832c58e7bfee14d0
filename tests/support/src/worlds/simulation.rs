//! A whole loop, on a scripted reactor and a virtual clock: recipients that echo, operations, timers and
//! senders. First everything goes wrong, at random: events are lost, doubled, reordered, spurious or
//! stale, reads and writes are short or fail, handlers and captured values panic, recipients hang up,
//! sources are swapped in their slots. Then nothing does any more, and all must come to its end in a
//! bounded number of turns. The laws L1 to L8 are checked after every step.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mio::Token;
use switchboard::op::OpState;
use switchboard::reactor::{EventStats, Timer};
use switchboard::testing::{self, Event, Peer, Ready, ScriptedReactor};

use crate::story::{Counts, Decisions, World, attempt};
use crate::worlds::books::Sent;

use server::Link;
use stage::Stage;

mod server;
mod stage;

const STEPS: usize = 100;

pub struct Simulation {
    _end: End,
    /// Whether the loop is dropped in the middle of it all.
    is_abandoned: bool,
    steps: usize,
    reactor: ScriptedReactor,
    stage: Rc<Stage>,
    /// Events that are held back.
    held: Vec<Event>,
    /// Events of all times.
    old: Vec<Event>,
    turns: u64,
}

/// Whatever has come of it: what is dropped behind this does not panic.
struct End(Rc<Stage>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.faults.set(false);
        Stage::leave();
    }
}

impl World for Simulation {
    fn begin(decisions: Decisions) -> Self {
        let is_abandoned = decisions.one_in(8);
        let reactor = ScriptedReactor::new().expect("a poll");
        let stage = Stage::new(decisions, &reactor);
        stage.begin();
        let (held, old, end) = (Vec::new(), Vec::new(), End(Rc::clone(&stage)));
        Self { _end: end, is_abandoned, steps: 0, reactor, stage, held, old, turns: 0 }
    }

    fn is_over(&self) -> bool {
        self.steps == STEPS
    }

    fn act(&mut self) {
        self.steps += 1;
        let stage = Rc::clone(&self.stage);
        let budget = [1, 2, 7, 40][stage.pick(4)];
        match stage.pick(16) {
            0..7 => drop(attempt(|| stage.act_once())),
            7 => drop(attempt(|| _ = self.reactor.dial_one())),
            8 => self.reactor.advance(Duration::from_millis(stage.pick(4) as u64)),
            9 => drop(self.reactor.jump()),
            10 => self.held.extend(self.reactor.take_events()),
            11..13 => {
                self.held.extend(self.reactor.take_events());
                let events = self.held.drain(..).collect();
                self.report(events, budget);
            }
            _ => {
                let events = self.events();
                self.report(events, budget);
            }
        }
    }

    fn check(&self) -> Result<(), String> {
        self.laws(false)
    }

    fn end(mut self) -> Result<Counts, String> {
        self.stage.faults.set(false);
        if !self.is_abandoned {
            self.drain()?;
        }
        let Self { reactor, stage, turns, .. } = self;
        let handle = reactor.handle();
        let (tally, traffic) = (handle.queue().tally(), handle.event_stats());
        drop(reactor);
        drop((stage.module.take(), stage.servers.take()));
        drop((stage.timers.take(), stage.callbacks.take()));
        let senders = senders(&stage);
        drop((stage.remotes.take(), stage.addresses.take()));

        let verdict = stage.verdict();
        let left = handle.queue().tally();
        verdict.equal("L1", "left", left.unscheduled + left.pending + left.live, 0);
        verdict.equal("L1", "captures held", stage.captures.held(), 0);
        stage.calls.check(&left, testing::count_pending(handle.queue()));
        for op in &*stage.ops.borrow() {
            verdict.equal("L3", "state", op.handle.state(), OpState::Completed);
        }
        let registered = |peer: &Peer| peer.is_registered() || !peer.is_closed();
        let links = stage.links.borrow().iter().any(|link| registered(&link.peer));
        let readers = stage.readers.borrow().iter().any(registered);
        verdict.check("L4", !links && !readers, || "a source is left".into());
        verdict.equal("L4", "registrations", handle.registration_count(), 0);
        verdict.equal("L5", "timers", handle.timer_count(), 0);
        let received = senders.iter().map(|sent| {
            sent.check(true, verdict);
            sent.received()
        });
        let received = received.sum();
        let [entered, dropped] = stage.captures.counts();
        let flows =
            |count: fn(&Link) -> u64| stage.links.borrow().iter().map(|link| count(link)).sum();
        verdict.result()?;
        Ok(vec![
            tally.finished,
            tally.canceled,
            tally.refused,
            tally.abandoned,
            tally.panicked,
            stage.calls.deferred(),
            entered,
            dropped,
            traffic.delivered,
            traffic.coalesced,
            traffic.stale,
            flows(|link| link.flow.spurious.get()),
            stage.ops.borrow().len() as u64,
            received,
            flows(|link| link.flow.read.get()),
            flows(|link| link.flow.discarded.get()),
            turns,
        ])
    }
}

impl Simulation {
    /// Some of the events that are held back, in another order; some of them lost, reported twice, or
    /// older than their source; and some for nothing.
    fn events(&mut self) -> Vec<Event> {
        let stage = Rc::clone(&self.stage);
        self.held.extend(self.reactor.take_events());
        self.old.extend(&self.held);
        let mut events = Vec::new();
        while !self.held.is_empty() && !stage.one_in(6) {
            let event = self.held.swap_remove(stage.pick(self.held.len()));
            match stage.pick(6) {
                0 => {}
                1 => events.extend([event; 2]),
                _ => events.push(event),
            }
        }
        if stage.one_in(3) && !self.old.is_empty() {
            events.push(self.old[stage.pick(self.old.len())]);
        }
        if stage.one_in(3) {
            let flags = [Ready::READABLE, Ready::WRITABLE, Ready::ERROR, Ready::READ_CLOSED];
            let links = stage.links.borrow();
            let link = (!links.is_empty()).then(|| &links[stage.pick(links.len())]);
            events.extend(link.and_then(|link| link.peer.event(flags[stage.pick(4)])));
        }
        events
    }

    /// A turn with these events, as it is expected (laws L4, L5 and L8).
    fn report(&mut self, events: Vec<Event>, budget: usize) {
        let Self { reactor, stage, .. } = self;
        let (links, readers) = (stage.links.borrow().clone(), stage.readers.borrow().len());
        let (before, attempts) = (reactor.event_stats(), stage.calls.attempts());
        let due = stage.calls.timers.due(stage.clock.now());
        let timers = reactor.timer_count();
        let ahead = reactor.queue().tally().pending as usize + events.len() + links.len() + readers;
        let mut expected = EventStats::default();
        let mut unknown = 0;
        let live = sources(stage, &links);
        for event in &events {
            expected.events += 1;
            match live.get(&event.token()) {
                Some(Some(link)) if link.flow.reported.replace(true) => expected.coalesced += 1,
                Some(Some(link)) => {
                    expected.delivered += 1;
                    link.flow.due.set(Some(attempts + ahead as u64 + 1));
                }
                Some(None) => unknown += 1,
                None if event.token() == Token(0) => expected.foreign += 1,
                None => expected.stale += 1,
            }
        }
        stage.handle.set_budget(budget);
        stage.nested.set(false);
        attempt(|| _ = reactor.turn_with(events));
        self.turns += 1;

        let (after, verdict) = (reactor.event_stats(), stage.verdict());
        let come = |count: fn(&EventStats) -> u64| count(&after) - count(&before);
        verdict.equal("L4", "events", come(|all| all.events), expected.events);
        verdict.equal("L4", "stale", come(|all| all.stale), expected.stale);
        verdict.equal("L4", "foreign", come(|all| all.foreign), expected.foreign);
        for (what, is, least) in [
            ("delivered", come(|all| all.delivered), expected.delivered),
            ("coalesced", come(|all| all.coalesced), expected.coalesced),
        ] {
            let holds = (least..=least + unknown).contains(&is);
            verdict.check("L4", holds, || format!("{what}: {is}, but should be {least}"));
        }
        let missed: Vec<_> = due.iter().filter(|call| stage.calls.timers.is_live(**call)).collect();
        // All, unless there are more than a share, with those of operations.
        let holds = missed.is_empty() || timers > budget.div_ceil(8);
        verdict.check("L5", holds, || format!("due, and not fired: {missed:?} of {due:?}"));
        let dialed = stage.calls.attempts() - attempts;
        let within = stage.nested.get() || dialed <= budget as u64;
        verdict.check("L8", within, || format!("{dialed} calls dialed, with a budget of {budget}"));
    }

    /// What holds after every step; `over`: once all has come to its end.
    fn laws(&self, over: bool) -> Result<(), String> {
        let Self { reactor, stage, .. } = self;
        let (verdict, tally) = (stage.verdict(), reactor.queue().tally());
        stage.calls.check(&tally, testing::count_pending(reactor.queue()));
        let (held, alive) = (stage.captures.held(), tally.unscheduled + tally.pending + tally.live);
        let holds = held as u64 <= alive;
        verdict.check("L1", holds, || format!("{held} captures held, {alive} calls alive"));

        for (number, op) in stage.ops.borrow().iter().enumerate() {
            let (reported, state) = (op.reported.get(), op.handle.state());
            let holds = reported <= 1 && (reported == 0 || state == OpState::Completed);
            let ended = !over || reported == 1;
            let message = || format!("operation {number} is {state:?}, reported {reported} times");
            verdict.check("L3", holds && ended, message);
            let holds = op.canceled.get() || !op.reported_canceled.get();
            verdict.check("L3", holds, || format!("operation {number} was canceled by no one"));
        }
        let reported = stage.not_started.borrow().iter().map(|reported| reported.get()).sum();
        verdict.equal("L3", "reports of starts that failed", reported, 0_u32);

        let links = stage.links.borrow();
        let live = sources(stage, &links).len();
        verdict.equal("L4", "registrations", reactor.registration_count(), live);
        stage.calls.timers.check(reactor.timer_count(), stage.ops.borrow().len(), verdict);
        for sent in senders(stage) {
            sent.check(over, verdict);
        }
        for link in &*links {
            link.flow.receive(&link.peer.take_written(), verdict);
            link.flow.check(Some(link.peer.unread()), verdict);
        }
        verdict.result()
    }

    /// Lifts all limits, reports all readiness, and goes on until nothing happens any more.
    fn drain(&mut self) -> Result<(), String> {
        let stage = Rc::clone(&self.stage);
        let links = stage.links.borrow().clone();
        stage.timers.take().into_iter().for_each(Timer::detach);
        stage.callbacks.take().into_iter().for_each(|callback| callback.decline("over"));
        for peer in links.iter().map(|link| &link.peer).chain(&*stage.readers.borrow()) {
            peer.limit_reads(usize::MAX);
            peer.limit_writes(usize::MAX);
        }
        stage.readers.borrow().iter().for_each(|reader| reader.push([3]));
        let mut events = self.reactor.take_events();
        let all = Ready::READABLE | Ready::WRITABLE;
        events.extend(links.iter().filter_map(|link| link.peer.event(all)));
        events.extend(stage.readers.borrow().iter().filter_map(|reader| reader.event(all)));
        let budget = [1, 3, 1024][stage.pick(3)];
        self.report(events, budget);
        self.laws(false)?;

        let tally = self.reactor.queue().tally();
        let unread: usize = links.iter().map(|link| link.peer.unread()).sum();
        let senders: u64 = senders(&stage).iter().map(|sent| sent.underway()).sum();
        // For each operation four attempts, of some calls each; for each byte a call at most.
        let ops = stage.ops.borrow().len();
        let waiting = self.reactor.timer_count() + 2 * links.len() + unread + 16 * ops;
        let calls = tally.pending as usize + senders as usize + waiting;
        let bound = 10 + calls / budget + 8 * ops + self.reactor.timer_count();
        for _ in 0..bound {
            if self.reactor.settle(0).is_ok() {
                break;
            }
            let events = self.reactor.take_events();
            if events.is_empty() {
                self.reactor.jump();
            }
            self.report(events, budget);
            self.laws(false)?;
        }
        let (verdict, settled) = (stage.verdict(), self.reactor.settle(0));
        verdict.check("L8", settled.is_ok(), || format!("within {bound} turns: {settled:?}"));
        for link in links.iter().filter(|link| link.peer.is_registered()) {
            let left = (link.flow.reported.get(), link.peer.unread(), link.flow.buffered.get());
            verdict.equal("L7", "reported, unread, buffered", left, (false, 0, 0));
        }
        self.laws(true)
    }
}

/// Those that are registered, by token; without a link if it is an operation's.
fn sources(stage: &Stage, links: &[Rc<Link>]) -> HashMap<Token, Option<Rc<Link>>> {
    let token = |peer: &Peer| peer.event(Ready::READABLE).map(|event| event.token());
    let served = links.iter().filter_map(|link| Some((token(&link.peer)?, Some(Rc::clone(link)))));
    let readers = stage.readers.borrow();
    let read = readers.iter().filter_map(|reader| Some((token(reader)?, None)));
    served.chain(read).collect()
}

fn senders(stage: &Stage) -> Vec<Arc<Sent>> {
    let (remotes, addresses) = (stage.remotes.borrow(), stage.addresses.borrow());
    let remotes = remotes.iter().map(|(_, sent)| sent);
    remotes.chain(addresses.iter().map(|(_, sent)| sent)).map(Arc::clone).collect()
}
