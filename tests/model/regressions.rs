//! Sequences that broke a rule once, or might: each reported on the queue and on the model. `main.rs`
//! prints what goes here.

use support::worlds::sequences::*;

#[test]
fn calls_that_drop_as_the_queue_is_closed_may_use_it() {
    for setup in [BARE, WATCHED] {
        holds(
            setup,
            &[
                Call(A, Dropping(&Call(F, Nothing))),
                Call(B, Dropping(&Cancel(Latest(0)))),
                Call(C, Dropping(&Dial(All))),
                Callback(A, Dropping(&Callback(B, Nothing))),
                Callback(B, Dropping(&Abandon(0))),
                Close,
            ],
        );
    }
}

#[test]
fn a_handler_closes_the_queue_in_a_nested_turn() {
    holds(
        WATCHED,
        &[
            Call(A, Enter(&Dial(All))),
            Call(F, Enter(&Close)),
            Call(A, Nothing),
            Callback(B, Nothing),
            Dial(All),
        ],
    );
}

#[test]
fn a_turn_that_begins_as_the_queue_is_closed_dials_nothing() {
    holds(WATCHED, &[Call(F, Dropping(&Dial(All))), Call(A, Nothing), Close]);
}

#[test]
fn a_callback_is_canceled_once_as_the_queue_is_closed() {
    for setup in [BARE, WATCHED] {
        holds(
            setup,
            &[
                Callback(A, Nothing),
                Callback(B, Dropping(&Cancel(Latest(1)))),
                Callback(C, Nothing),
                Answer(0),
                Close,
                Cancel(Latest(0)),
                Answer(0),
            ],
        );
    }
}

#[test]
fn a_canceled_callback_is_known_until_its_turn_and_no_longer() {
    for setup in [BARE, WATCHED] {
        holds(
            setup,
            &[
                Callback(A, Nothing),
                Answer(0),
                Cancel(Latest(0)),
                Cancel(Latest(0)),
                Dial(Calls(1)),
                Cancel(Latest(0)),
                Callback(A, Nothing),
                Cancel(Latest(1)),
            ],
        );
    }
}

#[test]
fn what_a_canceled_call_captured_cancels_the_rest() {
    holds(
        WATCHED,
        &[
            Call(F, Dropping(&Cancel(Oldest))),
            Call(A, Dropping(&Cancel(Oldest))),
            Callback(B, Dropping(&Cancel(Oldest))),
            Call(C, Dropping(&Dial(All))),
            Cancel(Latest(3)),
        ],
    );
}

#[test]
fn a_panic_out_of_nested_turns_ends_all_that_is_live() {
    for setup in [BARE, WATCHED] {
        holds(
            setup,
            &[
                Call(A, Both(&Dial(All), &Call(A, Nothing))),
                Call(B, Both(&Dial(All), &Dial(All))),
                Call(C, Both(&Panic, &Dial(Calls(1)))),
                Call(A, Nothing),
                Dial(All),
                Call(C, Nothing),
            ],
        );
    }
}

#[test]
fn a_recipient_hung_up_in_a_nested_turn_drops_when_its_handler_returns() {
    let setup = Setup { value: Some(&Call(A, Nothing)), ..WATCHED };
    holds(
        setup,
        &[
            Call(A, Enter(&Dial(All))),
            Call(F, Enter(&HangUp(A))),
            Call(A, Nothing),
            Dial(Pending),
            Renew(A),
            Call(A, Nothing),
        ],
    );
}

#[test]
fn an_empty_queue_wakes_again_whatever_the_hook_does() {
    for hook in [&Dial(All), &Cancel(Oldest), &Call(A, Enter(&Dial(All)))] {
        let setup = Setup { hook: Some(hook), ..WATCHED };
        holds(
            setup,
            &[
                Call(A, Nothing),
                Cancel(Latest(0)),
                Callback(B, Nothing),
                Answer(0),
                Dial(All),
                Call(B, Dropping(&Call(F, Nothing))),
            ],
        );
    }
}

#[test]
fn a_call_that_finds_the_queue_full_leaves_nothing_behind() {
    let setup = Setup { capacity: 1, ..WATCHED };
    holds(
        setup,
        &[
            Call(A, Enter(&Call(A, Nothing))),
            Call(B, Dropping(&Cancel(Oldest))),
            Callback(C, Nothing),
            Answer(0),
            Dial(All),
        ],
    );
}
