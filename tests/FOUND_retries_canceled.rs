#![allow(non_snake_case, reason = "a defect that was found; its test moves once it is mended")]
//! Found: `RetryPolicy::after` says that canceled operations are never repeated. But an attempt
//! that tells Canceled of its own accord (a layer below was closed, say) is passed to the predicate,
//! and repeated if that says so.

#![cfg(feature = "mio")]

mod manual;

use manual::{Manual, Told, check_over};
use switchboard::op::OpError;
use switchboard::reactor::Reactor;
use switchboard::samples::{MlRetries, Module, Retry, RetryPolicy};

#[test]
fn an_attempt_that_was_canceled_below_is_not_repeated() {
    let reactor = Reactor::new().expect("a reactor");
    let queue = reactor.queue();
    let lower = Manual::default();
    let policy = RetryPolicy::new().after(|_| true);
    let module = MlRetries::new(&reactor.handle(), lower.clone(), policy);
    module.open();
    let told = Told::new(queue);
    let op = module.start(Retry::new(|| 1), told.done()).expect("it is open");
    lower.complete(Err(OpError::Canceled));
    queue.dial_all();
    assert_eq!(lower.running(), 0, "repeated");
    assert!(matches!(told.only(), Err(OpError::Canceled)));
    drop(op);
    check_over(queue);
}
