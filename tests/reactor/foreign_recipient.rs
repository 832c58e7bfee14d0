//! Hazard: a recipient of another queue than the reactor's. Its readiness calls would go to that
//! queue, where no one cancels them, and which may be gone while the loop still has readiness to
//! report. So it is refused.

use std::rc::Rc;

use mio::Interest;
use switchboard::CallQueue;
use switchboard::reactor::Reactor;
use switchboard::reactor::RegisterError;

use support::net::local_pair;

#[test]
fn a_recipient_of_another_queue_is_refused_and_the_source_handed_back() {
    let reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let other = CallQueue::new();
    let recipient = other.recipient(());
    let captured = Rc::new(());
    let inner = Rc::clone(&captured);
    let (source, _peer) = local_pair();
    let refused = handle.register(source, Interest::READABLE, &recipient, move |(), _, _| {
        unreachable!("{inner:?}");
    });
    let error = refused.unwrap_err();
    assert!(matches!(error, RegisterError::ForeignRecipient(_)));
    assert!(error.to_string().contains("another queue"));
    assert_eq!((handle.registration_count(), Rc::strong_count(&captured)), (0, 1));

    let own = reactor.queue().recipient(());
    let source = error.into_inner();
    assert!(handle.register(source, Interest::READABLE, &own, |(), _, _| ()).is_ok());
}
