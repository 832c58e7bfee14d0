//! Hazard: memory that goes with calls of other threads, and is kept or taken more often than reported.

use std::thread;
use std::time::Duration;

use switchboard::reactor::{Reactor, ReactorHandle};

use support::counting::{allocations, held};

/// Turns for as long as there is something to do at once.
fn turn_until_idle(reactor: &mut Reactor) {
    while reactor.poll_timeout() == Some(Duration::ZERO) {
        let _ = reactor.turn(Some(Duration::ZERO)).unwrap();
    }
}

/// Less than what is measured, by far, and more than what is kept for the next calls.
const LITTLE: isize = 1 << 20;

#[test]
fn a_flood_that_is_over_leaves_no_memory_behind() {
    let mut reactor = Reactor::new().unwrap();
    let remote = reactor.remote();
    let before = held();
    for _ in 0..300_000 {
        remote.call(|_| ()).unwrap();
    }
    assert!(held() - before > 4 * LITTLE);
    turn_until_idle(&mut reactor);
    assert_eq!(reactor.queue().tally().finished, 300_000);
    let held = held() - before;
    assert!(held < LITTLE, "{held} bytes are held");
}

/// All but one go, which is in the middle of the others' places.
#[test]
fn l10_what_the_reactor_keeps_for_other_threads_follows_their_number() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let before = held();
    let mut callbacks: Vec<_> =
        (0..100_000).map(|_| reactor.remote_callback(recipient.callback(|_, _, ()| ()))).collect();
    let mut addresses: Vec<_> = (0..100_000).map(|_| reactor.remote_to(&recipient)).collect();
    assert!(held() - before > 10 * LITTLE);
    let _kept = (callbacks.swap_remove(50_000), addresses.swap_remove(50_000));
    callbacks.into_iter().for_each(|callback| callback.decline("not needed"));
    drop(addresses);
    turn_until_idle(&mut reactor);
    let held = held() - before;
    assert!(held < LITTLE, "{held} bytes are held for two of them");
}

/// It took another remote address once, or many of them.
#[test]
fn recipients_go_in_the_turn_after_the_last_of_their_remote_addresses() {
    let mut reactor = Reactor::new().unwrap();
    let before = held();
    let all: Vec<_> = (0..1000)
        .map(|_| {
            let recipient = reactor.queue().recipient([0_u8; 64 << 10]);
            let address = reactor.remote_to(&recipient);
            (recipient, address)
        })
        .collect();
    let (recipients, mut addresses): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    drop(recipients);
    assert!(held() - before > 60 * LITTLE, "the addresses keep the memory");
    // It does not matter which thread they go on.
    let others = addresses.split_off(500);
    drop(addresses);
    thread::spawn(move || drop(others)).join().unwrap();
    turn_until_idle(&mut reactor);
    let held = held() - before;
    assert!(held < LITTLE, "{held} bytes are held for nothing");
}

#[test]
fn remote_addresses_of_a_recipient_that_stays_do_not_pile_up() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let mut made_and_dropped = || {
        for _ in 0..1000 {
            drop(reactor.remote_to(&recipient));
        }
        turn_until_idle(&mut reactor);
        held()
    };
    let going = (0..5).map(|_| made_and_dropped()).last();
    for _ in 0..10 {
        assert_eq!(Some(made_and_dropped()), going);
    }
}

/// Allocations of `one_call`, each time, once the queue and the inbox have got going.
#[track_caller]
fn assert_one_allocation(reactor: &mut Reactor, mut one_call: impl FnMut()) {
    for round in 0..15 {
        let before = allocations();
        one_call();
        turn_until_idle(reactor);
        assert!(round < 10 || allocations() - before == 1, "in round {round}");
    }
}

#[test]
fn a_remote_call_takes_one_allocation_whatever_it_captures() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(0);
    let (remote, address) = (reactor.remote(), reactor.remote_to(&recipient));
    let large = [1_u64; 40];
    let check = move |_: &ReactorHandle| assert_eq!(large, [1; 40]);
    assert_one_allocation(&mut reactor, || remote.call(|_| ()).unwrap());
    assert_one_allocation(&mut reactor, || remote.call(check).unwrap());
    assert_one_allocation(&mut reactor, || address.call(|sum, _| *sum += 1).unwrap());
    assert_one_allocation(&mut reactor, || address.call(move |sum, _| *sum += large[7]).unwrap());
    assert_eq!(reactor.queue().tally().finished, 60);
}

#[test]
fn a_wake_up_takes_one_allocation() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(0);
    let waker = reactor.remote_to(&recipient).waker(|wakes: &mut u32, _| *wakes += 1);
    assert_one_allocation(&mut reactor, || waker.wake_by_ref());
    assert_eq!(reactor.queue().tally().finished, 15);
}
