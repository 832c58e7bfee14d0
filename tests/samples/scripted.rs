//! All scenarios of the samples in their 26 compositions, on a scripted reactor: the
//! reads are of scripted sources, retries wait, and time stands still until nothing else is to be
//! done. The threads of fake cancels are real, and their events held back until they are delivered.
//!
//! A step is a call that is dialed, an event that is reported, or a jump of the clock: finer than on a
//! real reactor, which polls, fires and dials in one turn. So the explorer meets each operation in
//! states that it is not in otherwise, and cancels, fails and panics there.

mod faults;

/// What the samples go through on sockets, too.
mod on_a_script {
    crate::scenarios::tests_on!(switchboard::testing::ScriptedReactor);
}
