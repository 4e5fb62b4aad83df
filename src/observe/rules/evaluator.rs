//! Holds all rules against what there is, and says which alerts change. Only that goes into the log: as long as nothing
//! changes, evaluating writes nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::alert::{Alert, AlertChange, AlertKey, AlertPhase, AlertRule};
use crate::model::{Millis, Timestamp};

use super::condition::{Condition, to_quantity};
use super::measure::{About, measure};
use super::phase::{Memory, Phase, Truth, step};
use super::survey::{Growth, Survey};
use super::words;

/// How long an alert that is over stays to be looked at, once everybody was told.
pub const RESOLVED_STAYS_MS: Millis = 15 * 60_000;

/// What a round of evaluation found.
#[derive(Clone, Debug, Default)]
pub struct Evaluated {
    /// The alerts that change.
    pub changes: Vec<AlertChange>,
    /// The value of every alert that is pending or firing, where there is one.
    pub values: BTreeMap<AlertKey, f64>,
    /// Alerts that there should be, and for which there was no room.
    pub left_out: u64,
}

/// The alerts before a round.
#[derive(Clone, Copy)]
pub struct Standing<'a> {
    /// All of them.
    pub alerts: &'a [(&'a AlertKey, &'a Alert)],
    /// Those that somebody was told of as firing, and not yet as resolved.
    pub told: &'a BTreeSet<&'a AlertKey>,
    /// How many there may be.
    pub most: usize,
}

/// Evaluates rules, and remembers what the machine need not.
#[derive(Debug, Default)]
pub struct Evaluator {
    memories: BTreeMap<AlertKey, Memory>,
}

impl Evaluator {
    /// Evaluates the enabled ones of `rules`, by name, against one moment.
    pub fn evaluate<'a>(
        &mut self,
        rules: impl Iterator<Item = (&'a str, &'a AlertRule)>,
        standing: Standing<'_>,
        (survey, growth): (&Survey, &Growth),
    ) -> Evaluated {
        let mut by_rule: BTreeMap<&str, OfRule<'_>> = BTreeMap::new();
        for (key, alert) in standing.alerts {
            by_rule.entry(key.rule.as_str()).or_default().insert(about(key), alert);
        }
        let none = OfRule::default();
        let (mut found, mut seen) = (Evaluated::default(), BTreeSet::new());
        for (name, rule) in rules.filter(|(_, rule)| rule.enabled) {
            let mut look = Look {
                name,
                rule,
                condition: Condition::from(rule),
                alerts: by_rule.get(name).unwrap_or(&none),
                told: standing.told,
                now: survey.now,
                memories: &mut self.memories,
                found: &mut found,
            };
            measure((rule.metric, rule.window_ms), (survey, growth), &mut |about, value| {
                if rule.selector.takes(about.topic, about.group) {
                    seen.extend(look.at(about, value));
                }
            });
        }
        let changed: BTreeSet<&AlertKey> = found.changes.iter().map(|change| &change.key).collect();
        let unchanged = standing.alerts.iter().filter(|(key, _)| !changed.contains(key));
        let ending = unchanged
            .filter_map(|(key, alert)| ending((key, alert), !seen.contains(*key), &standing, survey.now));
        let ending: Vec<AlertChange> = ending.collect();
        found.changes.extend(ending);
        self.memories.retain(|_, memory| !memory.is_idle(survey.now));
        found.left_out = leave_out(&mut found.changes, &standing);
        found
    }
}

/// The alerts of one rule, by what they are about.
type OfRule<'a> = BTreeMap<About<'a>, &'a Alert>;

fn about(key: &AlertKey) -> About<'_> {
    About { topic: key.topic.as_deref(), group: key.group.as_deref(), receiver: key.receiver.as_deref() }
}

/// Where an alert stands, for stepping on; one that is over is none any more.
fn phase_of(alert: &Alert) -> Option<Phase> {
    match alert.phase {
        AlertPhase::Pending { since } => Some(Phase::Pending { since }),
        AlertPhase::Firing { .. } => Some(Phase::Firing),
        AlertPhase::Resolved { .. } => None,
    }
}

/// A look at the objects of one rule.
struct Look<'a> {
    name: &'a str,
    rule: &'a AlertRule,
    condition: Condition,
    alerts: &'a OfRule<'a>,
    told: &'a BTreeSet<&'a AlertKey>,
    now: Timestamp,
    memories: &'a mut BTreeMap<AlertKey, Memory>,
    found: &'a mut Evaluated,
}

impl Look<'_> {
    /// Takes one value in; answers the alert when there is one, so that its object is known to exist.
    fn at(&mut self, about: About<'_>, value: Option<f64>) -> Option<AlertKey> {
        let truth = self.condition.of(value);
        // Most objects are well and have no alert.
        let before = self.alerts.get(&about).copied();
        if truth != Truth::Yes && before.is_none() {
            return None;
        }
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let key = AlertKey {
            rule: self.name.to_owned(),
            topic: owned(about.topic),
            group: owned(about.group),
            receiver: owned(about.receiver),
        };
        let from = before.and_then(phase_of);
        let memory = self.memories.entry(key.clone()).or_default();
        let to = step(from, truth, self.condition.timing, (memory, self.now));
        if let (Some(value), Some(_)) = (value, to) {
            self.found.values.insert(key.clone(), value);
        }
        if from != to {
            let to = self.alert_after(&key, before, to, value);
            self.found.changes.push(AlertChange { key: key.clone(), to });
        }
        Some(key)
    }

    /// The alert once it has changed to `to`; none when it is forgotten.
    fn alert_after(
        &self,
        key: &AlertKey,
        before: Option<&Alert>,
        to: Option<Phase>,
        value: Option<f64>,
    ) -> Option<Alert> {
        let phase = match to {
            Some(Phase::Pending { since }) => AlertPhase::Pending { since },
            Some(Phase::Firing) => AlertPhase::Firing { since: self.now },
            // Over. It keeps what it said while it fired.
            None => return resolved(before?, self.told.contains(key), self.now),
        };
        let labels = words::labels(key, self.rule);
        let annotations = words::annotations(self.rule, &labels, value);
        let (severity, value) = (self.rule.severity, value.and_then(to_quantity));
        Some(Alert { phase, severity, value, labels, annotations })
    }
}

/// An alert that is over now; none when nobody was told of it and nobody will ask. One that is pending again after it
/// fired may end before its receivers heard of the first end.
fn resolved(before: &Alert, is_told: bool, now: Timestamp) -> Option<Alert> {
    let since = match before.phase {
        AlertPhase::Firing { since } => since,
        AlertPhase::Pending { since } if is_told => since,
        _ => return None,
    };
    Some(Alert { phase: AlertPhase::Resolved { since, ended: now }, ..before.clone() })
}

/// What becomes of an alert by itself: with its object or rule it ends; over and told of, it is forgotten after a
/// while.
fn ending(
    (key, alert): (&AlertKey, &Alert),
    is_gone: bool,
    standing: &Standing<'_>,
    now: Timestamp,
) -> Option<AlertChange> {
    let key = || key.clone();
    match alert.phase {
        AlertPhase::Resolved { ended, .. } => {
            let is_old = now.since(ended) >= RESOLVED_STAYS_MS && !standing.told.contains(&key());
            is_old.then(|| AlertChange { key: key(), to: None })
        }
        _ if is_gone => {
            Some(AlertChange { key: key(), to: resolved(alert, standing.told.contains(&key()), now) })
        }
        _ => None,
    }
}

/// Leaves out the new alerts for which there is no room; answers how many.
fn leave_out(changes: &mut Vec<AlertChange>, standing: &Standing<'_>) -> u64 {
    let known: BTreeSet<&AlertKey> = standing.alerts.iter().map(|(key, _)| *key).collect();
    let forgotten = changes.iter().filter(|change| change.to.is_none()).count();
    let mut room = standing.most.saturating_sub(known.len().saturating_sub(forgotten));
    let mut left_out = 0;
    changes.retain(|change| {
        if known.contains(&change.key) {
            return true;
        }
        let fits = room > 0;
        room = room.saturating_sub(1);
        left_out += u64::from(!fits);
        fits
    });
    left_out
}

#[cfg(test)]
mod tests {
    use super::super::survey::GroupFacts;
    use super::*;
    use crate::model::GroupId;

    fn at(seconds: u64) -> Timestamp {
        Timestamp(1_000_000 + seconds * 1_000)
    }

    /// Groups with this many dead letters each, at a time.
    fn survey(seconds: u64, dead: &[u64]) -> Survey {
        let groups = (0..).zip(dead).map(|(number, dead_letters)| GroupFacts {
            id: GroupId(number),
            name: format!("g{number}").parse().unwrap(),
            dead_letters: *dead_letters,
            consumers: 1,
            lag: 0,
            paused: false,
        });
        Survey { now: at(seconds), groups: groups.collect(), ..Survey::default() }
    }

    fn rule(selector: &str) -> AlertRule {
        let text = r#"{"metric":"dead_letters","threshold":5,"for_ms":10000,"annotations":{"summary":"{{ value }}"},
            "selector":{"group":"SELECTOR"}}"#;
        serde_json::from_str(&text.replace("SELECTOR", selector)).unwrap()
    }

    /// A leader that evaluates, and a machine that takes every change.
    #[derive(Default)]
    struct Cluster {
        evaluator: Evaluator,
        alerts: BTreeMap<AlertKey, Alert>,
        told: BTreeSet<AlertKey>,
    }

    impl Cluster {
        fn evaluate(&mut self, rules: &[AlertRule], survey: &Survey) -> Evaluated {
            let alerts: Vec<(&AlertKey, &Alert)> = self.alerts.iter().collect();
            let told = self.told.iter().collect();
            let standing = Standing { alerts: &alerts, told: &told, most: 3 };
            let rules = rules.iter().map(|rule| ("dead", rule));
            self.evaluator.evaluate(rules, standing, (survey, &Growth::default()))
        }

        fn round(&mut self, rules: &[AlertRule], survey: &Survey) -> Vec<String> {
            let mut told = Vec::new();
            for AlertChange { key, to } in self.evaluate(rules, survey).changes {
                let word = to.as_ref().map_or("forgotten", |alert| alert.phase.as_str());
                told.push(format!("{} {word}", key.group.as_deref().unwrap_or_default()));
                match to {
                    Some(alert) => self.alerts.insert(key, alert),
                    None => self.alerts.remove(&key),
                };
            }
            told
        }
    }

    #[test]
    fn only_what_changes_is_told() {
        let mut cluster = Cluster::default();
        let rules = [rule("*")];
        assert_eq!(cluster.round(&rules, &survey(0, &[0, 9])), ["g1 pending"]);
        assert_eq!(cluster.round(&rules, &survey(5, &[0, 7])), [""; 0]);
        assert_eq!(cluster.round(&rules, &survey(10, &[6, 7])), ["g0 pending", "g1 firing"]);
        let summaries: Vec<&str> =
            cluster.alerts.values().map(|alert| alert.annotations["summary"].as_str()).collect();
        assert_eq!(summaries, ["6", "7"]);
        assert_eq!(cluster.round(&rules, &survey(15, &[6, 8])), [""; 0]);
        assert_eq!(cluster.round(&rules, &survey(19, &[5, 5])), ["g0 forgotten", "g1 resolved"]);
        let ended: Vec<AlertPhase> = cluster.alerts.values().map(|alert| alert.phase).collect();
        assert_eq!(ended, [AlertPhase::Resolved { since: at(10), ended: at(19) }]);
    }

    #[test]
    fn what_is_over_stays_a_while_and_until_everybody_was_told() {
        let mut cluster = Cluster::default();
        let rules = [rule("*")];
        for seconds in [0, 10] {
            cluster.round(&rules, &survey(seconds, &[9]));
        }
        cluster.told = cluster.alerts.keys().cloned().collect();
        assert_eq!(cluster.round(&rules, &survey(20, &[0])), ["g0 resolved"]);
        let later = 20 + RESOLVED_STAYS_MS / 1_000;
        assert_eq!(cluster.round(&rules, &survey(later, &[0])), [""; 0], "somebody has yet to be told");
        cluster.told.clear();
        assert_eq!(cluster.round(&rules, &survey(later - 1, &[0])), [""; 0], "it may be looked at");
        assert_eq!(cluster.round(&rules, &survey(later, &[0])), ["g0 forgotten"]);
        for seconds in [0, 10, 20, 30] {
            cluster.round(&rules, &survey(later + seconds, &[if seconds == 20 { 0 } else { 9 }]));
        }
        let phases: Vec<&str> = cluster.alerts.values().map(|alert| alert.phase.as_str()).collect();
        assert_eq!(phases, ["pending"], "what comes again begins anew");
    }

    #[test]
    fn what_was_told_is_remembered_although_it_came_again_and_went() {
        let mut cluster = Cluster::default();
        let rules = [rule("*")];
        for seconds in [0, 10] {
            cluster.round(&rules, &survey(seconds, &[9]));
        }
        cluster.told = cluster.alerts.keys().cloned().collect();
        assert_eq!(cluster.round(&rules, &survey(20, &[0])), ["g0 resolved"]);
        assert_eq!(cluster.round(&rules, &survey(25, &[9])), ["g0 pending"]);
        assert_eq!(cluster.round(&rules, &survey(30, &[0])), ["g0 resolved"], "its receivers think it fires");
        cluster.round(&rules, &survey(35, &[9]));
        assert_eq!(cluster.round(&rules, &survey(40, &[])), ["g0 resolved"], "and so when its object goes");
    }

    #[test]
    fn a_new_leader_goes_on_where_the_old_one_was() {
        let mut cluster = Cluster::default();
        let rules = [rule("*")];
        assert_eq!(cluster.round(&rules, &survey(0, &[9])), ["g0 pending"]);
        cluster.evaluator = Evaluator::default();
        assert_eq!(cluster.round(&rules, &survey(10, &[9])), ["g0 firing"], "its time was not begun anew");
        cluster.evaluator = Evaluator::default();
        assert_eq!(cluster.round(&rules, &survey(20, &[9])), [""; 0], "and it does not fire twice");
    }

    #[test]
    fn alerts_go_with_their_object_and_their_rule() {
        let mut cluster = Cluster::default();
        cluster.round(&[rule("*")], &survey(0, &[9, 9]));
        assert_eq!(cluster.round(&[rule("*")], &survey(5, &[9])), ["g1 forgotten"]);
        assert_eq!(cluster.round(&[rule("h*")], &survey(6, &[9])), ["g0 forgotten"], "the selector changed");
        cluster.round(&[rule("*")], &survey(7, &[9]));
        cluster.round(&[rule("*")], &survey(17, &[9]));
        assert_eq!(cluster.round(&[], &survey(18, &[9])), ["g0 resolved"], "the rule is gone");
        let disabled = AlertRule { enabled: false, ..rule("*") };
        cluster.round(&[rule("*")], &survey(19, &[9]));
        assert_eq!(
            cluster.round(&[disabled], &survey(20, &[9])),
            ["g0 forgotten"],
            "and so if it is switched off"
        );
    }

    #[test]
    fn there_are_not_more_alerts_than_there_is_room_for() {
        let mut cluster = Cluster::default();
        let rules = [rule("*")];
        let found = cluster.evaluate(&rules, &survey(0, &[9; 5]));
        assert_eq!((found.changes.len(), found.left_out), (3, 2));
        cluster.round(&rules, &survey(0, &[9; 5]));
        // Those that are there go on, whatever the room; one that ends makes room for another.
        let told = cluster.round(&rules, &survey(10, &[0, 9, 9, 9, 9]));
        assert_eq!(told, ["g0 forgotten", "g1 firing", "g2 firing", "g3 pending"]);
    }

    /// The sizes that a node may have, with rules that look at all of it.
    #[test]
    fn a_large_node_is_evaluated_as_correctly_as_a_small_one() {
        let dead: Vec<u64> = (0..10_000).map(|number| u64::from(number % 1_000 == 0) * 9).collect();
        let large = survey(0, &dead);
        let rules: Vec<AlertRule> = vec![rule("*"); 15];
        let mut evaluator = Evaluator::default();
        let standing = Standing { alerts: &[], told: &BTreeSet::new(), most: 1_000 };
        let names: Vec<String> = (0..15).map(|number| format!("rule{number}")).collect();
        let named = names.iter().map(String::as_str).zip(&rules);
        let found = evaluator.evaluate(named, standing, (&large, &Growth::default()));
        assert_eq!((found.changes.len(), found.left_out), (150, 0));
    }
}
