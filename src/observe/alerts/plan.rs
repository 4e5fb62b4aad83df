//! Which notifications are due: alerts go along the routes, form groups, and each group says whether it has something
//! to tell.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::model::Timestamp;
use crate::model::alert::{Alert, AlertKey, AlertPhase, Labels, NotifiedAlert, Route, ToldGroup};

use super::due::{Due, Member, Patience, due};

/// Most alerts that one notification tells of; the others are counted.
pub const NOTIFIED_ALERTS_MAX: usize = 50;

/// An alert that was ever told of, or may be.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Which.
    pub key: &'a AlertKey,
    /// How it stands.
    pub alert: &'a Alert,
    /// A silence or another alert keeps it quiet.
    pub is_muted: bool,
}

/// What plans are made from.
pub struct Ways<'a> {
    /// The routes, in order.
    pub routes: &'a [Route],
    /// Whether the receiver of that name wants to hear of the end; none: there is no such receiver.
    pub send_resolved: &'a dyn Fn(&str) -> Option<bool>,
    /// What each group was told last, by its key.
    pub told: &'a dyn Fn(&str) -> Option<&'a ToldGroup>,
}

/// A group that something is due of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Names the group; see [`group_key`].
    pub group_key: String,
    /// Who is told.
    pub receiver: String,
    /// What its alerts were grouped by.
    pub group_labels: Labels,
    /// What the receiver is told of: firing ones first. None: it is not told, what it was told is forgotten.
    pub alerts: Option<Vec<NotifiedAlert>>,
    /// How many more there are.
    pub truncated: u64,
    /// What the receiver has been told afterwards.
    pub told: ToldGroup,
}

/// Names a group of alerts of one receiver, as Alertmanager does: `{}/{receiver="on-call"}:{alertname="Lag"}`. The same
/// as long as receiver and labels are.
#[must_use]
pub fn group_key(receiver: &str, labels: &Labels) -> String {
    let mut key = format!("{{}}/{{receiver={receiver:?}}}:{{");
    for (place, (name, value)) in labels.iter().enumerate() {
        let comma = if place > 0 { ", " } else { "" };
        let _ = write!(key, "{comma}{name}={value:?}");
    }
    key.push('}');
    key
}

/// What is due at `now`.
#[must_use]
pub fn plan(candidates: &[Candidate<'_>], ways: &Ways<'_>, now: Timestamp) -> Vec<Planned> {
    let mut groups: BTreeMap<String, Group<'_>> = BTreeMap::new();
    for candidate in candidates.iter().filter(|candidate| !candidate.is_muted) {
        let Some(member) = member(candidate) else { continue };
        for route in routes_of(&candidate.alert.labels, ways.routes) {
            let Some(send_resolved) = (ways.send_resolved)(&route.receiver) else { continue };
            let labels = group_labels(&candidate.alert.labels, &route.group_by);
            let group = groups.entry(group_key(&route.receiver, &labels)).or_insert_with(|| Group {
                receiver: &route.receiver,
                labels,
                patience: Patience::of(route, send_resolved),
                members: Vec::new(),
                alerts: Vec::new(),
            });
            // Two routes may lead into one group.
            if group.members.last() != Some(&member) {
                group.members.push(member);
                group.alerts.push(candidate.alert);
            }
        }
    }
    let decided = groups.into_iter().map(|(key, group)| {
        let told = (ways.told)(&key);
        group.decide(key, told, now)
    });
    decided.flatten().collect()
}

/// The groups that alerts belong to, whether something is due of them or not.
#[must_use]
pub fn group_keys<'a>(alerts: impl Iterator<Item = &'a Alert>, ways: &Ways<'_>) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for alert in alerts {
        let routes = routes_of(&alert.labels, ways.routes);
        for route in routes.filter(|route| (ways.send_resolved)(&route.receiver).is_some()) {
            keys.insert(group_key(&route.receiver, &group_labels(&alert.labels, &route.group_by)));
        }
    }
    keys
}

/// A group while it is put together.
struct Group<'a> {
    receiver: &'a str,
    labels: Labels,
    patience: Patience,
    members: Vec<Member<'a>>,
    /// The same alerts as `members`.
    alerts: Vec<&'a Alert>,
}

impl Group<'_> {
    fn decide(self, group_key: String, told: Option<&ToldGroup>, now: Timestamp) -> Option<Planned> {
        let due = due(&self.members, told, &self.patience, now);
        let was_told = |key: &AlertKey| told.is_some_and(|told| told.firing.contains(key));
        let (mut notified, mut told_now) = (Vec::new(), ToldGroup { at: now, ..ToldGroup::default() });
        for (member, alert) in self.members.iter().zip(&self.alerts) {
            if member.is_firing {
                told_now.firing.insert(member.key.clone());
            } else if was_told(member.key) {
                told_now.resolved.insert(member.key.clone());
            } else {
                continue;
            }
            if member.is_firing || self.patience.send_resolved {
                notified.push(as_told(alert));
            }
        }
        notified.sort_by_key(|alert| alert.ends_at.is_some());
        let truncated = notified.len().saturating_sub(NOTIFIED_ALERTS_MAX) as u64;
        notified.truncate(NOTIFIED_ALERTS_MAX);
        let alerts = match due {
            Due::Nothing => return None,
            Due::Forget => None,
            Due::Tell => Some(notified),
        };
        let (receiver, group_labels) = (self.receiver.to_owned(), self.labels);
        Some(Planned { group_key, receiver, group_labels, alerts, truncated, told: told_now })
    }
}

/// An alert as groups see it. One that is pending again has ended for whoever was told that it fires, and is nothing to
/// everybody else.
fn member<'a>(candidate: &Candidate<'a>) -> Option<Member<'a>> {
    let key = candidate.key;
    Some(match candidate.alert.phase {
        AlertPhase::Firing { since } => Member { key, is_firing: true, since },
        AlertPhase::Resolved { since, .. } | AlertPhase::Pending { since } => {
            Member { key, is_firing: false, since }
        }
    })
}

/// An alert as a notification tells of it.
#[must_use]
pub fn as_told(alert: &Alert) -> NotifiedAlert {
    let (starts_at, ends_at) = match alert.phase {
        AlertPhase::Firing { since } => (since, None),
        AlertPhase::Resolved { since, ended } => (since, Some(ended)),
        AlertPhase::Pending { since } => (since, Some(since)),
    };
    NotifiedAlert { labels: alert.labels.clone(), annotations: alert.annotations.clone(), starts_at, ends_at }
}

/// The routes that an alert takes: the first one that takes it, and those behind it as long as they let it go on.
fn routes_of<'a>(labels: &Labels, routes: &'a [Route]) -> impl Iterator<Item = &'a Route> {
    let mut is_over = false;
    routes.iter().filter(move |route| {
        let taken = !is_over && route.takes(labels);
        is_over |= taken && !route.goes_on;
        taken
    })
}

fn group_labels(labels: &Labels, group_by: &[String]) -> Labels {
    let named = group_by.iter().filter_map(|name| labels.get_key_value(name));
    named.map(|(name, value)| (name.clone(), value.clone())).collect()
}
