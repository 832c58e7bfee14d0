//! The samples in all 26 compositions.

#![cfg(all(feature = "mio", unix))]

mod rig;

use std::rc::Rc;

use rig::{Recorder, When, compositions};
use switchboard::reactor::Reactor;

#[test]
fn completes() {
    for recipe in compositions() {
        for whens in [When::AtOnce, When::Later] {
            let mut reactor = Reactor::new().expect("a reactor");
            let outcomes = Rc::default();
            let recorder = reactor
                .queue()
                .recipient(Recorder { outcomes: Rc::clone(&outcomes), ..Recorder::default() });
            let composition = (recipe.make)(&reactor);
            composition.open();
            let script = recipe.success(|_| whens);
            let op = composition.start(&script, &recorder, 0).expect("it is open");
            assert_eq!(op.is_some(), recipe.handles, "{}", recipe.name);
            while outcomes.borrow().is_empty() {
                script.trigger();
                let _ = reactor.turn(None).expect("a turn");
            }
            assert_eq!(*outcomes.borrow(), [(0, recipe.answer())], "{}", recipe.name);
            assert_eq!(reactor.handle().registrations(), 0);
            assert!(reactor.queue().tally().balances());
        }
    }
}
