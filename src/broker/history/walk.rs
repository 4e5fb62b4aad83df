//! Looks at the lag of groups, of as many as fit into the time there is: the age of a group's oldest message stands in
//! the index, and ten thousand groups cannot be looked at every second for nothing.
//!
//! The remembered groups come first, every second. The others take turns, so with very many the totals are as old as a
//! round takes; the age of a message grows in between all the same. While nothing happens nothing is looked at.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::broker::handle::Broker;
use crate::broker::tally::Budget;
use crate::machine::{Group, Machine};
use crate::model::{GroupId, GroupName, Timestamp};
use crate::observe::history::{Incarnation, Measure, SubjectKind};

use super::sample::{as_value, wide};

/// How long one sample may look at groups: one hundredth of a core.
const LOOK_FOR: Duration = Duration::from_millis(10);

/// The time is compared with this after so many groups.
const GROUPS_A_LOOK: usize = 16;

/// How many of the groups that are behind are told, those furthest behind.
const BEHIND_MAX: usize = 20;

/// What was seen of a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    round: u64,
    lag: u64,
    ready: u64,
    in_flight: u64,
    dead: u64,
    /// Since when its oldest message is ready: none without lag, and none inside while that is not known.
    oldest: Option<Option<Timestamp>>,
    /// Whether a filter is still being asked.
    counting: bool,
}

/// A group that is behind, as it was when it was last looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Behind {
    pub(super) group: GroupId,
    pub(super) lag: u64,
    /// Since when its oldest message is ready, while that is known.
    pub(super) oldest: Option<Timestamp>,
}

/// The groups as they were when they were last looked at.
#[derive(Debug, Default)]
pub(super) struct Walk {
    seen: BTreeMap<GroupId, Seen>,
    /// Where this round goes on; none: it begins.
    after: Option<GroupName>,
    round: u64,
    /// The state at the beginning of this round, and the one that a whole round saw.
    began_at: (u64, u64),
    complete_at: Option<(u64, u64)>,
}

impl Walk {
    /// Looks on for a while.
    pub(super) fn look(&mut self, broker: &Broker, machine: &Machine, now: Timestamp) {
        let state = (machine.applied(), broker.core.indexer.indexed_up_to());
        if self.complete_at == Some(state) {
            return;
        }
        if self.after.is_none() {
            self.round += 1;
            self.began_at = state;
        }
        let until = Instant::now() + LOOK_FOR;
        let mut budget = Budget::for_a_look();
        let remembered: Vec<Incarnation> = broker.core.remembered().remembered(SubjectKind::Group).collect();
        for of in remembered {
            if let Incarnation::Group(id) = of
                && let Some(group) = machine.group_by_id(id)
            {
                self.see(broker, machine, (id, group), (now, &mut budget));
            }
        }
        let after = self.after.take();
        for (place, (id, group)) in (1..).zip(machine.groups_after(after.as_ref())) {
            self.see(broker, machine, (id, group), (now, &mut budget));
            if place % GROUPS_A_LOOK == 0 && Instant::now() >= until {
                self.after = Some(group.name.clone());
                return;
            }
        }
        let round = self.round;
        self.seen.retain(|_, seen| seen.round == round);
        let is_settled = self.seen.values().all(|seen| !seen.counting && seen.oldest != Some(None));
        self.complete_at = is_settled.then_some(self.began_at);
    }

    fn see(
        &mut self,
        broker: &Broker,
        machine: &Machine,
        (id, group): (GroupId, &Group),
        (now, budget): (Timestamp, &mut Budget),
    ) {
        let dead = wide(group.dead.len());
        let mut seen =
            Seen { round: self.round, lag: 0, ready: 0, in_flight: 0, dead, oldest: None, counting: false };
        for subscription in &group.settings.subscriptions {
            let Some(topic) = machine.topic(&subscription.topic) else { continue };
            let view = broker.group_topic_view((id, group), topic, &subscription.filter, (now, &mut *budget));
            seen.lag += view.lag;
            seen.ready += view.ready;
            seen.in_flight += view.in_flight;
            seen.counting |= view.counting;
            if view.lag > 0 {
                // The index is fed a moment after the state, and a filter may still be asked: then there is no age.
                let since = view.known_lag_ms().map(|age| Timestamp(now.0.saturating_sub(age)));
                seen.oldest = Some(match seen.oldest {
                    None => since,
                    Some(known) => known.zip(since).map(|(one, other)| one.min(other)),
                });
            }
        }
        self.seen.insert(id, seen);
    }

    /// The lag of a group when it was last looked at.
    pub(super) fn lag(&self, group: GroupId) -> u64 {
        self.seen.get(&group).map_or(0, |seen| seen.lag)
    }

    /// What was seen of one group.
    pub(super) fn of_group(&self, group: GroupId, now: Timestamp) -> Vec<(Measure, f32)> {
        self.seen.get(&group).map_or_else(Vec::new, |seen| {
            let mut values = vec![(Measure::ReadyMessages, as_value(seen.ready))];
            values.extend(values_of(seen, now));
            values
        })
    }

    /// Whether every group was looked at.
    fn saw_all(&self) -> bool {
        self.round > 1 || (self.round == 1 && self.after.is_none())
    }

    /// Those furthest behind of all groups, remembered or not, the worst first; none before the first whole round. One
    /// that was deleted since it was seen takes no place.
    pub(super) fn furthest_behind(&self, machine: &Machine) -> Option<Vec<Behind>> {
        if !self.saw_all() {
            return None;
        }
        let is_there = |id: &GroupId| machine.group_by_id(*id).is_some();
        let behind = self.seen.iter().filter(|(id, seen)| seen.lag > 0 && is_there(id));
        let behind =
            behind.map(|(id, seen)| Behind { group: *id, lag: seen.lag, oldest: seen.oldest.flatten() });
        let mut behind: Vec<Behind> = behind.collect();
        behind.sort_by_key(|one| Reverse(one.lag));
        behind.truncate(BEHIND_MAX);
        Some(behind)
    }

    /// All groups together; nothing before the first whole round.
    pub(super) fn of_all(&self, now: Timestamp) -> Vec<(Measure, f32)> {
        if !self.saw_all() {
            return Vec::new();
        }
        let none = Seen { round: 0, lag: 0, ready: 0, in_flight: 0, dead: 0, oldest: None, counting: false };
        let all = self.seen.values().fold(none, |all, one| Seen {
            lag: all.lag + one.lag,
            in_flight: all.in_flight + one.in_flight,
            dead: all.dead + one.dead,
            // One group whose age is not known does not hide those of the others.
            oldest: match (all.oldest, one.oldest) {
                (Some(Some(one)), Some(Some(other))) => Some(Some(one.min(other))),
                (Some(None) | None, known @ Some(_)) => known,
                (known, _) => known,
            },
            ..all
        });
        values_of(&all, now)
    }
}

fn values_of(seen: &Seen, now: Timestamp) -> Vec<(Measure, f32)> {
    let mut values = vec![
        (Measure::LagMessages, as_value(seen.lag)),
        (Measure::InFlightMessages, as_value(seen.in_flight)),
        (Measure::DeadLetters, as_value(seen.dead)),
    ];
    let age_ms = match seen.oldest {
        None => Some(0),
        Some(since) => since.map(|since| now.since(since)),
    };
    values.extend(age_ms.map(|age_ms| (Measure::LagSeconds, Duration::from_millis(age_ms).as_secs_f32())));
    values
}
