//! Why nothing arrives in a group: what stands in the way, in words and in fields, the most important first.
//!
//! A look at a snapshot of the machine, at the members, and at a bounded number of index entries. It changes nothing,
//! and it belongs on a thread that may wait for the disk ([`Broker::look`]).

mod topic;
mod words;

use serde::Serialize;

use crate::machine::{Group, Machine};
use crate::model::{GroupId, GroupName, HELD_MAX, QueueNo, Timestamp, TopicName};
use crate::storage::Space;

use super::clients::Members;
use super::core::Core;
use super::error::BrokerError;
use super::handle::Broker;
use super::look::find_group;
use super::views::as_text;

/// Most findings of one answer.
const FINDINGS_MAX: usize = 50;
/// Most messages of the machine that one answer looks at.
const ITEMS_MAX: usize = 100_000;

/// Why a group gets what it gets, and nothing else.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The group.
    pub group: GroupName,
    /// When this was so.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    /// Whether the group gets nothing at all as things stand: some finding affects `all`.
    pub blocked: bool,
    /// Its members on this node.
    pub members: u64,
    /// What was found, the most important first; never empty.
    pub findings: Vec<Finding>,
    /// How many more there were.
    pub left_out: u64,
    /// Whether the details were taken from all of the group's messages; else from the first 100,000.
    pub complete: bool,
}

/// One thing that was found. Fields that say nothing about it are left out.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What it is.
    pub code: Cause,
    /// How much of what the group waits for it keeps back.
    pub affects: Affects,
    /// The same in words, with what to do about it.
    pub text: String,
    /// The topic, when it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<TopicName>,
    /// The queue of the message in question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueNo>,
    /// The message in question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The attempt that runs, or comes next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Who holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// When this changes by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// How many messages, leases or members it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Out of how many, or how many there may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
}

/// How much a finding keeps back. The order is that of importance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Affects {
    /// Everything.
    All,
    /// Some messages, or one topic.
    Some,
    /// Nothing; good to know.
    None,
}

/// What a finding is about. The order is that of importance within the same [`Affects`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The node has no leader, starts or stops.
    NotServing,
    /// The group is paused.
    Paused,
    /// The group subscribes to nothing.
    NoSubscriptions,
    /// There is too little disk space for leases.
    DiskFull,
    /// The node holds as many messages as it may, so no group looks at new ones.
    NodeFull,
    /// The group holds as many leases as it may.
    MaxInFlight,
    /// Nobody receives.
    NoMembers,
    /// All members have as much as they asked for.
    NoCredit,
    /// The queue index is behind or being made again.
    IndexBehind,
    /// There is no room for another dead letter.
    DeadLettersFull,
    /// A queue's oldest messages are too far behind for the group to look further.
    LookAheadFull,
    /// The first message of a lane holds up those behind it.
    LaneBlocked,
    /// Messages wait for a retry.
    Retrying,
    /// The filter passes over messages.
    FilterExcludes,
    /// Free space is under the reserve: nothing new is accepted.
    DiskLow,
    /// Messages are leased.
    Leased,
    /// Messages wait for their time.
    Scheduled,
    /// The group has settled all there is.
    Empty,
    /// Messages are there to be received.
    Ready,
    /// Nothing stands in the way.
    AllWell,
}

impl Finding {
    fn new(code: Cause, affects: Affects, text: impl Into<String>) -> Finding {
        Finding {
            code,
            affects,
            text: text.into(),
            topic: None,
            queue: None,
            id: None,
            offset: None,
            attempt: None,
            client: None,
            until: None,
            count: None,
            of: None,
        }
    }

    fn counted(self, count: u64, of: u64) -> Finding {
        Finding { count: Some(count), of: Some(of), ..self }
    }
}

/// What a group is asked about.
struct Asked<'a> {
    core: &'a Core,
    machine: &'a Machine,
    id: GroupId,
    group: &'a Group,
    findings: Vec<Finding>,
    /// Messages of the machine that may still be looked at.
    budget: usize,
}

impl Broker {
    /// Says what keeps messages from a group, or that nothing does.
    ///
    /// # Errors
    /// `GroupNotFound`.
    pub fn explain(&self, name: &GroupName) -> Result<Explanation, BrokerError> {
        let machine = self.core.machine.snapshot();
        let (id, group) = find_group(&machine, name)?;
        let members = self.core.clients.members().remove(name).unwrap_or_default();
        let is_serving = self.is_serving();
        let mut asked =
            Asked { core: &self.core, machine: &machine, id, group, findings: Vec::new(), budget: ITEMS_MAX };
        asked.node(is_serving);
        asked.whole_group(&members);
        for subscription in &group.settings.subscriptions {
            asked.topic(subscription);
        }
        let complete = asked.budget > 0;
        let mut findings = asked.findings;
        if findings.iter().all(|finding| finding.affects == Affects::None) {
            findings.push(words::all_well(&findings));
        }
        // Stable, so that topics stay in the order of the subscriptions.
        findings.sort_by_key(|finding| (finding.affects, finding.code));
        let left_out = findings.len().saturating_sub(FINDINGS_MAX) as u64;
        findings.truncate(FINDINGS_MAX);
        Ok(Explanation {
            group: name.clone(),
            at: self.core.clock.now(machine.now()),
            blocked: findings.iter().any(|finding| finding.affects == Affects::All),
            members: members.count,
            findings,
            left_out,
            complete,
        })
    }
}

impl Asked<'_> {
    /// What holds for every group of the node.
    fn node(&mut self, is_serving: bool) {
        let core = self.core;
        if !is_serving {
            self.findings.push(words::not_serving());
        }
        match core.replication.log().space() {
            Space::Open => {}
            Space::Low => self.findings.push(words::disk_low()),
            Space::Tight | Space::Full => self.findings.push(words::disk_full()),
        }
        let (held, held_max) = (self.machine.held(), HELD_MAX as u64);
        if held >= held_max {
            self.findings.push(words::node_full(held, held_max));
        }
        if !core.indexer.is_live() {
            self.findings.push(words::index_behind(core.indexer.indexed_up_to(), self.machine.applied()));
        }
    }

    /// What holds for the group in all its topics.
    fn whole_group(&mut self, members: &Members) {
        let group = self.group;
        let settings = &group.settings;
        if group.paused {
            self.findings.push(words::paused(&group.name));
        }
        if settings.subscriptions.is_empty() {
            self.findings.push(words::no_subscriptions(&group.name));
        }
        let max_in_flight = u64::from(settings.max_in_flight);
        if group.in_flight >= max_in_flight {
            self.findings.push(words::max_in_flight(group.in_flight, max_in_flight));
        }
        if members.count == 0 {
            self.findings.push(words::no_members());
        } else if members.hungry == 0 {
            self.findings.push(words::no_credit(members));
        }
    }
}
