//! Where a trace goes on: the place in the log, and what is known of the message by then. It has to come along, because
//! nothing is kept between two pages, and reading everything again would never get further.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::model::{GroupId, MessageId, Place, Position, TRACE_GROUPS_MAX};

use super::life::{Stage, Stay};

/// Where a trace goes on. Its text is plain numbers; whoever changes it only misleads himself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceCursor {
    /// The message.
    pub(super) message: Position,
    /// The first fact not looked at yet.
    pub(super) next: Position,
    /// The last batch before it that took effect; none when that is not known.
    pub(super) base: Option<u64>,
    pub(super) offset: Option<u64>,
    pub(super) groups: BTreeMap<GroupId, Stay>,
    pub(super) left_out: bool,
}

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the cursor of a trace")]
pub struct NoCursor;

impl TraceCursor {
    /// Whether it is of the trace of this message.
    #[must_use]
    pub fn is_of(&self, id: MessageId) -> bool {
        MessageId::new(self.message) == id
    }
}

/// In the text: none is 0, everything else one more.
fn shifted(number: Option<u64>) -> u64 {
    number.map_or(0, |number| number.saturating_add(1))
}

impl fmt::Display for TraceCursor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (message, next) = (self.message, self.next);
        write!(out, "1.{}.{}.{}.{}", message.index, message.slot, next.index, next.slot)?;
        write!(out, ".{}.{}.{}", shifted(self.base), shifted(self.offset), u8::from(self.left_out))?;
        for (group, stay) in &self.groups {
            let (stage, place) = match stay.stage {
                Stage::Held { place, leased: false } => (0, place),
                Stage::Held { place, leased: true } => (1, place),
                Stage::Settled => (2, None),
                Stage::SettledUnseen => (3, None),
                Stage::Dead => (4, None),
            };
            let turn = place.map_or(0, |place| place.turn);
            let offset = shifted(place.map(|place| place.offset));
            write!(out, ".{}.{stage}.{}.{}.{offset}.{turn}", group.0, stay.round, stay.failures)?;
        }
        Ok(())
    }
}

impl FromStr for TraceCursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<TraceCursor, NoCursor> {
        let numbers: Option<Vec<u64>> = text.split('.').map(|number| number.parse().ok()).collect();
        numbers.as_deref().and_then(read).ok_or(NoCursor)
    }
}

fn read(numbers: &[u64]) -> Option<TraceCursor> {
    let (head, rest) = numbers.split_at_checked(8)?;
    let [1, index, slot, next, next_slot, base, offset, left_out] = *head else { return None };
    let groups = rest.chunks(6).map(group).collect::<Option<BTreeMap<_, _>>>()?;
    Some(TraceCursor {
        message: Position { index, slot: u16::try_from(slot).ok()? },
        next: Position { index: next, slot: u16::try_from(next_slot).ok()? },
        base: base.checked_sub(1),
        offset: offset.checked_sub(1),
        left_out: left_out != 0,
        groups: Some(groups).filter(|groups| groups.len() <= TRACE_GROUPS_MAX)?,
    })
}

fn group(numbers: &[u64]) -> Option<(GroupId, Stay)> {
    let [group, stage, round, failures, offset, turn] = *numbers else { return None };
    let turn = u32::try_from(turn).ok()?;
    let place = offset.checked_sub(1).map(|offset| Place { offset, turn });
    let stage = match stage {
        0 => Stage::Held { place, leased: false },
        1 => Stage::Held { place, leased: true },
        2 => Stage::Settled,
        3 => Stage::SettledUnseen,
        4 => Stage::Dead,
        _ => return None,
    };
    let stay = Stay { stage, round: u32::try_from(round).ok()?, failures: u32::try_from(failures).ok()? };
    Some((GroupId(u32::try_from(group).ok()?), stay))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_rubbish_does_not() {
        let stages = [
            Stage::Held { place: None, leased: false },
            Stage::Held { place: Some(Place { offset: 0, turn: 3 }), leased: true },
            Stage::Settled,
            Stage::SettledUnseen,
            Stage::Dead,
        ];
        let stays = stages.map(|stage| Stay { stage, round: 2, failures: 7 });
        let full = TraceCursor {
            message: Position { index: 70, slot: 3 },
            next: Position { index: 900, slot: 65_535 },
            base: Some(0),
            offset: Some(12),
            groups: (5..).map(GroupId).zip(stays).collect(),
            left_out: true,
        };
        let empty = TraceCursor { base: None, offset: None, groups: BTreeMap::new(), ..full };
        for cursor in [full, empty] {
            let text = cursor.to_string();
            assert_eq!(text.parse(), Ok(cursor), "{text}");
            for cut in 1..text.len() {
                // A shorter number is a number too; fewer of them are none.
                if text[cut..].contains('.') && !text[..cut].ends_with('.') {
                    let fields = text[..cut].split('.').count();
                    let whole = fields >= 8 && (fields - 8) % 6 == 0;
                    assert_eq!(text[..cut].parse::<TraceCursor>().is_ok(), whole, "{}", &text[..cut]);
                }
            }
        }
        for rubbish in [
            "",
            "1",
            "2.1.0.1.0.0.0.0",
            "1.1.70000.1.0.0.0.0",
            "1.1.0.1.0.0.0.x",
            "1.1.0.1.0.0.0.0.9.9.0.0.0.0",
        ] {
            assert_eq!(rubbish.parse::<TraceCursor>(), Err(NoCursor), "{rubbish}");
        }
    }
}
