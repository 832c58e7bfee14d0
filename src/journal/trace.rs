//! A history as a trace in Chrome's JSON format, which opens in Perfetto and `chrome://tracing`.
//!
//! A queue is a process. Of its tracks (threads of the process), one is for turns and polls, one for the
//! live function calls, and one for those of each recipient; but recipients of a type that has many share
//! tracks. What is pending, and what runs as an operation, has a track for each that is there at a time,
//! up to a limit. A bad end is an instant; and an arrow leads from the live call that scheduled a call to its
//! dial. Counters show how many calls are pending and live, how many operations run, and how many calls
//! each turn dials. What is known of a call is with its slice while it was live; with an instant, if it
//! never was.

use alloc::format;
use alloc::string::ToString;
use core::time::Duration;
use std::io::{self, Write};

use serde_json::{Value, json};

use crate::journal::history::History;
use crate::journal::loop_log::TurnRecord;
use crate::journal::records::{CallRecord, End, Moment};
use crate::journal::trace::tracks::{TURNS, Tracks, runs, waits};

mod args;
mod counters;
mod tracks;

impl History {
    /// Writes a trace in Chrome's JSON format, which opens in [Perfetto](https://ui.perfetto.dev).
    ///
    /// Recipients of one type, from 24 on, share tracks, but for those that live for more than half of the
    /// time; of pending calls and of operations, 32 at a time have a slice. Counters count the others too.
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
        let tracks = Tracks::of(self);
        let mut trace = Trace { out, first: true };
        trace.out.write_all(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
        trace.names(&tracks)?;
        self.turns().iter().try_for_each(|turn| trace.turn(self, turn))?;
        for (place, call) in self.calls().iter().enumerate() {
            trace.call(self, &tracks, place, call)?;
        }
        trace.operations(self, &tracks)?;
        counters::write(&mut trace, self)?;
        trace.out.write_all(b"\n]}\n")?;
        trace.out.flush()
    }
}

struct Trace<W> {
    out: W,
    first: bool,
}

/// Where something is drawn: its queue, and the number of a track there.
type TrackPlace = (u64, u64);

impl<W: Write> Trace<W> {
    fn event(&mut self, event: &Value) -> io::Result<()> {
        self.out.write_all(if self.first { b"\n" } else { b",\n" })?;
        self.first = false;
        Ok(serde_json::to_writer(&mut self.out, event)?)
    }

    /// Names queues and tracks, which are shown in this order.
    fn names(&mut self, tracks: &Tracks) -> io::Result<()> {
        let mut named = None;
        for tracks::Track { queue, number, name } in &tracks.all {
            if named.replace(queue) != Some(queue) {
                self.event(&json!({"ph": "M", "name": "process_name", "pid": queue,
                    "args": {"name": format!("queue {queue}")}}))?;
            }
            self.event(&json!({"ph": "M", "name": "thread_name", "pid": queue, "tid": number,
                "args": {"name": name}}))?;
            self.event(
                &json!({"ph": "M", "name": "thread_sort_index", "pid": queue, "tid": number,
                "args": {"sort_index": number}}),
            )?;
        }
        Ok(())
    }

    /// A turn, and the poll before it.
    fn turn(&mut self, history: &History, turn: &TurnRecord) -> io::Result<()> {
        let place = (turn.queue.get(), TURNS);
        if let Some(polled) = turn.polled {
            self.slice("poll", "polls", place, (polled, turn.began), &json!({}))?;
        }
        let (ended, report) = turn.ended.unzip();
        let args = report.map_or_else(|| json!({}), args::of_turn);
        let name = format!("turn {}", turn.number);
        self.slice("turn", &name, place, (turn.began, ended.unwrap_or(history.now())), &args)
    }

    fn call(
        &mut self,
        history: &History,
        tracks: &Tracks,
        place: usize,
        call: &CallRecord,
    ) -> io::Result<()> {
        let (queue, name) = (call.id.queue().get(), format!("call {}", call.id));
        let at = (queue, tracks.calls[place]);
        let over = call.ended.map_or(history.now(), |(moment, _)| moment.at);
        let args = args::of_call(history, call);
        if let (Some(track), Some(span)) = (tracks.pending[place], waits(history, call)) {
            self.slice("pending", &name, (queue, track), span, &args)?;
        }
        if let Some(dialed) = &call.dialed {
            self.slice("live", &name, at, (dialed.at, over), &args)?;
        }
        self.arrow(history, tracks, place, call)?;
        let mut instant = |moment: &Moment, what: &str, args: &Value| {
            self.event(&json!({"ph": "i", "s": "t", "cat": "end", "pid": at.0, "tid": at.1,
                "name": format!("{name} {what}"), "ts": ts(moment.at), "args": args}))
        };
        match (&call.ended, call.cause()) {
            (Some((_, End::Finished)), _) => {}
            (Some((moment, end)), _) => instant(moment, &end.to_string(), &args)?,
            (None, Some(moment)) if call.dialed.is_none() => {
                instant(moment, &args::end(history, call), &args)?;
            }
            (None, _) => {}
        }
        for (moment, reason) in &call.late_cancels {
            let by = args::by(call.id, Some(moment));
            let args = args::known([("reason", Some((*reason).into())), ("by", by)]);
            instant(moment, &format!("canceled too late: {reason}"), &args)?;
        }
        for (moment, live) in &call.deferred {
            let site = args::site(Some(moment));
            let args = args::known([("live", Some(live.to_string())), ("site", site)]);
            instant(moment, &format!("deferred: call {live} is live"), &args)?;
        }
        if let Some(moment) = &call.undrained {
            let args = args::known([("registered", args::site(Some(moment)))]);
            instant(moment, "undrained", &args)?;
        }
        Ok(())
    }

    /// From the live call that scheduled a call to its dial.
    fn arrow(
        &mut self,
        history: &History,
        tracks: &Tracks,
        place: usize,
        call: &CallRecord,
    ) -> io::Result<()> {
        if let (Some(cause), Some(dialed)) = (call.cause(), &call.dialed)
            && let Some(from) = cause.by.and_then(|by| history.place(by))
            && let by = &history.calls()[from]
            && by.dialed.is_some()
        {
            self.event(&json!({"ph": "s", "cat": "cause", "name": "schedules", "id": place,
                "pid": by.id.queue().get(), "tid": tracks.calls[from], "ts": ts(cause.at)}))?;
            self.event(&json!({"ph": "f", "bp": "e", "cat": "cause", "name": "schedules",
                "id": place, "pid": call.id.queue().get(), "tid": tracks.calls[place],
                "ts": ts(dialed.at)}))?;
        }
        Ok(())
    }

    fn operations(&mut self, history: &History, tracks: &Tracks) -> io::Result<()> {
        for (operation, track) in history.operations().iter().zip(&tracks.operations) {
            let (Some(track), Some(span)) = (*track, runs(history, operation)) else { continue };
            let at = (operation.id.queue().get(), track);
            let name = format!("{} {}", operation.name(), operation.id);
            self.slice("operation", &name, at, span, &args::of_operation(operation))?;
            if let Some(canceling) = &operation.canceling {
                let by = args::known([("by", args::by(operation.id, Some(canceling)))]);
                self.event(&json!({"ph": "i", "s": "t", "cat": "operation", "pid": at.0,
                    "tid": at.1, "name": format!("{name} canceled"), "ts": ts(canceling.at),
                    "args": by}))?;
            }
        }
        Ok(())
    }

    fn slice(
        &mut self,
        cat: &str,
        name: &str,
        (pid, tid): TrackPlace,
        (from, to): (Duration, Duration),
        args: &Value,
    ) -> io::Result<()> {
        self.event(&json!({"ph": "X", "cat": cat, "name": name, "pid": pid, "tid": tid,
            "ts": ts(from), "dur": ts(to.saturating_sub(from)), "args": args}))
    }
}

/// Microseconds, as the format has it.
fn ts(at: Duration) -> f64 {
    at.as_nanos() as f64 / 1e3
}
