//! Holds all rules against what there is, and says which alerts change.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{GroupName, Millis, Timestamp, TopicName};

use super::condition::Condition;
use super::measure::{About, Metric, measure};
use super::phase::{Memory, Phase, Timing, Truth, step};
use super::survey::{Growth, Survey};

/// What a rule makes of an object whose value is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoData {
    /// All is well.
    Ok,
    /// Everything stays as it is.
    Keep,
    /// The condition counts as true.
    Alert,
}

/// A rule, as evaluation sees it.
pub struct Rule<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it measures.
    pub metric: Metric,
    /// Over which time, for what is a rate or a share.
    pub window_ms: Millis,
    /// What must be true of the value.
    pub condition: Condition,
    /// Of which objects.
    pub selects: &'a dyn Fn(About<'_>) -> bool,
    /// For how long.
    pub timing: Timing,
    /// What if there is no value.
    pub no_data: NoData,
}

/// What an alert is about; see [`About`].
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// The topic.
    pub topic: Option<TopicName>,
    /// The group.
    pub group: Option<GroupName>,
    /// The receiver, or the peer.
    pub other: Option<String>,
}

impl From<About<'_>> for Object {
    fn from(about: About<'_>) -> Object {
        Object {
            topic: about.topic.cloned(),
            group: about.group.cloned(),
            other: about.other.map(str::to_owned),
        }
    }
}

/// An alert: which rule, and about what.
pub type AlertKey = (String, Object);

/// The alerts that are pending or firing, by rule and object.
pub type Standing = BTreeMap<String, BTreeMap<Object, Phase>>;

/// An alert that changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Which.
    pub key: AlertKey,
    /// Where it stood; none when it is new.
    pub from: Option<Phase>,
    /// Where it stands from now on; none when it is over.
    pub to: Option<Phase>,
    /// The value that did it; none when it is not known, or the object or rule is gone.
    pub value: Option<f64>,
}

/// What a round of evaluation found.
#[derive(Clone, Debug, Default)]
pub struct Evaluated {
    /// The alerts that change.
    pub changes: Vec<Change>,
    /// The value of every alert that is pending or firing, where there is one.
    pub values: BTreeMap<AlertKey, f64>,
    /// Alerts that there should be, and for which there was no room.
    pub left_out: usize,
}

/// Evaluates rules, and remembers what the machine need not.
#[derive(Debug, Default)]
pub struct Evaluator {
    memories: BTreeMap<AlertKey, Memory>,
}

impl Evaluator {
    /// Forgets everything: this node did not lead in between.
    pub fn clear(&mut self) {
        self.memories.clear();
    }

    /// Evaluates `rules` against one moment. `standing` are the alerts before it; there may be at most `most`
    /// afterwards.
    pub fn evaluate(
        &mut self,
        rules: &[Rule<'_>],
        standing: &Standing,
        (survey, growth): (&Survey, &Growth),
        most: usize,
    ) -> Evaluated {
        let none = BTreeMap::new();
        let mut found = Evaluated::default();
        let mut seen: BTreeSet<AlertKey> = BTreeSet::new();
        for rule in rules {
            let of_rule = standing.get(rule.name).unwrap_or(&none);
            let now = survey.now;
            let mut look = Look { rule, of_rule, now, memories: &mut self.memories, found: &mut found };
            measure((rule.metric, rule.window_ms), (survey, growth), &mut |about, value| {
                if (rule.selects)(about) {
                    seen.extend(look.at(about, value));
                }
            });
        }
        // A rule or an object that is gone takes its alerts along.
        for (rule, objects) in standing {
            for (object, phase) in objects {
                let key = (rule.clone(), object.clone());
                if !seen.contains(&key) {
                    found.changes.push(Change { key, from: Some(*phase), to: None, value: None });
                }
            }
        }
        self.memories.retain(|_, memory| !memory.is_idle(survey.now));
        found.left_out = leave_out(&mut found.changes, standing.values().map(BTreeMap::len).sum(), most);
        found
    }
}

/// A look at the objects of one rule.
struct Look<'a> {
    rule: &'a Rule<'a>,
    of_rule: &'a BTreeMap<Object, Phase>,
    now: Timestamp,
    memories: &'a mut BTreeMap<AlertKey, Memory>,
    found: &'a mut Evaluated,
}

impl Look<'_> {
    /// Takes one value in; answers the alert when there was one.
    fn at(&mut self, about: About<'_>, value: Option<f64>) -> Option<AlertKey> {
        let truth = match (value, self.rule.no_data) {
            (Some(value), _) if self.rule.condition.holds(value) => Truth::Yes,
            (Some(_), _) | (None, NoData::Ok) => Truth::No,
            (None, NoData::Keep) => Truth::Keep,
            (None, NoData::Alert) => Truth::Yes,
        };
        // Most objects are well and have no alert.
        if truth != Truth::Yes && self.of_rule.is_empty() {
            return None;
        }
        let object = Object::from(about);
        let from = self.of_rule.get(&object).copied();
        if truth != Truth::Yes && from.is_none() {
            return None;
        }
        let key = (self.rule.name.to_owned(), object);
        let memory = self.memories.entry(key.clone()).or_default();
        let to = step(from, truth, self.rule.timing, (memory, self.now));
        if let (Some(value), Some(_)) = (value, to) {
            self.found.values.insert(key.clone(), value);
        }
        if to != from {
            self.found.changes.push(Change { key: key.clone(), from, to, value });
        }
        from.map(|_| key)
    }
}

/// Leaves out the new alerts for which there is no room; answers how many.
fn leave_out(changes: &mut Vec<Change>, before: usize, most: usize) -> usize {
    let ended = changes.iter().filter(|change| change.to.is_none()).count();
    let mut room = most.saturating_sub(before.saturating_sub(ended));
    let mut left_out = 0;
    changes.retain(|change| {
        if change.from.is_some() {
            return true;
        }
        let fits = room > 0;
        room = room.saturating_sub(1);
        left_out += usize::from(!fits);
        fits
    });
    left_out
}

#[cfg(test)]
mod tests {
    use super::super::condition::Comparison;
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

    fn rule<'a>(selects: &'a dyn Fn(About<'_>) -> bool) -> Rule<'a> {
        Rule {
            name: "dead",
            metric: Metric::DeadLetters,
            window_ms: 0,
            condition: Condition { comparison: Comparison::Above, threshold: 5.0 },
            selects,
            timing: Timing { for_ms: 10_000, keep_firing_for_ms: 0 },
            no_data: NoData::Ok,
        }
    }

    /// A leader that evaluates, and a machine that takes every change.
    #[derive(Default)]
    struct Cluster {
        evaluator: Evaluator,
        standing: Standing,
    }

    impl Cluster {
        fn round(&mut self, rules: &[Rule<'_>], survey: &Survey) -> Vec<String> {
            let growth = Growth::default();
            let found = self.evaluator.evaluate(rules, &self.standing, (survey, &growth), 3);
            let mut told = Vec::new();
            for Change { key: (rule, object), to, value, .. } in found.changes {
                let group = object.group.clone().map_or_else(String::new, |group| group.to_string());
                let word = match to {
                    None => "over",
                    Some(Phase::Pending { .. }) => "pending",
                    Some(Phase::Firing) => "firing",
                };
                told.push(format!("{group} {word} {value:?}"));
                let of_rule = self.standing.entry(rule).or_default();
                match to {
                    Some(phase) => of_rule.insert(object, phase),
                    None => of_rule.remove(&object),
                };
            }
            told
        }
    }

    #[test]
    fn only_what_changes_is_told() {
        let mut cluster = Cluster::default();
        let all = |_: About<'_>| true;
        let rules = [rule(&all)];
        assert_eq!(cluster.round(&rules, &survey(0, &[0, 9])), ["g1 pending Some(9.0)"]);
        assert_eq!(cluster.round(&rules, &survey(5, &[0, 7])), [""; 0]);
        assert_eq!(
            cluster.round(&rules, &survey(10, &[6, 7])),
            ["g0 pending Some(6.0)", "g1 firing Some(7.0)"]
        );
        assert_eq!(cluster.round(&rules, &survey(15, &[6, 7])), [""; 0]);
        assert_eq!(cluster.round(&rules, &survey(20, &[5, 5])), ["g0 over Some(5.0)", "g1 over Some(5.0)"]);
    }

    #[test]
    fn a_new_leader_goes_on_where_the_old_one_was() {
        let mut cluster = Cluster::default();
        let all = |_: About<'_>| true;
        let rules = [rule(&all)];
        assert_eq!(cluster.round(&rules, &survey(0, &[9])), ["g0 pending Some(9.0)"]);
        cluster.evaluator = Evaluator::default();
        assert_eq!(
            cluster.round(&rules, &survey(10, &[9])),
            ["g0 firing Some(9.0)"],
            "its time was not begun anew"
        );
        cluster.evaluator = Evaluator::default();
        assert_eq!(cluster.round(&rules, &survey(20, &[9])), [""; 0], "and it does not fire twice");
    }

    #[test]
    fn alerts_go_with_their_object_and_their_rule() {
        let mut cluster = Cluster::default();
        let all = |_: About<'_>| true;
        cluster.round(&[rule(&all)], &survey(0, &[9, 9]));
        assert_eq!(cluster.round(&[rule(&all)], &survey(5, &[9])), ["g1 over None"]);
        let other = |about: About<'_>| about.group.is_some_and(|group| group.as_str() != "g0");
        assert_eq!(
            cluster.round(&[rule(&other)], &survey(6, &[9])),
            ["g0 over None"],
            "the selector changed"
        );
        cluster.round(&[rule(&all)], &survey(7, &[9]));
        assert_eq!(cluster.round(&[], &survey(8, &[9])), ["g0 over None"], "the rule is gone");
    }

    #[test]
    fn there_are_not_more_alerts_than_there_is_room_for() {
        let mut cluster = Cluster::default();
        let all = |_: About<'_>| true;
        let rules = [rule(&all)];
        let growth = Growth::default();
        let crowd = survey(0, &[9; 5]);
        let found = cluster.evaluator.evaluate(&rules, &cluster.standing, (&crowd, &growth), 3);
        assert_eq!((found.changes.len(), found.left_out), (3, 2));
        cluster.round(&rules, &crowd);
        // Those that are there go on, whatever the room; one that ends makes room for another.
        let told = cluster.round(&rules, &survey(10, &[0, 9, 9, 9, 9]));
        assert_eq!(
            told,
            ["g0 over Some(0.0)", "g1 firing Some(9.0)", "g2 firing Some(9.0)", "g3 pending Some(9.0)"]
        );
    }
}
