//! A history as a trace in Chrome's JSON format, which opens in Perfetto and `chrome://tracing`.
//!
//! A queue is a process, a recipient a thread of it (the first is for function calls). A live call is a slice
//! of its recipient; a pending call and an operation are asynchronous spans, those of one
//! operation and the layers below sharing an id; a bad end is an instant; and an arrow leads from
//! the live call that scheduled a call to its dial. Counters show how many calls of a queue are pending and
//! live. Spans, slices and instants of a call carry what is known of it.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;
use std::io::{self, Write};

use serde_json::{Value, json};

use crate::id::CallId;
use crate::journal::history::History;
use crate::journal::records::{CallRecord, End, Moment};
use crate::step::{RecipientInfo, Refusal};

/// The thread of function calls.
const FUNCTIONS: u64 = 1;

impl History {
    /// Writes a trace in Chrome's JSON format, which opens in [Perfetto](https://ui.perfetto.dev).
    ///
    /// # Errors
    ///
    /// Returns the errors of `out`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::CallQueue;
    /// # use switchboard::journal::Journal;
    /// # let queue = CallQueue::new();
    /// let journal = Journal::builder().install(&queue);
    /// queue.call(|_| ());
    /// queue.dial_all();
    /// let mut trace = Vec::new(); // or a file
    /// journal.history().write_trace(&mut trace)?;
    /// assert!(trace.starts_with(b"{"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_trace(&self, out: impl Write) -> io::Result<()> {
        let mut trace = Trace { out, first: true };
        trace.out.write_all(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
        trace.names(self)?;
        for (place, call) in self.calls().iter().enumerate() {
            trace.call(self, place, call)?;
        }
        trace.operations(self)?;
        trace.counters(self)?;
        trace.out.write_all(b"\n]}\n")?;
        trace.out.flush()
    }
}

struct Trace<W> {
    out: W,
    first: bool,
}

impl<W: Write> Trace<W> {
    fn event(&mut self, event: &Value) -> io::Result<()> {
        self.out.write_all(if self.first { b"\n" } else { b",\n" })?;
        self.first = false;
        Ok(serde_json::to_writer(&mut self.out, event)?)
    }

    /// Names queues and recipients.
    fn names(&mut self, history: &History) -> io::Result<()> {
        let mut named = None;
        for (queue, recipient, calls) in history.lanes() {
            let tid = thread(recipient);
            let mut name = recipient.map_or("functions".into(), |recipient| recipient.to_string());
            let label = calls.iter().find_map(|place| history.calls()[*place].label.as_ref());
            label.into_iter().for_each(|label| name.push_str(&format!(" ({label})")));
            if named.replace(queue) != Some(queue) {
                self.event(&json!({"ph": "M", "name": "process_name", "pid": queue,
                    "args": {"name": format!("queue {queue}")}}))?;
            }
            self.event(&json!({"ph": "M", "name": "thread_name", "pid": queue, "tid": tid,
                "args": {"name": name}}))?;
        }
        Ok(())
    }

    fn call(&mut self, history: &History, place: usize, call: &CallRecord) -> io::Result<()> {
        let (pid, tid) = lane(call);
        let name = format!("call {}", call.id);
        let over = call.ended.map_or(history.now(), |(moment, _)| moment.at);
        let args = args(call);
        if let Some(scheduled) = &call.scheduled {
            let until = call.dialed.map_or(over, |dialed| dialed.at);
            self.event(&json!({"ph": "b", "cat": "pending", "name": name, "pid": pid,
                "tid": tid, "ts": ts(scheduled.at), "id": place, "args": args}))?;
            self.event(&json!({"ph": "e", "cat": "pending", "name": name, "pid": pid,
                "tid": tid, "ts": ts(until), "id": place}))?;
        }
        if let Some(dialed) = &call.dialed {
            let took = over.saturating_sub(dialed.at);
            self.event(&json!({"ph": "X", "cat": "live", "name": name, "pid": pid, "tid": tid,
                "ts": ts(dialed.at), "dur": ts(took), "args": args}))?;
        }
        self.arrow(history, place, call)?;
        if let Some((moment, end)) = &call.ended
            && !matches!(end, End::Finished)
        {
            self.instant(call, moment, &end.to_string(), &args)?;
        }
        for (moment, reason) in &call.late_cancels {
            let by = moment.by.map(|by| by.to_string());
            let args = json!({"reason": reason, "by": by});
            self.instant(call, moment, &format!("canceled too late: {reason}"), &args)?;
        }
        for (moment, live) in &call.deferred {
            let args = json!({"live": live.to_string(), "site": site(Some(*moment))});
            self.instant(call, moment, &format!("deferred: call {live} is live"), &args)?;
        }
        if let Some(moment) = &call.undrained {
            self.instant(call, moment, "undrained", &json!({"registered": site(Some(*moment))}))?;
        }
        Ok(())
    }

    /// From the live call that scheduled a call to its dial.
    fn arrow(&mut self, history: &History, place: usize, call: &CallRecord) -> io::Result<()> {
        let (pid, tid) = lane(call);
        if let (Some(cause), Some(dialed)) = (call.cause(), &call.dialed)
            && let Some(by) = cause.by.and_then(|by| history.call(by))
            && by.dialed.is_some()
        {
            let (from_pid, from_tid) = lane(by);
            self.event(&json!({"ph": "s", "cat": "cause", "name": "schedules", "id": place,
                "pid": from_pid, "tid": from_tid, "ts": ts(cause.at)}))?;
            self.event(&json!({"ph": "f", "bp": "e", "cat": "cause", "name": "schedules",
                "id": place, "pid": pid, "tid": tid, "ts": ts(dialed.at)}))?;
        }
        Ok(())
    }

    /// Counter tracks of each queue: how many calls are pending and live, and how many are dialed a
    /// millisecond.
    fn counters(&mut self, history: &History) -> io::Result<()> {
        let mut steps: BTreeMap<u64, Vec<(Duration, i64, i64)>> = BTreeMap::new();
        for call in history.calls() {
            let steps = steps.entry(call.id.queue().get()).or_default();
            let ended = call.ended.map(|(moment, _)| moment.at);
            let dialed = call.dialed.map(|dialed| dialed.at);
            if let Some(scheduled) = &call.scheduled {
                steps.push((scheduled.at, 1, 0));
                steps.extend(dialed.or(ended).map(|at| (at, -1, 0)));
            }
            if let Some(dialed) = dialed {
                steps.push((dialed, 0, 1));
                steps.extend(ended.map(|at| (at, 0, -1)));
            }
        }
        for (queue, mut steps) in steps {
            steps.sort_by_key(|(at, ..)| *at);
            let (mut pending, mut live) = (0, 0);
            for (place, (at, more_pending, more_live)) in steps.iter().enumerate() {
                pending += more_pending;
                live += more_live;
                if steps.get(place + 1).is_none_or(|next| next.0 != *at) {
                    self.counter(queue, *at, "pending", pending)?;
                    self.counter(queue, *at, "live", live)?;
                }
            }
            let dials = steps.iter().filter(|(_, _, live)| *live == 1).map(|(at, ..)| *at);
            let mut each: BTreeMap<u128, i64> = BTreeMap::new();
            dials.for_each(|at| *each.entry(at.as_millis()).or_default() += 1);
            for (milli, dialed) in &each {
                let at =
                    |milli: u128| Duration::from_millis(u64::try_from(milli).unwrap_or(u64::MAX));
                self.counter(queue, at(*milli), "dialed a millisecond", *dialed)?;
                if !each.contains_key(&(milli + 1)) {
                    self.counter(queue, at(milli + 1), "dialed a millisecond", 0)?;
                }
            }
        }
        Ok(())
    }

    fn counter(&mut self, pid: u64, at: Duration, name: &str, value: i64) -> io::Result<()> {
        self.event(&json!({"ph": "C", "cat": "counter", "name": name, "pid": pid, "tid": 0,
            "ts": ts(at), "args": {"calls": value}}))
    }

    fn instant(
        &mut self,
        call: &CallRecord,
        moment: &Moment,
        what: &str,
        args: &Value,
    ) -> io::Result<()> {
        let (pid, tid) = lane(call);
        self.event(&json!({"ph": "i", "s": "t", "cat": "end", "pid": pid, "tid": tid,
            "name": format!("call {} {what}", call.id), "ts": ts(moment.at), "args": args}))
    }

    fn operations(&mut self, history: &History) -> io::Result<()> {
        for operation in history.operations() {
            let Some(started) = &operation.started else { continue };
            let pid = operation.id.queue().get();
            let id = top(history, operation.id);
            let name = format!("{} {}", operation.name(), operation.id);
            let over = operation.ended.map_or(history.now(), |(moment, _)| moment.at);
            let end = operation.ended.map_or("still running".into(), |(_, end)| end.to_string());
            self.event(&json!({"ph": "b", "cat": "operation", "name": name, "id": id, "pid": pid,
                "tid": FUNCTIONS, "ts": ts(started.at), "args": {"end": end}}))?;
            if let Some(canceling) = &operation.canceling {
                self.event(&json!({"ph": "n", "cat": "operation", "name": "canceling", "id": id,
                    "pid": pid, "tid": FUNCTIONS, "ts": ts(canceling.at)}))?;
            }
            self.event(&json!({"ph": "e", "cat": "operation", "name": name, "id": id, "pid": pid,
                "tid": FUNCTIONS, "ts": ts(over)}))?;
        }
        Ok(())
    }
}

/// What is known of a call, however it ended.
fn args(call: &CallRecord) -> Value {
    let by = |moment: Option<&Moment>| moment.and_then(|it| it.by).map(|by| by.to_string());
    let ended = call.ended.as_ref().map(|(moment, _)| moment);
    let mut args = json!({
        "created": site(call.created), "scheduled": site(call.scheduled),
        "by": by(call.cause()), "nested in": by(call.dialed.as_ref()), "ended by": by(ended),
        "end": call.ended.map_or_else(|| not_over(call).into(), |(_, end)| end.to_string()),
    });
    let (reason, live) = match call.ended {
        Some((_, End::Canceled { reason })) => (Some(reason.to_string()), None),
        Some((_, End::Refused { refusal: Refusal::Live { live, site } })) => {
            let live_site = format!("{}:{}", site.file(), site.line());
            (Some("its recipient was live".into()), Some((live, live_site)))
        }
        Some((_, End::Refused { refusal })) => (Some(refusal.to_string()), None),
        _ => (None, None),
    };
    args["reason"] = json!(reason);
    if let Some((live, live_site)) = live {
        args["live"] = json!(live.to_string());
        args["live scheduled"] = json!(live_site);
    }
    for (key, text) in [("label", &call.label), ("name", &call.named)] {
        if let Some(text) = text {
            args[key] = json!(&**text);
        }
    }
    args
}

fn not_over(call: &CallRecord) -> &'static str {
    match (&call.dialed, &call.scheduled) {
        (Some(_), _) => "still live",
        (None, Some(_)) => "still pending",
        (None, None) => "not scheduled yet",
    }
}

fn site(moment: Option<Moment>) -> Option<String> {
    let site = moment.and_then(|moment| moment.site)?;
    Some(format!("{}:{}", site.file(), site.line()))
}

/// The topmost layer of an operation.
fn top(history: &History, id: CallId) -> String {
    let mut top = id;
    let mut left = history.operations().len();
    while left > 0
        && let Some(upper) = history.operation(top).and_then(|operation| operation.upper)
    {
        top = upper;
        left -= 1;
    }
    top.to_string()
}

/// Process and thread.
fn lane(call: &CallRecord) -> (u64, u64) {
    (call.id.queue().get(), thread(call.recipient))
}

/// The thread of a recipient; 0 would be taken for that of an idle processor.
fn thread(recipient: Option<RecipientInfo>) -> u64 {
    recipient.map_or(FUNCTIONS, |recipient| recipient.number + FUNCTIONS + 1)
}

/// Microseconds, as the format has it.
fn ts(at: Duration) -> f64 {
    at.as_nanos() as f64 / 1e3
}
