//! Topics, subscriptions and groups. The most interesting ones have series of their own, the others are summed up.

use std::collections::BTreeMap;

use crate::broker::clients::Members;
use crate::broker::views::GroupTopicView;
use crate::machine::{Group, ItemState, Machine, Topic};
use crate::model::{
    Filter, GroupId, GroupName, METRICS_GROUPS_MAX, METRICS_SUBSCRIPTIONS_MAX, METRICS_TOPICS_MAX, Timestamp,
    TopicId,
};
use crate::observe::{Exposition, OTHER, OfSubscription, OfTopic, Series, Stock, Traffic, series};

use super::{seconds, wide};

/// Looks closely at one subscription; reads the index.
type Look<'a> = dyn FnMut((GroupId, &Group), (TopicId, &Topic), &Filter) -> GroupTopicView + 'a;

/// What a scrape reads, all of one moment.
pub(super) struct Seen<'a> {
    pub(super) machine: &'a Machine,
    pub(super) members: &'a BTreeMap<GroupName, Members>,
    pub(super) now: Timestamp,
}

/// Adds everything that is said of topics, subscriptions and groups.
pub(super) fn add(out: &mut Exposition, traffic: &Traffic, seen: &Seen<'_>, look: &mut Look<'_>) {
    let machine = seen.machine;
    let subscriptions: Vec<Subscription<'_>> = subscriptions(machine).collect();
    let mut lag_by_topic: BTreeMap<TopicId, u64> = BTreeMap::new();
    for subscription in &subscriptions {
        *lag_by_topic.entry(subscription.topic.0).or_default() += subscription.rough.lag;
    }
    add_topics(out, traffic, machine, &lag_by_topic);
    add_subscriptions(out, traffic, &subscriptions, (seen.now, look));
    add_groups(out, traffic, seen);
}

fn add_topics(out: &mut Exposition, traffic: &Traffic, machine: &Machine, lag: &BTreeMap<TopicId, u64>) {
    let topics: Vec<(TopicId, &Topic)> = machine.topics().collect();
    let weighed: Vec<_> = topics.iter().map(|(id, _)| (*id, lag.get(id).copied().unwrap_or(0))).collect();
    let stock = traffic.topics.take_stock(&weighed, METRICS_TOPICS_MAX);
    let mut add = |name: &str, counts: &[u64], [kept, scheduled]: [u64; 2]| {
        out.count(&series::PRODUCED_MESSAGES, &[name], of(counts, OfTopic::ProducedMessages as usize));
        out.count(&series::PRODUCED_BYTES, &[name], of(counts, OfTopic::ProducedBytes as usize));
        out.count(&series::KEPT_MESSAGES, &[name], kept);
        out.count(&series::SCHEDULED_MESSAGES, &[name], scheduled);
    };
    let held = |topic: &Topic| {
        let kept: u64 = topic.bounds().map(|(_, first, next)| next.saturating_sub(first)).sum();
        [kept, wide(topic.schedule.len())]
    };
    let mut left = topics.iter().map(|(_, topic)| held(topic)).fold([0; 2], sum);
    for ((_, topic), counts) in rows(&topics, &stock) {
        left = less(left, held(topic));
        add(topic.name.as_str(), counts, held(topic));
    }
    if let Some(counts) = &stock.other {
        add(OTHER, counts, left);
    }
    out.count(&series::FOLDED_OBJECTS, &["topic"], wide(topics.len() - stock.shown.len()));
}

/// A group in one topic.
struct Subscription<'a> {
    group_id: GroupId,
    group: &'a Group,
    topic: (TopicId, &'a Topic),
    filter: &'a Filter,
    rough: Rough,
}

/// What the machine alone knows of a subscription.
#[derive(Clone, Copy, Default)]
struct Rough {
    /// At most; what a filter would pass over is counted.
    lag: u64,
    in_flight: u64,
    retrying: u64,
}

impl Rough {
    fn ready(self) -> u64 {
        self.lag.saturating_sub(self.in_flight + self.retrying)
    }
}

fn subscriptions(machine: &Machine) -> impl Iterator<Item = Subscription<'_>> {
    machine.groups().flat_map(move |(group_id, group)| {
        group.settings.subscriptions.iter().filter_map(move |subscription| {
            let topic = machine.topic(&subscription.topic)?;
            let rough = rough(group, topic);
            Some(Subscription { group_id, group, topic, filter: &subscription.filter, rough })
        })
    })
}

fn rough(group: &Group, (id, topic): (TopicId, &Topic)) -> Rough {
    let mut rough = Rough::default();
    for (queue, _, next) in topic.bounds() {
        let Some(progress) = group.progress(id, queue) else { continue };
        rough.lag += wide(progress.items.len()) + progress.unlooked(next);
        rough.in_flight += progress.leased;
        rough.retrying += progress.retrying;
    }
    rough
}

fn add_subscriptions(
    out: &mut Exposition,
    traffic: &Traffic,
    subscriptions: &[Subscription<'_>],
    (now, look): (Timestamp, &mut Look<'_>),
) {
    let key = |subscription: &Subscription<'_>| (subscription.topic.0, subscription.group_id);
    let weighed: Vec<_> =
        subscriptions.iter().map(|subscription| (key(subscription), subscription.rough.lag)).collect();
    let stock = traffic.subscriptions.take_stock(&weighed, METRICS_SUBSCRIPTIONS_MAX);
    let mut left = subscriptions.iter().fold(Rough::default(), |left, one| Rough {
        lag: left.lag + one.rough.lag,
        in_flight: left.in_flight + one.rough.in_flight,
        retrying: left.retrying + one.rough.retrying,
    });
    for (one, counts) in rows(subscriptions, &stock) {
        let view = look((one.group_id, one.group), one.topic, one.filter);
        let labels = [one.topic.1.name.as_str(), one.group.name.as_str()];
        let exact = Rough { lag: view.lag, in_flight: view.in_flight, retrying: view.retrying };
        add_subscription(out, labels, exact, counts);
        // While it is not known yet which message is the first that passes the filter, there is no age.
        if view.lag_ms > 0 || !view.counting {
            out.add(&series::GROUP_LAG_SECONDS, &labels, seconds(view.lag_ms));
        }
        let oldest = oldest_in_flight(one.group, one.topic).map_or(0, |ready_at| now.since(ready_at));
        out.add(&series::GROUP_OLDEST_IN_FLIGHT_SECONDS, &labels, seconds(oldest));
        left.lag -= one.rough.lag;
        left.in_flight -= one.rough.in_flight;
        left.retrying -= one.rough.retrying;
    }
    if let Some(counts) = &stock.other {
        add_subscription(out, [OTHER, OTHER], left, counts);
    }
    let folded = subscriptions.len() - stock.shown.len();
    out.count(&series::FOLDED_OBJECTS, &["subscription"], wide(folded));
}

/// When the oldest message that the group holds in a topic became ready.
fn oldest_in_flight(group: &Group, (id, topic): (TopicId, &Topic)) -> Option<Timestamp> {
    let in_queue = |queue| {
        let progress = group.progress(id, queue).filter(|progress| progress.leased > 0)?;
        let held = progress.items.values().find(|item| matches!(item.state, ItemState::Leased(_)))?;
        Some(held.ready_at)
    };
    topic.bounds().filter_map(|(queue, ..)| in_queue(queue)).min()
}

fn add_subscription(out: &mut Exposition, labels: [&str; 2], now: Rough, counts: &[u64]) {
    use OfSubscription as Of;
    let gauges = [
        (&series::GROUP_LAG_MESSAGES, now.lag),
        (&series::GROUP_READY_MESSAGES, now.ready()),
        (&series::GROUP_IN_FLIGHT_MESSAGES, now.in_flight),
        (&series::GROUP_RETRYING_MESSAGES, now.retrying),
    ];
    for (series, value) in gauges {
        out.count(series, &labels, value);
    }
    let counters: [(&'static Series, Of); 6] = [
        (&series::DELIVERED_MESSAGES, Of::DeliveredMessages),
        (&series::DELIVERED_BYTES, Of::DeliveredBytes),
        (&series::ACKED_MESSAGES, Of::Acked),
        (&series::RETRIED_MESSAGES, Of::Retried),
        (&series::GIVEN_BACK_MESSAGES, Of::GivenBack),
        (&series::EXPIRED_MESSAGES, Of::Expired),
    ];
    for (series, what) in counters {
        out.count(series, &labels, of(counts, what as usize));
    }
    let classes: [(&'static Series, &str, Of); 7] = [
        (&series::FAILED_DELIVERIES, "nack", Of::Nacked),
        (&series::FAILED_DELIVERIES, "rejected", Of::Rejected),
        (&series::FAILED_DELIVERIES, "lease_expired", Of::LeaseExpired),
        (&series::FAILED_DELIVERIES, "connection_lost", Of::ConnectionLost),
        (&series::DEAD_LETTERED_MESSAGES, "max_attempts", Of::DeadMaxAttempts),
        (&series::DEAD_LETTERED_MESSAGES, "rejected", Of::DeadRejected),
        (&series::DEAD_LETTERED_MESSAGES, "expired", Of::DeadExpired),
    ];
    let [topic, group] = labels;
    for (series, class, what) in classes {
        out.count(series, &[topic, group, class], of(counts, what as usize));
    }
}

fn add_groups(out: &mut Exposition, traffic: &Traffic, seen: &Seen<'_>) {
    let groups: Vec<(GroupId, &Group)> = seen.machine.groups().collect();
    let held = |group: &Group| {
        let consumers = seen.members.get(&group.name).map_or(0, |members| members.count);
        [wide(group.dead.len()), consumers, u64::from(group.paused)]
    };
    let weighed: Vec<_> = groups.iter().map(|(id, group)| (*id, wide(group.dead.len()))).collect();
    let stock = traffic.groups.take_stock(&weighed, METRICS_GROUPS_MAX);
    let mut add = |name: &str, counts: &[u64], [dead, consumers, paused]: [u64; 3]| {
        out.count(&series::GROUP_DEAD_LETTERS, &[name], dead);
        out.count(&series::GROUP_CONSUMERS, &[name], consumers);
        out.count(&series::GROUP_PAUSED, &[name], paused);
        out.count(&series::REDRIVEN_MESSAGES, &[name], of(counts, 0));
    };
    let mut left = groups.iter().map(|(_, group)| held(group)).fold([0; 3], sum);
    for ((_, group), counts) in rows(&groups, &stock) {
        left = less(left, held(group));
        add(group.name.as_str(), counts, held(group));
    }
    if let Some(counts) = &stock.other {
        add(OTHER, counts, left);
    }
    out.count(&series::FOLDED_OBJECTS, &["group"], wide(groups.len() - stock.shown.len()));
}

/// The objects that are shown by themselves, with their counters.
fn rows<'a, T>(objects: &'a [T], stock: &'a Stock) -> impl Iterator<Item = (&'a T, &'a [u64])> {
    stock.shown.iter().filter_map(|(at, counts)| Some((objects.get(*at)?, counts.as_slice())))
}

fn of(counts: &[u64], place: usize) -> u64 {
    counts.get(place).copied().unwrap_or(0)
}

fn sum<const N: usize>(mut left: [u64; N], right: [u64; N]) -> [u64; N] {
    left.iter_mut().zip(right).for_each(|(left, right)| *left += right);
    left
}

fn less<const N: usize>(mut left: [u64; N], right: [u64; N]) -> [u64; N] {
    left.iter_mut().zip(right).for_each(|(left, right)| *left -= right);
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Candidates, Draft, PutMode};
    use crate::model::{GroupSettings, NAME_BYTES_MAX, Subscription as Reads, TOPICS_MAX, TopicSettings};

    /// The size that is promised for however many objects.
    const BYTES_MAX: usize = 2 << 20;

    fn named(kind: char, number: usize) -> String {
        let digits = format!("{number:06}");
        let padding: String = std::iter::repeat_n('x', NAME_BYTES_MAX - digits.len() - 1).collect();
        format!("{kind}{padding}{digits}")
    }

    /// A node with `topics` topics and a tenth as many groups, each reading one of them, all names as long as they may
    /// be.
    fn crowd(topics: usize) -> Machine {
        let mut draft = Draft::new(&Machine::default(), Timestamp(1_000), Box::new(|| 7));
        for number in 0..topics {
            let settings = TopicSettings { queues: 1, ..TopicSettings::default() };
            draft.put_topic(named('t', number).parse().unwrap(), settings, PutMode::Upsert).unwrap();
        }
        for number in 0..topics / 10 {
            let topic = named('t', number).parse().unwrap();
            let subscriptions = vec![Reads { topic, filter: Filter::default() }];
            let settings = GroupSettings { subscriptions, ..GroupSettings::default() };
            let name = named('g', number).parse().unwrap();
            let how = (PutMode::Upsert, false);
            draft.put_group(name, settings, how, &Candidates::default()).unwrap();
        }
        draft.machine().clone()
    }

    fn text(machine: &Machine, traffic: &Traffic) -> String {
        let mut out = Exposition::default();
        let seen = Seen { machine, members: &BTreeMap::new(), now: machine.now() };
        add(&mut out, traffic, &seen, &mut |(_, group), topic, _| {
            let Rough { lag, in_flight, retrying } = rough(group, topic);
            let ready = lag - in_flight - retrying;
            let (topic, cursors) = (topic.1.name.clone(), Vec::new());
            GroupTopicView {
                topic,
                lag,
                counting: false,
                lag_ms: 0,
                is_oldest: true,
                ready,
                in_flight,
                retrying,
                cursors,
            }
        });
        out.text().unwrap()
    }

    #[test]
    fn as_many_topics_as_a_node_may_have_stay_under_two_megabytes() {
        let machine = crowd(TOPICS_MAX);
        let traffic = Traffic::default();
        let mut record = traffic.record();
        // Large numbers take more room.
        for (id, _) in machine.topics() {
            record.topic(id, OfTopic::ProducedMessages, 1 << 40);
            record.topic(id, OfTopic::ProducedBytes, 1 << 42);
        }
        for one in subscriptions(&machine) {
            let key = (one.topic.0, one.group_id);
            record.subscription(key, OfSubscription::DeliveredMessages, 1 << 40);
            record.subscription(key, OfSubscription::DeliveredBytes, 1 << 42);
        }
        let text = text(&machine, &traffic);
        assert!(text.len() < BYTES_MAX, "{} bytes", text.len());
        let produced = text.lines().filter(|line| line.starts_with("whimbrel_produced_messages_total{"));
        assert_eq!(produced.count(), METRICS_TOPICS_MAX + 1);
        let folded = TOPICS_MAX - METRICS_TOPICS_MAX;
        assert!(text.contains(&format!("whimbrel_metrics_folded_objects{{kind=\"topic\"}} {folded}\n")));
        let other = u64::try_from(folded).unwrap() << 40;
        let line = format!("whimbrel_produced_messages_total{{topic=\"{OTHER}\"}} {other}\n");
        assert!(text.contains(&line), "{line}");
        assert_eq!(text.matches(&format!("{{topic=\"{OTHER}\",group=\"{OTHER}\"}}")).count(), 10);
        assert!(text.contains(&format!("{{group=\"{OTHER}\"}}")));
    }

    #[test]
    fn what_exists_is_zero_from_the_start_and_nothing_is_summed_up_without_need() {
        let text = text(&crowd(10), &Traffic::default());
        assert!(!text.contains(&format!("\"{OTHER}\"")), "{text}");
        for name in ["acked_messages_total", "group_lag_seconds", "redriven_messages_total"] {
            let start = format!("whimbrel_{name}{{");
            let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(&start)).collect();
            assert!(lines.len() == 1 && lines[0].ends_with(" 0"), "{start}: {lines:?}");
        }
        let produced = text.lines().filter(|line| line.starts_with("whimbrel_produced_messages_total{"));
        assert_eq!(produced.count(), 10);
    }
}
