//! Hazard: readiness for nothing, at any step of work on threads. (For sockets, see `samples/scenarios/explorer.rs`.)
//!
//! The thread of a fake cancel holds the peer of the registered socket, and nobody else does. So
//! this file finds it among the descriptors of the process, and writes to it. That is why it
//! has a process of its own, and is for epoll only: the kernel tells what is registered with that.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;

use crate::alone::alone;
use support::rig::{Recipe, Rig, compositions_of_work};

#[test]
fn readiness_for_nothing_at_any_step_changes_nothing() {
    alone!();
    for recipe in compositions_of_work() {
        let mut at = 0;
        let mut spurious = 0;
        while let Some(told) = run(recipe, at) {
            spurious += told;
            at += 1;
        }
        assert!(at >= 2 * recipe.steps, "{recipe}: {at} steps");
        assert!(spurious >= recipe.steps / 2, "{recipe}: {spurious}");
    }
}

/// Runs the representative script of `recipe`, with readiness for nothing just before step `at`.
/// Returns how often somebody was told for nothing; none if there are fewer steps.
fn run(recipe: Recipe, at: usize) -> Option<usize> {
    let mut rig = Rig::stepwise(recipe, at);
    let before = sockets();
    rig.start(&recipe.representative());
    let mut spurious = 0;
    for _ in 0..at {
        if !rig.step() {
            return None;
        }
    }
    let idle = rig.reactor.queue().is_idle();
    let script = rig.script(0).clone();
    for peer in sockets().difference(&before).filter(|socket| !registered().contains(socket)) {
        write_to(*peer);
    }
    if idle && script.waiting() == 1 {
        let told = rig.reactor.event_stats().delivered;
        rig.turn();
        assert_eq!(rig.reactor.event_stats().delivered, told + 1, "{}", rig.label());
        assert!(rig.reactor.queue().is_idle(), "{}: it goes on to wait", rig.label());
        spurious += 1;
    }
    rig.finish(&[recipe.answer()]);
    Some(spurious)
}

/// The sockets of this process.
fn sockets() -> BTreeSet<RawFd> {
    links("socket:")
}

/// What is registered with a poll of this process.
fn registered() -> BTreeSet<RawFd> {
    let polls = links("anon_inode:[eventpoll]").into_iter();
    let infos =
        polls.filter_map(|poll| fs::read_to_string(format!("/proc/self/fdinfo/{poll}")).ok());
    let mut registered = BTreeSet::new();
    for info in infos {
        let targets = info.lines().filter_map(|line| line.strip_prefix("tfd:"));
        let number = |target: &str| target.split_whitespace().next()?.parse::<RawFd>().ok();
        registered.extend(targets.filter_map(number));
    }
    registered
}

fn links(kind: &str) -> BTreeSet<RawFd> {
    let entries = fs::read_dir("/proc/self/fd").expect("the descriptors").filter_map(Result::ok);
    entries
        // One may be closed by its thread meanwhile.
        .filter(|entry| {
            fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().starts_with(kind))
        })
        .filter_map(|entry| entry.file_name().to_string_lossy().parse().ok())
        .collect()
}

/// Writes to a socket that its thread may close at any time.
#[expect(unsafe_code, reason = "a descriptor of which only the number is known")]
fn write_to(socket: RawFd) {
    // SAFETY: the number is not -1, and the borrow ends with the call that duplicates it. If the
    // thread has closed its socket by then, that call fails: no other thread opens any.
    let borrowed = unsafe { BorrowedFd::borrow_raw(socket) };
    if let Ok(socket) = borrowed.try_clone_to_owned() {
        // In vain if the other end is closed.
        let _ = UnixStream::from(socket).write(&[0]);
    }
}
