//! A history as a page for a browser: one file, which asks nothing of the network.
//!
//! The page is made of the files in `timeline/`, and of the history as compact JSON: columns of
//! numbers, one place in each for a call (or an operation), and a table of the strings that they
//! refer to. -1 stands for what did not happen or is not known, -2 for a call of which nothing else
//! is known.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use std::io::{self, Write};

use serde_json::{Value, json};

use crate::id::CallId;
use crate::journal::history::History;
use crate::journal::map::Map;
use crate::journal::records::{CallRecord, End, Moment, OpEnd, OperationRecord};
use crate::op_step::Outcome;
use crate::step::{RecipientInfo, Refusal};

mod beside;

const PAGE: &str = include_str!("timeline/page.html");

/// What takes the places that are marked in the page, the history apart.
const PARTS: &[(&str, &[&str])] = &[
    ("STYLE", &[include_str!("timeline/style.css")]),
    (
        "SCRIPT",
        &[
            include_str!("timeline/model.js"),
            include_str!("timeline/layout.js"),
            include_str!("timeline/axis.js"),
            include_str!("timeline/draw.js"),
            include_str!("timeline/spans.js"),
            include_str!("timeline/focus.js"),
            include_str!("timeline/story.js"),
            include_str!("timeline/table.js"),
            include_str!("timeline/view.js"),
            include_str!("timeline/select.js"),
            include_str!("timeline/input.js"),
            include_str!("timeline/open.js"),
            include_str!("timeline/speed.js"),
            include_str!("timeline/selftest_answers.js"),
            include_str!("timeline/selftest.js"),
        ],
    ),
];

impl History {
    /// Writes a page for a browser: a timeline with a lane for each recipient, causes, operations,
    /// search, and the story of each call. It is complete in itself.
    ///
    /// A link to the page selects what it shows, after a `#` and with `&` between: `call=17` or
    /// `call=c3.1` (as ids print), `search=TEXT`, `first=ID&last=ID` for the time from one call to
    /// another, `only` for the lanes that are in view, `axis=time`, `axis=folded` (idle time) or
    /// `axis=order`, `table`, `light` or `dark`, `help`.
    ///
    /// Cost: about 80 bytes for each call, and 120 KB.
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
    /// let mut page = Vec::new(); // or a file, to be opened in a browser
    /// journal.history().write_timeline(&mut page)?;
    /// assert!(page.ends_with(b"</html>\n"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_timeline(&self, mut out: impl Write) -> io::Result<()> {
        for piece in PAGE.split("%%") {
            match PARTS.iter().find(|(name, _)| *name == piece) {
                Some((_, files)) => {
                    files.iter().try_for_each(|file| out.write_all(file.as_bytes()))?;
                }
                None if piece == "HISTORY" => {
                    // No "<" is in JSON but within strings, where it may be escaped: so nothing in
                    // them can end the script that they stand in.
                    let json = serde_json::to_string(&Columns::of(self))?;
                    out.write_all(json.replace('<', "\\u003c").as_bytes())?;
                }
                None => out.write_all(piece.as_bytes())?,
            }
        }
        out.flush()
    }
}

/// The history as the page reads it.
struct Columns<'a> {
    history: &'a History,
    places: Map<CallId, usize>,
    strings: Vec<String>,
    known: std::collections::HashMap<String, usize>,
}

impl Columns<'_> {
    fn of(history: &History) -> Value {
        let ids = history.calls().iter().enumerate().map(|(place, call)| (call.id, place));
        let mut columns = Columns {
            history,
            places: ids.collect(),
            strings: Vec::new(),
            known: std::collections::HashMap::default(),
        };
        let (lanes, lane_of) = columns.lanes();
        let calls = columns.calls(&lane_of);
        let late = columns.late_cancels();
        let lost = columns.lost_ends();
        let names = columns.names();
        let operations = columns.operations();
        let (origins, turns) = (columns.origins(), columns.turns());
        json!({
            "date": columns.date(),
            "now": nanos(history.now()),
            "dropped": history.dropped_steps(),
            "lanes": lanes,
            "calls": calls,
            "late": late,
            "lost": lost,
            "names": names,
            "origins": origins,
            "turns": turns,
            "operations": operations,
            "strings": columns.strings,
        })
    }

    fn lanes(&mut self) -> (Value, Vec<usize>) {
        let mut lane_of = vec![0; self.history.calls().len()];
        let mut lanes = Vec::new();
        for (lane, (queue, recipient, calls)) in self.history.lanes().into_iter().enumerate() {
            let label = calls.iter().find_map(|call| self.history.calls()[*call].label.clone());
            calls.into_iter().for_each(|call| lane_of[call] = lane);
            lanes.push(json!({
                "queue": queue,
                "name": recipient.map_or(-1, |recipient| self.string(&recipient)),
                "type": recipient.map_or(-1, |RecipientInfo { type_name, .. }| self.string(type_name)),
                "label": label.map_or(-1, |label| self.string(&*label)),
            }));
        }
        (Value::Array(lanes), lane_of)
    }

    fn calls(&mut self, lane_of: &[usize]) -> Value {
        let history = self.history;
        let mut ids = Vec::new();
        let mut columns: [Vec<i64>; 15] = Default::default();
        let mut before = 0;
        for (place, call) in history.calls().iter().enumerate() {
            ids.push(call.id.to_string());
            let ended = call.ended.map(|(moment, _)| moment);
            let steps = [call.created, call.scheduled, call.dialed, ended];
            let first = steps.iter().flatten().map(|moment| nanos(moment.at)).min();
            // Calls are in the order of their first steps, so this column is mostly small too.
            let first = first.unwrap_or(before);
            let since =
                |moment: &Option<Moment>| moment.map_or(-1, |moment| nanos(moment.at) - first);
            let [created, scheduled, dialed, ended] = steps;
            let (end, reason) = self.end(call);
            let row = [
                lane_of[place] as i64,
                first - before,
                since(&created),
                since(&scheduled),
                since(&dialed),
                since(&ended),
                end,
                reason,
                self.by(created.as_ref()),
                self.by(scheduled.as_ref()),
                self.by(dialed.as_ref()),
                self.by(ended.as_ref()),
                self.site(created.as_ref()),
                self.site(scheduled.as_ref()),
                self.live(call),
            ];
            before = first;
            columns.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
        }
        let [lane, first, created, scheduled, dialed, ended, end, reason, ..] = &columns;
        let [.., created_by, scheduled_by, dialed_by, ended_by, created_at, scheduled_at, live] =
            &columns;
        json!({
            "id": ids, "lane": lane, "first": first,
            "created": created, "scheduled": scheduled, "dialed": dialed, "ended": ended,
            "end": end, "reason": reason,
            "createdBy": created_by, "scheduledBy": scheduled_by, "dialedBy": dialed_by,
            "endedBy": ended_by, "createdAt": created_at, "scheduledAt": scheduled_at, "live": live,
        })
    }

    fn end(&mut self, call: &CallRecord) -> (i64, i64) {
        match call.ended {
            None => (0, -1),
            Some((_, End::Finished)) => (1, -1),
            Some((_, End::Panicked)) => (2, -1),
            Some((_, End::Canceled { reason })) => (3, self.string(reason)),
            Some((_, End::Refused { refusal })) => (4, self.string(&refusal)),
            Some((_, End::Abandoned)) => (5, -1),
        }
    }

    /// The call that was live when this one was refused.
    fn live(&self, call: &CallRecord) -> i64 {
        match call.ended {
            Some((_, End::Refused { refusal: Refusal::Live { live, .. } })) => self.place(live),
            _ => -1,
        }
    }

    fn operations(&mut self) -> Value {
        let operations = self.history.operations();
        let mut places: Map<CallId, i64> = Map::default();
        places.extend(operations.iter().zip(0..).map(|(operation, place)| (operation.id, place)));
        let mut columns: [Vec<i64>; 13] = Default::default();
        let mut waits = Vec::new();
        for operation in operations {
            let OperationRecord { started, canceling, ended, .. } = operation;
            let at = |moment: Option<&Moment>| moment.map_or(-1, |moment| nanos(moment.at));
            let row = [
                self.place(operation.id),
                self.string(&operation.id),
                self.string(operation.name()),
                at(started.as_ref()),
                self.by(started.as_ref()),
                self.site(started.as_ref()),
                at(canceling.as_ref()),
                self.by(canceling.as_ref()),
                self.site(canceling.as_ref()),
                at(ended.as_ref().map(|(moment, _)| moment)),
                operation_end(operation),
                ended.map_or(-1, |(_, end)| self.string(&end)),
                operation.upper.and_then(|upper| places.get(&upper)).copied().unwrap_or(-1),
            ];
            columns.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
            let waits_for = operation.waits_for.iter();
            waits.push(waits_for.map(|(_, call)| self.place(*call)).collect::<Vec<_>>());
        }
        let [call, id, name, started, started_by, started_at, ..] = &columns;
        let [.., canceling, canceling_by, canceling_at, ended, end, text, upper] = &columns;
        json!({
            "call": call, "id": id, "name": name,
            "started": started, "startedBy": started_by, "startedAt": started_at,
            "canceling": canceling, "cancelingBy": canceling_by, "cancelingAt": canceling_at,
            "ended": ended, "end": end, "text": text, "upper": upper, "waits": waits,
        })
    }

    /// The place of a call; -2 if nothing else is known of it.
    fn place(&self, call: CallId) -> i64 {
        self.places.get(&call).map_or(-2, |place| *place as i64)
    }

    /// Whose doing it is; -1 if there is none.
    fn by(&self, moment: Option<&Moment>) -> i64 {
        moment.and_then(|moment| moment.by).map_or(-1, |by| self.place(by))
    }

    fn site(&mut self, moment: Option<&Moment>) -> i64 {
        let site = moment.and_then(|moment| moment.site);
        site.map_or(-1, |site| self.string(&format_args!("{}:{}", site.file(), site.line())))
    }

    /// The place of a string in the table.
    fn string(&mut self, string: &(impl ToString + ?Sized)) -> i64 {
        let string = string.to_string();
        if let Some(place) = self.known.get(&string) {
            return *place as i64;
        }
        let place = self.strings.len();
        self.strings.push(string.clone());
        self.known.insert(string, place);
        place as i64
    }
}

fn operation_end(operation: &OperationRecord) -> i64 {
    match operation.ended {
        None => 0,
        Some((_, OpEnd::Completed { outcome: Outcome::Answered })) => 1,
        Some((_, OpEnd::Completed { outcome: Outcome::Canceled })) => 2,
        Some((_, OpEnd::Completed { .. })) => 3,
        Some((_, OpEnd::Declined { .. })) => 4,
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}
