//! The newest entries in memory: what is not written yet, and as much of what is as fits.

use std::{collections::VecDeque, sync::Arc};

use super::{
    record::Record,
    wire::{narrow, wide},
};

/// A run of entries without gaps that ends at the end of the log.
#[derive(Debug)]
pub(super) struct Tail {
    base: u64,
    records: VecDeque<Arc<Record>>,
    bytes: usize,
    bytes_max: usize,
}

impl Tail {
    pub(super) fn new(next: u64, bytes_max: usize) -> Tail {
        Tail { base: next, records: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Adds the next entry; one that does not follow starts the run anew.
    pub(super) fn push(&mut self, record: Arc<Record>) {
        if record.index != self.next() {
            self.records.clear();
            self.bytes = 0;
            self.base = record.index;
        }
        self.bytes += record.encoded_len();
        self.records.push_back(record);
    }

    fn next(&self) -> u64 {
        self.base + wide(self.records.len())
    }

    /// Drops the oldest entries over the budget, but none after `written`, the last durable index.
    pub(super) fn evict(&mut self, written: Option<u64>) {
        while self.bytes > self.bytes_max && written.is_some_and(|written| self.base <= written) {
            let Some(oldest) = self.records.pop_front() else { return };
            self.bytes -= oldest.encoded_len();
            self.base += 1;
        }
    }

    /// Drops everything from `index` on.
    pub(super) fn cut(&mut self, index: u64) {
        while self.next() > index {
            let Some(newest) = self.records.pop_back() else { break };
            self.bytes -= newest.encoded_len();
        }
        if self.records.is_empty() {
            self.base = index;
        }
    }

    /// The entry at `index`, if it is here.
    pub(super) fn get(&self, index: u64) -> Option<&Arc<Record>> {
        self.records.get(narrow(index.checked_sub(self.base)?))
    }

    /// Entries from `from` on: at least one if it is here, no more than `max_bytes` unless the first alone is more.
    pub(super) fn range(&self, from: u64, to_exclusive: u64, max_bytes: usize) -> Vec<Arc<Record>> {
        let Some(skip) = from.checked_sub(self.base) else { return Vec::new() };
        let mut bytes = 0usize;
        let wanted = narrow(to_exclusive.saturating_sub(from));
        let mut found = Vec::new();
        for record in self.records.iter().skip(narrow(skip)).take(wanted) {
            bytes = bytes.saturating_add(record.encoded_len());
            if bytes > max_bytes && !found.is_empty() {
                break;
            }
            found.push(Arc::clone(record));
        }
        found
    }
}
