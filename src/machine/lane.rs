//! Lanes of ordered groups: who may go out in one answer.

use std::collections::BTreeMap;

use crate::model::Place;
use crate::model::seeded::{self, SeededBug};

use super::state::Progress;

/// What one answer did to one lane so far. Messages of a lane go out only from its front, and only up to the group's
/// `lane_batch` in one answer; so what is leased is always the front of the lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LaneDoor {
    /// How many this answer leased.
    pub(super) leased: u32,
    /// The last of them that was an item before this answer.
    last_known: Option<Place>,
    /// One was passed over: nothing behind it may go.
    pub(super) closed: bool,
}

impl LaneDoor {
    /// The lane's first item was leased.
    pub(super) fn opened_by(place: Place) -> LaneDoor {
        LaneDoor { leased: 1, last_known: Some(place), closed: false }
    }

    /// One more known item was leased.
    pub(super) fn let_known(&mut self, place: Place) {
        self.leased += 1;
        self.last_known = Some(place);
    }

    /// Whether a message that is met for the first time at `place` may be leased: everything before it in its lane is
    /// settled, or leased by this very answer.
    pub(super) fn may_pass(
        doors: &BTreeMap<u64, LaneDoor>,
        progress: &Progress,
        (lane, place): (u64, Place),
        lane_batch: u32,
    ) -> bool {
        if seeded::active(SeededBug::SuccessorEarly) {
            return true;
        }
        let door = doors.get(&lane).copied().unwrap_or_default();
        !door.closed && door.leased < lane_batch && progress.lane_before(lane, place) == door.last_known
    }
}
