//! What is to be told arrives, also when nobody listens and the broker dies; and it goes nowhere else.

use serde_json::Value;
use whimbrel::machine::Refusal;

use crate::receiver::{Got, Receiver, SECRET};
use crate::rig::{Rig, WATCHING, lag_rule, name, read_rule, sample, until, wait_for_sample};
use crate::support::calls::Calls;
use crate::support::process::Launch;

#[tokio::test(flavor = "multi_thread")]
async fn who_was_down_hears_of_it_although_the_broker_was_killed() {
    let (directory, ops) = (tempfile::tempdir().unwrap(), Receiver::start());
    let (address, url) = (ops.address(), ops.url());
    drop(ops);
    // Set up by a node that does not look before it is stopped.
    let mut rig = Rig::start(directory.path(), &["--alert-interval=60s"]).await;
    rig.receiver(&url, Some(SECRET)).await;
    rig.route(Value::Null).await;
    rig.stuck_group(&["t1"]).await;
    rig.rule("Stuck", lag_rule(0)).await;
    rig.node.stop().await;
    let launch = Launch::small(env!("CARGO_BIN_EXE_whimbrel"), directory.path()).with(&WATCHING[..2]);
    let broker = launch.start_or_fail();
    let mut calls = Calls::to(broker.address());
    let failed = r#"whimbrel_notifications_total{receiver="ops",outcome="failed"}"#;
    wait_for_sample(&mut calls, failed, 1.0).await;
    assert!(
        (sample(&mut calls, r#"whimbrel_notifications_waiting{receiver="ops"}"#).await - 1.0).abs() < 0.1
    );
    broker.kill();
    let ops = Receiver::listen(address);
    let broker = launch.start_or_fail();
    let mut calls = Calls::to(broker.address());
    let delivered = r#"whimbrel_notifications_total{receiver="ops",outcome="delivered"}"#;
    wait_for_sample(&mut calls, delivered, 1.0).await;
    let got = ops.wait_for(1);
    assert_eq!(got.len(), 1, "{got:?}");
    got[0].check_signature();
    let body = got[0].json();
    assert_eq!((&body["status"], &body["groupLabels"]["alertname"]), (&"firing".into(), &"Stuck".into()));
    let (status, said) = broker.terminate();
    assert!(status.is_some_and(|status| status.success()), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_that_failed_is_made_again_under_the_same_id_and_is_an_alert_itself() {
    let (directory, ops) = (tempfile::tempdir().unwrap(), Receiver::start());
    let mut rig = Rig::start(directory.path(), &WATCHING).await;
    rig.receiver(&ops.url(), Some(SECRET)).await;
    rig.route(serde_json::json!({"routes": [{
        "receiver": "ops", "match": [{"name": "alertname", "value": "Stuck"}], "group_wait_ms": 0,
    }]}))
    .await;
    ops.answer(503);
    rig.rule("Deaf", serde_json::json!({"metric": "receiver_failing_seconds", "threshold": 0})).await;
    rig.stuck_group(&["t1"]).await;
    rig.rule("Stuck", lag_rule(0)).await;
    rig.wait_for_alerts("Deaf", &[("", "firing")]).await;
    let waiting = rig.notifications();
    let delivery = &waiting[0].delivery;
    assert_eq!((delivery.state(), delivery.status), ("pending", Some(503)), "{waiting:?}");
    ops.answer(200);
    // It takes a test, so it is given what waits.
    assert!(rig.broker().test_receiver(&name("ops")).await.unwrap().is_delivered);
    rig.wait_for_alerts("Deaf", &[("", "resolved")]).await;
    let is_ours = |got: &Got| got.json()["groupLabels"]["alertname"] == "Stuck";
    let got: Vec<Got> = ops.got().into_iter().filter(is_ours).collect();
    let ids: std::collections::BTreeSet<&str> = got.iter().map(|got| got.header("webhook-id")).collect();
    assert!(got.len() >= 2 && ids.len() == 1, "{got:?}");
    assert_eq!(rig.notifications().last().unwrap().delivery.state(), "delivered");
    rig.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_leave_nothing_goes_to_this_host() {
    let (directory, ops) = (tempfile::tempdir().unwrap(), Receiver::start());
    let mut rig = Rig::start(directory.path(), &["--alert-interval=1s"]).await;
    rig.receiver(&ops.url(), None).await;
    rig.route(Value::Null).await;
    rig.stuck_group(&["t1"]).await;
    rig.rule("Stuck", lag_rule(0)).await;
    let tried = || rig.notifications().first().is_some_and(|it| it.delivery.attempts > 0);
    until(|| async { tried() }, || format!("{:?}", rig.notifications())).await;
    let delivery = rig.notifications()[0].delivery.clone();
    assert_eq!((delivery.status, delivery.state()), (None, "pending"));
    assert!(delivery.excerpt.contains("--webhook-allow"), "{}", delivery.excerpt);
    let test = rig.broker().test_receiver(&name("ops")).await.unwrap();
    assert_eq!((test.is_delivered, test.status), (false, None));
    assert!(test.excerpt.contains("loopback"), "{}", test.excerpt);
    assert!(ops.got().is_empty());
    rig.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_says_what_the_receiver_said_and_leaves_no_trace() {
    let (directory, ops) = (tempfile::tempdir().unwrap(), Receiver::start());
    let rig = Rig::start(directory.path(), &WATCHING).await;
    rig.receiver(&ops.url(), Some(SECRET)).await;
    let rounds = rig.broker().rounds();
    let test = rig.broker().test_receiver(&name("ops")).await.unwrap();
    assert_eq!((test.is_delivered, test.status, test.excerpt.as_str()), (true, Some(200), "heard"));
    ops.answer(404);
    let test = rig.broker().test_receiver(&name("ops")).await.unwrap();
    assert_eq!((test.is_delivered, test.status), (false, Some(404)));
    let got = ops.wait_for(2);
    got.iter().for_each(Got::check_signature);
    assert_eq!(got[0].json()["commonLabels"]["alertname"], "WhimbrelTest");
    assert_eq!(rig.broker().rounds(), rounds, "nothing was decided");
    let missing = rig.broker().test_receiver(&name("nobody")).await.unwrap_err();
    assert!(
        matches!(missing, whimbrel::broker::BrokerError::Refused(Refusal::NoAlertObject { .. })),
        "{missing}"
    );
    rig.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_counts_from_what_was_and_says_what_it_cannot_know() {
    let directory = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(directory.path(), &WATCHING).await;
    rig.stuck_group(&["t1"]).await;
    let rule = read_rule(lag_rule(0));
    let found = || rig.broker().preview_rule(&rule).unwrap();
    until(|| async { found().times == Some(1) }, || format!("{:?}", found())).await;
    let preview = found();
    assert_eq!((preview.objects, preview.concerned, preview.fired.len()), (1, 1, 1), "{preview:?}");
    assert_eq!(preview.fired[0].group.as_deref(), Some("g"));
    assert!(preview.fired[0].intervals[0].until.is_none(), "it would fire now");
    assert!(preview.from.is_some_and(|from| from <= preview.fired[0].intervals[0].from));
    let mut other = lag_rule(0);
    other["selector"] = serde_json::json!({"topic": "other*"});
    let preview = rig.broker().preview_rule(&read_rule(other)).unwrap();
    assert_eq!((preview.times, preview.objects), (Some(0), 0), "{preview:?}");
    let blind = read_rule(serde_json::json!({"metric": "in_flight_seconds", "threshold": 1}));
    let preview = rig.broker().preview_rule(&blind).unwrap();
    assert_eq!((preview.times, preview.caveats.len()), (None, 1), "{preview:?}");
    rig.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_says_of_how_many_groups_it_knows_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(directory.path(), &WATCHING).await;
    rig.calls.expect(201, "PUT", "/v1/topics/t", &serde_json::json!({"queues": 1})).await;
    let group = serde_json::json!({"subscriptions": [{"topic": "t"}]});
    for number in 0..52 {
        rig.calls.expect(201, "PUT", &format!("/v1/groups/g{number}"), &group).await;
    }
    let rule = read_rule(serde_json::json!({"metric": "dead_letters", "threshold": 0, "op": ">="}));
    let found = || rig.broker().preview_rule(&rule).unwrap();
    until(|| async { found().objects == 50 }, || format!("{:?}", found())).await;
    let preview = found();
    assert_eq!((preview.concerned, preview.times, preview.fired.len()), (52, Some(50), 50));
    assert!(preview.caveats.iter().any(|caveat| caveat.contains("50 at most")), "{preview:?}");
    let mut one = rule.clone();
    one.selector = serde_json::from_value(serde_json::json!({"group": preview.fired[0].group})).unwrap();
    let preview = rig.broker().preview_rule(&one).unwrap();
    assert_eq!((preview.objects, preview.concerned), (1, 1));
    assert!(!preview.caveats.iter().any(|caveat| caveat.contains("50 at most")), "none was left out");
    rig.node.stop().await;
}
