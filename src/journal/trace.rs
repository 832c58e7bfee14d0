//! A history as a trace in Chrome's JSON format, which opens in Perfetto and `chrome://tracing`.
//!
//! A queue is a process, a recipient a thread of it (the first is for function calls). A live call is a slice
//! of its recipient; a pending call and an operation are asynchronous spans, those of one
//! operation and the layers below sharing an id; a bad end is an instant; and an arrow leads from
//! the live call that scheduled a call to its dial.

use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;
use std::io::{self, Write};

use serde_json::{Value, json};

use crate::id::CallId;
use crate::journal::history::History;
use crate::journal::records::{CallRecord, End, Moment};
use crate::step::RecipientInfo;

/// The thread of function calls.
const FUNCTIONS: u64 = 1;

impl History {
    /// Writes a trace in Chrome's JSON format, which opens in [Perfetto](https://ui.perfetto.dev).
    ///
    /// # Errors
    ///
    /// Passes on the errors of `out`.
    pub fn write_trace(&self, out: impl Write) -> io::Result<()> {
        let mut trace = Trace { out, first: true };
        trace.out.write_all(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
        trace.names(self)?;
        for (place, call) in self.calls().iter().enumerate() {
            trace.call(self, place, call)?;
        }
        trace.operations(self)?;
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
        for (queue, recipient, _) in history.lanes() {
            let tid = thread(recipient);
            let name = recipient.map_or("functions".into(), |recipient| recipient.to_string());
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
        let site = |moment: Option<Moment>| {
            let site = moment.and_then(|moment| moment.site);
            site.map(|site| format!("{}:{}", site.file(), site.line()))
        };
        if let Some(scheduled) = &call.scheduled {
            let until = call.dialed.map_or(over, |dialed| dialed.at);
            for (ph, at) in [("b", scheduled.at), ("e", until)] {
                self.event(&json!({"ph": ph, "cat": "pending", "name": name, "pid": pid,
                    "tid": tid, "ts": ts(at), "id": place}))?;
            }
        }
        if let Some(dialed) = &call.dialed {
            let took = over.saturating_sub(dialed.at);
            let end = call.ended.map_or("still live".into(), |(_, end)| end.to_string());
            self.event(&json!({"ph": "X", "cat": "live", "name": name, "pid": pid, "tid": tid,
                "ts": ts(dialed.at), "dur": ts(took), "args": {
                    "created": site(call.created), "scheduled": site(call.scheduled), "end": end,
                    "by": call.cause().and_then(|cause| cause.by).map(|by| by.to_string())}}))?;
        }
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
        if let Some((moment, end)) = &call.ended
            && !matches!(end, End::Finished)
        {
            self.instant(call, moment.at, &end.to_string())?;
        }
        for (moment, reason) in &call.late_cancels {
            self.instant(call, moment.at, &format!("canceled too late: {reason}"))?;
        }
        if let Some(moment) = &call.undrained {
            self.instant(call, moment.at, "undrained")?;
        }
        Ok(())
    }

    fn instant(&mut self, call: &CallRecord, at: Duration, what: &str) -> io::Result<()> {
        let (pid, tid) = lane(call);
        self.event(&json!({"ph": "i", "s": "t", "cat": "end", "pid": pid, "tid": tid,
            "name": format!("call {} {what}", call.id), "ts": ts(at)}))
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
