use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::machine::{Draft, Expected, Fact, ImageDecoder, PutDone, Refusal};
use crate::model::alert::{AlertPhase, Labels, Matcher, ReceiverKind, Route, Severity};

const T0: Timestamp = Timestamp(1_700_000_000_000);

/// Decides, and applies what was decided to the machine and to one that was made of its image.
fn decide<T>(machine: &mut Machine, at: Timestamp, decide: impl FnOnce(&mut Draft) -> T) -> T {
    let mut draft = Draft::new(machine, at, Box::new(|| 7));
    let answer = decide(&mut draft);
    let index = machine.applied + 1;
    let expected = draft.digest_at(index);
    if let Some(batch) = draft.finish() {
        machine.apply(index, &batch);
        assert_eq!(machine.digest(), expected, "the draft and the log agree");
    }
    machine.check().unwrap();
    let mut decoder = ImageDecoder::new();
    machine.encode_image().for_each(|chunk| decoder.feed(&chunk).unwrap());
    let again = decoder.finish().unwrap();
    assert_eq!(again.digest(), machine.digest(), "an image holds all of it");
    again.check().unwrap();
    answer
}

fn name(text: &str) -> AlertName {
    text.parse().unwrap()
}

fn rule(threshold: &str) -> Arc<AlertRule> {
    let text = format!(r#"{{"metric":"lag_messages","threshold":{threshold}}}"#);
    Arc::new(serde_json::from_str(&text).unwrap())
}

fn receiver(secret: Option<&str>) -> Arc<Receiver> {
    let (kind, url) = (ReceiverKind::Webhook, "https://example.com/hook".to_owned());
    Arc::new(Receiver { kind, url, secret: secret.map(Into::into), send_resolved: true })
}

fn alert(number: usize) -> AlertChange {
    let key = AlertKey { rule: "Lag".into(), group: Some(format!("g{number}")), ..AlertKey::default() };
    let phase = AlertPhase::Firing { since: T0 };
    let (labels, annotations) = (Labels::new(), Labels::new());
    AlertChange {
        key,
        to: Some(Alert { phase, severity: Severity::Warning, value: None, labels, annotations }),
    }
}

fn notification(receiver: &str) -> Arc<Notification> {
    Arc::new(Notification {
        receiver: receiver.into(),
        group_key: "all".into(),
        group_labels: Labels::new(),
        alerts: Vec::new(),
        truncated: 0,
        created_at: T0,
        delivery: Delivery { next_at: Some(T0), ..Delivery::default() },
    })
}

#[test]
fn a_rule_that_comes_with_the_broker_is_changed_and_taken_back() {
    let mut machine = Machine::default();
    let (own, lag) = (rule("5"), name("GroupLag"));
    let original = machine.alerting().rule(&lag).unwrap();
    assert_eq!(original.origin, Origin::BuiltIn);
    let put = |machine: &mut Machine, origin, expected: &Expected| {
        decide(machine, T0, |draft| draft.put_alert_rule(&lag, &own, origin, expected))
    };
    assert_eq!(
        put(&mut machine, Origin::Api, &Expected::OneOf(vec![original.version()])),
        Ok(PutDone::Changed)
    );
    assert_eq!(put(&mut machine, Origin::Api, &Expected::Anything), Ok(PutDone::Unchanged));
    assert!(matches!(
        put(&mut machine, Origin::Api, &Expected::OneOf(vec![original.version()])),
        Err(Refusal::Stale { .. })
    ));
    let rules = machine.alerting().rules().count();
    assert_eq!(rules, built_in_rules().len(), "it stands in the place of the other");
    let delete = |machine: &mut Machine| {
        decide(machine, T0, |draft| draft.delete_alert_rule(&lag, Origin::Api, &Expected::Anything))
    };
    assert_eq!(delete(&mut machine), Ok(()));
    assert_eq!(machine.alerting().rule(&lag), Some(original));
    assert_eq!(delete(&mut machine), Err(Refusal::BuiltIn("GroupLag".into())));
}

#[test]
fn what_the_file_says_is_changed_by_the_file_alone() {
    let mut machine = Machine::default();
    let ops = name("ops");
    let put = |machine: &mut Machine, origin| {
        decide(machine, T0, |draft| draft.put_receiver(&ops, &receiver(None), origin, &Expected::Anything))
    };
    assert_eq!(put(&mut machine, Origin::File), Ok(PutDone::Created));
    assert_eq!(put(&mut machine, Origin::Api), Err(Refusal::FromFile("ops".into())));
    assert_eq!(put(&mut machine, Origin::File), Ok(PutDone::Unchanged));
}

#[test]
fn a_secret_stays_while_it_goes_to_the_same_address() {
    let mut machine = Machine::default();
    let ops = name("ops");
    let put = |machine: &mut Machine, receiver: Arc<Receiver>| {
        decide(machine, T0, |draft| draft.put_receiver(&ops, &receiver, Origin::Api, &Expected::Anything))
            .unwrap();
        machine.alerting().receiver(&ops).unwrap().value.secret.clone()
    };
    assert_eq!(put(&mut machine, receiver(Some("s3"))).as_deref(), Some("s3"));
    let quieter = Receiver { send_resolved: false, ..Receiver::clone(&receiver(None)) };
    assert_eq!(put(&mut machine, Arc::new(quieter)).as_deref(), Some("s3"));
    let elsewhere = Receiver { url: "https://elsewhere.example/".into(), ..Receiver::clone(&receiver(None)) };
    assert_eq!(put(&mut machine, Arc::new(elsewhere)), None);
}

#[test]
fn a_secret_that_left_the_configuration_file_is_used_no_more() {
    let mut machine = Machine::default();
    let ops = name("ops");
    for (secret, done) in
        [(Some("s3"), PutDone::Created), (None, PutDone::Changed), (None, PutDone::Unchanged)]
    {
        let put = decide(&mut machine, T0, |draft| {
            draft.put_receiver(&ops, &receiver(secret), Origin::File, &Expected::Anything)
        });
        assert_eq!(put, Ok(done));
        assert_eq!(machine.alerting().receiver(&ops).unwrap().value.secret.as_deref(), secret);
    }
}

/// A file with so many receivers by the names `<letter>0`, `<letter>1`, and a route to each.
fn file(letter: char, count: usize) -> AlertingFromFile {
    let names: Vec<AlertName> = (0..count).map(|number| name(&format!("{letter}{number}"))).collect();
    let routes = names.iter().map(|name| Route::to(name.as_str())).collect();
    AlertingFromFile {
        rules: [(name("Own"), rule("5"))].into(),
        receivers: names.into_iter().map(|name| (name, receiver(None))).collect(),
        routing: Some(Arc::new(Routing { routes, inhibitions: Vec::new() })),
    }
}

#[test]
fn a_file_is_made_true_as_a_whole_or_not_at_all() {
    let mut machine = Machine::default();
    let set = |machine: &mut Machine, file| decide(machine, T0, |draft| draft.set_alerting_from_file(&file));
    let mut changed = |file| set(&mut machine, file).map(|done| done.changed);
    let (most, half) = (ALERT_RECEIVERS_MAX, ALERT_RECEIVERS_MAX / 2);
    assert_eq!(changed(file('a', most)), Ok(most + 2));
    assert_eq!(changed(file('b', most)), Ok(2 * most + 1), "renaming all of them needs no room");
    assert_eq!(changed(file('b', most)), Ok(0), "it is so already");
    assert_eq!(changed(file('b', half)), Ok(half + 1));

    let put = |draft: &mut Draft| {
        draft.put_receiver(&name("own"), &receiver(None), Origin::Api, &Expected::Anything)
    };
    decide(&mut machine, T0, put).unwrap();
    let before = machine.digest();
    let too_many = Err(Refusal::TooManyOf { what: "receivers", most });
    assert_eq!(set(&mut machine, file('c', most)).map(|done| done.changed), too_many);
    let lost = AlertingFromFile { receivers: BTreeMap::new(), ..file('c', 1) };
    assert!(matches!(set(&mut machine, lost), Err(Refusal::NoAlertObject { what: "receiver", .. })));
    assert_eq!(machine.digest(), before, "what is refused changes nothing");

    let gone = set(&mut machine, AlertingFromFile::default()).unwrap();
    assert_eq!((gone.changed, gone.released.len()), (half + 2, 0));
    let left: Vec<&AlertName> = machine.alerting().receivers().map(|(name, _)| name).collect();
    assert_eq!(left, [&name("own")]);
}

#[test]
fn a_receiver_that_left_the_file_stays_as_if_set_by_hand_while_a_route_leads_to_it() {
    let mut machine = Machine::default();
    let set = |machine: &mut Machine, file| {
        decide(machine, T0, |draft| draft.set_alerting_from_file(&file)).unwrap()
    };
    set(&mut machine, AlertingFromFile { routing: None, ..file('a', 2) });
    let routing = Arc::new(Routing { routes: vec![Route::to("a1")], inhibitions: Vec::new() });
    decide(&mut machine, T0, |draft| draft.put_routing(&routing, Origin::Api, &Expected::Anything)).unwrap();
    let gone = AlertingFromFile::default();
    assert_eq!(set(&mut machine, gone.clone()).released, [name("a1")]);
    assert_eq!(machine.alerting().receiver(&name("a1")).unwrap().origin, Origin::Api);
    assert_eq!(machine.alerting().receivers().count(), 1);
    assert_eq!(set(&mut machine, gone), SetFromFile::default());
}

#[test]
fn routes_lead_to_receivers_that_exist() {
    let mut machine = Machine::default();
    let routing = Arc::new(Routing { routes: vec![Route::to("ops")], inhibitions: Vec::new() });
    let put = |machine: &mut Machine| {
        decide(machine, T0, |draft| draft.put_routing(&routing, Origin::Api, &Expected::Anything))
    };
    assert!(matches!(put(&mut machine), Err(Refusal::NoAlertObject { what: "receiver", .. })));
    let ops = name("ops");
    decide(&mut machine, T0, |draft| {
        draft.put_receiver(&ops, &receiver(None), Origin::Api, &Expected::Anything)
    })
    .unwrap();
    assert_eq!(put(&mut machine), Ok(PutDone::Created));
    let deleted =
        decide(&mut machine, T0, |draft| draft.delete_receiver(&ops, Origin::Api, &Expected::Anything));
    assert_eq!(deleted, Err(Refusal::ReceiverInUse("ops".into())));
}

#[test]
fn what_was_told_is_known_while_something_fires_and_of_a_bounded_number_of_groups() {
    let mut machine = Machine::default();
    let firing = |at: u64| {
        Arc::new(ToldGroup { at: T0.plus(at), firing: [alert(1).key].into(), ..ToldGroup::default() })
    };
    let tell = |machine: &mut Machine, told: Vec<(String, Arc<ToldGroup>)>| {
        let planned = told.into_iter().map(|told| (notification("ops"), told)).collect();
        decide(machine, T0, |draft| draft.notify(planned, Vec::new()))
    };
    tell(&mut machine, vec![("first".to_owned(), firing(0))]);
    let over = Arc::new(ToldGroup { at: T0.plus(9), ..ToldGroup::default() });
    tell(&mut machine, vec![("second".to_owned(), firing(1)), ("first".to_owned(), over)]);
    let groups = |machine: &Machine| {
        machine.alerting().told_groups().map(|(group, _)| group.clone()).collect::<Vec<_>>()
    };
    assert_eq!(groups(&machine), ["second"]);
    let deliver_all = |machine: &mut Machine| {
        let due: Vec<_> = machine.alerting().due().collect();
        decide(machine, T0, |draft| {
            let done = Delivery { is_delivered: true, ..Delivery::default() };
            due.iter().for_each(|(_, id)| draft.attempted(*id, done.clone()));
        });
    };
    deliver_all(&mut machine);
    let many = (1..ALERT_GROUPS_MAX - 1).map(|number| (format!("g{number}"), firing(5))).collect();
    assert_eq!(tell(&mut machine, many), 0);
    deliver_all(&mut machine);
    tell(&mut machine, vec![("x".to_owned(), firing(6)), ("y".to_owned(), firing(6))]);
    assert_eq!(machine.alerting().told_groups().count(), ALERT_GROUPS_MAX);
    assert!(machine.alerting().told("second").is_none(), "the one that was told longest ago made room");
}

#[test]
fn silences_end_and_make_room() {
    let mut machine = Machine::default();
    let silence = |ends_at: u64| {
        let matchers = vec![Matcher { name: "group".into(), value: "a".into(), is_equal: true }];
        let (created_by, comment) = ("ann".to_owned(), "why".to_owned());
        Arc::new(Silence { matchers, starts_at: T0, ends_at: T0.plus(ends_at), created_by, comment })
    };
    let make = |machine: &mut Machine, at: u64, ends_at| {
        decide(machine, T0.plus(at), |draft| draft.make_silence(&silence(ends_at)))
    };
    let first = make(&mut machine, 0, 1_000).unwrap();
    decide(&mut machine, T0.plus(10), |draft| draft.end_silence(first)).unwrap();
    assert_eq!(machine.alerting().silence(first).unwrap().ends_at, T0.plus(10));
    assert_eq!(
        decide(&mut machine, T0.plus(10), |draft| draft.end_silence(first)),
        Err(Refusal::SilenceOver(first))
    );
    decide(&mut machine, T0.plus(20), |draft| {
        (1..ALERT_SILENCES_MAX).for_each(|_| assert!(draft.make_silence(&silence(1_000)).is_ok()));
    });
    assert_eq!(
        make(&mut machine, 20, 1_000),
        Ok(SilenceId(1 + ALERT_SILENCES_MAX as u64)),
        "the first made room"
    );
    assert!(matches!(make(&mut machine, 30, 1_000), Err(Refusal::TooManyOf { .. })));
}

#[test]
fn alerts_and_notifications_are_bounded_and_say_what_found_no_room() {
    let mut machine = Machine::default();
    let many = ALERTS_MAX + 5;
    let left_out = decide(&mut machine, T0, |draft| draft.change_alerts((0..many).map(alert).collect()));
    assert_eq!((left_out, machine.alerting().alerts().count()), (5, ALERTS_MAX));
    let gone = AlertChange { to: None, ..alert(0) };
    let left_out = decide(&mut machine, T0, |draft| draft.change_alerts(vec![alert(many), gone]));
    assert_eq!(left_out, 0, "what goes makes room for what comes");

    let told = || ("all".to_owned(), Arc::new(ToldGroup::default()));
    let planned = |count: usize| (0..count).map(|_| (notification("ops"), told())).collect::<Vec<_>>();
    let left_out = decide(&mut machine, T0, |draft| {
        draft.notify(planned(crate::model::NOTIFICATIONS_PENDING_MAX + 1), Vec::new())
    });
    assert_eq!(left_out, 1);
    let due: Vec<_> = machine.alerting().due().collect();
    decide(&mut machine, T0, |draft| {
        let done = Delivery { attempts: 1, is_delivered: true, status: Some(200), ..Delivery::default() };
        due.iter().for_each(|(_, id)| draft.attempted(*id, done.clone()));
    });
    let kept: Vec<_> = machine.alerting().notifications().map(|(id, _)| id.0).collect();
    assert_eq!(kept.len(), NOTIFICATIONS_DONE_MAX);
    assert_eq!(kept.last(), Some(&10_000), "the newest stay, so that no id is given twice");
    assert_eq!(machine.alerting().due().count(), 0);

    let last = NotificationId(10_000);
    decide(&mut machine, T0.plus(5), |draft| draft.redeliver(last)).unwrap();
    assert_eq!(machine.alerting().due().collect::<Vec<_>>(), [(T0.plus(5), last)]);
}

#[test]
fn what_a_log_holds_is_read_although_it_would_not_be_taken_now() {
    let text = r#"{"receiver_set":{"name":"ops","origin":"api",
        "receiver":{"kind":"webhook","url":"https://ann:pw@example.com:99999/"}}}"#;
    let Ok(AlertFact::ReceiverSet { name, receiver, origin }) = serde_json::from_str(text) else {
        panic!("{text}")
    };
    assert!(receiver.check().is_err());
    let mut machine = Machine::default();
    let put = |draft: &mut Draft| draft.put_receiver(&name, &receiver, origin, &Expected::Anything);
    assert_eq!(decide(&mut machine, T0, put), Ok(PutDone::Created), "and an image holds it as well");
}

#[test]
fn a_fact_reads_as_it_was_written() {
    let mut machine = Machine::default();
    let mut draft = Draft::new(&machine, T0, Box::new(|| 7));
    draft.put_receiver(&name("ops"), &receiver(Some("s")), Origin::Api, &Expected::Anything).unwrap();
    draft.change_alerts(vec![alert(1)]);
    let told = ("all".to_owned(), Arc::new(ToldGroup { at: T0, ..ToldGroup::default() }));
    draft.notify(vec![(notification("ops"), told)], vec!["other".to_owned()]);
    let batch = draft.finish().unwrap();
    for fact in &batch.facts {
        let Fact::Alert(fact) = fact else { panic!("{fact:?}") };
        let text = serde_json::to_string(fact).unwrap();
        assert_eq!(&serde_json::from_str::<AlertFact>(&text).unwrap(), fact);
    }
    machine.apply(1, &batch);
    machine.check().unwrap();
}
