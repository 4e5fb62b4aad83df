//! A group stops acking: people hear of it once, and once that it is over.

use serde_json::{Value, json};

use crate::receiver::{Receiver, SECRET};
use crate::rig::{Rig, WATCHING, lag_rule, sample};

/// What a notification says of its alerts: topic, status, summary.
fn said(body: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let alert = |alert: &Value| {
        (text(&alert["labels"]["topic"]), text(&alert["status"]), text(&alert["annotations"]["summary"]))
    };
    body["alerts"].as_array().expect("alerts").iter().map(alert).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trouble_is_one_signed_notification_and_its_end_another() {
    let (directory, ops) = (tempfile::tempdir().unwrap(), Receiver::start());
    let mut rig = Rig::start(directory.path(), &WATCHING).await;
    rig.receiver(&ops.url(), Some(SECRET)).await;
    rig.route(Value::Null).await;
    let messages = rig.stuck_group(&["t1", "t2"]).await;
    rig.rule("Stuck", lag_rule(3_600_000)).await;
    rig.wait_for_alerts("Stuck", &[("t1", "pending"), ("t2", "pending")]).await;
    assert!(ops.got().is_empty(), "what is pending is nobody's trouble yet");
    rig.rule("Stuck", lag_rule(0)).await;
    rig.wait_for_alerts("Stuck", &[("t1", "firing"), ("t2", "firing")]).await;
    ops.wait_for(1);
    rig.wait_for_looks(3.0).await;
    // Both are settled in one request, so both are over at one look.
    assert!(rig.calls.ack("g", &messages).await.iter().all(|status| status == "ok"));
    rig.wait_for_alerts("Stuck", &[("t1", "resolved"), ("t2", "resolved")]).await;
    ops.wait_for(2);
    rig.wait_for_looks(3.0).await;
    let got = ops.got();
    assert_eq!(got.len(), 2, "{got:?}");
    let (first, second) = (got[0].json(), got[1].json());
    let alert = |topic: &str, status: &str| {
        (topic.to_owned(), status.to_owned(), format!("g is 3 behind on {topic}"))
    };
    assert_eq!(said(&first), [alert("t1", "firing"), alert("t2", "firing")]);
    assert_eq!(said(&second), [alert("t1", "resolved"), alert("t2", "resolved")]);
    for (one, status) in [(&first, "firing"), (&second, "resolved")] {
        assert_eq!((one["status"].as_str(), one["receiver"].as_str()), (Some(status), Some("ops")));
        assert_eq!(one["groupLabels"], json!({"alertname": "Stuck"}));
        assert_eq!(one["commonLabels"]["severity"], "critical");
        assert_eq!(one["externalURL"], format!("http://{}", rig.node.addr()));
    }
    assert_ne!(got[0].header("webhook-id"), got[1].header("webhook-id"));
    got.iter().for_each(crate::receiver::Got::check_signature);
    assert!(got.iter().all(|got| got.path == "/hook"));
    let noted: Vec<_> = rig.notifications().into_iter().map(|it| it.delivery).collect();
    for delivery in noted {
        assert_eq!((delivery.state(), delivery.attempts, delivery.status), ("delivered", 1, Some(200)));
        assert_eq!(delivery.excerpt, "heard");
    }
    let taken = r#"whimbrel_notifications_total{receiver="ops",outcome="delivered"}"#;
    assert!((sample(&mut rig.calls, taken).await - 2.0).abs() < f64::EPSILON);
    rig.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_silenced_or_inhibited_is_not_told() {
    let (directory, ops) = (tempfile::tempdir().unwrap(), Receiver::start());
    let mut rig = Rig::start(directory.path(), &WATCHING).await;
    rig.receiver(&ops.url(), None).await;
    let inhibition = json!({
        "source": [{"name": "severity", "value": "critical"}],
        "target": [{"name": "severity", "value": "info"}],
        "equal": ["topic"],
    });
    rig.route(json!({"inhibitions": [inhibition]})).await;
    rig.silence(json!({
        "matchers": [{"name": "alertname", "value": "Known"}],
        "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2096-01-01T00:00:00Z", "created_by": "ann", "comment": "being mended",
    }))
    .await;
    rig.stuck_group(&["t1"]).await;
    // The one that is told comes last: had one of the others been told, it would have come before.
    rig.rule("Known", lag_rule(0)).await;
    rig.wait_for_alerts("Known", &[("t1", "firing")]).await;
    let mut minor = lag_rule(3_600_000);
    minor["severity"] = "info".into();
    rig.rule("Minor", minor.clone()).await;
    rig.rule("Stuck", lag_rule(0)).await;
    rig.wait_for_alerts("Stuck", &[("t1", "firing")]).await;
    minor["for_ms"] = 0.into();
    rig.rule("Minor", minor).await;
    rig.wait_for_alerts("Minor", &[("t1", "firing")]).await;
    rig.wait_for_looks(3.0).await;
    let names: Vec<Value> =
        ops.wait_for(1).iter().map(|got| got.json()["groupLabels"]["alertname"].clone()).collect();
    assert_eq!(names, ["Stuck"]);
    rig.node.stop().await;
}
