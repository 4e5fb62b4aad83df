//! Which alerts are quiet because others fire.

use std::collections::BTreeMap;

use crate::model::alert::{Inhibition, Labels, Matcher};

fn takes(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|matcher| matcher.takes(labels))
}

/// Which of `alerts` are kept quiet by one of `firing`; the answer is in their order. An alert that is source and
/// target of one rule does not quieten itself, nor others like it (Alertmanager's rule).
#[must_use]
pub fn inhibited(alerts: &[&Labels], firing: &[&Labels], rules: &[Inhibition]) -> Vec<bool> {
    let mut quiet = vec![false; alerts.len()];
    for rule in rules {
        let shared = |labels: &Labels| {
            let values = rule.equal.iter().map(|name| labels.get(name).cloned().unwrap_or_default());
            values.collect::<Vec<String>>()
        };
        // By what sources have in common with their targets: whether one of them is no target itself.
        let mut sources: BTreeMap<Vec<String>, bool> = BTreeMap::new();
        for labels in firing.iter().filter(|labels| takes(&rule.source, labels)) {
            *sources.entry(shared(labels)).or_default() |= !takes(&rule.target, labels);
        }
        if sources.is_empty() {
            continue;
        }
        for (quiet, labels) in quiet.iter_mut().zip(alerts) {
            if !*quiet && takes(&rule.target, labels) {
                let source = sources.get(&shared(labels));
                *quiet = source.is_some_and(|plain| *plain || !takes(&rule.source, labels));
            }
        }
    }
    quiet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn rule(source: &str, target: &str, equal: &[&str]) -> Inhibition {
        let matchers =
            |value: &str| vec![Matcher { name: "severity".into(), value: value.into(), is_equal: true }];
        let equal = equal.iter().map(|name| (*name).to_owned()).collect();
        Inhibition { source: matchers(source), target: matchers(target), equal }
    }

    #[test]
    fn one_alert_keeps_another_quiet() {
        let alerts = [
            "severity=critical topic=t group=g",
            "severity=warning topic=t group=g",
            "severity=warning topic=t group=h",
            "severity=warning topic=u",
            "severity=critical",
            "severity=warning",
        ]
        .map(labels);
        let all: Vec<&Labels> = alerts.iter().collect();
        let rules = [rule("critical", "warning", &["topic", "group"])];
        // What neither has counts as equal.
        assert_eq!(inhibited(&all, &all, &rules), [false, true, false, false, false, true]);
        assert_eq!(inhibited(&all, &[], &rules), [false; 6], "what does not fire keeps nobody quiet");
        assert_eq!(
            inhibited(&all, &all, &[rule("*", "*", &[])]),
            [false; 6],
            "no alert quietens its own kind"
        );
    }
}
