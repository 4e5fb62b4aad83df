//! TTL: a message that outlived it is never leased to the group again.

use crate::model::QueueEntry;
use crate::model::{DeadReason, Place, Position, TICK_ITEMS_MAX, Timestamp};

use super::apply::Effects;
use super::dead_letter::Burial;
use super::draft::{Candidates, Draft};

use super::facts::{Expiry, Fact};
use super::filter::{Sieve, filter_of};
use super::progress::Where;
use super::state::Machine;

/// Most ranges that one group keeps of what was settled beyond its cursor in one queue: memory is bounded by work in
/// progress, not by backlog, and every second message of a backlog may have a TTL. What the sweep leaves is passed over
/// when the group gets there; until then lag counts it. Dead letters add ranges of their own, bounded by their number.
const BEYOND_MAX: usize = 10_000;

impl Draft {
    /// Expires messages that nobody looked at yet, in every group that would have got them: the entries among the
    /// candidates are what the index knows to be past its TTL, in offset order. At most 1,000 in one go; answers how
    /// many. Asking again with the same candidates goes on, until it answers 0.
    pub fn expire_sweep(&mut self, candidates: &Candidates) -> usize {
        let mut done = 0;
        for ((topic, queue), entries) in &candidates.entries {
            let Some(found) = self.machine.topics.get(topic) else { continue };
            for group in found.groups.clone() {
                let at = Where { group, topic: *topic, queue: *queue };
                let beyond = self.expired_beyond(at, (entries, candidates), TICK_ITEMS_MAX - done);
                done += beyond.len();
                if !beyond.is_empty() {
                    self.push(Fact::Expired {
                        group,
                        topic: *topic,
                        queue: *queue,
                        places: Vec::new(),
                        beyond,
                    });
                }
            }
        }
        done
    }

    fn expired_beyond(
        &self,
        at: Where,
        (entries, candidates): (&[QueueEntry], &Candidates),
        most: usize,
    ) -> Vec<Expiry> {
        let (Some(group), Some(topic)) =
            (self.machine.groups.get(&at.group), self.machine.topics.get(&at.topic))
        else {
            return Vec::new();
        };
        let Some(progress) = group.progress.get(&(at.topic, at.queue)) else { return Vec::new() };
        let next_offset = self.machine.next_offset(at.topic, at.queue);
        let filter = filter_of(&group.settings, &topic.name);
        let sieve = Sieve { filter, candidates, facts: &self.facts };
        let dead = group.settings.dead_letter_expired;
        let room = group.settings.dead_letters_max.saturating_sub(group.dead.len() as u64).min(self.room());
        let most = most.min(BEYOND_MAX.saturating_sub(progress.beyond.len()));
        let most = if dead { most.min(usize::try_from(room).unwrap_or(usize::MAX)) } else { most };
        let expired = |entry: &&QueueEntry| {
            entry.expires_at <= self.time
                && (progress.next..next_offset).contains(&entry.offset)
                && !progress.beyond.contains(entry.offset)
                && sieve.passes(entry) == Some(true)
        };
        entries.iter().filter(expired).take(most).map(|entry| Expiry::of(entry, dead)).collect()
    }

    /// A message that was looked at outlived its TTL while nobody held it. If it should become a dead letter and
    /// there is no room, it waits.
    pub(super) fn expire_item(&mut self, at: Where, place: Place) {
        let keep = self.machine.groups.get(&at.group).is_some_and(|group| group.settings.dead_letter_expired);
        let Where { group, topic, queue } = at;
        if !keep {
            self.push(Fact::Expired { group, topic, queue, places: vec![place], beyond: Vec::new() });
        } else if self.may_bury(at) {
            self.push_dead(at, place, DeadReason::Expired, None);
        } else {
            self.wait_for_room(at, place);
        }
    }

    /// A retry came due: the message is ready, unless it should have been a dead letter all along.
    pub(super) fn retry_due(&mut self, at: Where, place: Place) {
        let Some((settings, item)) = self.item_of(at, place) else { return };
        let exhausted = item.failures >= settings.max_attempts;
        let Where { group, topic, queue } = at;
        if item.is_expired(self.time) {
            self.expire_item(at, place);
        } else if !exhausted {
            self.push(Fact::RetryDue { group, topic, queue, places: vec![place] });
        } else if self.may_bury(at) {
            self.push_dead(at, place, DeadReason::MaxAttempts, None);
        } else {
            self.wait_for_room(at, place);
        }
    }

    /// No room for another dead letter: look again after the retry delay.
    fn wait_for_room(&mut self, at: Where, place: Place) {
        let Some((settings, item)) = self.item_of(at, place) else { return };
        let until = self.time.plus(settings.retry().delay_ms(item.failures.max(1)));
        let Where { group, topic, queue } = at;
        self.push(Fact::Extended { group, topic, queue, place, until });
    }
}

impl Machine {
    pub(super) fn apply_expired(
        &mut self,
        target: Where,
        (places, beyond): (&[Place], &[Expiry]),
        (at, time): (Position, Timestamp),
        effects: &mut Effects,
    ) {
        let Some(name) = self.topics.get(&target.topic).map(|topic| topic.name.clone()) else { return };
        let Some(mut open) = self.open(target, effects) else { return };
        for place in places {
            // A redriven message has no TTL.
            if open.take(*place).is_some() && place.turn == 0 {
                open.progress.make_void(place.offset);
            }
        }
        for expiry in beyond {
            if expiry.offset < open.progress.next || open.progress.beyond.contains(expiry.offset) {
                continue;
            }
            open.progress.settle_beyond(expiry.offset);
            if expiry.dead {
                let round = open.progress.round;
                open.bury(Burial::unseen(expiry, round, &name, (at, time)), DeadReason::Expired);
            } else {
                open.progress.void_unlooked(expiry.offset);
            }
        }
        // Settling may have moved the cursor past a redriven message that waited for it.
        let next = open.progress.next;
        open.look_to(next);
    }
}
