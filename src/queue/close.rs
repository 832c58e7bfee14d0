//! The end of a queue (rule R11).

use alloc::vec::{self, Vec};
use core::iter::Peekable;

use crate::id::CallId;
use crate::queue::inner::{Core, QUEUE_DROPPED};
use crate::queue::listener::flag;
use crate::queue::waiting::Canceled;
use crate::queue::waiting::Stage;
use crate::slots::Key;
use crate::unwind::to_the_end;

impl Core {
    /// Ends every call (rule R11), also if a captured value or the observer panics on the way.
    pub(super) fn close(&self) {
        self.raise(flag::CLOSED);
        let known = self.callbacks.known();
        let pending = known.iter().filter_map(|(key, stage)| match stage {
            Stage::Pending(position) => Some((*position, *key)),
            Stage::Waiting | Stage::Canceled => None,
        });
        let mut answered: Vec<_> = pending.collect();
        answered.sort_unstable_by_key(|(position, _)| *position);
        let mut answered = answered.into_iter().peekable();
        let mut callbacks = known.into_iter().map(|(key, _)| key);
        to_the_end(|| {
            if self.end_next(&mut answered) {
                return true;
            }
            if let Some(key) = callbacks.next() {
                self.end_callback(key, QUEUE_DROPPED);
                return true;
            }
            self.let_go();
            false
        });
    }

    /// Cancels the next pending call; false if there is none.
    fn end_next(&self, answered: &mut Peekable<vec::IntoIter<(u64, Key)>>) -> bool {
        let Some((position, mut call)) = self.ring.pass() else { return false };
        let callback = answered.next_if(|(pending, _)| *pending == position);
        if let Some(Canceled(key)) = call.unpack() {
            self.forget_canceled(key);
            self.ring.skip();
        } else if call.is_empty() {
            self.ring.skip();
        } else {
            self.ring.forget();
            let _body = callback.and_then(|(_, key)| self.callbacks.remove(key));
            let key = callback.map_or(position, |(_, key)| CallId::callback_key(key));
            self.end_canceled(key, QUEUE_DROPPED);
        }
        true
    }
}
