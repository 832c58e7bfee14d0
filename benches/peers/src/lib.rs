//! switchboard beside its peers: the same groups as in its own benches, with more contenders.
//!
//! Each peer does the work the way its documentation shows, with what it offers for it; where it
//! offers nothing (cancel, in stakker's queue) it is not in the group.

pub use switchboard_benches::{criteria, work};

pub mod interleave;
pub mod plot;
pub mod processes;

mod calloop;
mod futures;
mod registering;
mod remote;
mod servers;
mod stakker;
mod tokio;

use work::{Contender, Group, contender};

/// Batches from this size on take too long, or too much memory, with one allocation a call and more.
const MOST: u64 = 1_000_000;

/// All groups, with all contenders.
pub fn groups() -> Vec<Group> {
    let mut groups = work::groups();
    for group in &mut groups {
        group.contenders.extend(peers(group.name));
    }
    groups
}

fn peers(group: &str) -> Vec<Contender> {
    match group {
        "function_call" => vec![
            contender("stakker defer", stakker::calls),
            contender("calloop idle", calloop::calls),
            contender("LocalPool", futures::local_pool),
            contender("FuturesUnordered", futures::unordered),
            contender("smol LocalExecutor", futures::executor),
            contender("tokio LocalSet", tokio::calls),
        ],
        "recipient_call" => vec![
            contender("stakker call!", stakker::calls_to_one),
            contender("calloop idle", calloop::calls_to_one),
        ],
        "many_recipients" => vec![contender("stakker call!", stakker::calls_to_many)],
        "chained_call" => vec![
            contender("stakker defer", stakker::chain),
            contender("calloop idle", calloop::chain),
            contender("LocalPool", futures::local_pool_chain),
            contender("FuturesUnordered", futures::unordered_chain),
            contender("smol LocalExecutor", futures::executor_chain),
            contender("tokio LocalSet", tokio::chain),
        ],
        "canceled_call" => vec![
            contender("calloop idle", calloop::every_second_canceled),
            contender("LocalPool, abortable", futures::local_pool_canceled),
            contender("smol LocalExecutor", futures::executor_canceled),
            contender("tokio LocalSet, abort", tokio::aborted),
            contender("tokio LocalSet, token", tokio::canceled_by_token),
        ],
        "callback" => vec![
            contender("stakker Ret", stakker::returns),
            contender("LocalPool, oneshot", futures::local_pool_oneshot),
            contender("tokio LocalSet, oneshot", tokio::oneshot),
        ],
        "pending_calls" => vec![
            contender("stakker defer", stakker::calls),
            Contender { most: MOST, ..contender("calloop idle", calloop::calls) },
            Contender { most: MOST, ..contender("LocalPool", futures::local_pool) },
            Contender { most: MOST, ..contender("FuturesUnordered", futures::unordered) },
            Contender { most: MOST, ..contender("smol LocalExecutor", futures::executor) },
            Contender { most: MOST, ..contender("tokio LocalSet", tokio::calls) },
        ],
        "timers_cancel" => vec![
            contender("stakker", stakker::timers_canceled),
            // To arm one, and to cancel one, goes through all.
            Contender { most: 1000, ..contender("calloop", calloop::timers_canceled) },
            contender("tokio", tokio::timers_canceled),
        ],
        "timers_fire" => vec![
            contender("stakker", stakker::timers_fired),
            Contender { most: 1000, ..contender("calloop", calloop::timers_fired) },
        ],
        "registrations" => vec![
            contender("mio by hand", registering::by_hand),
            contender("stakker_mio", registering::stakker),
            contender("calloop", registering::calloop),
            contender("tokio", registering::tokio),
        ],
        "remote_own" => vec![
            contender("calloop channel", |batch| work::remote::own_thread(batch, remote::calloop)),
            contender("tokio mpsc", |batch| work::remote::own_thread(batch, remote::tokio)),
        ],
        "remote_other" => vec![
            contender("calloop channel", |batch| {
                work::remote::other_thread(batch, remote::calloop)
            }),
            contender("tokio mpsc", |batch| work::remote::other_thread(batch, remote::tokio)),
        ],
        "ping_pong" => vec![
            contender("stakker_mio", |connections| {
                work::echo::ping_pong(connections, servers::stakker)
            }),
            contender("calloop", |connections| {
                work::echo::ping_pong(connections, servers::calloop)
            }),
            contender("tokio", |connections| work::echo::ping_pong(connections, servers::tokio)),
        ],
        "streaming" => vec![
            contender("stakker_mio", |connections| {
                work::echo::streaming(connections, servers::stakker)
            }),
            contender("calloop", |connections| {
                work::echo::streaming(connections, servers::calloop)
            }),
            contender("tokio", |connections| work::echo::streaming(connections, servers::tokio)),
        ],
        _ => Vec::new(),
    }
}
