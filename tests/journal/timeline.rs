//! The page that shows a history. What it does in a browser is tried by `.ci/page`, on the pages
//! that these tests write to the folder that the variable `PAGES` names, if it is set.

use std::cell::{Cell, RefCell};
use std::env;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::util::panic_of;
use switchboard::journal::{History, Journal};
use switchboard::op::{AsyncOp, OpError, OpResult, Operation};
use switchboard::{Address, CallQueue, Callback, Context, QueueHandle, Recipient};

/// A clock that only work advances.
#[derive(Clone)]
struct Clock(Rc<Cell<Instant>>);

impl Clock {
    fn work(&self, nanos: u64) {
        self.0.set(self.0.get() + Duration::from_nanos(nanos));
    }
}

/// Numbers that look random, the same in each run.
struct Dice(Cell<u64>);

impl Dice {
    fn roll(&self, sides: u64) -> u64 {
        let mut x = self.0.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.0.set(x);
        (x >> 11) % sides
    }
}

type Result = OpResult<u64, String>;

/// A recipient with a name that means mischief to a careless page.
struct Worker;

/// The context of an upper operation, and of one that is a layer below.
struct Request(RefCell<Option<AsyncOp>>);
struct Lookup;

struct Shop {
    clock: Clock,
    dice: Dice,
    workers: Vec<Recipient<Worker>>,
    left: Cell<u64>,
    lookups: RefCell<Vec<Operation<Lookup, u64, String>>>,
}

impl Shop {
    fn worker(&self) -> Address<Worker> {
        self.workers[self.dice.roll(self.workers.len() as u64) as usize].address()
    }

    fn take(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }

    /// A call that schedules others, cancels some, and starts operations.
    fn handle(self: &Rc<Self>, queue: &QueueHandle) {
        self.clock.work(500 + self.dice.roll(4000));
        for _ in 0..self.dice.roll(3) {
            self.call(queue);
        }
        match self.dice.roll(24) {
            0 => self.operation(queue),
            1 | 2 => {
                let lookup = self.lookups.borrow_mut().pop();
                lookup.map(|lookup| lookup.complete(Ok(1)).is_ok());
            }
            _ => {}
        }
        self.clock.work(self.dice.roll(900));
    }

    fn call(self: &Rc<Self>, queue: &QueueHandle) {
        if !self.take() {
            return;
        }
        let shop = Rc::clone(self);
        let call = match self.dice.roll(5) {
            0 => queue.call(move |queue| shop.handle(queue)),
            _ => self.worker().call(move |_, cx| shop.handle(cx.queue())),
        };
        match self.dice.roll(200) {
            0..=8 => _ = queue.cancel(call, "no longer wanted"),
            9 => {
                let nested = |_: &mut Worker, cx: &Context<'_, Worker>| {
                    cx.call(|_, _| ());
                    let _ = cx.queue().dial_pending();
                };
                self.worker().call(nested);
            }
            10 => drop(queue.callback(|_, ()| ())),
            _ => {}
        }
    }

    /// An operation that waits for a layer below; some are canceled.
    fn operation(self: &Rc<Self>, queue: &QueueHandle) {
        let done: Callback<Result> = self.worker().callback(|_, _, _| ());
        let upper = Operation::new(done, Request(RefCell::default()), |request| {
            let lookup = request.context().0.take();
            lookup.map(|lookup| lookup.cancel());
        });
        let reported = upper.clone();
        let found = self.worker().callback(move |_, _, result| _ = reported.complete(result));
        upper.waits_for(found.id());
        let lookup = Operation::new(found, Lookup, |lookup| {
            let _ = lookup.complete(Err(OpError::Canceled));
        });
        upper.context().0.replace(Some(lookup.handle()));
        if self.dice.roll(3) == 0 {
            let handle = upper.handle();
            queue.call(move |_| _ = handle.cancel());
        }
        if self.dice.roll(5) == 0 {
            let _ = lookup.complete(Err(OpError::Failed("not found".into())));
        }
        self.lookups.borrow_mut().push(lookup);
    }
}

/// The history of about so many calls.
fn busy(calls: u64) -> History {
    busy_among(10.min(calls / 3), calls)
}

/// The history of about so many calls among some workers.
fn busy_among(workers: u64, calls: u64) -> History {
    let clock = Clock(Rc::new(Cell::new(Instant::now())));
    let read = clock.clone();
    let journal = Rc::new(Journal::with_clock(calls as usize * 6 + 64, move || read.0.get()));
    let queue = CallQueue::new();
    queue.add_observer(Rc::clone(&journal));
    let workers = (0..workers).map(|_| queue.recipient(Worker)).collect();
    let dice = Dice(Cell::new(0x9E37_79B9_7F4A_7C15));
    let (left, lookups) = (Cell::new(calls), RefCell::default());
    let shop = Rc::new(Shop { clock, dice, workers, left, lookups });
    while shop.left.get() > 0 {
        for _ in 0..1 + shop.dice.roll(12) {
            shop.call(&queue);
        }
        let _ = queue.dial_all();
        shop.clock.work(shop.dice.roll(20_000));
    }
    shop.worker().call(|_, _| panic!("a handler lost its head"));
    panic_of(|| queue.dial_all());
    shop.clock.work(100);
    journal.history()
}

fn page(history: &History) -> String {
    let mut page = Vec::new();
    history.write_timeline(&mut page).expect("a vector takes it");
    String::from_utf8(page).expect("text")
}

/// Writes a page for `.ci/page` to open.
fn leave(name: &str, page: &str) {
    if let Some(folder) = env::var_os("PAGES") {
        fs::write(Path::new(&folder).join(name), page).expect("a file");
    }
}

/// What stands in the page.
fn data(page: &str) -> Value {
    let begin = page.split("<script type=\"application/json\" id=\"history\">").nth(1);
    let json = begin.and_then(|rest| rest.split("</script>").next()).expect("the history");
    serde_json::from_str(json).expect("JSON")
}

#[test]
fn the_page_has_every_call_of_the_history_once_and_in_order() {
    let history = busy(1_000);
    let page = page(&history);
    leave("timeline-1000.html", &page);
    let data = data(&page);
    let ids = data["calls"]["id"].as_array().unwrap();
    let ids: Vec<_> = ids.iter().map(|id| id.as_str().unwrap()).collect();
    assert!(ids.len() >= 1_000, "{}", ids.len());
    assert_eq!(ids, history.calls().iter().map(|call| call.id.to_string()).collect::<Vec<_>>());
    for (name, column) in data["calls"].as_object().unwrap() {
        assert_eq!(column.as_array().unwrap().len(), ids.len(), "column {name}");
    }
    for (name, column) in data["operations"].as_object().unwrap() {
        assert_eq!(column.as_array().unwrap().len(), history.operations().len(), "column {name}");
    }
    let uppers = data["operations"]["upper"].as_array().unwrap();
    let layered = uppers.iter().filter(|upper| upper.as_i64() >= Some(0));
    assert!(layered.count() > 3, "the layers of operations are exported");
}

#[test]
fn the_page_is_complete_in_itself() {
    let page = page(&busy(10));
    leave("timeline-10.html", &page);
    assert!(!page.contains("%%"), "every part is in its place");
    for outside in ["src=", "href=", "@import", "url(", "fetch(", "XMLHttpRequest", "import("] {
        assert!(!page.contains(outside), "{outside} asks for something outside");
    }
    assert!(page.contains("default-src 'none'"), "and the browser would not let it");
}

#[test]
fn strings_of_users_cannot_leave_their_place_in_the_page() {
    const EVIL: &str = "</script><script>window.evil = 1</script><!-- \u{2028} \" \\ ü";
    let journal = Rc::new(Journal::new());
    let queue = CallQueue::new();
    queue.add_observer(Rc::clone(&journal));
    for _ in 0..2 {
        let call = queue.call(|_| ());
        queue.cancel(call, EVIL);
    }
    queue.call(|_| ());
    queue.dial_all();
    let page = page(&journal.history());
    leave("timeline-evil.html", &page);
    assert!(!page.contains("<script>window.evil"), "the string is harmless");
    let strings = data(&page)["strings"].clone();
    let evil = strings.as_array().unwrap().iter().filter(|string| *string == EVIL).count();
    assert_eq!(evil, 1, "it is there as it was, once");
}

#[test]
fn the_page_of_an_empty_journal_is_a_page() {
    let page = page(&Journal::new().history());
    leave("timeline-0.html", &page);
    assert_eq!(data(&page)["calls"]["id"], Value::Array(Vec::new()));
}

#[test]
fn the_page_states_that_the_beginning_was_dropped() {
    let journal = Rc::new(Journal::with_capacity(10));
    let queue = CallQueue::new();
    queue.add_observer(Rc::clone(&journal));
    for _ in 0..9 {
        queue.call(|queue| _ = queue.call(|_| ()));
    }
    queue.dial_all();
    let page = page(&journal.history());
    leave("timeline-dropped.html", &page);
    assert_eq!(data(&page)["dropped"], 18 * 3 - 10);
}

#[test]
fn a_hundred_thousand_calls_take_a_few_megabytes() {
    let history = busy(100_000);
    let page = page(&history);
    leave("timeline-100000.html", &page);
    assert!(history.calls().len() >= 100_000);
    let each = page.len() / history.calls().len();
    assert!(each < 90, "{each} bytes a call");
}

/// For `.ci/page --figures`, as it takes long without optimization.
#[test]
#[ignore = "a million calls: run by .ci/page"]
fn pages_of_a_million_calls_and_of_five_thousand_recipients() {
    leave("timeline-5000-recipients.html", &page(&busy_among(5_000, 100_000)));
    leave("timeline-1000000.html", &page(&busy(1_000_000)));
}

/// What a page of lanes and rows alone would not show: 711 short sessions, 150 operations at a time, a chain
/// of 100 causes, a refusal, an hour in between, labels and names.
#[test]
fn many_of_a_type_share_a_lane_and_a_refusal_knows_the_live_call() {
    fn link(queue: &QueueHandle, clock: Clock, left: u32) {
        clock.work(500);
        if left > 0 {
            queue.call(move |queue| link(queue, clock, left - 1));
        }
    }
    let clock = Clock(Rc::new(Cell::new(Instant::now())));
    let reads = clock.clone();
    let queue = CallQueue::new();
    let journal = Journal::builder().clock(move || reads.0.get()).install(&queue);
    for number in 0..711 {
        clock.work(1_000);
        let session = queue.recipient(Shown);
        session.set_label(format!("10.0.0.{number}"));
        session.call(|_, _| ());
        queue.dial_all();
    }
    clock.work(3_600_000_000_000);
    let links = clock.clone();
    let chain = queue.call(|queue| link(queue, links, 100));
    queue.name_call(chain, "a chain of 100");
    queue.dial_all();
    let server = queue.recipient(Shown);
    let live = server.call(|_, cx| _ = cx.queue().dial_all());
    let refused = server.call(|_, _| ());
    queue.dial_all();
    let running: Vec<_> = (0..150)
        .map(|_| {
            clock.work(1_000);
            let done: Callback<Result> = server.callback(|_, _, _| ());
            Operation::new(done, Lookup, |_| ())
        })
        .collect();
    let late = queue.call(|_| ());
    queue.dial_all();
    queue.cancel(late, "too late");
    let history = journal.history();
    let page = page(&history);
    leave("timeline-many.html", &page);
    for operation in running {
        let _ = operation.complete(Ok(1));
    }
    queue.dial_all();
    let data = data(&page);
    let place = |call| history.calls().iter().position(|it| it.id == call).unwrap();
    assert_eq!(data["calls"]["live"][place(refused)], place(live) as u64);
    assert_eq!(data["calls"]["live"][place(live)], -1);
    assert_eq!(data["names"].as_array().unwrap().len(), 1);
    let labels = data["lanes"].as_array().unwrap().iter().filter(|lane| lane["label"] != -1);
    assert_eq!(labels.count(), 711);
}

struct Shown;

#[cfg(feature = "mio")]
#[test]
fn the_page_has_turns_polls_origins_and_the_date() {
    use switchboard::reactor::Reactor;

    let mut reactor = Reactor::new().expect("a reactor");
    let journal = Journal::builder().install(reactor.queue());
    let remote = reactor.remote();
    for round in 1..=3 {
        let callback = reactor.queue().callback(move |queue, ()| _ = queue.call(|_| ()));
        reactor.after(Duration::from_millis(5), callback).detach();
        remote.call(|_| ()).expect("it is there");
        // What is not finished is pending, armed or sent, so no turn sleeps for good.
        while reactor.queue().tally().finished < 3 * round {
            reactor.turn(None).expect("a turn");
        }
    }
    let history = journal.history();
    let page = page(&history);
    leave("timeline-turns.html", &page);
    let data = data(&page);
    let turns = &data["turns"];
    for (name, column) in turns.as_object().unwrap() {
        assert_eq!(column.as_array().unwrap().len(), history.turns().len(), "column {name}");
    }
    let dialed: u64 = turns["dialed"].as_array().unwrap().iter().filter_map(Value::as_u64).sum();
    assert_eq!(dialed as usize, history.calls().len());
    assert!(turns["polled"].as_array().unwrap().iter().any(|polled| polled.as_i64() >= Some(0)));
    let origins = data["origins"].as_array().unwrap();
    let shown = |origin: &Value| data["strings"][origin[1].as_u64().unwrap() as usize].clone();
    assert_eq!(origins.iter().filter(|origin| shown(origin) == "a timer").count(), 3);
    let threads =
        origins.iter().filter(|origin| shown(origin).as_str().unwrap().starts_with("thread "));
    assert_eq!(threads.count(), 3);
    assert!(data["date"].as_i64() > Some(1_700_000_000_000));
}
