//! The rules R1 to R13 of the queue, executable: as naive as can be, with no borrow to get wrong.
//! What it notes is what the queue has to do, with the rule that says so. (R6 and R13 are about who
//! acts, and how the queue is built.)

use std::collections::VecDeque;
use std::mem::replace;

use super::{Event, Setup, act::*};

/// Where a call is; the order is that of the tally.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Unscheduled,
    Pending,
    Live,
    Finished,
    Canceled,
    Refused,
    Abandoned,
    Panicked,
}

#[derive(Clone, Copy)]
struct Made {
    life: Life,
    recipient: Option<usize>,
    script: Script,
    is_callback: bool,
    /// Canceled, and the queue still knows (R4).
    known: bool,
    /// Neither entered nor dropped.
    whole: bool,
    /// Its id is known to code of users.
    named: bool,
    /// How many calls were scheduled before.
    scheduled: usize,
    /// Put back, as an observer panicked when it was notified of the dial.
    put_back: bool,
}

#[derive(Clone, Copy)]
struct Recipient {
    live: Option<usize>,
    gone: bool,
}

const RECIPIENT: Recipient = Recipient { live: None, gone: false };

/// What goes up from a handler that panics.
pub(super) struct Unwinding;

#[derive(Clone, Copy, Default)]
struct State {
    setup: Setup,
    scheduled: usize,
    desks: [usize; 3],
    closed: bool,
    awake: bool,
    turns: usize,
    /// Canceled calls whose turn came.
    skipped: usize,
    /// Calls refused as they were scheduled.
    turned_away: usize,
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) trace: Vec<Event>,
    /// The rule behind each event of the trace.
    pub(super) rules: Vec<&'static str>,
    calls: Vec<Made>,
    /// The calls whose turn has not come, canceled ones included.
    order: VecDeque<usize>,
    /// Promises whose turn came while their recipient was live: in the order of scheduling, first those
    /// that wait for its live call to end, or for one another, then those that are ready.
    blocked: Vec<usize>,
    ready: Vec<usize>,
    /// Callbacks that are not used up.
    holders: Vec<usize>,
    recipients: Vec<Recipient>,
    state: State,
    /// What the queue did in this step, for choices that the rules leave to it.
    real: Vec<Event>,
    /// The length of the trace before this step.
    before: usize,
}

impl Model {
    /// Begins a sequence, in the memory that there is.
    pub(super) fn begin(&mut self, setup: Setup) {
        self.trace.clear();
        self.rules.clear();
        self.calls.clear();
        self.order.clear();
        self.blocked.clear();
        self.ready.clear();
        self.holders.clear();
        self.recipients.clear();
        self.recipients.extend([RECIPIENT; 3]);
        self.state = State { setup, desks: [0, 1, 2], ..State::default() };
    }

    /// Whether a callback is not used up.
    pub(super) const fn has_callback(&self) -> bool {
        !self.holders.is_empty()
    }

    /// Whether the act does anything.
    pub(super) fn applies(&self, act: &Act) -> bool {
        match *act {
            Answer(k) | Decline(k) | Abandon(k) => k < self.holders.len(),
            Cancel(Latest(k)) => k < self.calls.len(),
            Dial(_) => !self.order.is_empty() || !self.ready.is_empty(),
            HangUp(to) => {
                to.desk().is_some_and(|desk| !self.recipients[self.state.desks[desk]].gone)
            }
            Close => !self.state.closed,
            _ => true,
        }
    }

    /// One act of a sequence, of which `real` is all that the queue did.
    pub(super) fn step(&mut self, act: &Act, real: &[Event]) {
        let rest = real.get(self.trace.len()..).unwrap_or_default();
        let until_next = rest.iter().take_while(|event| !matches!(event, Event::Counts(..)));
        self.real.clear();
        self.real.extend(until_next);
        self.before = self.trace.len();
        if self.act(act, None).is_err() {
            self.note("R10", Event::Unwound);
        }
        // R12: each call is in one place.
        let (mut counts, mut values) = ([0; 8], 0);
        for call in &self.calls {
            if let Some(count) = counts.get_mut(call.life as usize) {
                *count += 1;
            }
            values += u16::from(call.is_callback && call.life == Life::Pending && call.whole);
        }
        self.note("R12", Event::Counts(counts, values));
    }

    fn act(&mut self, act: &Act, own: Option<usize>) -> Result<(), Unwinding> {
        match *act {
            Call(to, script) => self.call(to, script),
            Callback(to, script) => self.callback(to, script),
            Answer(k) if k < self.holders.len() => self.answer(k),
            Decline(k) if k < self.holders.len() => self.give_up(k, false),
            Abandon(k) if k < self.holders.len() => self.give_up(k, true),
            Cancel(Latest(k)) => self.cancel(self.calls.len().checked_sub(k + 1)),
            Cancel(Oldest) => self.cancel(self.calls.iter().position(|call| call.whole)),
            Cancel(Own) => self.cancel(own),
            Cancel(Foreign) => self.note("R7", Event::CanceledForeign),
            Dial(how) => self.dial(how)?,
            HangUp(to) => _ = to.desk().map(|desk| self.hang_up(self.state.desks[desk])),
            Renew(to) => {
                if let Some(desk) = to.desk() {
                    self.hang_up(self.state.desks[desk]);
                    let old = replace(&mut self.state.desks[desk], self.recipients.len());
                    self.recipients.push(RECIPIENT);
                    self.hang_up(old);
                }
            }
            Close if !self.state.closed => self.close(),
            Panic => return Err(Unwinding),
            Answer(_) | Decline(_) | Abandon(_) | Close => {}
        }
        Ok(())
    }

    fn call(&mut self, to: To, script: Script) {
        // R11: in a queue without an owner a call is canceled at once, in one that is full refused.
        let full = self.pending() >= self.state.setup.capacity;
        if self.state.closed || full {
            let life = if self.state.closed { Life::Canceled } else { Life::Refused };
            self.state.turned_away += usize::from(life == Life::Refused);
            let call = self.make(to, script, life, false);
            self.report("R12", Event::Created(call as u16));
            self.calls[call].named = self.state.setup.observed;
            let event = if life == Life::Canceled { Event::Canceled } else { Event::RefusedAsFull };
            self.report("R11", event(call as u16));
            self.release(call);
            self.calls[call].named = true;
            return self.note("R11", Event::Took(call as u16));
        }
        let call = self.make(to, script, Life::Pending, false);
        self.put(call);
        self.report("R12", Event::Created(call as u16));
        self.calls[call].named = self.state.setup.observed;
        self.scheduled(call);
    }

    fn callback(&mut self, to: To, script: Script) {
        let call = self.make(to, script, Life::Unscheduled, true);
        self.report("R12", Event::Created(call as u16));
        self.calls[call].named = self.state.setup.observed;
        if self.state.closed {
            self.cancel_now("R11", call, true);
        }
        self.calls[call].named = true;
        self.holders.push(call);
        self.note("R12", Event::Took(call as u16));
    }

    fn answer(&mut self, k: usize) {
        let call = self.holders.remove(k);
        if self.state.closed {
            self.end_unscheduled(call, Life::Canceled);
            return self.note("R11", Event::Took(call as u16));
        }
        // R5: a canceled callback may be answered.
        if self.calls[call].life == Life::Canceled {
            self.calls[call].known = false;
            return self.note("R5", Event::Took(call as u16));
        }
        self.calls[call].life = Life::Pending;
        self.put(call);
        self.scheduled(call);
    }

    /// R1: calls go to the tail.
    fn put(&mut self, call: usize) {
        self.order.push_back(call);
        self.calls[call].scheduled = self.state.scheduled;
        self.state.scheduled += 1;
    }

    fn scheduled(&mut self, call: usize) {
        self.report("R1", Event::Scheduled(call as u16));
        // The embedder is woken once, outside of turns.
        if self.state.setup.hooked && !self.state.awake && self.pending() > 0 {
            self.state.awake = true;
            self.note("the wake hook", Event::Woken);
            self.try_act(self.state.setup.hook, None);
        }
        self.calls[call].named = true;
        self.note("R12", Event::Took(call as u16));
    }

    /// R5: a callback is declined, or ends Abandoned.
    fn give_up(&mut self, k: usize, silently: bool) {
        let call = self.holders.remove(k);
        let abandoned = silently && !self.state.closed;
        self.end_unscheduled(call, if abandoned { Life::Abandoned } else { Life::Canceled });
    }

    fn end_unscheduled(&mut self, call: usize, end: Life) {
        self.calls[call].known = false;
        if self.calls[call].life == Life::Unscheduled {
            self.calls[call].life = end;
            let abandoned = end == Life::Abandoned;
            let event = if abandoned { Event::Abandoned } else { Event::Canceled };
            self.report("R5", event(call as u16));
            self.release(call);
        }
    }

    fn cancel(&mut self, call: Option<usize>) {
        let Some(call) = call.filter(|call| self.calls[*call].named) else { return };
        let number = call as u16;
        match self.calls[call].life {
            // R3: at any time before the dial, at once.
            Life::Unscheduled | Life::Pending => {
                self.cancel_now("R3", call, true);
                self.note("R3", Event::CanceledNow(number));
            }
            Life::Canceled if self.calls[call].known => {
                self.note("R4", Event::CanceledAlready(number));
            }
            // R4: a no-op, and says so. R7: an id names no other call.
            _ => {
                self.report("R4", Event::LateCancel(number));
                self.note("R4", Event::CanceledTooLate(number));
            }
        }
    }

    fn cancel_now(&mut self, rule: &'static str, call: usize, known: bool) {
        self.calls[call].life = Life::Canceled;
        self.calls[call].known = known;
        if let Some(recipient) = self.calls[call].recipient
            && self.ready.contains(&call)
        {
            self.unblock_first(recipient);
        }
        self.rest();
        self.report(rule, Event::Canceled(call as u16));
        self.release(call);
    }

    fn dial(&mut self, how: How) -> Result<(), Unwinding> {
        let before = self.figures();
        if !self.state.closed {
            let end = if how == Pending { self.state.scheduled } else { usize::MAX };
            let mut budget = if let Calls(calls) = how { calls } else { usize::MAX };
            self.state.turns += 1;
            self.state.awake = true;
            let mut result = Ok(());
            while result.is_ok() && budget > 0 {
                budget -= 1;
                // R2: what was deferred comes first. R1: calls leave at the head.
                let call = if self.ready.is_empty() {
                    if self.state.scheduled - self.order.len() >= end {
                        break;
                    }
                    self.order.pop_front()
                } else {
                    Some(self.ready.remove(0))
                };
                let Some(call) = call else { break };
                result = self.dial_one(call);
            }
            self.state.turns -= 1;
            self.rest();
            self.drop_observer_and_hook();
            result?;
        }
        let [dialed, canceled, refused, remaining] = self.figures();
        let report = [dialed - before[0], canceled - before[1], refused - before[2], remaining];
        let blocked = |call: &&usize| self.calls[**call].life == Life::Pending;
        let blocked = self.blocked.iter().filter(blocked).count();
        self.note("R1", Event::Reported(report, self.state.closed || blocked == self.pending()));
        Ok(())
    }

    /// R8: the checks at the dial, in their order.
    fn dial_one(&mut self, call: usize) -> Result<(), Unwinding> {
        let (number, Made { life, recipient, script, is_callback, .. }) =
            (call as u16, self.calls[call]);
        if life == Life::Canceled {
            self.skip(call);
            return Ok(());
        }
        if let Some(recipient) = recipient {
            let at = self.recipients[recipient];
            let refusal = if at.gone {
                Some(("R9", Event::RefusedAsGone(number)))
            } else if let Some(live) = at.live {
                if is_callback || self.state.setup.defers {
                    self.blocked.push(call);
                    self.blocked.sort_unstable_by_key(|call| self.calls[*call].scheduled);
                    self.report("R2", Event::Deferred(number, live as u16));
                    return Ok(());
                }
                Some(("R2", Event::RefusedAsLive(number, live as u16)))
            } else if script == Check && !is_callback {
                Some(("R8", Event::RefusedByCheck(number)))
            } else {
                None
            };
            if let Some((rule, event)) = refusal {
                self.calls[call].life = Life::Refused;
                if rule == "R8" {
                    // The check has made the recipient live.
                    self.unblock_first(recipient);
                }
                self.report(rule, event);
                self.release(call);
                return Ok(());
            }
            self.recipients[recipient].live = Some(call);
        }
        self.calls[call].life = Life::Live;
        if !self.calls[call].put_back {
            self.report("R1", Event::Dialed(number));
            if script == Startle && self.state.setup.observed {
                self.put_back(call);
                return Err(Unwinding);
            }
        }
        self.calls[call].whole = false;
        self.note("R1", Event::Entered(number));
        let result = script.entered().map_or(Ok(()), |act| self.act(act, Some(call)));
        self.release(call);
        // R10: the call ends on return or unwind.
        let (life, event) = match result {
            Ok(()) => (Life::Finished, Event::Finished(number)),
            Err(Unwinding) => (Life::Panicked, Event::Panicked(number)),
        };
        self.calls[call].life = life;
        if let Some(recipient) = recipient {
            self.recipients[recipient].live = None;
            self.unblock_first(recipient);
        }
        self.report("R10", event);
        // R9: the value of a recipient that hung up while it was live drops now.
        if let Some(recipient) = recipient.filter(|recipient| self.recipients[*recipient].gone) {
            self.drop_value(recipient);
        }
        result
    }

    /// R10: a call whose observer panics before its handler is entered stays pending, at its place.
    fn put_back(&mut self, call: usize) {
        (self.calls[call].life, self.calls[call].put_back) = (Life::Pending, true);
        self.ready.push(call);
        self.ready.sort_unstable_by_key(|call| self.calls[*call].scheduled);
        if let Some(recipient) = self.calls[call].recipient {
            self.recipients[recipient].live = None;
            self.unblock_first(recipient);
        }
    }

    /// R2: the first promise of a recipient that waited is ready, if none was.
    fn unblock_first(&mut self, recipient: usize) {
        let is_one = |call: &usize| {
            let Made { recipient: to, life, .. } = self.calls[*call];
            to == Some(recipient) && life != Life::Canceled
        };
        if !self.ready.iter().any(is_one) {
            let end = self.blocked.iter().position(is_one).map_or(usize::MAX, |first| first + 1);
            self.unblock(recipient, end);
        }
    }

    /// Promises of a recipient that waited are ready: those of the first `end` that wait.
    fn unblock(&mut self, recipient: usize, end: usize) {
        let first: Vec<_> = self.blocked.iter().copied().take(end).collect();
        let ours = |call: &usize| self.calls[*call].recipient == Some(recipient);
        self.ready.extend(first.iter().copied().filter(ours));
        self.blocked.retain(|call| {
            !(first.contains(call) && self.calls[*call].recipient == Some(recipient))
        });
        self.ready.sort_unstable_by_key(|call| self.calls[*call].scheduled);
    }

    fn hang_up(&mut self, recipient: usize) {
        if !self.recipients[recipient].gone {
            self.recipients[recipient].gone = true;
            self.unblock(recipient, usize::MAX);
            if self.recipients[recipient].live.is_none() {
                self.drop_value(recipient);
            }
            self.release_captures(recipient);
        }
    }

    /// R9: what its calls captured goes with a recipient: callbacks, as they were created, then plain
    /// calls, as they were scheduled.
    fn release_captures(&mut self, recipient: usize) {
        let is_ours = |call: &Made| call.recipient == Some(recipient) && call.whole;
        let callback = |call: &Made| {
            let in_slot = call.is_callback && !call.put_back;
            is_ours(call) && in_slot && matches!(call.life, Life::Unscheduled | Life::Pending)
        };
        let plain = |call: &Made| is_ours(call) && !callback(call) && call.life == Life::Pending;
        let all = |model: &Self, calls: &mut dyn Iterator<Item = usize>| -> VecDeque<_> {
            calls.filter(|call| plain(&model.calls[*call])).collect()
        };
        let mut waiting: Vec<_> = self.blocked.iter().chain(&self.ready).copied().collect();
        waiting.sort_unstable_by_key(|call| self.calls[*call].scheduled);
        let mut waiting = all(self, &mut waiting.into_iter());
        let mut rest = None;
        loop {
            if let Some(call) = self.calls.iter().position(callback) {
                self.release(call);
                continue;
            }
            let call = waiting.pop_front().or_else(|| {
                let order = &mut self.order.iter().copied();
                rest.get_or_insert_with(|| all(self, order)).pop_front()
            });
            let Some(call) = call else { break };
            if plain(&self.calls[call]) {
                self.release(call);
            }
        }
    }

    fn drop_value(&mut self, recipient: usize) {
        self.note("R9", Event::ValueDropped(recipient as u16));
        self.try_act(self.state.setup.value, None);
    }

    /// R11: all calls end as Canceled, pending ones first to last, then callbacks, in any order.
    fn close(&mut self) {
        self.state.closed = true;
        while let Some(call) = self.next_to_end() {
            if self.calls[call].life == Life::Canceled {
                self.skip(call);
            } else {
                self.cancel_now("R11", call, false);
            }
        }
        loop {
            self.end_unseen();
            let waits = |call: &usize| {
                self.calls.get(*call).is_some_and(|call| call.life == Life::Unscheduled)
            };
            let chosen = match self.real.get(self.trace.len() - self.before) {
                Some(Event::Canceled(call) | Event::Dropped(call)) => Some(usize::from(*call)),
                _ => None,
            };
            let Some(call) = chosen.filter(waits).or_else(|| (0..self.calls.len()).find(waits))
            else {
                break;
            };
            self.cancel_now("R11", call, true);
        }
        self.drop_observer_and_hook();
    }

    /// Callbacks that have nothing left to drop end unseen, unless an observer watches. Which of them
    /// did so far shows when something that drops cancels them.
    fn end_unseen(&mut self) {
        if self.state.setup.observed {
            return;
        }
        let rest = self.real.get(self.trace.len() - self.before..).unwrap_or_default();
        let canceled = |event: &Event| match event {
            Event::CanceledNow(call) => Some((usize::from(*call), false)),
            Event::CanceledAlready(call) => Some((usize::from(*call), true)),
            _ => None,
        };
        let canceled: Vec<_> = rest.iter().filter_map(canceled).collect();
        for call in 0..self.calls.len() {
            let at = &self.calls[call];
            let first = canceled.iter().find(|(named, _)| *named == call);
            if at.life == Life::Unscheduled && !at.whole && first.is_some_and(|(_, over)| *over) {
                self.cancel_now("R11", call, true);
            }
        }
    }

    /// The first call that is pending, or was canceled and is still known.
    fn next_to_end(&mut self) -> Option<usize> {
        self.ready.append(&mut self.blocked);
        self.ready.sort_unstable_by_key(|call| self.calls[*call].scheduled);
        if self.ready.is_empty() { self.order.pop_front() } else { Some(self.ready.remove(0)) }
    }

    /// R11: no one is notified of what comes after the end.
    fn drop_observer_and_hook(&mut self) {
        if self.state.closed && self.state.turns == 0 {
            (self.state.setup.observed, self.state.setup.hooked) = (false, false);
        }
    }

    fn make(&mut self, to: To, script: Script, life: Life, is_callback: bool) -> usize {
        let recipient = to.desk().map(|desk| self.state.desks[desk]);
        self.calls.push(Made {
            life,
            recipient,
            script,
            is_callback,
            known: false,
            whole: true,
            named: false,
            scheduled: 0,
            put_back: false,
        });
        self.calls.len() - 1
    }

    /// R3, R7: what a call captured goes with it, once, and may act.
    fn release(&mut self, call: usize) {
        if !self.calls[call].whole && self.calls[call].life != Life::Live {
            return;
        }
        self.note("R7", Event::Dropped(call as u16));
        self.calls[call].whole = false;
        self.try_act(self.calls[call].script.dropped(), Some(call));
    }

    /// Acts where panics are caught.
    fn try_act(&mut self, act: Option<&Act>, own: Option<usize>) {
        _ = act.map(|act| self.act(act, own));
    }

    /// The turn of a canceled call has come: it is forgotten.
    fn skip(&mut self, call: usize) {
        self.calls[call].known = false;
        self.state.skipped += 1;
    }

    /// The next call scheduled outside of turns is news, if nothing is pending.
    fn rest(&mut self) {
        if self.state.turns == 0 && self.pending() == 0 {
            self.state.awake = false;
        }
    }

    fn pending(&self) -> usize {
        self.calls.iter().filter(|call| call.life == Life::Pending).count()
    }

    fn figures(&self) -> [u16; 4] {
        let count = |life| self.calls.iter().filter(|call| call.life == life).count();
        let dialed = count(Life::Finished) + count(Life::Panicked);
        [dialed, self.state.skipped, count(Life::Refused) - self.state.turned_away, self.pending()]
            .map(|count| count as u16)
    }

    /// The end of a sequence: what is left is dropped.
    pub(super) fn end(&mut self) {
        for desk in self.state.desks {
            self.hang_up(desk);
        }
    }

    /// The observer is notified.
    fn report(&mut self, rule: &'static str, event: Event) {
        if self.state.setup.observed {
            self.note(rule, event);
        }
    }

    fn note(&mut self, rule: &'static str, event: Event) {
        self.trace.push(event);
        self.rules.push(rule);
    }
}
