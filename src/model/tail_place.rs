//! Where a tail is: what a client gives back as `Last-Event-ID`.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use xxhash_rust::xxh3::xxh3_64;

use super::wire::{DecodeError, Reader, put_count, put_delta, put_number};
use super::{ParseIdError, QUEUES_MAX, QueueNo, TopicId};

/// A place in every queue of a topic at once.
///
/// Text form: base64url (RFC 4648, section 5, without padding) of the bytes below. Queues are mostly about as long as
/// each other, so a queue takes a byte or two: 16 characters for four queues, some 500 for 256.
///
/// | bytes | as ([`super::wire`]) |
/// | --- | --- |
/// | version | byte, 1 |
/// | topic | number |
/// | offsets | count, each as delta to the one before |
/// | check | byte: the lowest of XXH3-64 over all before it |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailPlace {
    /// The topic, in this incarnation.
    pub topic: TopicId,
    /// For each queue the offset of the next message; a queue that is not among them begins at 0.
    pub offsets: Vec<u64>,
}

const VERSION: u8 = 1;

impl TailPlace {
    /// The offset of the next message of a queue.
    #[must_use]
    pub fn next(&self, queue: QueueNo) -> u64 {
        self.offsets.get(usize::from(queue)).copied().unwrap_or(0)
    }

    /// Moves on in one queue.
    pub fn advance(&mut self, queue: QueueNo, next: u64) {
        let queue = usize::from(queue);
        if self.offsets.len() <= queue {
            self.offsets.resize(queue + 1, 0);
        }
        if let Some(offset) = self.offsets.get_mut(queue) {
            *offset = next;
        }
    }

    fn decode(bytes: &[u8]) -> Result<TailPlace, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != VERSION {
            return Err(reader.error("a place of an unknown version"));
        }
        let topic = TopicId(reader.small()?);
        let count = reader.count(1)?;
        if count > usize::from(QUEUES_MAX) {
            return Err(reader.error("more queues than a topic has"));
        }
        let mut before = 0;
        let mut offsets = Vec::with_capacity(count);
        for _ in 0..count {
            before = reader.delta(before)?;
            offsets.push(before);
        }
        reader.finish()?;
        Ok(TailPlace { topic, offsets })
    }
}

fn check_of(bytes: &[u8]) -> u8 {
    xxh3_64(bytes).to_le_bytes()[0]
}

impl fmt::Display for TailPlace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![VERSION];
        put_number(&mut bytes, self.topic.0);
        put_count(&mut bytes, self.offsets.len());
        let mut before = 0;
        for offset in &self.offsets {
            put_delta(&mut bytes, *offset, before);
            before = *offset;
        }
        bytes.push(check_of(&bytes));
        out.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for TailPlace {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<TailPlace, ParseIdError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| ParseIdError)?;
        let (check, bytes) = bytes.split_last().ok_or(ParseIdError)?;
        if *check != check_of(bytes) {
            return Err(ParseIdError);
        }
        TailPlace::decode(bytes).map_err(|_| ParseIdError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_back_and_stay_short() {
        for offsets in [vec![], vec![0], vec![7, 8, 7, 6], vec![u64::MAX, 0, 1 << 40], vec![5; 256]] {
            let place = TailPlace { topic: TopicId(3), offsets };
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        let golden = TailPlace { topic: TopicId(3), offsets: vec![1_000_000, 1_000_001, 1_000_000, 999_999] };
        assert_eq!(golden.to_string(), "AQMEgIl6AgEBjw");
    }

    #[test]
    fn rubbish_is_refused() {
        let place = TailPlace { topic: TopicId(3), offsets: vec![1, 2] }.to_string();
        let more = TailPlace { topic: TopicId(3), offsets: vec![0; 257] }.to_string();
        for text in ["", "x", "AQ", "AQMEgIl6AgEBjx", &place[1..], &more, &format!("{place}AA")] {
            assert_eq!(text.parse::<TailPlace>(), Err(ParseIdError), "{text}");
        }
    }

    #[test]
    fn a_queue_that_is_new_begins_at_its_start() {
        let mut place = TailPlace { topic: TopicId(1), offsets: vec![5] };
        assert_eq!((place.next(0), place.next(9)), (5, 0));
        place.advance(2, 4);
        assert_eq!(place.offsets, [5, 0, 4]);
    }
}
