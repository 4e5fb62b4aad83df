//! One sample: what was counted since the one before, and what is now.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::broker::clock;
use crate::broker::handle::Broker;
use crate::machine::{Group, Machine};
use crate::model::{
    Distribution, GroupId, HISTORY_GROUPS_MAX, HISTORY_TOPICS_MAX, Timestamp, TopicId, WAITERS_MAX,
};
use crate::observe::history::{Incarnation, Measure, Sample, SubjectKind};
use crate::observe::{OfSubscription as Of, OfTopic, Reading, Table, Traffic};

use super::walk::Walk;

/// When there are too many, which objects are remembered is thought over every so many samples.
const CHOOSE_EVERY: u64 = 10;

/// What a topic and a subscription count.
type TopicCounts = [u64; OfTopic::COUNT];
type GroupCounts = [u64; Of::COUNT];

type GroupReadings = BTreeMap<(TopicId, GroupId), Reading<{ Of::COUNT }>>;

/// Takes samples; it knows the one before.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    taken: u64,
    before: Option<Before>,
    walk: Walk,
    topics: BTreeMap<TopicId, Reading<{ OfTopic::COUNT }>>,
    groups: GroupReadings,
    /// What objects had counted when it was last thought over which are remembered.
    produced: BTreeMap<TopicId, u64>,
    delivered: BTreeMap<GroupId, u64>,
}

/// What the sample before read of the node.
#[derive(Debug)]
struct Before {
    at: Instant,
    newest: Newest,
    totals: (TopicCounts, GroupCounts),
    speed: [Distribution; 3],
}

/// The newest counters there were.
#[derive(Clone, Copy, Debug)]
struct Newest {
    topics: u64,
    subscriptions: u64,
}

impl Sampler {
    /// Takes a sample. Reads the index, so not for async threads.
    pub(super) fn sample(&mut self, broker: &Broker) {
        let core = &broker.core;
        let machine = core.machine.snapshot();
        // Ages are told in log time, as everywhere; the curve runs on the wall clock, as its readers do.
        let (wall, now) = (clock::wall_time(), core.clock.now(machine.now()));
        let is_roomy = machine.topics().nth(HISTORY_TOPICS_MAX).is_none()
            && machine.groups().nth(HISTORY_GROUPS_MAX).is_none();
        // With room for all there is nothing to weigh, and what is new is remembered from its first second on.
        if is_roomy || self.taken.is_multiple_of(CHOOSE_EVERY) {
            self.choose(broker, &machine);
        }
        self.taken += 1;
        self.walk.look(broker, &machine, now);
        let taken = Instant::now();
        let traffic = &core.traffic;
        // Asked before any of them is read: what is newer began at 0 after this.
        let newest =
            Newest { topics: traffic.topics.newest(), subscriptions: traffic.subscriptions.newest() };
        let totals = traffic.totals();
        let speed = [core.replication.log().fsyncs(), traffic.produce.read(), traffic.end_to_end.read()];
        let mut node = self.walk.of_all(now);
        node.extend(now_of_node(broker));
        let since = |before: &Before| (before.newest, taken.duration_since(before.at).as_secs_f64());
        if let Some(before) = &self.before {
            let (_, elapsed) = since(before);
            let (produced, handled) =
                (grown(&before.totals.0, &totals.0), grown(&before.totals.1, &totals.1));
            node.extend(topic_rates(&produced, elapsed));
            node.extend(group_rates(&handled, elapsed));
            node.push((Measure::DeliveredBytes, rate(&handled, Of::DeliveredBytes as usize, elapsed)));
            node.extend(speeds(&before.speed, &speed));
        }
        let mut told = self.objects(broker, &machine, (now, self.before.as_ref().map(since)));
        told.push((Incarnation::Node, node));
        self.before = Some(Before { at: taken, newest, totals, speed });
        core.behind.tell(self.walk.furthest_behind(&machine));
        core.remembered().take(Sample { at: wall, told });
    }

    /// What is known of every remembered topic and group; rates since the sample before, if there was one.
    fn objects(
        &mut self,
        broker: &Broker,
        machine: &Machine,
        (now, since): (Timestamp, Option<(Newest, f64)>),
    ) -> Vec<(Incarnation, Vec<(Measure, f32)>)> {
        let remembered: Vec<Incarnation> = {
            let history = broker.core.remembered();
            let of = |kind| history.remembered(kind);
            of(SubjectKind::Topic).chain(of(SubjectKind::Group)).collect()
        };
        let traffic = &broker.core.traffic;
        let (topics, groups) = (std::mem::take(&mut self.topics), std::mem::take(&mut self.groups));
        let mut objects = Vec::with_capacity(remembered.len());
        for of in remembered {
            let mut values = Vec::new();
            match of {
                Incarnation::Node => {}
                Incarnation::Topic(id) => {
                    let after = traffic.topics.reading(&id);
                    if let Some((then, elapsed)) = since
                        && let Some(grown) = Reading::grown(topics.get(&id), after.as_ref(), then.topics)
                    {
                        values.extend(topic_rates(&grown, elapsed));
                    }
                    self.topics.extend(after.map(|after| (id, after)));
                }
                Incarnation::Group(id) => {
                    let Some(group) = machine.group_by_id(id) else { continue };
                    values = self.walk.of_group(id, now);
                    let after = readings(traffic, machine, (id, group));
                    if let Some((then, elapsed)) = since
                        && let Some(grown) = grown_together(&groups, &after, then.subscriptions)
                    {
                        values.extend(group_rates(&grown, elapsed));
                    }
                    self.groups.extend(after.into_iter().filter_map(|(key, after)| Some((key, after?))));
                }
            }
            objects.push((of, values));
        }
        objects
    }

    /// Thinks over which topics and groups are remembered: those that did most since the last time, and of groups also
    /// those with the most lag.
    fn choose(&mut self, broker: &Broker, machine: &Machine) {
        let traffic = &broker.core.traffic;
        let produced: BTreeMap<TopicId, u64> =
            by_object(&traffic.topics, OfTopic::ProducedMessages as usize).collect();
        let mut delivered: BTreeMap<GroupId, u64> = BTreeMap::new();
        for ((_, group), count) in by_object(&traffic.subscriptions, Of::DeliveredMessages as usize) {
            *delivered.entry(group).or_default() += count;
        }
        let topics: Vec<(Incarnation, u64)> = machine
            .topics()
            .map(|(id, _)| (Incarnation::Topic(id), growth(&id, (&self.produced, &produced))))
            .collect();
        let group = |(id, _): (GroupId, &Group)| {
            let weight = growth(&id, (&self.delivered, &delivered)).saturating_add(self.walk.lag(id));
            (Incarnation::Group(id), weight)
        };
        let groups: Vec<(Incarnation, u64)> = machine.groups().map(group).collect();
        let mut history = broker.core.remembered();
        history.choose(SubjectKind::Topic, &topics);
        history.choose(SubjectKind::Group, &groups);
        drop(history);
        (self.produced, self.delivered) = (produced, delivered);
    }
}

/// One counter of every object.
fn by_object<K: Ord + Clone>(table: &Table<K>, place: usize) -> impl Iterator<Item = (K, u64)> {
    table.totals([&[place]]).into_iter().map(|(key, [count])| (key, count))
}

/// By how much an object's counter grew; one that was not there before began at 0.
fn growth<K: Ord>(key: &K, (before, after): (&BTreeMap<K, u64>, &BTreeMap<K, u64>)) -> u64 {
    let count = |counts: &BTreeMap<K, u64>| counts.get(key).copied().unwrap_or(0);
    count(after).saturating_sub(count(before))
}

/// A group in one of its topics, and what was counted of it if anything was.
type OfOne = ((TopicId, GroupId), Option<Reading<{ Of::COUNT }>>);

/// What was counted of a group, topic by topic.
fn readings(traffic: &Traffic, machine: &Machine, (id, group): (GroupId, &Group)) -> Vec<OfOne> {
    let subscribed = group.settings.subscriptions.iter();
    let keys = subscribed.filter_map(|one| Some((machine.topic(&one.topic)?.0, id)));
    keys.map(|key| (key, traffic.subscriptions.reading(&key))).collect()
}

/// By how much a group's counters grew in all its topics. Topic by topic, because one that it did not subscribe to a
/// second ago may have counted before: then nobody knows.
fn grown_together(before: &GroupReadings, after: &[OfOne], newest_then: u64) -> Option<GroupCounts> {
    let mut sum = [0; Of::COUNT];
    for (key, after) in after {
        let grown = Reading::grown(before.get(key), after.as_ref(), newest_then)?;
        sum.iter_mut().zip(grown).for_each(|(sum, grown)| *sum += grown);
    }
    Some(sum)
}

/// What the node is like at this moment.
fn now_of_node(broker: &Broker) -> Vec<(Measure, f32)> {
    let core = &broker.core;
    let log = core.replication.log();
    let waiters = WAITERS_MAX - core.waiter_room.available_permits();
    let mut values = vec![
        (Measure::LogBytes, as_value(log.size_bytes())),
        (Measure::DiskFreeBytes, as_value(log.free_space())),
        (Measure::Waiters, as_value(wide(waiters))),
    ];
    if let Some(count) = core.doors.get() {
        let [connections, sockets] = count();
        values.push((Measure::Connections, as_value(connections)));
        values.push((Measure::Sockets, as_value(sockets)));
    }
    values
}

fn topic_rates(grown: &TopicCounts, elapsed: f64) -> [(Measure, f32); 2] {
    [
        (Measure::ProducedMessages, rate(grown, OfTopic::ProducedMessages as usize, elapsed)),
        (Measure::ProducedBytes, rate(grown, OfTopic::ProducedBytes as usize, elapsed)),
    ]
}

fn group_rates(grown: &GroupCounts, elapsed: f64) -> [(Measure, f32); 6] {
    let sum = |of: &[Of]| of.iter().map(|of| rate(grown, *of as usize, elapsed)).sum();
    [
        (Measure::DeliveredMessages, sum(&[Of::DeliveredMessages])),
        (Measure::AckedMessages, sum(&[Of::Acked])),
        (Measure::NackedDeliveries, sum(&[Of::Nacked, Of::Rejected])),
        (Measure::FailedDeliveries, sum(&[Of::Nacked, Of::Rejected, Of::LeaseExpired, Of::ConnectionLost])),
        (Measure::RetriedMessages, sum(&[Of::Retried])),
        (Measure::DeadLetteredMessages, sum(&[Of::DeadMaxAttempts, Of::DeadRejected, Of::DeadExpired])),
    ]
}

/// By how much totals grew, which never fall.
fn grown<const N: usize>(before: &[u64; N], after: &[u64; N]) -> [u64; N] {
    let mut pairs = before.iter().zip(after);
    std::array::from_fn(|_| pairs.next().map_or(0, |(before, after)| after.saturating_sub(*before)))
}

/// By how much a counter grew in a second.
fn rate(grown: &[u64], place: usize, elapsed: f64) -> f32 {
    as_f32(grown.get(place).copied().unwrap_or(0) as f64 / elapsed)
}

/// What histograms count in one second.
const MICROS: f64 = 1e6;
const MILLIS: f64 = 1e3;

/// How fast things were since the sample before; nothing of what did not happen.
fn speeds(before: &[Distribution; 3], after: &[Distribution; 3]) -> Vec<(Measure, f32)> {
    let [fsync, produce, end_to_end] = std::array::from_fn(|place| {
        let (before, after) = (before.get(place)?, after.get(place)?);
        Some(after.since(before))
    });
    let asked = [
        (Measure::FsyncP50, &fsync, 0.5, MICROS),
        (Measure::FsyncP99, &fsync, 0.99, MICROS),
        (Measure::ProduceP50, &produce, 0.5, MICROS),
        (Measure::ProduceP99, &produce, 0.99, MICROS),
        (Measure::EndToEndP50, &end_to_end, 0.5, MILLIS),
        (Measure::EndToEndP99, &end_to_end, 0.99, MILLIS),
    ];
    let found = |(measure, grown, share, units): (Measure, &Option<Distribution>, f64, f64)| {
        let value = grown.as_ref()?.quantile(share)?;
        Some((measure, as_f32(value / units)))
    };
    asked.into_iter().filter_map(found).collect()
}

/// A count as it is kept.
pub(super) fn as_value(count: u64) -> f32 {
    count as f32
}

#[expect(clippy::cast_possible_truncation, reason = "seven digits are more than a curve shows")]
fn as_f32(value: f64) -> f32 {
    value as f32
}

pub(super) fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_for_a_second_and_causes_add_up() {
        let mut after = [0; Of::COUNT];
        for (of, count) in [(Of::Acked, 30), (Of::Nacked, 2), (Of::LeaseExpired, 4), (Of::DeadExpired, 6)] {
            after[of as usize] = count;
        }
        let rates = group_rates(&after, 2.0);
        let of = |measure| rates.iter().find(|(known, _)| *known == measure).map(|(_, rate)| *rate);
        assert_eq!(of(Measure::AckedMessages), Some(15.0));
        assert_eq!((of(Measure::NackedDeliveries), of(Measure::FailedDeliveries)), (Some(1.0), Some(3.0)));
        assert_eq!(of(Measure::DeadLetteredMessages), Some(3.0));
    }

    #[test]
    fn there_is_no_speed_of_what_did_not_happen() {
        let quiet = Distribution { bounds: &[1_000, 2_000], counts: vec![5, 5, 5], sum: 1 };
        let busy = Distribution { bounds: &[1_000, 2_000], counts: vec![5, 15, 5], sum: 1 };
        let before = [quiet.clone(), quiet.clone(), quiet.clone()];
        let found = speeds(&before, &[quiet.clone(), busy, quiet]);
        let of = |place: usize| found[place].0;
        assert_eq!((found.len(), of(0), of(1)), (2, Measure::ProduceP50, Measure::ProduceP99));
        assert!(found[0].1 < found[1].1 && (found[1].1 - 0.001_99).abs() < 1e-6, "{found:?}");
    }
}
