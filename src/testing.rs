//! For tests: what drives recipients step by step, and looks behind the counts.

use crate::queue::QueueHandle;

/// The number of pending calls, counted by walking the queue: what
/// [`Tally::pending`](crate::Tally::pending) has to say too.
///
/// Cost: a look at each place in the queue.
pub fn count_pending(queue: &QueueHandle) -> u64 {
    queue.walk()
}
