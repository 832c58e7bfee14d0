//! The end of a queue (rule R11).

use alloc::vec::{self, Vec};
use core::iter::Peekable;

use crate::erased::cells::Stage;
use crate::erased::{Key, Popped};
use crate::id::CallId;
use crate::queue::listener::flag;
use crate::queue::notify::KeepObservers;
use crate::queue::state::{Core, QUEUE_DROPPED};
use crate::unwind::{DropLast, to_the_end};

impl Core {
    /// Ends every call (rule R11), even if a captured value or an observer panics on the way: deferred
    /// calls, then those in order, then callbacks that were not called.
    pub(super) fn close(&self) {
        self.raise(flag::CLOSED);
        let _observers = KeepObservers::of(self);
        let mut answered = Vec::new();
        let mut next = 0;
        while let Some((key, stage)) = self.first_known(next) {
            next = key.slot + 1;
            if let Stage::Pending(position) = stage {
                answered.push((position, key));
            }
        }
        answered.sort_unstable_by_key(|(position, _)| *position);
        let mut answered = answered.into_iter().peekable();
        let mut next = 0;
        to_the_end(|| {
            if self.end_deferred() || self.end_next(&mut answered) {
                return true;
            }
            if let Some((key, _)) = self.first_known(next) {
                next = key.slot + 1;
                let _ = self.cancel_if_not_late(self.id(CallId::callback_key(key)), QUEUE_DROPPED);
                return true;
            }
            false
        });
    }

    /// Cancels the first deferred call; false if there is none.
    fn end_deferred(&self) -> bool {
        let Some((_, deferred)) = self.deferred.pop() else { return false };
        if !self.deferred.has_ready() {
            self.lower(flag::READY);
        }
        if let Some(call) = deferred.call {
            self.forgotten.add();
            let _call = DropLast::new(call);
            self.end_canceled(deferred.key, QUEUE_DROPPED);
        } else {
            self.pass_canceled_deferred(deferred.key);
        }
        true
    }

    /// Cancels the next pending call; false if there is none.
    fn end_next(&self, answered: &mut Peekable<vec::IntoIter<(u64, Key)>>) -> bool {
        match self.calls().pop() {
            Popped::Empty => return false,
            Popped::Tombstone(note) => self.pass_tombstone(note),
            Popped::Call(position, call) => {
                self.forgotten.add();
                let _call = DropLast::new(call);
                while answered.next_if(|(pending, _)| *pending < position).is_some() {}
                let callback = answered.next_if(|(pending, _)| *pending == position);
                let key = callback.map_or(position, |(_, key)| CallId::callback_key(key));
                self.end_canceled(key, QUEUE_DROPPED);
            }
        }
        true
    }
}
