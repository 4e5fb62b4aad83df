use super::*;
use crate::machine::{Draft, Expected, Machine};
use crate::model::alert::{
    AlertChange, AlertPhase, Inhibition, Matcher, NotificationId, Origin, ReceiverKind, Routing, Severity,
    Silence,
};

/// Where the pages are.
const URL: &str = "https://mq.example";

fn at(seconds: u64) -> Timestamp {
    Timestamp(1_700_000_000_000 + seconds * 1_000)
}

/// A state with one receiver, `ops`, and alerts of these names and severities that fire since 0.
fn firing(alerts: &[(&str, Severity)]) -> Draft {
    let mut draft = Draft::new(&Machine::default(), at(0), Box::new(|| 7));
    let url = "https://ops.example/".to_owned();
    let receiver = Receiver { kind: ReceiverKind::Webhook, url, secret: None, send_resolved: true };
    draft
        .put_receiver(&"ops".parse().unwrap(), &Arc::new(receiver), Origin::Api, &Expected::default())
        .unwrap();
    let changes = alerts
        .iter()
        .map(|(name, severity)| change(name, *severity, Some(AlertPhase::Firing { since: at(0) })));
    assert_eq!(draft.change_alerts(changes.collect()), 0);
    draft
}

fn change(name: &str, severity: Severity, phase: Option<AlertPhase>) -> AlertChange {
    let key = AlertKey { rule: name.to_owned(), ..AlertKey::default() };
    let pairs = [("alertname", name), ("severity", severity.as_str())];
    let labels: Labels = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let alert = |phase| Alert { phase, severity, value: None, labels, annotations: Labels::new() };
    AlertChange { key, to: phase.map(alert) }
}

/// Plans and queues; who is told of what.
fn tell(draft: &mut Draft, seconds: u64) -> Vec<(String, String)> {
    let Told { planned, forgotten } = plan(draft.machine().alerting(), at(seconds), URL);
    let name = |alert: &NotifiedAlert| {
        let end = if alert.ends_at.is_some() { " ended" } else { "" };
        format!("{}{end}", alert.labels["alertname"])
    };
    let said = |(it, _): &PlannedNotification| {
        (it.receiver.clone(), it.alerts.iter().map(name).collect::<Vec<_>>().join(", "))
    };
    let said = planned.iter().map(said).collect();
    draft.notify(planned, forgotten);
    said
}

fn pair(receiver: &str, names: &str) -> (String, String) {
    (receiver.to_owned(), names.to_owned())
}

fn matcher(name: &str, value: &str) -> Matcher {
    serde_json::from_value(serde_json::json!({"name": name, "value": value})).unwrap()
}

#[test]
fn without_routes_everybody_is_told_once() {
    let mut draft = firing(&[("A", Severity::Warning)]);
    assert_eq!(tell(&mut draft, 29), []);
    assert_eq!(tell(&mut draft, 30), [pair("ops", "A")]);
    assert_eq!(tell(&mut draft, 31), []);
    let phase = AlertPhase::Resolved { since: at(0), ended: at(100) };
    draft.change_alerts(vec![change("A", Severity::Warning, Some(phase))]);
    assert_eq!(tell(&mut draft, 400), [pair("ops", "A ended")]);
    assert_eq!(draft.machine().alerting().told_groups().count(), 0, "a group that is over begins anew");
}

#[test]
fn what_is_silenced_or_inhibited_is_not_told() {
    let mut draft = firing(&[("A", Severity::Warning), ("B", Severity::Critical), ("C", Severity::Info)]);
    let silence = Silence {
        matchers: vec![matcher("alertname", "A")],
        starts_at: at(0),
        ends_at: at(60),
        created_by: "ann".into(),
        comment: "known".into(),
    };
    draft.make_silence(&Arc::new(silence)).unwrap();
    let inhibition = Inhibition {
        source: vec![matcher("severity", "critical")],
        target: vec![matcher("severity", "info")],
        equal: Vec::new(),
    };
    let routing = Arc::new(Routing { routes: Vec::new(), inhibitions: vec![inhibition] });
    draft.put_routing(&routing, Origin::Api, &Expected::default()).unwrap();
    assert_eq!(tell(&mut draft, 30), [pair("ops", "B")]);
    assert_eq!(tell(&mut draft, 59), []);
    assert_eq!(tell(&mut draft, 60), [pair("ops", "A")], "the silence is over");
    draft.change_alerts(vec![change("B", Severity::Critical, None)]);
    assert_eq!(tell(&mut draft, 61), [pair("ops", "C")], "nothing keeps it quiet any more");
}

#[test]
fn what_no_way_leads_to_any_more_is_forgotten() {
    let mut draft = firing(&[("A", Severity::Warning)]);
    assert_eq!(tell(&mut draft, 30).len(), 1);
    let route = Route { group_by: vec!["severity".to_owned()], ..Route::to("ops") };
    let routing = Arc::new(Routing { routes: vec![route], inhibitions: Vec::new() });
    draft.put_routing(&routing, Origin::Api, &Expected::default()).unwrap();
    assert_eq!(tell(&mut draft, 31), [pair("ops", "A")], "another group, told anew");
    let keys: Vec<String> = draft.machine().alerting().told_groups().map(|(key, _)| key.clone()).collect();
    assert_eq!(keys, [r#"{}/{receiver="ops"}:{severity="warning"}"#]);
}

#[test]
fn an_alertmanager_hears_again_of_what_it_was_told() {
    let mut draft = firing(&[("A", Severity::Warning), ("B", Severity::Warning)]);
    let again = |draft: &Draft, receiver| firing_for(draft.machine().alerting(), receiver, at(90), URL).len();
    assert_eq!(again(&draft, "ops"), 0, "it was told nothing yet");
    tell(&mut draft, 30);
    assert_eq!((again(&draft, "ops"), again(&draft, "op")), (2, 0));
    let soon = firing_for(draft.machine().alerting(), "ops", at(89), URL);
    assert_eq!(soon.len(), 0, "it was just told");
    draft.change_alerts(vec![change("B", Severity::Warning, Some(AlertPhase::Pending { since: at(35) }))]);
    assert_eq!(again(&draft, "ops"), 1);
}

#[test]
fn a_receiver_fails_from_the_first_that_it_did_not_take() {
    let mut draft = firing(&[("A", Severity::Warning), ("B", Severity::Warning)]);
    tell(&mut draft, 30);
    let failing = |draft: &Draft| failing_ms(draft.machine().alerting(), "ops", at(100)) / 1_000;
    let attempt = |draft: &mut Draft, id, seconds, is_delivered| {
        let delivery = Delivery { last_at: Some(at(seconds)), is_delivered, ..Delivery::default() };
        draft.attempted(NotificationId(id), delivery);
        failing(draft)
    };
    assert_eq!(attempt(&mut draft, 1, 40, false), 70, "since it was to be told");
    assert_eq!(attempt(&mut draft, 2, 50, true), 0, "it took what was tried last");
    assert_eq!(attempt(&mut draft, 1, 60, false), 50, "and then not");
    assert_eq!(attempt(&mut draft, 1, 70, true), 0);
}

#[test]
fn a_runbook_that_the_broker_serves_is_told_with_its_whole_address() {
    for (written, told) in
        [("/runbooks/Lag", "https://mq.example/runbooks/Lag"), ("https://a/b", "https://a/b")]
    {
        let mut alert =
            as_told(&change("Lag", Severity::Info, Some(AlertPhase::Firing { since: at(0) })).to.unwrap());
        alert.annotations.insert("runbook_url".to_owned(), written.to_owned());
        make_links_whole(&mut alert, URL);
        assert_eq!(alert.annotation("runbook_url"), told);
    }
}
