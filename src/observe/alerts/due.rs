//! Whether a group of alerts has something to say to its receiver: Alertmanager's rules.
//!
//! A new group waits a little (`group_wait`), so that alerts of one trouble come as one notification. Afterwards
//! something new in it is told, but not more often than every `group_interval`. A group in which nothing is new is told
//! again every `repeat_interval`, as long as something fires. One that ended before its first notification is never
//! told.

use crate::model::alert::{AlertKey, Route, ToldGroup};
use crate::model::{Millis, Timestamp};

/// An alert of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Which alert.
    pub key: &'a AlertKey,
    /// Whether it fires; else it is over.
    pub is_firing: bool,
    /// When it began to fire.
    pub since: Timestamp,
}

/// How patient a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// From the first alert to the first notification.
    pub group_wait_ms: Millis,
    /// Between notifications, when something is new.
    pub group_interval_ms: Millis,
    /// Between notifications, when nothing is.
    pub repeat_interval_ms: Millis,
    /// Whether the receiver wants to hear of the end.
    pub send_resolved: bool,
}

impl Patience {
    /// That of a route to a receiver.
    #[must_use]
    pub fn of(route: &Route, send_resolved: bool) -> Patience {
        let Route { group_wait_ms, group_interval_ms, repeat_interval_ms, .. } = *route;
        Patience { group_wait_ms, group_interval_ms, repeat_interval_ms, send_resolved }
    }
}

/// What is to be done about a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing now.
    Nothing,
    /// A notification.
    Tell,
    /// Everything is over, and the receiver does not want to hear of that: what it was told is forgotten.
    Forget,
}

/// What is due of a group at `now`. Alerts that are silenced or inhibited are not among `members`.
#[must_use]
pub fn due(members: &[Member<'_>], told: Option<&ToldGroup>, patience: &Patience, now: Timestamp) -> Due {
    let mut firing = members.iter().filter(|member| member.is_firing);
    let Some(told) = told else {
        let first = firing.map(|member| member.since).min();
        let waited = first.is_some_and(|first| now.since(first) >= patience.group_wait_ms);
        return if waited { Due::Tell } else { Due::Nothing };
    };
    if now.since(told.at) < patience.group_interval_ms {
        return Due::Nothing;
    }
    if firing.clone().any(|member| !told.firing.contains(member.key)) {
        return Due::Tell;
    }
    let has_ended = |member: &Member<'_>| !member.is_firing && told.firing.contains(member.key);
    let is_firing = firing.next().is_some();
    match members.iter().any(has_ended) {
        true if patience.send_resolved => Due::Tell,
        true if !is_firing => Due::Forget,
        _ if is_firing && now.since(told.at) >= patience.repeat_interval_ms => Due::Tell,
        _ => Due::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PATIENCE: Patience = Patience {
        group_wait_ms: 10_000,
        group_interval_ms: 300_000,
        repeat_interval_ms: 14_400_000,
        send_resolved: true,
    };

    fn at(seconds: u64) -> Timestamp {
        Timestamp(1_000_000 + seconds * 1_000)
    }

    fn key(letter: char) -> AlertKey {
        AlertKey { rule: letter.to_string(), ..AlertKey::default() }
    }

    /// Goes through a day in steps of 5 s. `script` says of each alert when it fires and when it ends; the answer says
    /// when what was told: firing ones in capitals, resolved ones small.
    fn day(patience: &Patience, script: &[(char, u64, u64)]) -> Vec<(u64, String)> {
        let keys: Vec<AlertKey> = script.iter().map(|(letter, ..)| key(*letter)).collect();
        let mut told: Option<ToldGroup> = None;
        let mut said = Vec::new();
        for second in (0..86_400).step_by(5) {
            let exists = script.iter().zip(&keys).filter(|((_, start, _), _)| *start <= second);
            let members: Vec<Member<'_>> = exists
                .map(|((_, start, end), key)| Member { key, is_firing: second < *end, since: at(*start) })
                .collect();
            match due(&members, told.as_ref(), patience, at(second)) {
                Due::Nothing => {}
                Due::Forget => {
                    told = None;
                    said.push((second, "forgotten".to_owned()));
                }
                Due::Tell => {
                    let before = told.take().unwrap_or_default().firing;
                    let firing = members.iter().filter(|member| member.is_firing);
                    let firing: BTreeSet<AlertKey> = firing.map(|member| member.key.clone()).collect();
                    let words = firing.iter().map(|key| key.rule.to_uppercase());
                    let ended = before.difference(&firing).map(|key| key.rule.clone());
                    said.push((second, words.chain(ended).collect()));
                    told = Some(ToldGroup { at: at(second), firing, ..ToldGroup::default() });
                }
            }
        }
        said
    }

    fn said(patience: &Patience, script: &[(char, u64, u64)], expected: &[(u64, &str)]) {
        let expected: Vec<(u64, String)> =
            expected.iter().map(|(second, words)| (*second, (*words).to_owned())).collect();
        assert_eq!(day(patience, script), expected, "{script:?}");
    }

    #[test]
    fn alerts_that_come_together_are_one_notification() {
        said(&PATIENCE, &[('a', 0, 700), ('b', 5, 700)], &[(10, "AB"), (700, "ab")]);
    }

    #[test]
    fn what_ends_before_it_was_told_is_never_told() {
        said(&PATIENCE, &[('a', 0, 5)], &[]);
    }

    #[test]
    fn something_new_waits_for_the_interval() {
        said(&PATIENCE, &[('a', 0, 2_000), ('b', 60, 2_000)], &[(10, "A"), (310, "AB"), (2_000, "ab")]);
        // What came and went in between is never mentioned.
        said(&PATIENCE, &[('a', 0, 2_000), ('b', 60, 100)], &[(10, "A"), (2_000, "a")]);
    }

    #[test]
    fn the_end_of_one_is_told_while_the_other_fires() {
        said(&PATIENCE, &[('a', 0, 1_000), ('b', 0, 3_000)], &[(10, "AB"), (1_000, "Ba"), (3_000, "b")]);
    }

    #[test]
    fn what_goes_on_is_repeated() {
        let expected = [(10, "A"), (14_410, "A"), (28_810, "A"), (40_000, "a")];
        said(&PATIENCE, &[('a', 0, 40_000)], &expected);
    }

    #[test]
    fn who_does_not_want_to_hear_of_the_end_does_not() {
        let patience = Patience { send_resolved: false, ..PATIENCE };
        said(&patience, &[('a', 0, 1_000), ('b', 0, 3_000)], &[(10, "AB"), (3_000, "forgotten")]);
    }

    #[test]
    fn an_alert_that_is_silenced_says_nothing_not_even_that_it_ended() {
        let told = ToldGroup { at: at(0), firing: BTreeSet::from([key('a')]), ..ToldGroup::default() };
        assert_eq!(due(&[], Some(&told), &PATIENCE, at(100_000)), Due::Nothing);
        assert_eq!(due(&[], None, &PATIENCE, at(100_000)), Due::Nothing);
    }
}
