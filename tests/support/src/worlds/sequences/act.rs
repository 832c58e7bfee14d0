//! What sequences are made of.
//!
//! How many there are: calls to each of three recipients, whose handlers do nothing, call any of the
//! three, dial, panic or hang up (21); function calls, for what does not depend on the recipient:
//! handlers that cancel the oldest call or themselves, close the queue or dial, captures that call,
//! cancel or dial as they drop (7); callbacks to each recipient, answered, declined, dropped (6);
//! the latest three ids canceled (3); one call, those pending, or all dialed (3); each recipient let
//! go, and the queue (4). That is 44. Random sequences draw on more of the same kinds.

use std::fmt;

/// Whom a call is for: a function or one of three recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    F,
    A,
    B,
    C,
}

pub use To::{A, B, C, F};

impl To {
    /// The number of the desk.
    pub fn desk(self) -> Option<usize> {
        (self as usize).checked_sub(1)
    }
}

/// What a call does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Script {
    Nothing,
    /// Its handler acts.
    Enter(&'static Act),
    /// What it captured acts as it drops.
    Drop(&'static Act),
    Both(&'static Act, &'static Act),
    /// Its own check refuses it, if it goes to a recipient in one go.
    Check,
    /// An observer panics when it is notified of its dial.
    Startle,
}

pub use Script::{Both, Check, Drop as Dropping, Enter, Nothing, Startle};

impl Script {
    pub fn entered(self) -> Option<&'static Act> {
        match self {
            Enter(act) | Both(act, _) => Some(act),
            _ => None,
        }
    }

    pub fn dropped(self) -> Option<&'static Act> {
        match self {
            Dropping(act) | Both(_, act) => Some(act),
            _ => None,
        }
    }
}

/// As code.
impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Nothing => write!(f, "Nothing"),
            Enter(act) => write!(f, "Enter(&{act:?})"),
            Dropping(act) => write!(f, "Dropping(&{act:?})"),
            Both(entered, dropped) => write!(f, "Both(&{entered:?}, &{dropped:?})"),
            Check => write!(f, "Check"),
            Startle => write!(f, "Startle"),
        }
    }
}

/// One symbol of a sequence, or of what a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Call(To, Script),
    Callback(To, Script),
    /// The callback at that place among those not used up, oldest first.
    Answer(usize),
    Decline(usize),
    Abandon(usize),
    Cancel(Which),
    Dial(How),
    HangUp(To),
    /// Another recipient sits down at the desk.
    Renew(To),
    Close,
    /// In scripts only.
    Panic,
}

pub use Act::{
    Abandon, Answer, Call, Callback, Cancel, Close, Decline, Dial, HangUp, Panic, Renew,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// That many before the latest call.
    Latest(usize),
    /// The oldest call that is neither dialed nor over.
    Oldest,
    /// The one that acts.
    Own,
    /// One of another queue.
    Foreign,
}

pub use Which::{Foreign, Latest, Oldest, Own};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Calls(usize),
    Pending,
    All,
}

pub use How::{All, Calls, Pending};

impl Act {
    /// The desks that are named, in order.
    pub fn desks(&self) -> Vec<usize> {
        match *self {
            Call(to, script) | Callback(to, script) => {
                let acts = [script.entered(), script.dropped()].into_iter().flatten();
                to.desk().into_iter().chain(acts.flat_map(Self::desks)).collect()
            }
            HangUp(to) | Renew(to) => to.desk().into_iter().collect(),
            _ => Vec::new(),
        }
    }
}

/// The symbols of which every sequence is made.
pub const ALPHABET: [Act; 44] = [
    Call(F, Enter(&Cancel(Oldest))),
    Call(F, Enter(&Cancel(Own))),
    Call(F, Enter(&Close)),
    Call(F, Enter(&Dial(All))),
    Call(F, Dropping(&Call(F, Nothing))),
    Call(F, Dropping(&Cancel(Oldest))),
    Call(F, Dropping(&Dial(All))),
    Call(A, Nothing),
    Call(B, Nothing),
    Call(C, Nothing),
    Call(A, Enter(&Call(A, Nothing))),
    Call(A, Enter(&Call(B, Nothing))),
    Call(A, Enter(&Call(C, Nothing))),
    Call(B, Enter(&Call(A, Nothing))),
    Call(B, Enter(&Call(B, Nothing))),
    Call(B, Enter(&Call(C, Nothing))),
    Call(C, Enter(&Call(A, Nothing))),
    Call(C, Enter(&Call(B, Nothing))),
    Call(C, Enter(&Call(C, Nothing))),
    Call(A, Enter(&Dial(All))),
    Call(B, Enter(&Dial(All))),
    Call(C, Enter(&Dial(All))),
    Call(A, Enter(&Panic)),
    Call(B, Enter(&Panic)),
    Call(C, Enter(&Panic)),
    Call(A, Enter(&HangUp(A))),
    Call(B, Enter(&HangUp(B))),
    Call(C, Enter(&HangUp(C))),
    Callback(A, Nothing),
    Callback(B, Nothing),
    Callback(C, Nothing),
    Answer(0),
    Decline(0),
    Abandon(0),
    Cancel(Latest(0)),
    Cancel(Latest(1)),
    Cancel(Latest(2)),
    Dial(Calls(1)),
    Dial(Pending),
    Dial(All),
    HangUp(A),
    HangUp(B),
    HangUp(C),
    Close,
];

/// The symbols for promises: few, so that sequences can be longer. Two callbacks that are answered
/// and deferred, and two cancels of a call that was answered, take five acts and four.
pub const PROMISES: [Act; 9] = [
    Callback(A, Nothing),
    Answer(0),
    Cancel(Latest(0)),
    Cancel(Latest(1)),
    Call(A, Nothing),
    Call(A, Enter(&Dial(All))),
    Call(F, Enter(&HangUp(A))),
    Dial(Calls(1)),
    Dial(All),
];

/// The symbols for calls that are put back, as an observer panics when it is notified of their dial.
pub const STARTLES: [Act; 11] = [
    Callback(A, Startle),
    Answer(0),
    Call(A, Startle),
    Call(F, Startle),
    Call(A, Nothing),
    Call(A, Enter(&Dial(All))),
    Call(F, Enter(&HangUp(A))),
    Cancel(Latest(0)),
    Dial(Calls(1)),
    Dial(All),
    HangUp(A),
];

/// What the calls of random sequences do.
pub const INNER: [Act; 34] = [
    Call(F, Nothing),
    Call(A, Nothing),
    Call(B, Nothing),
    Call(C, Nothing),
    Call(F, Enter(&Dial(All))),
    Call(A, Enter(&Dial(Pending))),
    Call(B, Enter(&Panic)),
    Call(C, Enter(&HangUp(C))),
    Call(F, Dropping(&Cancel(Latest(0)))),
    Call(A, Dropping(&Answer(0))),
    Call(B, Both(&Panic, &Dial(All))),
    Call(C, Check),
    Callback(F, Nothing),
    Callback(A, Enter(&Dial(All))),
    Callback(B, Dropping(&Call(B, Nothing))),
    Callback(C, Enter(&Answer(0))),
    Answer(0),
    Answer(1),
    Decline(0),
    Abandon(0),
    Cancel(Oldest),
    Cancel(Own),
    Cancel(Latest(1)),
    Cancel(Latest(5)),
    Dial(Calls(1)),
    Dial(Calls(3)),
    Dial(Pending),
    Dial(All),
    HangUp(A),
    HangUp(B),
    Renew(B),
    Renew(C),
    Panic,
    // Last, as hardly anything can happen after it.
    Close,
];
