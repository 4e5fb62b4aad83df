//! Reads what rules are about, from an O(1) clone of the machine: all topics and groups, not only those that a scrape
//! shows. Only what some rule asks about is read closely.

use std::collections::BTreeMap;

use crate::broker::core::Core;
use crate::broker::handle::Broker;
use crate::broker::tally::Budget;
use crate::machine::{Group, Item, ItemState, Machine, Progress, Topic};
use crate::model::{Filter, GroupId, Millis, Timestamp, TopicId};
use crate::observe::rules::{GroupFacts, NodeFacts, SubscriptionFacts, Survey, TopicFacts};

/// Most failed messages of ordered groups that are looked at, so that a survey stays short whatever happens.
const FAILED_MAX: usize = 100_000;

/// What rules ask about beyond what costs nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    /// Ages of the oldest unsettled messages: reads the index.
    pub(super) lag_ms: bool,
    /// Ages of messages in flight, and of those that others wait behind.
    pub(super) items: bool,
    /// Topics one by one.
    pub(super) topics: bool,
}

/// Looks at everything. Reads the index, so not for async threads.
pub(super) fn survey(broker: &Broker, machine: &Machine, asked: Asked, now: Timestamp) -> Survey {
    let core = &broker.core;
    let mut looking =
        Looking { broker, machine, asked, now, budget: Budget::for_a_look(), failed: FAILED_MAX };
    let subscriptions: Vec<SubscriptionFacts> = looking.subscriptions();
    let mut lag_by_group: BTreeMap<GroupId, u64> = BTreeMap::new();
    for one in &subscriptions {
        *lag_by_group.entry(one.key.1).or_default() += one.lag;
    }
    let members = core.clients.members();
    let groups = machine.groups().map(|(id, group)| GroupFacts {
        id,
        name: group.name.clone(),
        dead_letters: group.dead.len() as u64,
        consumers: members.get(&group.name).map_or(0, |members| members.count),
        lag: lag_by_group.get(&id).copied().unwrap_or(0),
        paused: group.paused,
    });
    Survey {
        now,
        node: node(core, machine, now),
        topics: if asked.topics { topics(machine, now) } else { Vec::new() },
        groups: groups.collect(),
        subscriptions,
        receivers: Vec::new(),
    }
}

fn node(core: &Core, machine: &Machine, now: Timestamp) -> NodeFacts {
    let log = core.replication.log();
    NodeFacts {
        disk_free_bytes: log.free_space(),
        disk_total_bytes: log.total_space(),
        schedule_overdue_ms: machine.next_schedule().map_or(0, |due| now.since(due)),
        fsyncs: Some(log.fsyncs()),
        // One node has no peers.
        peers: Vec::new(),
    }
}

fn topics(machine: &Machine, now: Timestamp) -> Vec<TopicFacts> {
    let facts = |(id, topic): (TopicId, &Topic)| TopicFacts {
        id,
        name: topic.name.clone(),
        scheduled: topic.schedule.len() as u64,
        schedule_overdue_ms: topic.schedule.get_min().map_or(0, |((due, _), _)| now.since(*due)),
    };
    machine.topics().map(facts).collect()
}

/// One look at all subscriptions.
struct Looking<'a> {
    broker: &'a Broker,
    machine: &'a Machine,
    asked: Asked,
    now: Timestamp,
    budget: Budget,
    /// Failed messages that may still be looked at.
    failed: usize,
}

impl Looking<'_> {
    fn subscriptions(&mut self) -> Vec<SubscriptionFacts> {
        let machine = self.machine;
        let mut found = Vec::new();
        for (group_id, group) in machine.groups() {
            for subscription in &group.settings.subscriptions {
                if let Some(topic) = machine.topic(&subscription.topic) {
                    found.push(self.subscription((group_id, group), topic, &subscription.filter));
                }
            }
        }
        found
    }

    fn subscription(
        &mut self,
        (group_id, group): (GroupId, &Group),
        (topic_id, topic): (TopicId, &Topic),
        filter: &Filter,
    ) -> SubscriptionFacts {
        let mut facts = SubscriptionFacts {
            key: (topic_id, group_id),
            topic: topic.name.clone(),
            group: group.name.clone(),
            lag: 0,
            lag_ms: Some(0),
            in_flight_ms: 0,
            blocked_ms: 0,
        };
        for (queue, _, next) in topic.bounds() {
            let Some(progress) = group.progress(topic_id, queue) else { continue };
            facts.lag += progress.items.len() as u64 + progress.unlooked(next);
            if self.asked.items {
                let age = |item: &Item| self.now.since(item.ready_at);
                let in_flight = oldest_in_flight(progress).map_or(0, age);
                facts.in_flight_ms = facts.in_flight_ms.max(in_flight);
                if group.settings.ordered {
                    facts.blocked_ms = facts.blocked_ms.max(self.blocked_ms(progress));
                }
            }
        }
        // What a filter passes over is no lag, and only a closer look tells.
        if facts.lag > 0 && (self.asked.lag_ms || !filter.is_all()) {
            let seen = (self.now, &mut self.budget);
            let view = self.broker.group_topic_view((group_id, group), (topic_id, topic), filter, seen);
            facts.lag = view.lag;
            facts.lag_ms = view.known_lag_ms();
        }
        facts
    }

    /// How long the oldest message has waited that failed and that others of its lane wait behind.
    fn blocked_ms(&mut self, progress: &Progress) -> Millis {
        let mut longest = 0;
        if progress.leased + progress.retrying == 0 {
            return 0;
        }
        for (place, item) in &progress.items {
            let Some(left) = self.failed.checked_sub(1) else { break };
            self.failed = left;
            let is_head = matches!(item.state, ItemState::Leased(_) | ItemState::Retrying { .. });
            if !is_head || item.failures == 0 {
                continue;
            }
            let behind = (std::ops::Bound::Excluded((item.lane, *place)), std::ops::Bound::Unbounded);
            if progress.lanes.range(behind).next().is_some_and(|(lane, _)| *lane == item.lane) {
                longest = longest.max(self.now.since(item.ready_at));
            }
        }
        longest
    }
}

fn oldest_in_flight(progress: &Progress) -> Option<&Item> {
    if progress.leased == 0 {
        return None;
    }
    progress.items.values().find(|item| matches!(item.state, ItemState::Leased(_)))
}
