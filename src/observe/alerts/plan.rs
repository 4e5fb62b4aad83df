//! Which notifications are due: alerts go along the routes, form groups, and each group says whether it has something to
//! tell.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::model::Timestamp;
use crate::observe::notify::Labels;

use super::due::{Due, Member, Patience, Told, due};

/// An alert that fires, or was resolved and may still have to be told of.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Which alert.
    pub key: u64,
    /// Its labels.
    pub labels: &'a Labels,
    /// Whether it fires.
    pub is_firing: bool,
    /// When it began to fire.
    pub since: Timestamp,
    /// A silence or another alert keeps it quiet.
    pub is_muted: bool,
}

/// Where alerts go.
pub struct Route<'a> {
    /// The receiver's name.
    pub receiver: &'a str,
    /// Which alerts it takes.
    pub takes: &'a dyn Fn(&Labels) -> bool,
    /// Whether alerts that it takes go on to the routes behind it as well.
    pub goes_on: bool,
    /// The labels by which alerts form groups; none means that all are one group.
    pub group_by: &'a [String],
    /// When groups are told.
    pub patience: Patience,
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
    /// Its alerts: what fires, and what has ended since it was told as firing. Muted ones are left out.
    pub members: Vec<Member<u64>>,
    /// What is due, never [`Due::Nothing`].
    pub due: Due,
}

/// Names a group of alerts of one receiver, as Alertmanager does: `{}/{receiver="on-call"}:{alertname="Lag"}`. The same
/// as long as route and labels are.
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

/// What is due at `now`. `told` knows what each group was told last.
pub fn plan<'a>(
    candidates: &[Candidate<'_>],
    routes: &[Route<'_>],
    told: impl Fn(&str) -> Option<&'a Told<u64>>,
    now: Timestamp,
) -> Vec<Planned> {
    let mut groups: BTreeMap<String, (Planned, Patience)> = BTreeMap::new();
    for candidate in candidates.iter().filter(|candidate| !candidate.is_muted) {
        for route in routes_of(candidate.labels, routes) {
            let labels = group_labels(candidate.labels, route.group_by);
            let key = group_key(route.receiver, &labels);
            let (group, _) = groups.entry(key).or_insert_with_key(|key| {
                let receiver = route.receiver.to_owned();
                let group = Planned {
                    group_key: key.clone(),
                    receiver,
                    group_labels: labels,
                    members: Vec::new(),
                    due: Due::Nothing,
                };
                (group, route.patience)
            });
            let Candidate { key, is_firing, since, .. } = *candidate;
            // Two routes may lead into one group.
            if group.members.last().is_none_or(|last| last.key != key) {
                group.members.push(Member { key, is_firing, since });
            }
        }
    }
    let decided = groups.into_values().map(|(mut group, patience)| {
        let told = told(&group.group_key);
        let due = due(&group.members, told, &patience, now);
        let was_told = |key: &u64| told.is_some_and(|told| told.firing.contains(key));
        group.members.retain(|member| member.is_firing || was_told(&member.key));
        Planned { due, ..group }
    });
    decided.filter(|group| group.due != Due::Nothing).collect()
}

/// The routes that an alert takes: the first one that takes it, and those behind it as long as they let it go on.
fn routes_of<'a, 'b>(
    labels: &'b Labels,
    routes: &'a [Route<'a>],
) -> impl Iterator<Item = &'a Route<'a>> + use<'a, 'b> {
    let mut is_over = false;
    routes.iter().filter(move |route| {
        let taken = !is_over && (route.takes)(labels);
        is_over |= taken && !route.goes_on;
        taken
    })
}

fn group_labels(labels: &Labels, group_by: &[String]) -> Labels {
    let named = group_by.iter().filter_map(|name| labels.get_key_value(name));
    named.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A rule of inhibition: while a source fires, targets that agree with it are quiet.
pub struct Inhibition<'a> {
    /// Which alerts keep others quiet.
    pub source: &'a dyn Fn(&Labels) -> bool,
    /// Which alerts are kept quiet.
    pub target: &'a dyn Fn(&Labels) -> bool,
    /// The labels that both must have in common; one that neither has counts as equal.
    pub equal: &'a [String],
}

/// Which of `alerts` are kept quiet by one of `firing`; the answer is in their order. An alert that is source and target
/// of one rule does not quieten itself, nor others like it (Alertmanager's rule).
#[must_use]
pub fn inhibited(alerts: &[&Labels], firing: &[&Labels], rules: &[Inhibition<'_>]) -> Vec<bool> {
    let mut quiet = vec![false; alerts.len()];
    for rule in rules {
        let shared = |labels: &Labels| {
            let values = rule.equal.iter().map(|name| labels.get(name).cloned().unwrap_or_default());
            values.collect::<Vec<String>>()
        };
        // By what sources have in common with their targets: whether one of them is no target itself.
        let mut sources: BTreeMap<Vec<String>, bool> = BTreeMap::new();
        for labels in firing.iter().filter(|labels| (rule.source)(labels)) {
            *sources.entry(shared(labels)).or_default() |= !(rule.target)(labels);
        }
        if sources.is_empty() {
            continue;
        }
        for (quiet, labels) in quiet.iter_mut().zip(alerts) {
            if *quiet || !(rule.target)(labels) {
                continue;
            }
            *quiet = match sources.get(&shared(labels)) {
                Some(plain) => *plain || !(rule.source)(labels),
                None => false,
            };
        }
    }
    quiet
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        group_wait_ms: 10_000,
        group_interval_ms: 300_000,
        repeat_interval_ms: 14_400_000,
        send_resolved: true,
    };

    fn labels(text: &str) -> Labels {
        let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn candidate(key: u64, labels: &Labels) -> Candidate<'_> {
        Candidate { key, labels, is_firing: true, since: Timestamp(0), is_muted: false }
    }

    fn told_of(planned: &[Planned]) -> Vec<(&str, Vec<u64>)> {
        planned
            .iter()
            .map(|group| (group.group_key.as_str(), group.members.iter().map(|member| member.key).collect()))
            .collect()
    }

    #[test]
    fn alerts_that_agree_form_a_group() {
        let [a, b, c] =
            ["alertname=Lag topic=t group=a", "alertname=Lag topic=t group=b", "alertname=Dead topic=t"]
                .map(labels);
        let candidates = [candidate(1, &a), candidate(2, &b), candidate(3, &c)];
        let group_by = ["alertname".to_owned(), "topic".to_owned(), "absent".to_owned()];
        let routes = [Route {
            receiver: "r",
            takes: &|_| true,
            goes_on: false,
            group_by: &group_by,
            patience: PATIENCE,
        }];
        let planned = plan(&candidates, &routes, |_| None, Timestamp(10_000));
        assert_eq!(
            told_of(&planned),
            [
                ("{}/{receiver=\"r\"}:{alertname=\"Dead\", topic=\"t\"}", vec![3]),
                ("{}/{receiver=\"r\"}:{alertname=\"Lag\", topic=\"t\"}", vec![1, 2]),
            ]
        );
        assert_eq!(planned[1].group_labels, labels("alertname=Lag topic=t"));
        assert_eq!(plan(&candidates, &routes, |_| None, Timestamp(9_999)), [], "they wait for one another");
    }

    #[test]
    fn the_first_route_that_takes_an_alert_has_it_unless_it_lets_go() {
        let [critical, warning] = ["severity=critical", "severity=warning"].map(labels);
        let candidates = [candidate(1, &critical), candidate(2, &warning)];
        let is_critical = |labels: &Labels| labels.get("severity").is_some_and(|word| word == "critical");
        let all = |_: &Labels| true;
        let route =
            |receiver, takes, goes_on| Route { receiver, takes, goes_on, group_by: &[], patience: PATIENCE };
        let now = Timestamp(10_000);
        let planned = |goes_on| {
            let routes = [
                route("pager", &is_critical as &dyn Fn(&Labels) -> bool, goes_on),
                route("chat", &all, false),
            ];
            let planned = plan(&candidates, &routes, |_| None, now);
            planned.into_iter().map(|group| (group.receiver, group.members.len())).collect::<Vec<_>>()
        };
        assert_eq!(planned(false), [("chat".to_owned(), 1), ("pager".to_owned(), 1)]);
        assert_eq!(planned(true), [("chat".to_owned(), 2), ("pager".to_owned(), 1)]);
        let twice = [route("chat", &all, true), route("chat", &all, false)];
        assert_eq!(plan(&candidates, &twice, |_| None, now)[0].members.len(), 2, "nobody is told twice");
    }

    #[test]
    fn what_is_muted_says_nothing_and_starts_no_group() {
        let a = labels("alertname=a");
        let muted = Candidate { is_muted: true, ..candidate(1, &a) };
        let routes =
            [Route { receiver: "r", takes: &|_| true, goes_on: false, group_by: &[], patience: PATIENCE }];
        assert_eq!(plan(&[muted], &routes, |_| None, Timestamp(1_000_000)), []);
        let planned = plan(&[muted, candidate(2, &a)], &routes, |_| None, Timestamp(1_000_000));
        assert_eq!(told_of(&planned), [("{}/{receiver=\"r\"}:{}", vec![2])]);
    }

    #[test]
    fn what_a_group_was_told_is_found_by_its_key() {
        let a = labels("alertname=a");
        let routes =
            [Route { receiver: "r", takes: &|_| true, goes_on: false, group_by: &[], patience: PATIENCE }];
        let told = Told { at: Timestamp(0), firing: [1].into() };
        let find = |key: &str| (key == "{}/{receiver=\"r\"}:{}").then_some(&told);
        let now = Timestamp(1_000_000);
        assert_eq!(plan(&[candidate(1, &a)], &routes, find, now), []);
        let ended = Candidate { is_firing: false, ..candidate(1, &a) };
        assert_eq!(plan(&[ended], &routes, find, now)[0].due, Due::Tell);
    }

    #[test]
    fn one_alert_keeps_another_quiet() {
        let texts = [
            "severity=critical topic=t group=g",
            "severity=warning topic=t group=g",
            "severity=warning topic=t group=h",
            "severity=warning topic=u",
            "severity=critical",
            "severity=warning",
        ];
        let alerts = texts.map(labels);
        let has =
            |word: &'static str| move |labels: &Labels| labels.get("severity").is_some_and(|own| own == word);
        let (critical, warning) = (has("critical"), has("warning"));
        let equal = ["topic".to_owned(), "group".to_owned()];
        let rule = Inhibition { source: &critical, target: &warning, equal: &equal };
        let all: Vec<&Labels> = alerts.iter().collect();
        let quiet = inhibited(&all, &all, &[rule]);
        // What neither has counts as equal.
        assert_eq!(quiet, [false, true, false, false, false, true]);
        let rule = Inhibition { source: &critical, target: &warning, equal: &equal };
        assert_eq!(inhibited(&all, &[], &[rule]), [false; 6], "what does not fire keeps nobody quiet");
        let everything = |_: &Labels| true;
        let rule = Inhibition { source: &everything, target: &everything, equal: &[] };
        assert_eq!(inhibited(&all, &all, &[rule]), [false; 6], "an alert does not quieten its own kind");
    }
}
