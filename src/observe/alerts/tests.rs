//! Plans, from alerts to groups.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::model::Timestamp;
use crate::model::alert::{Alert, AlertKey, AlertPhase, Labels, Route, Severity, ToldGroup};

const NOW: Timestamp = Timestamp(1_000_000);

/// Alerts that have fired for 30 s, with these labels each.
#[derive(Default)]
struct World {
    alerts: BTreeMap<AlertKey, Alert>,
    muted: BTreeSet<AlertKey>,
    told: BTreeMap<String, ToldGroup>,
    ends_unheard: bool,
}

fn labels(text: &str) -> Labels {
    let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn key(name: &str) -> AlertKey {
    AlertKey { rule: name.to_owned(), ..AlertKey::default() }
}

fn routes(text: &str) -> Vec<Route> {
    serde_json::from_str(text).unwrap()
}

impl World {
    fn with(alerts: &[(&str, &str)]) -> World {
        let mut world = World::default();
        for (name, text) in alerts {
            let phase = AlertPhase::Firing { since: Timestamp(NOW.0 - 30_000) };
            let annotations = Labels::new();
            let alert =
                Alert { phase, severity: Severity::Info, value: None, labels: labels(text), annotations };
            world.alerts.insert(key(name), alert);
        }
        world
    }

    fn turn(&mut self, name: &str, phase: AlertPhase) {
        self.alerts.get_mut(&key(name)).unwrap().phase = phase;
    }

    /// What is due, and from then on told.
    fn plan(&mut self, routes: &[Route], now: Timestamp) -> Vec<Planned> {
        let candidate = |(key, alert)| Candidate { key, alert, is_muted: self.muted.contains(key) };
        let candidates: Vec<Candidate<'_>> = self.alerts.iter().map(candidate).collect();
        let wants_ends = !self.ends_unheard;
        let ways = Ways {
            routes,
            send_resolved: &|receiver| (receiver != "gone").then_some(wants_ends),
            told: &|group| self.told.get(group),
        };
        let planned = plan(&candidates, &ways, now);
        self.told.extend(planned.iter().map(|group| (group.group_key.clone(), group.told.clone())));
        planned
    }
}

/// Each planned group with what is told of it: firing alerts in capitals.
fn said(planned: &[Planned]) -> Vec<(&str, String)> {
    let word = |told: &crate::model::alert::NotifiedAlert| {
        let name = told.labels["n"].clone();
        if told.ends_at.is_none() { name.to_uppercase() } else { name }
    };
    let words = |group: &Planned| group.alerts.as_ref().map(|alerts| alerts.iter().map(word).collect());
    planned
        .iter()
        .map(|group| (group.group_key.as_str(), words(group).unwrap_or_else(|| "forgotten".to_owned())))
        .collect()
}

#[test]
fn alerts_that_agree_form_a_group_and_wait_for_one_another() {
    let mut world = World::with(&[
        ("a", "n=a alertname=Lag topic=t group=a"),
        ("b", "n=b alertname=Lag topic=t group=b"),
        ("c", "n=c alertname=Dead topic=t"),
    ]);
    let routes = routes(r#"[{"receiver":"r","group_by":["alertname","topic","absent"]}]"#);
    assert_eq!(world.plan(&routes, Timestamp(NOW.0 - 1)), []);
    let planned = world.plan(&routes, NOW);
    assert_eq!(
        said(&planned),
        [
            ("{}/{receiver=\"r\"}:{alertname=\"Dead\", topic=\"t\"}", "C".to_owned()),
            ("{}/{receiver=\"r\"}:{alertname=\"Lag\", topic=\"t\"}", "AB".to_owned()),
        ]
    );
    assert_eq!(planned[1].group_labels, labels("alertname=Lag topic=t"));
    assert_eq!(planned[1].told.firing, BTreeSet::from([key("a"), key("b")]));
    assert_eq!(world.plan(&routes, NOW), [], "nobody is told twice");
}

#[test]
fn the_first_route_that_takes_an_alert_has_it_unless_it_lets_go() {
    let said_along = |goes_on: &str| {
        let routes = routes(&format!(
            r#"[{{"receiver":"pager","match":[{{"name":"severity","value":"crit*"}}],"continue":{goes_on},"group_by":[]}},
                {{"receiver":"chat","group_by":[]}}]"#
        ));
        let mut world = World::with(&[("a", "n=a severity=critical"), ("b", "n=b severity=warning")]);
        let planned = world.plan(&routes, NOW);
        said(&planned).into_iter().map(|(_, words)| words).collect::<Vec<_>>()
    };
    assert_eq!(said_along("false"), ["B", "A"]);
    assert_eq!(said_along("true"), ["AB", "A"]);
    let twice = routes(r#"[{"receiver":"r","continue":true,"group_by":[]},{"receiver":"r","group_by":[]}]"#);
    assert_eq!(said(&World::with(&[("a", "n=a")]).plan(&twice, NOW))[0].1, "A", "not told twice in one");
    let gone = routes(r#"[{"receiver":"gone"}]"#);
    assert_eq!(World::with(&[("a", "n=a")]).plan(&gone, NOW), [], "there is no such receiver");
}

#[test]
fn what_is_muted_says_nothing_and_starts_no_group() {
    let routes = routes(r#"[{"receiver":"r","group_by":[]}]"#);
    let mut world = World::with(&[("a", "n=a"), ("b", "n=b")]);
    world.muted = BTreeSet::from([key("a"), key("b")]);
    assert_eq!(world.plan(&routes, NOW), []);
    world.muted.remove(&key("b"));
    assert_eq!(said(&world.plan(&routes, NOW))[0].1, "B");
    // It fires still when the silence is over, and that is news.
    world.muted.clear();
    assert_eq!(said(&world.plan(&routes, NOW.plus(300_000)))[0].1, "AB");
    // Under a silence it ends unheard, and is told of when the silence is over.
    world.muted.insert(key("a"));
    world.turn("a", AlertPhase::Resolved { since: NOW, ended: NOW });
    assert_eq!(world.plan(&routes, NOW.plus(600_000)), []);
    world.muted.clear();
    assert_eq!(said(&world.plan(&routes, NOW.plus(600_000)))[0].1, "Ba");
}

#[test]
fn an_alert_that_is_pending_again_has_ended() {
    let routes = routes(r#"[{"receiver":"r","group_by":[]}]"#);
    let mut world = World::with(&[("a", "n=a")]);
    assert_eq!(said(&world.plan(&routes, NOW))[0].1, "A");
    let again = NOW.plus(300_000);
    world.turn("a", AlertPhase::Pending { since: again });
    assert_eq!(said(&world.plan(&routes, again))[0].1, "a");
    assert_eq!(world.plan(&routes, again.plus(86_400_000)), [], "and is told of once");
}

#[test]
fn who_does_not_want_to_hear_of_the_end_is_told_nothing() {
    let routes = routes(r#"[{"receiver":"r","group_by":[]}]"#);
    let mut world = World::with(&[("a", "n=a"), ("b", "n=b")]);
    world.ends_unheard = true;
    assert_eq!(said(&world.plan(&routes, NOW))[0].1, "AB");
    let ended = AlertPhase::Resolved { since: NOW, ended: NOW };
    world.turn("a", ended);
    assert_eq!(world.plan(&routes, NOW.plus(300_000)), []);
    // Told again for the sake of the one that goes on, without the one that ended.
    assert_eq!(said(&world.plan(&routes, NOW.plus(14_400_000)))[0].1, "B");
    world.turn("b", ended);
    let planned = world.plan(&routes, NOW.plus(15_000_000));
    assert_eq!(said(&planned)[0].1, "forgotten");
    assert_eq!(planned[0].told.firing, BTreeSet::new());
}

#[test]
fn a_crowd_is_cut_and_counted_and_told_as_a_whole() {
    let names: Vec<String> = (0..60).map(|number| format!("{number:02}")).collect();
    let texts: Vec<String> = names.iter().map(|name| format!("n={name}")).collect();
    let alerts: Vec<(&str, &str)> =
        names.iter().zip(&texts).map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let mut world = World::with(&alerts);
    let planned = world.plan(&routes(r#"[{"receiver":"r","group_by":[]}]"#), NOW);
    assert_eq!(planned[0].alerts.as_ref().unwrap().len(), NOTIFIED_ALERTS_MAX);
    assert_eq!((planned[0].truncated, planned[0].told.firing.len()), (10, 60));
}
