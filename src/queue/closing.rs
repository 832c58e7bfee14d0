//! The end of a queue (rule R11).

use alloc::vec;

use crate::call::CallId;
use crate::callback::Answered;
use crate::callback::store::Stage;
use crate::queue::attend::flag;
use crate::queue::inside::{Core, QUEUE_DROPPED};
use crate::slots::Key;

impl Core {
    /// Ends every call (rule R11), also if a captured value or the observer panics on the way.
    pub(super) fn close(&self) {
        struct Closing<'a> {
            core: &'a Core,
            callbacks: vec::IntoIter<Key>,
        }

        impl Closing<'_> {
            fn run(&mut self) {
                while self.core.end_next() {}
                for key in &mut self.callbacks {
                    self.core.end_callback(key, QUEUE_DROPPED);
                }
                self.core.let_go();
            }
        }

        impl Drop for Closing<'_> {
            fn drop(&mut self) {
                self.run();
            }
        }

        self.raise(flag::CLOSED);
        let callbacks = self.callbacks.keys().into_iter();
        Closing { core: self, callbacks }.run();
    }

    /// Cancels the next pending call; false if there is none.
    fn end_next(&self) -> bool {
        let Some(position) = self.ring.pass() else { return false };
        if let Some(Answered(key)) = self.ring.unpack(position) {
            let (stage, _call) = self.callbacks.remove(key);
            if stage == Some(Stage::Pending) {
                self.end_canceled(CallId::callback_key(key), QUEUE_DROPPED);
            } else {
                self.ring.skip();
            }
        } else if let Some(_call) = self.ring.clear(position) {
            self.end_canceled(position, QUEUE_DROPPED);
        } else {
            self.ring.skip();
        }
        true
    }
}
