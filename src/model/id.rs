//! Numbers that name things. All are the same on every node of a shard.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::text::{self, ParseIdError};

/// One incarnation of a topic. Deleting a topic and making it again gives a new id, so nothing old can leak in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u32);

/// One incarnation of a consumer group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

/// What is counted from 1 in the order it came to be. On the wire it is its number as text.
macro_rules! counted {
    ($(#[$doc:meta])* $name:ident, $refusal:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }

        impl FromStr for $name {
            type Err = &'static str;

            fn from_str(text: &str) -> Result<$name, &'static str> {
                super::text::counted(text).map($name).ok_or($refusal)
            }
        }
    };
}

counted! {
    /// A job.
    JobId, "is not the id of a job, which is a number such as 7"
}
counted! {
    /// A silence.
    SilenceId, "is not the id of a silence, which is a number such as 7"
}
counted! {
    /// A notification, which is also the name of its delivery.
    NotificationId, "is not the id of a delivery, which is a number such as 7"
}

/// A queue of a topic, counted from 0.
pub type QueueNo = u16;

/// Where a fact stands in the commit log: entry index, and slot (ordinal) inside the entry.
/// A message is named by the position of its `Produced` fact for its whole life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Raft log index of the entry.
    pub index: u64,
    /// Ordinal of the fact inside the entry, from 0.
    pub slot: u16,
}

/// Where a message stands in the order of one group and queue.
///
/// A message met at its own offset has `turn` 0. A redriven dead letter goes to the end of its lane: it stands behind
/// the last offset the queue had at that moment, told apart by a `turn` counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The offset this place stands at (turn 0) or directly behind (turn 1 and up).
    pub offset: u64,
    /// 0, or the redrive number within the group and queue.
    pub turn: u32,
}

impl Place {
    /// The place of a message at its own offset.
    #[must_use]
    pub fn at(offset: u64) -> Place {
        Place { offset, turn: 0 }
    }
}

/// A message's name towards clients: shard and position, opaque, URL-safe, and in log order when sorted as text.
///
/// Text form: 21 characters of Crockford base32 (Douglas Crockford, "Base 32", 2002: digits and capital letters
/// without I, L, O, U), of which the last is a check character: 2 bytes shard, 8 bytes index, 2 bytes slot are 96
/// bits, padded to 100 bits = 20 characters, then 1 check character. Lower case and the look-alikes `i l o` are
/// accepted on reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The shard that keeps the message; 0 until a node hosts several.
    pub shard: u16,
    /// Where its `Produced` fact stands.
    pub position: Position,
}

impl MessageId {
    /// The id of the message at `position` of the only shard.
    #[must_use]
    pub fn new(position: Position) -> MessageId {
        MessageId { shard: 0, position }
    }
}

impl From<Position> for MessageId {
    fn from(position: Position) -> MessageId {
        MessageId::new(position)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0u8; 12];
        let (shard, rest) = bytes.split_at_mut(2);
        let (index, slot) = rest.split_at_mut(8);
        shard.copy_from_slice(&self.shard.to_be_bytes());
        index.copy_from_slice(&self.position.index.to_be_bytes());
        slot.copy_from_slice(&self.position.slot.to_be_bytes());
        text::write_checked(out, &bytes)
    }
}

impl FromStr for MessageId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<MessageId, ParseIdError> {
        let bytes = text::read_checked(text, 12)?;
        let mut fields = text::Fields::new(&bytes);
        let id = MessageId {
            shard: u16::from_be_bytes(fields.take()?),
            position: Position {
                index: u64::from_be_bytes(fields.take()?),
                slot: u16::from_be_bytes(fields.take()?),
            },
        };
        if id.shard == 0 { Ok(id) } else { Err(ParseIdError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_ids_keep_log_order_as_text_and_read_back() {
        let ids: Vec<MessageId> = [(1, 0), (1, 1), (1, 31), (1, 32), (2, 0), (300, 7), (u64::MAX, u16::MAX)]
            .into_iter()
            .map(|(index, slot)| MessageId::new(Position { index, slot }))
            .collect();
        let texts: Vec<String> = ids.iter().map(MessageId::to_string).collect();
        let mut sorted = texts.clone();
        sorted.sort();
        assert_eq!(texts, sorted);
        for (id, text) in ids.iter().zip(&texts) {
            assert_eq!(text.len(), 21);
            assert_eq!(text.parse(), Ok(*id));
            assert_eq!(text.to_lowercase().parse(), Ok(*id));
        }
    }

    #[test]
    fn job_ids_are_numbers_written_in_one_way() {
        assert_eq!("71".parse(), Ok(JobId(71)));
        assert_eq!(JobId(71).to_string(), "71");
        for bad in ["", "0", "007", "-1", "+1", "x", "1234567890123456"] {
            assert!(bad.parse::<JobId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_single_wrong_character_is_noticed() {
        let text = MessageId::new(Position { index: 123_456_789, slot: 42 }).to_string();
        for at in 0..text.len() {
            for other in "0123456789ABCDEFGHJKMNPQRSTVWXYZ".chars() {
                let mut wrong: Vec<char> = text.chars().collect();
                if wrong[at] == other {
                    continue;
                }
                wrong[at] = other;
                let wrong: String = wrong.into_iter().collect();
                assert_eq!(wrong.parse::<MessageId>(), Err(ParseIdError), "{wrong}");
            }
        }
        for rubbish in ["", "0", "!", "ü", "00000000000000000000000000000000000000"] {
            assert!(rubbish.parse::<MessageId>().is_err());
        }
    }
}
