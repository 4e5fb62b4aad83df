//! The proof of one lease, handed to the consumer and back.

use std::fmt;
use std::str::FromStr;

use super::text::{self, ParseIdError};
use super::{GroupId, Place, Position, QueueNo, TopicId};

/// Proof of one lease. Everything needed to find the lease is inside; the random nonce, also kept in the lease, is what
/// makes it proof. Opaque to clients, URL-safe, 81 characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The group the message was leased to.
    pub group: GroupId,
    /// The topic it came from.
    pub topic: TopicId,
    /// The queue of that topic.
    pub queue: QueueNo,
    /// Its place in the group's order of that queue.
    pub place: Place,
    /// The message.
    pub position: Position,
    /// The round of the lease.
    pub round: u32,
    /// The attempt of the lease.
    pub attempt: u32,
    /// 64 random bits that the lease remembers.
    pub nonce: u64,
}

const BYTES: usize = 2 + 4 + 4 + 2 + 12 + 10 + 4 + 4 + 8;

impl fmt::Display for Receipt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(&0u16.to_be_bytes());
        bytes.extend_from_slice(&self.group.0.to_be_bytes());
        bytes.extend_from_slice(&self.topic.0.to_be_bytes());
        bytes.extend_from_slice(&self.queue.to_be_bytes());
        bytes.extend_from_slice(&self.place.offset.to_be_bytes());
        bytes.extend_from_slice(&self.place.turn.to_be_bytes());
        bytes.extend_from_slice(&self.position.index.to_be_bytes());
        bytes.extend_from_slice(&self.position.slot.to_be_bytes());
        bytes.extend_from_slice(&self.round.to_be_bytes());
        bytes.extend_from_slice(&self.attempt.to_be_bytes());
        bytes.extend_from_slice(&self.nonce.to_be_bytes());
        text::write_checked(out, &bytes)
    }
}

impl FromStr for Receipt {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Receipt, ParseIdError> {
        let bytes = text::read_checked(text, BYTES)?;
        let mut fields = text::Fields::new(&bytes);
        if u16::from_be_bytes(fields.take()?) != 0 {
            return Err(ParseIdError);
        }
        Ok(Receipt {
            group: GroupId(u32::from_be_bytes(fields.take()?)),
            topic: TopicId(u32::from_be_bytes(fields.take()?)),
            queue: u16::from_be_bytes(fields.take()?),
            place: Place {
                offset: u64::from_be_bytes(fields.take()?),
                turn: u32::from_be_bytes(fields.take()?),
            },
            position: Position {
                index: u64::from_be_bytes(fields.take()?),
                slot: u16::from_be_bytes(fields.take()?),
            },
            round: u32::from_be_bytes(fields.take()?),
            attempt: u32::from_be_bytes(fields.take()?),
            nonce: u64::from_be_bytes(fields.take()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_read_back_and_stay_short() {
        let receipt = Receipt {
            group: GroupId(7),
            topic: TopicId(9),
            queue: 255,
            place: Place { offset: u64::MAX, turn: 3 },
            position: Position { index: 1 << 40, slot: 65_535 },
            round: 2,
            attempt: 1_000,
            nonce: 0xDEAD_BEEF_0123_4567,
        };
        let text = receipt.to_string();
        assert_eq!(text.len(), 81);
        assert_eq!(text.parse(), Ok(receipt));
        assert_eq!(text[1..].parse::<Receipt>(), Err(ParseIdError));
    }
}
