//! Hazard: a set of recipients that keeps one that is gone, or forgets whom to notify; a label that is
//! lost, or stays.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use support::util::{Counts, NONE, OnDrop, Trace, assert_counts, figures, on_drop};
use switchboard::{
    Address, CallId, CallQueue, Callback, Observer, ObserverId, QueueHandle, RecipientInfo,
    Recipients, Step,
};

/// A recipient of a set: its name, and what its drop does.
struct Session(&'static str, Trace);

impl Drop for Session {
    fn drop(&mut self) {
        self.1.add(self.0);
    }
}

/// A set of sessions by these names, their addresses, and which of them dropped.
fn sessions<const N: usize>(
    queue: &CallQueue,
    names: [&'static str; N],
) -> (Recipients<Session>, [Address<Session>; N], Trace) {
    let (set, trace) = (Recipients::new(queue), Trace::default());
    let addresses = names.map(|name| set.insert(Session(name, trace.clone())));
    (set, addresses, trace)
}

/// A value that does something as it drops.
type Acts = OnDrop<Box<dyn FnOnce()>>;

/// A callback that counts.
fn counting(queue: &QueueHandle, count: &Rc<Cell<u32>>) -> Callback<()> {
    let count = Rc::clone(count);
    queue.callback(move |_, ()| count.set(count.get() + 1))
}

#[test]
fn a_recipient_leaves_its_set_when_it_hangs_up() {
    let queue = CallQueue::new();
    let (set, [first, second], trace) = sessions(&queue, ["first", "second"]);
    let set = Rc::new(set);
    let own = Rc::clone(&set);
    first.call(move |session, cx| {
        assert_eq!(own.len(), 2);
        cx.hang_up();
        assert_eq!(own.len(), 1, "it is in the set, though it has hung up");
        assert!(!own.remove(&cx.address()));
        session.1.add("live still");
    });
    first.call(|_, _| unreachable!());
    second.call(|session, _| session.1.add("second is called"));
    assert_eq!(figures(queue.dial_all()), [2, 0, 1, 0]);
    assert_eq!(trace.take(), ["live still", "first", "second is called"]);
    assert_eq!(set.iter().collect::<Vec<_>>(), [second.address()]);
    assert!(first.is_gone() && !second.is_gone());
    drop(set);
    assert_eq!(trace.take(), ["second"]);
    assert!(second.is_gone());
}

#[test]
fn a_recipient_is_removed_once_and_from_its_own_set_only() {
    let queue = CallQueue::new();
    let (set, [first, second], trace) = sessions(&queue, ["first", "second"]);
    let (others, [third], _) = sessions(&queue, ["third"]);
    let elsewhere = CallQueue::new();
    let (_foreign, foreigners, _) = sessions(&elsewhere, ["x", "y", "z"]);
    assert!(!set.remove(&third) && !others.remove(&first));
    assert!(foreigners.iter().all(|foreigner| !set.remove(foreigner)));
    assert!(set.remove(&first));
    assert_eq!((trace.take(), first.is_gone(), set.len()), (vec!["first".into()], true, 1));
    assert!(!set.remove(&first));
    let alone = queue.recipient(Session("alone", trace.clone()));
    assert!(!set.remove(&alone));
    assert_eq!((set.len(), others.len(), second.is_gone()), (1, 1, false));
}

#[test]
fn a_set_drops_its_recipients_in_the_order_in_which_they_were_inserted() {
    let queue = CallQueue::new();
    for drops in [false, true] {
        let (set, addresses, trace) = sessions(&queue, ["a", "b", "c", "d"]);
        assert!(set.remove(&addresses[1]));
        set.insert(Session("e", trace.clone()));
        let before: Vec<_> = set.iter().collect();
        assert_eq!(
            before[..3],
            [&addresses[0], &addresses[2], &addresses[3]].map(Address::address)
        );
        if drops {
            drop(set);
        } else {
            set.clear();
            assert!(set.is_empty() && set.iter().next().is_none());
        }
        assert_eq!(trace.take(), ["b", "a", "c", "d", "e"]);
        assert!(before.iter().all(Address::is_gone));
    }
}

#[test]
fn who_waits_for_a_set_to_be_empty_is_notified_once() {
    let queue = CallQueue::new();
    let notified = Rc::new(Cell::new(0));
    let (set, [first, second], _) = sessions(&queue, ["first", "second"]);
    for _ in 0..2 {
        set.when_empty(counting(&queue, &notified));
    }
    set.remove(&first);
    set.insert(Session("third", Trace::default()));
    second.call(|_, cx| cx.hang_up());
    queue.dial_all();
    assert_eq!((set.len(), notified.get()), (1, 0));
    set.clear();
    assert_eq!((figures(queue.dial_all()), notified.take()), ([2, 0, 0, 0], 2));

    // An empty one notifies at once, by a call. Those before are not notified again.
    set.when_empty(counting(&queue, &notified));
    assert_eq!((queue.tally().pending, notified.get()), (1, 0));
    queue.dial_all();
    assert_eq!(notified.take(), 1);
    set.clear();
    assert!(queue.is_idle());

    // A set that drops is empty then.
    set.insert(Session("last", Trace::default()));
    set.when_empty(counting(&queue, &notified));
    drop(set);
    queue.dial_all();
    assert_eq!(notified.get(), 1);
    assert!(queue.tally().balances());
}

#[test]
fn who_waits_is_notified_when_the_last_value_has_dropped() {
    let queue = CallQueue::new();
    let set: Recipients<Acts> = Recipients::new(&queue);
    let trace = Trace::default();
    for name in ["first", "second", "third"] {
        let (trace, handle) = (trace.clone(), queue.handle());
        set.insert(on_drop(Box::new(move || {
            trace.add(name);
            handle.dial_all();
        })));
    }
    let waiting = trace.clone();
    set.when_empty(queue.callback(move |_, ()| waiting.add("empty")));
    set.clear();
    queue.dial_all();
    assert_eq!(trace.take(), ["first", "second", "third", "empty"]);
}

#[test]
fn a_value_may_insert_another_as_it_drops() {
    let queue = CallQueue::new();
    let set: Rc<Recipients<Option<Acts>>> = Rc::new(Recipients::new(&queue));
    let notified = Rc::new(Cell::new(0));
    for removes in [false, true] {
        set.insert(None);
        let own = Rc::downgrade(&set);
        let inserts = set.insert(Some(on_drop(Box::new(move || {
            let set = own.upgrade().expect("the set is there");
            set.insert(None);
        }))));
        set.when_empty(counting(&queue, &notified));
        if removes {
            assert!(set.remove(&inserts));
            assert_eq!(set.len(), 2);
        } else {
            set.clear();
            assert_eq!(set.len(), 1, "the new one is gone with the others");
        }
        queue.dial_all();
        assert_eq!(notified.get(), 0, "notified, though the set was not empty");
        set.clear();
        queue.dial_all();
        assert_eq!((set.len(), notified.take()), (0, 1));
    }
}

#[test]
fn a_value_that_panics_as_it_drops_keeps_no_other_in_the_set() {
    let queue = CallQueue::new();
    let (notified, trace) = (Rc::new(Cell::new(0)), Trace::default());
    for drops in [false, true] {
        let set: Recipients<Acts> = Recipients::new(&queue);
        let unlucky: Box<dyn FnOnce()> = Box::new(|| panic::resume_unwind(Box::new("a value")));
        let first = set.insert(on_drop(unlucky));
        let log = trace.clone();
        let second = set.insert(on_drop(Box::new(move || log.add("second"))));
        set.when_empty(counting(&queue, &notified));
        let clears = || if drops { drop(set) } else { set.clear() };
        assert!(panic::catch_unwind(AssertUnwindSafe(clears)).is_err());
        assert!(first.is_gone() && second.is_gone());
        queue.dial_all();
        assert_eq!((trace.take(), notified.take()), (vec!["second".into()], 1));
    }
    // One that hangs up by itself has left, too.
    let set: Recipients<Acts> = Recipients::new(&queue);
    let unlucky = set.insert(on_drop(Box::new(|| panic::resume_unwind(Box::new("a value")))));
    set.when_empty(counting(&queue, &notified));
    unlucky.call(|_, cx| cx.hang_up());
    assert!(panic::catch_unwind(AssertUnwindSafe(|| queue.dial_all())).is_err());
    assert!(set.is_empty());
    queue.dial_all();
    assert_eq!(notified.get(), 1);
    assert!(queue.tally().balances());
}

#[test]
fn a_set_that_drops_while_one_of_it_is_live_lets_that_one_return() {
    let queue = CallQueue::new();
    let (set, [first, _], trace) = sessions(&queue, ["first", "second"]);
    first.call(move |session, cx| {
        drop(set);
        session.1.add("live still");
        assert!(cx.is_gone());
    });
    first.call(|_, _| unreachable!());
    assert_eq!(figures(queue.dial_all()), [1, 0, 1, 0]);
    assert_eq!(trace.take(), ["second", "live still", "first"]);
    assert_counts(&queue, Counts { finished: 1, refused: 1, ..NONE });
}

#[test]
fn what_fails_to_be_made_is_not_in_the_set() {
    let queue = CallQueue::new();
    let set: Recipients<u32> = Recipients::new(&queue);
    let failed = set.try_insert_with(|own| if own.is_gone() { Ok(1) } else { Err("no value") });
    assert_eq!((failed.unwrap_err(), set.len()), ("no value", 0));
    let made = set.insert_with(|own| own.info().number as u32);
    made.call(|number, cx| assert_eq!(u64::from(*number), cx.info().number));
    assert_eq!((queue.dial_all().dialed, set.len()), (1, 1));
}

#[test]
fn the_addresses_of_a_set_are_those_of_when_they_were_asked_for() {
    let queue = CallQueue::new();
    let (set, _, _) = sessions(&queue, ["first", "second"]);
    for address in set.iter() {
        set.remove(&address);
        set.insert(Session("another", Trace::default()));
    }
    assert_eq!(set.len(), 2);
    let unique: BTreeSet<_> = set.iter().map(|address| address.info().number).collect();
    assert_eq!(unique.len(), 2);
}

// Labels.

/// A recipient's number, and its label.
type Label = (u64, Option<String>);

/// Keeps the labels that it is notified of.
#[derive(Clone, Default)]
struct Labels(Rc<RefCell<Vec<Label>>>);

impl Labels {
    fn watch(queue: &QueueHandle) -> (Self, ObserverId) {
        let labels = Self::default();
        let id = queue.add_observer(labels.clone());
        (labels, id)
    }

    fn take(&self) -> Vec<Label> {
        self.0.take()
    }
}

impl Observer for Labels {
    fn observe(&self, _: CallId, _: &Step) {}

    fn observe_label(&self, _: NonZeroU64, recipient: RecipientInfo, label: Option<&str>) {
        self.0.borrow_mut().push((recipient.number, label.map(str::to_owned)));
    }
}

fn some(label: &str) -> Option<String> {
    Some(label.to_owned())
}

#[test]
fn a_label_is_observed_and_forgotten_with_its_recipient() {
    let queue = CallQueue::new();
    let (labels, id) = Labels::watch(&queue);
    let servers = [(); 3].map(|()| queue.recipient(()));
    assert_eq!(servers[1].label(), None);
    servers[1].set_label("10.0.0.7");
    servers[2].set_label(String::from("10.0.0.8"));
    servers[1].set_label("10.0.0.9");
    assert_eq!(
        labels.take(),
        [(1, some("10.0.0.7")), (2, some("10.0.0.8")), (1, some("10.0.0.9"))]
    );
    assert_eq!(servers[1].label().as_deref(), Some("10.0.0.9"));
    assert_eq!(servers[0].label(), None);

    let [first, second, third] = servers;
    let address = second.address();
    first.hang_up(); // it has none
    second.hang_up();
    assert_eq!((labels.take(), address.label()), (vec![(1, None)], None));
    address.set_label("too late");
    assert_eq!((labels.take(), address.label()), (vec![], None));

    // While it is live, the recipient may still look at it; then it hangs up.
    third.call(|(), cx| {
        assert_eq!(cx.label().as_deref(), Some("10.0.0.8"));
        cx.set_label("closing");
        cx.hang_up();
        assert_eq!(cx.label(), None);
        cx.set_label("too late");
    });
    queue.dial_all();
    assert_eq!(labels.take(), [(2, some("closing")), (2, None)]);
    assert!(queue.remove_observer(id));
}

#[test]
fn an_observer_that_comes_later_is_notified_of_the_labels_that_there_are() {
    let queue = CallQueue::new();
    let servers = [(); 3].map(|()| queue.recipient(()));
    servers[2].set_label("third");
    servers[0].set_label("first");
    servers[1].set_label("gone");
    let [first, second, _third] = servers;
    second.hang_up();
    let (labels, _) = Labels::watch(&queue);
    assert_eq!(labels.take(), [(0, some("first")), (2, some("third"))]);
    let (others, _) = Labels::watch(&queue);
    first.set_label("renamed");
    assert_eq!(labels.take(), [(0, some("renamed"))], "the labels came a second time");
    assert_eq!(others.take(), [(0, some("first")), (2, some("third")), (0, some("renamed"))]);
}
