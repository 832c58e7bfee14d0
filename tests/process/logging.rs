//! Ends that go unnoticed: what is logged of them with feature `tracing`.

use std::cell::RefCell;
use std::fmt::{self, Write};

use support::alone;
use support::util::{never, panic_of, panics};
use switchboard::{Call, CallQueue, Context};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

thread_local! {
    static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the events of each thread.
struct Keeps;

impl Subscriber for Keeps {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(format!("{} ", event.metadata().level()));
        event.record(&mut text);
        LOG.with_borrow_mut(|log| log.push(text.0));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
        write!(self.0, "{value:?}").expect("a string");
    }
}

/// Asserts what was logged since this was asked last, but for the columns of sites.
#[track_caller]
fn expect(logged: &[&str]) {
    let without_column = |word: &str| match word.strip_prefix(file!()) {
        Some(place) => {
            let line = place.split([':', ',']).nth(1).expect("a line");
            format!("here:{line}{}", if place.ends_with(',') { "," } else { "" })
        }
        None => word.to_owned(),
    };
    let line = |line: &String| line.split(' ').map(without_column).collect::<Vec<_>>().join(" ");
    assert_eq!(LOG.take().iter().map(line).collect::<Vec<_>>(), logged);
}

/// A call that objects to be dialed.
struct Objects;

impl Call for Objects {
    type Recipient = ();

    fn can_dial(&self, (): &()) -> Result<(), &'static str> {
        Err("not today")
    }

    fn dial(self, (): &mut (), _: &Context<'_, ()>) {}
}

#[test]
fn bad_ends_are_logged_and_good_ones_are_not() {
    alone!();
    // Fails if another test of this process has set it; there is none.
    tracing::subscriber::set_global_default(Keeps).expect("no other subscriber");
    let queue = CallQueue::new();
    let server = queue.recipient(());
    let finished = server.call(|(), _| ());
    server.callback(|(), _, ()| ()).answer(());
    queue.dial_all();
    queue.cancel(finished, "late");
    expect(&[]);

    let canceled = queue.call(never(()));
    queue.cancel(canceled, "unwanted");
    queue.callback(|_, ()| ()).decline("never");
    expect(&["DEBUG call #2 canceled: unwanted", "DEBUG call #c0.1 canceled: never"]);

    let (callback, line) = (queue.callback(|_, ()| ()), line!());
    drop(callback);
    let text = "abandoned: the callback created at";
    expect(&[&format!("WARN call #c0.2 {text} here:{line} was dropped without a call")]);

    let dials = |(): &mut (), cx: &Context<'_, ()>| _ = cx.queue().dial_all();
    let (_, first) = (server.call(dials), line!());
    let (_, second) = (server.call(|(), _| ()), line!());
    queue.dial_all();
    let text = "refused: the recipient is live with call #3 scheduled at";
    expect(&[&format!("WARN call #4 scheduled at here:{second}, {text} here:{first}")]);

    let (_, line) = (server.schedule(Objects), line!());
    queue.dial_all();
    expect(&[&format!("DEBUG call #5 scheduled at here:{line}, refused: not today")]);
    let address = server.address();
    server.hang_up();
    let (_, line) = (address.schedule(Objects), line!());
    queue.dial_all();
    expect(&[&format!("DEBUG call #6 scheduled at here:{line}, refused: the recipient is gone")]);

    queue.call(panics(()));
    panic_of(|| queue.dial_all());
    expect(&["DEBUG call #7 panicked"]);

    queue.call(never(()));
    drop(queue);
    expect(&["DEBUG call #8 canceled: queue dropped"]);
}
