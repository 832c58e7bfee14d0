//! Hazard: a loop that does not end, as something that is there for its own sake keeps it running (rules
//! M6 and M7).

use std::thread;
use std::time::Duration;

use switchboard::reactor::{Missed, Reactor};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn m07_a_timer_can_be_set_not_to_keep_the_loop_running() {
    let mut reactor = Reactor::new().unwrap();
    let timer = reactor.after(HOUR, reactor.queue().callback(|_, ()| ()));
    assert!(reactor.should_run());
    timer.unref();
    timer.unref();
    assert!(!reactor.should_run());
    timer.undo_unref();
    assert!(reactor.should_run());
    timer.unref();
    reactor.run().unwrap();
    assert_eq!(reactor.timer_count(), 1);
    drop(timer);
    // The count is right whichever way they go.
    for way in 0..3 {
        let callback = reactor.queue().callback(|_, ()| ());
        let id = callback.id();
        let timer = reactor.after(if way == 2 { Duration::ZERO } else { HOUR }, callback);
        timer.unref();
        timer.detach();
        if way == 1 {
            reactor.queue().cancel(id, "unwanted");
            assert_eq!(reactor.timer_count(), 1);
        }
        let _ = reactor.turn(Some(Duration::ZERO)).unwrap();
        assert!(!reactor.should_run());
        let kept = reactor.after(HOUR, reactor.queue().callback(|_, ()| ()));
        assert!(reactor.should_run());
        drop(kept);
        assert!(!reactor.should_run());
    }
}

#[test]
fn m07_an_unref_timer_fires_while_something_else_keeps_the_loop_running() {
    let mut reactor = Reactor::new().unwrap();
    let count = reactor.queue().recipient(0);
    let timer = reactor.after(Duration::ZERO, count.callback(|count, _, ()| *count += 1));
    timer.unref();
    let _later = reactor.after(Duration::from_millis(1), count.callback(|_, _, ()| ()));
    reactor.run().unwrap();
    count.call(|count, _| assert_eq!(*count, 1));
    reactor.run().unwrap();
}

#[test]
fn m07_a_heartbeat_keeps_nothing_alive() {
    let mut reactor = Reactor::new().unwrap();
    let beats = reactor.queue().recipient(0);
    let heart =
        reactor.every(Duration::from_micros(1), Missed::Skip, &beats, |beats, _| *beats += 1);
    assert!(reactor.should_run());
    heart.unref();
    heart.detach();
    let _work = reactor.after(Duration::from_millis(2), reactor.queue().callback(|_, ()| ()));
    reactor.run().unwrap(); // ends with the work
    assert!(!reactor.should_run() || !reactor.queue().is_idle());
    beats.call(|beats, _| assert!(*beats > 0));
    let _ = reactor.turn(Some(Duration::ZERO)).unwrap();
}

#[test]
fn m07_a_timer_whose_recipient_is_gone_keeps_nothing_running() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    reactor.after(HOUR, recipient.callback(|(), _, ()| ())).detach();
    reactor.every(HOUR, Missed::Burst, &recipient, |(), _| ()).detach();
    assert!(reactor.should_run());
    let before = reactor.queue().tally();
    recipient.call(|(), cx| cx.hang_up());
    reactor.run().unwrap(); // in no hour
    let after = reactor.queue().tally();
    assert!(!reactor.should_run());
    assert_eq!(reactor.queue().tally(), after, "asking changes nothing");
    assert_eq!(after.created, before.created + 1);
    assert_eq!(reactor.timer_count(), 0);
    // Nor does one whose recipient was gone before.
    reactor.after(HOUR, recipient.callback(|(), _, ()| ())).detach();
    assert!(!reactor.should_run());
    let callback = recipient.callback(|(), _, ()| ());
    assert_eq!(reactor.timer_count(), 0);
    reactor.after(HOUR, callback).detach();
    assert!(!reactor.should_run());
}

#[test]
fn m08_remotes_can_be_set_not_to_keep_the_loop_running() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(0);
    let (remote, address) = (reactor.remote(), reactor.remote_to(&recipient));
    let callback = reactor.remote_callback(recipient.callback(|_, _, ()| ()));
    assert!(reactor.should_run());
    remote.unref();
    remote.unref();
    address.unref();
    let woken = address.waker(|_, _| ());
    assert!(reactor.should_run(), "the callback does");
    callback.unref();
    let _clones = (remote.clone(), address.clone(), address.clone().bounded(3), woken.clone());
    let _ = reactor.turn(Some(Duration::ZERO)).unwrap();
    assert!(!reactor.should_run());
    remote.undo_unref();
    remote.undo_unref();
    assert!(reactor.should_run());
    remote.unref();
    // What is sent comes through: the loop is not over before that.
    let sender = address.clone();
    thread::spawn(move || sender.call(|count, _| *count += 1).unwrap()).join().unwrap();
    callback.answer(()).unwrap();
    assert!(reactor.should_run());
    reactor.run().unwrap();
    recipient.call(|count, _| assert_eq!(*count, 1));
    reactor.run().unwrap();
    drop((remote, address, woken));
    assert!(!reactor.should_run());
    let kept = reactor.remote();
    assert!(reactor.should_run(), "the count is right");
    drop(kept);
    let _ = reactor.turn(Some(Duration::ZERO)).unwrap();
    assert!(!reactor.should_run());
}
