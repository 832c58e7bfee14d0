//! The models, for whatever primitives `crate::sync` has.

use std::sync::atomic::AtomicUsize as Count;
use std::{io, mem};

use crate::inbox::{Flag, Inbox, Quota, Rejection};
use crate::sync::{Arc, AtomicUsize, Event, Ordering, spawn};

/// An inbox of numbers, and the event of its reactor.
struct Shared {
    inbox: Inbox<(usize, usize)>,
    event: Event,
    /// How often the reactor fell asleep, and how often it was woken. (No part of the model.)
    sleeps: Count,
    wakes: Count,
}

impl Shared {
    fn new(senders: usize) -> Arc<Self> {
        let (sleeps, wakes) = (Count::new(0), Count::new(0));
        let shared = Self { inbox: Inbox::new(), event: Event::new(), sleeps, wakes };
        (0..senders).for_each(|_| shared.inbox.join());
        Arc::new(shared)
    }

    fn wake(&self) {
        let wakes = self.wakes.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(wakes <= self.sleeps.load(Ordering::SeqCst), "woken although it is awake");
        self.event.wake();
    }

    fn send(&self, sender: usize, number: usize) -> Result<(), Rejection> {
        let sent = self.inbox.send((sender, number), || {
            self.wake();
            Ok(())
        });
        sent.map_err(|(_, rejection)| rejection)
    }

    /// As a sender does: what must be traced is sent with its thread, for which 1 stands.
    fn send_as_wanted(&self, number: usize) {
        let wake = || {
            self.wake();
            Ok(())
        };
        match self.inbox.send((0, number), wake) {
            Ok(()) => {}
            Err((_, Rejection::Traced)) => {
                let sent = self.inbox.send_traced((1, number), wake);
                assert!(sent.is_ok(), "the reactor is there");
            }
            Err((_, rejection)) => panic!("{rejection:?}"),
        }
    }

    fn leave(&self) {
        self.inbox.leave(|| {
            self.wake();
            Ok(())
        });
    }

    fn fall_asleep(&self) -> bool {
        self.sleeps.fetch_add(1, Ordering::SeqCst);
        self.inbox.fall_asleep()
    }

    /// What `Reactor::turn` does: sleeps if nothing has come, then takes what there is.
    fn turn(&self, fetched: &mut Vec<(usize, usize)>) {
        if self.fall_asleep() {
            self.event.poll();
        }
        self.inbox.wake_up();
        self.inbox.take(fetched);
    }

    /// Receives until `enough` says so. (A wake-up that is lost is a deadlock.)
    fn receive(&self, mut enough: impl FnMut((usize, usize)) -> bool) {
        let (mut fetched, mut over) = (Vec::new(), false);
        while !over {
            self.turn(&mut fetched);
            fetched.drain(..).for_each(|entry| over |= enough(entry));
        }
    }

    /// The same in a host's loop, which may sleep whenever the guest does not turn.
    fn receive_as_guest(&self, mut enough: impl FnMut((usize, usize)) -> bool) {
        let (mut fetched, mut over) = (Vec::new(), false);
        let _ = self.fall_asleep();
        while !over {
            if !self.inbox.has_mail() {
                self.event.poll();
            }
            self.inbox.wake_up();
            self.inbox.take(&mut fetched);
            fetched.drain(..).for_each(|entry| over |= enough(entry));
            let _ = self.fall_asleep();
        }
    }

    /// What `Reactor::run` does: receives until nothing can come any more.
    fn run(&self, mut receive: impl FnMut((usize, usize))) {
        let mut fetched = Vec::new();
        while self.inbox.has_senders() || self.inbox.has_mail() {
            self.turn(&mut fetched);
            fetched.drain(..).for_each(&mut receive);
        }
    }
}

/// All that is sent is received, per sender in order, by a reactor that sleeps in between.
pub(crate) fn nothing_is_lost_and_no_wake_up(senders: usize, each: usize) {
    receive_all(senders, each, |shared, enough| shared.receive(enough));
}

/// The same by a guest, whose host sleeps in between.
pub(crate) fn nothing_is_lost_by_a_guest_and_no_wake_up(senders: usize, each: usize) {
    receive_all(senders, each, |shared, enough| shared.receive_as_guest(enough));
}

/// Whether enough was received, with this entry.
type Enough<'a> = &'a mut dyn FnMut((usize, usize)) -> bool;

fn receive_all(senders: usize, each: usize, receive: fn(&Shared, Enough<'_>)) {
    let shared = Shared::new(0);
    let threads: Vec<_> = (0..senders)
        .map(|sender| {
            let shared = Arc::clone(&shared);
            spawn(move || {
                for number in 0..each {
                    shared.send(sender, number).expect("the reactor is there");
                }
            })
        })
        .collect();
    let mut next = vec![0; senders];
    receive(&shared, &mut |(sender, number)| {
        assert_eq!(number, next[sender], "out of order");
        next[sender] += 1;
        next.iter().all(|received| *received == each)
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// A reactor that is awake finds all that is sent, and is never woken.
pub(crate) fn a_reactor_that_is_awake_is_not_woken(senders: usize, each: usize) {
    let shared = Shared::new(senders);
    let threads: Vec<_> = (0..senders)
        .map(|sender| {
            let shared = Arc::clone(&shared);
            spawn(move || {
                for number in 0..each {
                    shared.send(sender, number).expect("the reactor is there");
                }
                shared.leave();
            })
        })
        .collect();
    let mut received = Vec::new();
    shared.inbox.take(&mut received);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(!shared.fall_asleep() || received.len() == senders * each);
    shared.inbox.wake_up();
    let mut rest = Vec::new();
    shared.inbox.take(&mut rest);
    assert_eq!(received.len() + rest.len(), senders * each);
    assert_eq!(shared.wakes.load(Ordering::SeqCst), 0);
}

/// A reactor that runs ends after the last sender has left, and has received all by then.
pub(crate) fn a_run_ends_with_its_last_sender(senders: usize, each: usize) {
    let shared = Shared::new(senders);
    let threads: Vec<_> = (0..senders)
        .map(|sender| {
            let shared = Arc::clone(&shared);
            spawn(move || {
                for number in 0..each {
                    shared.send(sender, number).expect("the reactor is there");
                }
                shared.leave();
            })
        })
        .collect();
    let mut received = 0;
    shared.run(|_| received += 1);
    assert_eq!(received, senders * each);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// A reactor that runs ends once it has received what senders go along with, whose entry is their last.
pub(crate) fn a_run_ends_with_entries_that_their_senders_go_along_with(senders: usize) {
    let shared = Shared::new(senders);
    let threads: Vec<_> = (0..senders)
        .map(|sender| {
            let shared = Arc::clone(&shared);
            spawn(move || shared.send(sender, 0).expect("the reactor is there"))
        })
        .collect();
    let mut received = 0;
    shared.run(|_| {
        received += 1;
        shared.inbox.leave_on_arrival();
    });
    assert_eq!(received, senders);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// A reactor that closes while others send has everything whose sender was assured that it is sent, and
/// nothing else.
pub(crate) fn a_close_that_races_loses_nothing(senders: usize, each: usize) {
    let shared = Shared::new(senders);
    let threads: Vec<_> = (0..senders)
        .map(|sender| {
            let shared = Arc::clone(&shared);
            spawn(move || {
                let sent = (0..each).take_while(|number| match shared.send(sender, *number) {
                    Ok(()) => true,
                    Err(Rejection::Closed) => false,
                    Err(rejection) => panic!("{rejection:?}"),
                });
                let sent = sent.count();
                shared.leave();
                sent
            })
        })
        .collect();
    let mut received = Vec::new();
    shared.inbox.take(&mut received);
    received.extend(shared.inbox.close());
    let sent: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    for (sender, sent) in sent.into_iter().enumerate() {
        let numbers = received.iter().filter(|entry| entry.0 == sender).map(|entry| entry.1);
        assert!(numbers.eq(0..sent), "{received:?}, sent {sent} by {sender}");
    }
    assert!(!shared.inbox.has_mail() && shared.inbox.close().is_empty());
    assert!(matches!(shared.send(0, 0), Err(Rejection::Closed)));
}

/// What is sent while the queue becomes observed, or is so no more, is received once and in order; what was
/// sent after that bears its thread, or does not.
pub(crate) fn observation_loses_nothing_and_keeps_the_order(each: usize) {
    let shared = Shared::new(0);
    let sending = {
        let shared = Arc::clone(&shared);
        spawn(move || (0..each).for_each(|number| shared.send_as_wanted(number)))
    };
    shared.inbox.set_traced(true);
    let mut next = 0;
    shared.receive(|(_, number)| {
        assert_eq!(number, next, "out of order");
        next += 1;
        next == each
    });
    sending.join().unwrap();
    let mut received = Vec::new();
    for (is_traced, number) in [(true, 0), (false, 1)] {
        shared.inbox.set_traced(is_traced);
        shared.send_as_wanted(number);
        shared.inbox.take(&mut received);
        assert_eq!(mem::take(&mut received), [(usize::from(is_traced), number)]);
    }
}

/// A wake-up that fails takes the entry back, and keeps no one else's from being received.
pub(crate) fn a_failed_wake_up_is_reported_to_its_sender_only() {
    let shared = Shared::new(0);
    let _ = shared.fall_asleep();
    let failing = {
        let shared = Arc::clone(&shared);
        spawn(move || {
            let fail = || Err(io::ErrorKind::Other.into());
            match shared.inbox.send((0, 0), fail) {
                Ok(()) => true,
                Err((_, Rejection::NotWoken(error))) => {
                    assert_eq!(error.kind(), io::ErrorKind::Other);
                    false
                }
                Err((_, rejection)) => panic!("{rejection:?}"),
            }
        })
    };
    let sending = {
        let shared = Arc::clone(&shared);
        spawn(move || shared.send(1, 0).expect("the reactor is there"))
    };
    let mut received = [0; 2];
    shared.receive(|(sender, _)| {
        received[sender] += 1;
        sender == 1
    });
    sending.join().unwrap();
    let was_sent = failing.join().unwrap();
    shared.inbox.close().into_iter().for_each(|(sender, _)| received[sender] += 1);
    assert_eq!(received, [usize::from(was_sent), 1]);
}

/// No more are underway than may be, and what is full has room again.
pub(crate) fn a_quota_is_kept(senders: usize, capacity: usize) {
    let shared = Arc::new((Quota::new(capacity), AtomicUsize::new(0)));
    let threads: Vec<_> = (0..senders)
        .map(|_| {
            let shared = Arc::clone(&shared);
            spawn(move || {
                let (quota, underway) = &*shared;
                let entered = quota.enter();
                if entered {
                    assert!(underway.fetch_add(1, Ordering::SeqCst) < capacity);
                    underway.fetch_sub(1, Ordering::SeqCst);
                    quota.leave();
                }
                entered
            })
        })
        .collect();
    let entered = threads.into_iter().map(|thread| thread.join().unwrap());
    assert!(entered.filter(|entered| *entered).count() >= capacity.min(senders));
    assert!((0..capacity).all(|_| shared.0.enter()) && !shared.0.enter());
}

/// Of many wake-ups at least one comes after what any of them is for.
pub(crate) fn a_flag_loses_no_wake_up(wakers: usize) {
    let shared = Arc::new((Flag::new(), Event::new(), AtomicUsize::new(0)));
    let threads: Vec<_> = (0..wakers)
        .map(|_| {
            let shared = Arc::clone(&shared);
            spawn(move || {
                let (flag, event, progress) = &*shared;
                progress.fetch_add(1, Ordering::Relaxed);
                if flag.raise() {
                    event.wake();
                }
            })
        })
        .collect();
    let (flag, event, progress) = &*shared;
    loop {
        event.poll();
        flag.lower();
        if progress.load(Ordering::Relaxed) == wakers {
            break;
        }
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}
