//! The calls of a history by recipient.

use alloc::vec::Vec;

use crate::journal::history::History;
use crate::journal::latency::Latency;
use crate::journal::map::Map;
use crate::journal::records::{CallRecord, RecipientRecord};
use crate::step::RecipientInfo;

impl History {
    /// Returns all recipients, by queue and number. The function calls of a queue are one entry, before
    /// its recipients; it includes calls whose creation is unknown.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::CallQueue;
    /// # use switchboard::journal::Journal;
    /// # let queue = CallQueue::new();
    /// let journal = Journal::builder().install(&queue);
    /// let server = queue.recipient(());
    /// server.set_label("server");
    /// server.call(|(), _| ());
    /// queue.dial_all();
    /// for recipient in journal.history().recipients() {
    ///     let name = recipient.label.as_deref().unwrap_or("unnamed");
    ///     println!("{name}: {} calls, handled in {}", recipient.calls.len(), recipient.handling);
    /// }
    /// # assert_eq!(journal.history().recipients().len(), 1);
    /// ```
    pub fn recipients(&self) -> Vec<RecipientRecord> {
        self.lanes().into_iter().map(|(_, info, calls)| self.recipient(info, &calls)).collect()
    }

    fn recipient(&self, info: Option<RecipientInfo>, calls: &[usize]) -> RecipientRecord {
        let records = || calls.iter().map(|place| &self.calls()[*place]);
        RecipientRecord {
            info,
            label: records().find_map(|call| call.label.clone()),
            calls: records().map(|call| call.id).collect(),
            waiting: Latency::of(records().filter_map(CallRecord::waiting)),
            handling: Latency::of(records().filter_map(CallRecord::handling)),
        }
    }

    /// The places of calls, by queue and recipient.
    pub(super) fn lanes(&self) -> Vec<(u64, Option<RecipientInfo>, Vec<usize>)> {
        let mut lanes: Vec<(u64, Option<RecipientInfo>, Vec<usize>)> = Vec::new();
        let mut known: Map<(u64, Option<u64>), usize> = Map::default();
        for (place, call) in self.calls().iter().enumerate() {
            let queue = call.id.queue().get();
            let key = (queue, call.recipient.map(|recipient| recipient.number));
            let lane = *known.entry(key).or_insert(lanes.len());
            if lane == lanes.len() {
                lanes.push((queue, call.recipient, Vec::new()));
            }
            lanes[lane].2.push(place);
        }
        lanes.sort_by_key(|(queue, info, _)| (*queue, info.map(|info| info.number)));
        lanes
    }
}
