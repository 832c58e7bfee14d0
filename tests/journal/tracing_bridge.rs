//! The spans that carry a call to what its handler logs, seen by a real subscriber.

use std::cell::{Cell, RefCell};
use std::fmt::{self, Write};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use support::util::{PanicsInCheck, panic_of, panics};
use switchboard::{CallId, CallQueue, Callback, DialSpans, Observer, QueueHandle, Step};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber, info};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry, Scope};
use tracing_subscriber::util::SubscriberInitExt;

/// What users log, each line with the spans that it is in, outermost first; and how many spans are
/// open.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<(Vec<String>, usize)>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if ["id", "message"].contains(&field.name()) {
            write!(self.0, "{value:?}").expect("a string");
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Log {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields(String::new());
        attributes.record(&mut fields);
        let name = attributes.metadata().name();
        let name = if fields.0.is_empty() { name.to_owned() } else { fields.0 };
        context.span(id).expect("the span").extensions_mut().insert(name);
        self.0.lock().unwrap().1 += 1;
    }

    fn on_close(&self, _: Id, _: Context<'_, S>) {
        self.0.lock().unwrap().1 -= 1;
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if !event.metadata().target().starts_with(module_path!()) {
            return;
        }
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        let spans = context.event_scope(event).into_iter().flat_map(Scope::from_root);
        let spans: Vec<_> =
            spans.map(|it| it.extensions().get::<String>().unwrap().clone()).collect();
        self.0.lock().unwrap().0.push(format!("{} | {}", spans.join(" > "), fields.0));
    }
}

impl Log {
    #[track_caller]
    fn expect(&self, lines: &[&str]) {
        assert_eq!(std::mem::take(&mut self.0.lock().unwrap().0), lines);
    }

    fn open(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

/// Runs a story with a subscriber of its own.
fn logged(story: impl FnOnce(&Log, &CallQueue)) {
    let log = Log::default();
    let _default = Registry::default().with(log.clone()).set_default();
    let queue = CallQueue::new();
    queue.add_observer(DialSpans::new());
    story(&log, &queue);
    drop(queue);
    assert_eq!(log.open(), 0, "every span is closed");
    info!("outside");
    log.expect(&[" | outside"]);
}

#[test]
fn what_a_handler_logs_carries_the_call_and_those_that_led_to_it() {
    logged(|log, queue| {
        let server = queue.recipient(());
        let address = server.address();
        queue.call(move |_| {
            info!("first");
            address.call(|(), _| info!("second"));
        });
        queue.call(|_| info!("third"));
        queue.dial_all();
        log.expect(&["#0 | first", "#1 | third", "#0 > #2 | second"]);
    });
}

#[test]
fn a_callback_descends_from_the_call_that_created_it() {
    logged(|log, queue| {
        let handed = Rc::new(RefCell::new(None::<Callback<()>>));
        let hands = Rc::clone(&handed);
        let creates = move |queue: &QueueHandle| {
            hands.replace(Some(queue.callback(|_, ()| info!("answered"))));
        };
        queue.call(creates);
        queue.dial_all();
        queue.call(move |_| handed.take().unwrap().answer(()));
        queue.dial_all();
        log.expect(&["#0 > #c0.0 | answered"]);
    });
}

#[test]
fn a_call_from_outside_any_descends_from_the_span_entered_there() {
    logged(|log, queue| {
        tracing::info_span!("startup").in_scope(|| queue.call(|_| info!("begun")));
        queue.dial_all();
        log.expect(&["startup > #0 | begun"]);
    });
}

#[test]
fn a_panic_leaves_the_spans_that_were_entered() {
    logged(|log, queue| {
        queue.call(|queue| {
            queue.call(panics(()));
            panic_of(|| queue.dial_all());
            info!("after the inner panic");
            queue.call(|_| info!("later"));
            panic!("the outer panic");
        });
        panic_of(|| queue.dial_all());
        info!("after the outer panic");
        queue.dial_all();
        log.expect(&["#0 | after the inner panic", " | after the outer panic", "#0 > #2 | later"]);
    });
}

#[test]
fn nested_turns_enter_one_span_within_the_other_and_leave_them_in_turn() {
    logged(|log, queue| {
        queue.call(|queue| {
            queue.call(|_| info!("inner"));
            let _ = queue.dial_all();
            info!("outer");
        });
        queue.dial_all();
        log.expect(&["#0 > #1 | inner", "#0 | outer"]);
    });
}

#[test]
fn calls_that_are_never_dialed_leave_no_span_behind() {
    logged(|log, queue| {
        let server = queue.recipient(());
        let address = server.address();
        queue.call(move |queue| {
            let canceled = queue.call(|_| ());
            queue.cancel(canceled, "unwanted");
            drop(queue.callback(|_, ()| ()));
            address.call(|(), _| ()); // refused: the recipient is gone
        });
        server.hang_up();
        queue.dial_all();
        assert_eq!(log.open(), 0, "before the queue is dropped");
    });
}

#[test]
fn a_chain_that_goes_on_forever_keeps_a_bounded_number_of_spans_open() {
    fn link(queue: &QueueHandle, left: u32, log: &Log, most: &Rc<Cell<usize>>) {
        most.set(most.get().max(log.open()));
        if left > 0 {
            let (log, most) = (log.clone(), Rc::clone(most));
            queue.call(move |queue| link(queue, left - 1, &log, &most));
        }
    }
    logged(|log, queue| {
        let most = Rc::new(Cell::new(0));
        let (logs, seen) = (log.clone(), Rc::clone(&most));
        queue.call(move |queue| link(queue, 1000, &logs, &seen));
        queue.dial_all();
        assert!((16..=18).contains(&most.get()), "{} spans were open", most.get());
    });
}

#[test]
fn an_observer_that_is_set_or_removed_in_a_handler_leaves_the_spans_right() {
    logged(|log, queue| {
        queue.clear_observers();
        queue.call(|queue| {
            queue.add_observer(DialSpans::new());
            queue.call(|_| info!("seen"));
        });
        queue.dial_all();
        queue.call(|queue| {
            info!("with a span");
            queue.clear_observers();
            info!("without");
        });
        queue.dial_all();
        log.expect(&["#1 | seen", "#2 | with a span", " | without"]);
    });
}

#[test]
fn an_observer_before_it_that_panics_does_not_leave_a_span_entered() {
    logged(|log, queue| {
        let armed = Cell::new(true);
        let panics = move |_: CallId, step: &Step| {
            let at = matches!(step, Step::Finished) && armed.replace(false);
            assert!(!at, "the observer panics");
        };
        let spans = Rc::new(DialSpans::new());
        queue.add_observer(panics);
        queue.add_observer(Rc::clone(&spans));
        queue.call(|queue| {
            queue.call(|_| info!("inner"));
            // The end of the inner call is never reported to the spans.
            panic_of(|| queue.dial_all());
        });
        queue.dial_all();
        info!("after");
        log.expect(&["#0 > #1 | inner", " | after"]);
        spans.observe(queue.call(|_| ()), &Step::Finished); // which it does not know
        queue.dial_all();
    });
}

/// Its call was kept as waiting for good.
#[test]
fn a_check_that_panics_leaves_nothing_waiting() {
    let queue = CallQueue::new();
    let spans = Rc::new(DialSpans::new());
    queue.add_observer(Rc::clone(&spans));
    let server = queue.recipient(());
    server.schedule(PanicsInCheck);
    panic_of(|| queue.dial_all());
    assert_eq!(format!("{spans:?}"), "DialSpans(0 waiting, 0 live)");
}

/// An observer that panics at the first dial, after `as_it_panics`.
fn panics_once(as_it_panics: impl Fn() + 'static) -> impl Observer {
    let at = Cell::new(true);
    move |_: CallId, step: &Step| {
        if *step == Step::Dialed && at.replace(false) {
            as_it_panics();
            panic!("the observer panics");
        }
    }
}

#[test]
fn r10_a_call_that_is_put_back_is_in_its_span_only_once_it_is_dialed_again() {
    logged(|log, queue| {
        queue.add_observer(panics_once(|| ()));
        tracing::info_span!("startup").in_scope(|| queue.call(|_| info!("begun")));
        panic_of(|| queue.dial_all());
        info!("between");
        queue.call(|_| info!("from outside"));
        queue.dial_all();
        log.expect(&[" | between", "startup > #0 | begun", "#1 | from outside"]);
    });
}

#[test]
fn r11_a_call_that_ends_with_the_queue_as_it_is_dialed_leaves_its_span() {
    let log = Log::default();
    let _default = Registry::default().with(log.clone()).set_default();
    let owner = Rc::new(RefCell::new(Some(CallQueue::new())));
    let handle = owner.borrow().as_ref().unwrap().handle();
    let spans = Rc::new(DialSpans::new());
    handle.add_observer(Rc::clone(&spans));
    handle.add_observer(panics_once(move || drop(owner.take())));
    handle.call(|_| ());
    panic_of(|| handle.dial_all());
    info!("after it");
    log.expect(&[" | after it"]);
    assert_eq!((log.open(), format!("{spans:?}")), (0, "DialSpans(0 waiting, 0 live)".into()));
}

#[test]
fn a_call_of_another_queue_keeps_its_span_as_the_spans_around_it_are_removed() {
    logged(|log, other| {
        let (spans, queue) = (Rc::new(DialSpans::new()), CallQueue::new());
        other.clear_observers();
        other.add_observer(Rc::clone(&spans));
        let id = queue.add_observer(Rc::clone(&spans));
        let others = other.handle();
        queue.call(move |queue| {
            let handle = queue.clone();
            others.call(move |others| {
                handle.remove_observer(id);
                info!("inner");
                others.call(|_| info!("later"));
            });
            let _ = others.dial_all();
            info!("outer");
        });
        queue.dial_all();
        log.expect(&["#0 > #0 | inner", "#0 > #0 > #1 | later", " | outer"]);
    });
}
