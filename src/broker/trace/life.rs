//! One message's life, fact by fact: which facts are about it, and what they mean where it stands.
//!
//! Nothing but facts is looked at, from the one that accepted the message on. Facts say where a group's look began, in
//! which round, and where a redriven message went; attempts are counted here as [`crate::machine`] counts them.

use std::collections::BTreeMap;

use crate::machine::{Delivered, Fact, FailCause, OWN_ENTRY, ProducedAs, Touch};
use crate::model::{GroupId, Place, Position, QueueNo, TRACE_GROUPS_MAX, Timestamp, TopicId, TopicName};

use super::view::{Details, Happening};

/// What is known of the message so far.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) position: Position,
    pub(super) topic: TopicId,
    pub(super) topic_name: TopicName,
    pub(super) queue: QueueNo,
    /// Its offset, once it has one.
    pub(super) offset: Option<u64>,
    /// Where it stands in the groups that have met it.
    pub(super) groups: BTreeMap<GroupId, Stay>,
    /// Some group is not in `groups`, because there are too many.
    pub(super) left_out: bool,
}

/// How one group has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stay {
    pub(super) stage: Stage,
    /// 0: not known.
    pub(super) round: u32,
    /// Failed deliveries in this round.
    pub(super) failures: u32,
}

/// Where it stands in one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The group has it, at this place; none: it was redriven, and the log does not say where to.
    Held { place: Option<Place>, leased: bool },
    /// Settled.
    Settled,
    /// Settled before the group looked at it.
    SettledUnseen,
    /// Among the dead letters.
    Dead,
}

/// An event, before it has a time and a group's name.
pub(super) type Told = (Option<GroupId>, Happening, Details);

impl Life {
    /// What the fact at `at` means for the message, if it is about it.
    pub(super) fn take(&mut self, fact: &Fact, at: Position) -> Option<Told> {
        match fact {
            Fact::ScheduleDue(due) if due.entry.position == self.position => {
                self.offset = Some(due.entry.offset);
                Some((None, Happening::Ready, Details::default()))
            }
            Fact::Cancelled { position, .. } if *position == self.position => {
                Some((None, Happening::Cancelled, Details::default()))
            }
            Fact::Delivered(delivered) if self.is_at(delivered.topic, delivered.queue) => {
                self.delivered(delivered)
            }
            Fact::Redriven { group, positions, places } => {
                let named = |named: &Position| resolved(*named, at) == self.position;
                let number = positions.iter().position(named)?;
                self.redriven(*group, places.get(number).copied())
            }
            Fact::DeadPurged { group } => self.gone(*group, Happening::Purged),
            Fact::DeadMoved { group, positions } => {
                positions.iter().find(|named| resolved(**named, at) == self.position)?;
                self.gone(*group, Happening::Moved)
            }
            Fact::Sought { group, topic, targets } if *topic == self.topic => {
                let target = targets.get(usize::from(self.queue)).filter(|target| **target != u64::MAX)?;
                self.sought(*group, *target)
            }
            Fact::GroupDeleted { id } => {
                let stay = self.groups.remove(id)?;
                let had = matches!(stay.stage, Stage::Held { .. } | Stage::Dead);
                if had { told(*id, Happening::GroupDeleted, Details::default()) } else { None }
            }
            Fact::GroupMade { id, starts, .. } => {
                self.subscribed(*id, starts);
                None
            }
            Fact::GroupChanged { id, settings, starts } => {
                self.subscribed(*id, starts);
                let kept = |name: &TopicName| *name == self.topic_name;
                if settings.subscriptions.iter().any(|subscription| kept(&subscription.topic)) {
                    return None;
                }
                let stay = self.groups.get_mut(id)?;
                let had = matches!(stay.stage, Stage::Held { .. });
                if stay.stage != Stage::Dead {
                    self.groups.remove(id);
                }
                if had { told(*id, Happening::Unsubscribed, Details::default()) } else { None }
            }
            _ => self.settled(fact),
        }
    }

    /// A new subscription has met nothing yet, but for a dead letter of an earlier one, which stays; what it begins
    /// behind it has settled. Whatever else was between the group and the message ended with the subscription before:
    /// that end may lie in a segment that was passed over, because nothing is touched by it that is settled.
    fn subscribed(&mut self, group: GroupId, starts: &[(TopicId, Vec<u64>)]) {
        let Some((_, offsets)) = starts.iter().find(|(topic, _)| *topic == self.topic) else { return };
        if self.groups.get(&group).is_some_and(|stay| stay.stage != Stage::Dead) {
            self.groups.remove(&group);
        }
        let Some(offset) = self.offset else { return };
        if offsets.get(usize::from(self.queue)).is_some_and(|start| *start > offset) {
            // Whether or not there is room for it: nothing is left out by that.
            let left_out = self.left_out;
            let _ = self.stay(group);
            self.left_out = left_out;
        }
    }

    fn is_at(&self, topic: TopicId, queue: QueueNo) -> bool {
        self.topic == topic && self.queue == queue
    }

    /// The facts about places that a group holds.
    fn settled(&mut self, fact: &Fact) -> Option<Told> {
        match fact {
            Fact::Acked { group, topic, queue, places } => {
                self.held(*group, (*topic, *queue), places)?.stage = Stage::Settled;
                told(*group, Happening::Acked, Details::default())
            }
            Fact::GivenBack { group, topic, queue, places } => {
                self.held(*group, (*topic, *queue), places)?.end_lease();
                told(*group, Happening::GivenBack, Details::default())
            }
            Fact::RetryDue { group, topic, queue, places } => {
                self.held(*group, (*topic, *queue), places)?;
                told(*group, Happening::RetryDue, Details::default())
            }
            Fact::Expired { group, topic, queue, places, beyond } => {
                if let Some(stay) = self.held(*group, (*topic, *queue), places) {
                    stay.stage = Stage::Settled;
                    return told(*group, Happening::Expired, Details::default());
                }
                let of_this = |expiry: &&crate::machine::Expiry| Some(expiry.offset) == self.offset;
                let expiry = beyond.iter().filter(|_| self.is_at(*topic, *queue)).find(of_this)?;
                self.expired(*group, expiry.dead, (Stage::SettledUnseen, 0))
            }
            Fact::Extended { group, topic, queue, place, until } => {
                let stay = self.held(*group, (*topic, *queue), std::slice::from_ref(place))?;
                let details = Details { attempt: Some(stay.attempt()), ..Details::default() };
                if stay.is_leased() {
                    let details = Details { lease_expires_at: Some(*until), ..details };
                    return told(*group, Happening::Extended, details);
                }
                told(
                    *group,
                    Happening::WaitsForRoom,
                    Details { ready_at: Some(*until), ..Details::default() },
                )
            }
            Fact::Failed { group, topic, queue, place, cause, due } => {
                let stay = self.held(*group, (*topic, *queue), std::slice::from_ref(place))?;
                let details = stay.fail(Some(cause));
                told(*group, Happening::Failed, Details { ready_at: Some(*due), ..details })
            }
            Fact::Dead { group, topic, queue, place, reason, cause } => {
                let stay = self.held(*group, (*topic, *queue), std::slice::from_ref(place))?;
                let details = stay.fail(cause.as_ref());
                stay.stage = Stage::Dead;
                told(*group, Happening::DeadLettered, Details { dead_reason: Some(*reason), ..details })
            }
            _ => None,
        }
    }

    /// The group's hold on the message, if it stands at one of `places`.
    fn held(&mut self, group: GroupId, at: (TopicId, QueueNo), places: &[Place]) -> Option<&mut Stay> {
        if !self.is_at(at.0, at.1) {
            return None;
        }
        self.groups.get_mut(&group).filter(
            |stay| matches!(stay.stage, Stage::Held { place: Some(place), .. } if places.contains(&place)),
        )
    }

    /// How the group stands to it; made when it is new. None: there are too many groups.
    fn stay(&mut self, group: GroupId) -> Option<&mut Stay> {
        if !self.groups.contains_key(&group) && self.groups.len() >= TRACE_GROUPS_MAX {
            self.left_out = true;
            return None;
        }
        let new = Stay { stage: Stage::Settled, round: 0, failures: 0 };
        Some(self.groups.entry(group).or_insert(new))
    }

    fn delivered(&mut self, delivered: &Delivered) -> Option<Told> {
        let group = delivered.group;
        let again = delivered.again.iter().map(|(place, _)| *place).collect::<Vec<Place>>();
        if let Some(stay) = self.held(group, (delivered.topic, delivered.queue), &again) {
            if let Stage::Held { leased, .. } = &mut stay.stage {
                *leased = true;
            }
            let details = stay.delivery(delivered);
            return told(group, Happening::Delivered, details);
        }
        let offset = self.offset?;
        if let Some(fresh) = delivered.fresh.iter().find(|fresh| fresh.offset == offset) {
            let leased = fresh.nonce.is_some();
            let stay = self.stay(group)?;
            let stage = Stage::Held { place: Some(Place::at(offset)), leased };
            *stay = Stay { stage, round: delivered.round, failures: 0 };
            let details = stay.delivery(delivered);
            return if leased {
                told(group, Happening::Delivered, details)
            } else {
                told(group, Happening::Parked, Details { round: details.round, ..Details::default() })
            };
        }
        if let Some(expiry) = delivered.expired.iter().find(|expiry| expiry.offset == offset) {
            return self.expired(group, expiry.dead, (Stage::Settled, delivered.round));
        }
        if !(delivered.from..delivered.next).contains(&offset) {
            return None;
        }
        match self.groups.get_mut(&group).map(|stay| &mut stay.stage) {
            // Dead, or redriven from there: settled at its own offset all along.
            Some(Stage::Dead | Stage::Held { .. }) => None,
            Some(stage @ Stage::SettledUnseen) => {
                *stage = Stage::Settled;
                None
            }
            Some(Stage::Settled) | None => {
                self.stay(group)?.stage = Stage::Settled;
                told(group, Happening::PassedOver, Details::default())
            }
        }
    }

    /// It outlived its TTL before the group looked at it.
    fn expired(&mut self, group: GroupId, dead: bool, (settled, round): (Stage, u32)) -> Option<Told> {
        let stage = if dead { Stage::Dead } else { settled };
        *self.stay(group)? = Stay { stage, round, failures: 0 };
        let dead_reason = dead.then_some(crate::model::DeadReason::Expired);
        let happening = if dead { Happening::DeadLettered } else { Happening::Expired };
        told(group, happening, Details { dead_reason, ..Details::default() })
    }

    fn redriven(&mut self, group: GroupId, place: Option<Place>) -> Option<Told> {
        let stay = self.groups.get_mut(&group).filter(|stay| stay.stage == Stage::Dead)?;
        if stay.round > 0 {
            stay.round = stay.round.saturating_add(1);
        }
        stay.failures = 0;
        stay.stage = Stage::Held { place, leased: false };
        let round = Some(stay.round).filter(|round| *round > 0);
        told(group, Happening::Redriven, Details { round, ..Details::default() })
    }

    /// It left the dead letters for good.
    fn gone(&mut self, group: GroupId, happening: Happening) -> Option<Told> {
        let stay = self.groups.get_mut(&group).filter(|stay| stay.stage == Stage::Dead)?;
        stay.stage = Stage::Settled;
        told(group, happening, Details::default())
    }

    fn sought(&mut self, group: GroupId, target: u64) -> Option<Told> {
        let offset = self.offset?;
        let skipped = offset < target;
        let Some(stay) = self.groups.get_mut(&group) else {
            // Not met yet: a seek forward makes it settled.
            if !skipped {
                return None;
            }
            self.stay(group)?.stage = Stage::Settled;
            return told(group, Happening::SkippedBySeek, Details::default());
        };
        match stay.stage {
            Stage::Dead | Stage::Held { place: None, .. } => None,
            Stage::Held { place: Some(place), leased } if place.turn > 0 => {
                stay.end_lease();
                let cancelled = Happening::LeaseCancelledBySeek;
                if leased { told(group, cancelled, Details::default()) } else { None }
            }
            Stage::Held { .. } if skipped => {
                stay.stage = Stage::Settled;
                told(group, Happening::SkippedBySeek, Details::default())
            }
            Stage::Held { .. } | Stage::Settled if !skipped => {
                self.groups.remove(&group);
                told(group, Happening::ReplayedBySeek, Details::default())
            }
            Stage::SettledUnseen if skipped => {
                stay.stage = Stage::Settled;
                None
            }
            Stage::Held { .. } | Stage::Settled | Stage::SettledUnseen => None,
        }
    }

    /// By what facts may name it from here on.
    pub(super) fn touches(&self) -> Vec<Touch> {
        let mut touches = vec![Touch::Message(self.position), Touch::Topic(self.topic)];
        touches.extend(
            self.offset.into_iter().flat_map(|offset| Touch::at_offset(self.topic, self.queue, offset)),
        );
        for (group, stay) in &self.groups {
            match stay.stage {
                Stage::Held { place, .. } => {
                    let redriven = place.filter(|place| place.turn > 0);
                    touches.extend(redriven.map(|place| Touch::Place(self.topic, self.queue, place)));
                    touches.push(Touch::Group(*group));
                }
                Stage::Dead => touches.push(Touch::Group(*group)),
                Stage::Settled | Stage::SettledUnseen => {}
            }
        }
        touches
    }
}

impl Stay {
    fn is_leased(&self) -> bool {
        matches!(self.stage, Stage::Held { leased: true, .. })
    }

    fn end_lease(&mut self) {
        if let Stage::Held { leased, .. } = &mut self.stage {
            *leased = false;
        }
    }

    /// The number of the running delivery, or of the last one.
    fn attempt(&self) -> u32 {
        if self.is_leased() { self.failures.saturating_add(1) } else { self.failures }
    }

    /// A delivery failed. One that comes after the lease ran out is that failure, told better.
    fn fail(&mut self, cause: Option<&FailCause>) -> Details {
        if cause.is_some() && self.is_leased() {
            self.failures = self.failures.saturating_add(1);
            self.end_lease();
        }
        let attempt = cause.map(|_| self.failures);
        Details { attempt, ..Details::failed(cause) }
    }

    fn delivery(&self, delivered: &Delivered) -> Details {
        Details {
            client: Some(delivered.client.to_string()),
            attempt: Some(self.attempt()),
            round: Some(self.round).filter(|round| *round > 0),
            lease_expires_at: Some(delivered.until),
            ..Details::default()
        }
    }
}

fn told(group: GroupId, happening: Happening, details: Details) -> Option<Told> {
    Some((Some(group), happening, details))
}

fn resolved(named: Position, at: Position) -> Position {
    if named.index == OWN_ENTRY { Position { index: at.index, slot: named.slot } } else { named }
}

/// What accepting it meant.
pub(super) fn accepted(state: ProducedAs) -> Told {
    let ready_at = match state {
        ProducedAs::Ready { .. } => None,
        ProducedAs::Scheduled { due } => Some::<Timestamp>(due),
    };
    (None, Happening::Accepted, Details { ready_at, ..Details::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Filter, GroupSettings, Subscription};

    /// The fact that ends a subscription touches nothing that is settled, so a trail may pass over it.
    #[test]
    fn a_subscription_begins_anew_whether_or_not_the_end_of_the_last_one_was_seen() {
        let (group, topic, at) = (GroupId(1), TopicId(2), Position { index: 9, slot: 0 });
        let subscribed = Subscription { topic: "t".parse().unwrap(), filter: Filter::All };
        let changed = |subscriptions: Vec<Subscription>, starts| Fact::GroupChanged {
            id: group,
            settings: GroupSettings { subscriptions, ..GroupSettings::default() },
            starts,
        };
        let sought = Fact::Sought { group, topic, targets: vec![5] };
        let skipped = told(group, Happening::SkippedBySeek, Details::default());
        for end_is_seen in [true, false] {
            let mut life = Life {
                position: Position { index: 1, slot: 0 },
                topic,
                topic_name: subscribed.topic.clone(),
                queue: 0,
                offset: Some(3),
                groups: BTreeMap::new(),
                left_out: false,
            };
            assert_eq!(life.take(&sought, at), skipped);
            assert!(!life.touches().contains(&Touch::Group(group)), "or its end would be read");
            if end_is_seen {
                assert_eq!(life.take(&changed(Vec::new(), Vec::new()), at), None);
            }
            assert_eq!(life.take(&changed(vec![subscribed.clone()], vec![(topic, vec![0])]), at), None);
            assert_eq!(life.take(&sought, at), skipped, "end seen: {end_is_seen}");
        }
    }
}
