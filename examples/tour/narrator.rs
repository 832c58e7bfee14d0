//! Prints the life of each call, from the steps that an observer sees.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::Location;
use std::time::Instant;

use switchboard::{CallId, Observer, Step};

use super::paint::Paint;

/// An observer that reports each call that ends.
pub(crate) struct Narrator {
    paint: Paint,
    lives: RefCell<HashMap<CallId, Life>>,
    /// Calls that are live, each within the one before; true once that is reported.
    live: RefCell<Vec<(CallId, bool)>>,
    /// Whether calls that just finish are passed over.
    short: Cell<bool>,
}

/// What is known of a call so far.
struct Life {
    recipient: String,
    created: Instant,
    created_at: &'static Location<'static>,
    scheduled_at: Option<&'static Location<'static>>,
}

impl Observer for Narrator {
    fn observe(&self, call: CallId, step: &Step) {
        match step {
            Step::Created { recipient, site } => {
                let recipient = recipient.map_or("a function".into(), |it| it.to_string());
                let life = Life {
                    recipient,
                    created: Instant::now(),
                    created_at: site,
                    scheduled_at: None,
                };
                self.lives.borrow_mut().insert(call, life);
            }
            Step::Scheduled { site } => {
                if let Some(life) = self.lives.borrow_mut().get_mut(&call) {
                    life.scheduled_at = Some(site);
                }
            }
            Step::Dialed => self.live.borrow_mut().push((call, false)),
            Step::Finished => self.end_live(call, "finished"),
            Step::Panicked => self.end_live(call, "panicked"),
            Step::LateCancel { reason } => {
                self.narrate(call, &format!("canceled ({reason}): too late, nothing happens"));
            }
            Step::Canceled { reason } => self.end(call, &format!("canceled: {reason}")),
            Step::Refused { refusal, .. } => self.end(call, &format!("refused: {refusal}")),
            Step::Abandoned { .. } => self.end(call, "abandoned: dropped without being called"),
            other => self.narrate(call, &other.to_string()),
        }
    }
}

impl Narrator {
    pub(crate) fn new(paint: Paint) -> Self {
        let (lives, live, short) = (RefCell::default(), RefCell::default(), Cell::new(false));
        Self { paint, lives, live, short }
    }

    pub(crate) fn only_ends_other_than_finished(&self) {
        self.short.set(true);
    }

    /// Ends a live call: in one line if nothing was reported since it was dialed.
    fn end_live(&self, call: CallId, end: &str) {
        let reported = self.live.borrow_mut().pop().is_some_and(|(_, reported)| reported);
        if self.short.get() && !reported && end == "finished" {
            self.lives.borrow_mut().remove(&call);
            return;
        }
        self.end(call, &if reported { end.into() } else { format!("dialed, {end}") });
    }

    fn end(&self, call: CallId, end: &str) {
        self.narrate(call, end);
        self.lives.borrow_mut().remove(&call);
    }

    fn narrate(&self, call: CallId, what: &str) {
        self.print_live();
        let depth = self.live.borrow().len();
        self.print(depth, call, what);
    }

    /// Prints the calls that are live, unless they were printed.
    fn print_live(&self) {
        for (depth, (call, reported)) in self.live.borrow_mut().iter_mut().enumerate() {
            if !std::mem::replace(reported, true) {
                self.print(depth, *call, "dialed");
            }
        }
    }

    fn print(&self, depth: usize, call: CallId, what: &str) {
        let indent = "   ".repeat(depth + 1);
        let lives = self.lives.borrow();
        let Some(Life { recipient, created, created_at, scheduled_at }) = lives.get(&call) else {
            return println!("{indent}call {call}, which is over: {what}");
        };
        let since = created.elapsed().as_secs_f64() * 1e3;
        let site = scheduled_at.map_or_else(
            || format!("created at {}, never scheduled", place(created_at)),
            |site| format!("scheduled at {}", place(site)),
        );
        println!("{indent}call {call} to {recipient}: {}", self.paint.end(what));
        let site = format!("{site}; {since:.2} ms since it was created");
        println!("{indent}   {}", self.paint.dim(&site));
    }
}

fn place(site: &Location<'_>) -> String {
    format!("{}:{}", site.file(), site.line())
}
