//! Every body, held against a file that a person has looked at. `WHIMBREL_BLESS=1 cargo test --lib notify` writes them
//! anew; the difference is then looked at.

use std::path::PathBuf;

use serde_json::Value;

use super::*;
use crate::model::alert::Delivery;

const NOW: Timestamp = Timestamp(1_790_000_000_000);
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn alert(group: &str, ends_at: Option<Timestamp>) -> NotifiedAlert {
    NotifiedAlert {
        labels: labels(&[
            ("alertname", "GroupLag"),
            ("severity", "critical"),
            ("topic", "orders"),
            ("group", group),
        ]),
        annotations: labels(&[
            ("summary", "The group falls behind: <1800> s & more"),
            ("description", "Its oldest message waits for *32 min*, see [x](y) `z`."),
            ("runbook_url", "https://mq.example.com/docs/runbooks/group-lag"),
        ]),
        starts_at: Timestamp(NOW.0 - 600_000),
        ends_at,
    }
}

fn notification(alerts: Vec<NotifiedAlert>, truncated: u64) -> Notification {
    Notification {
        receiver: "on-call".to_owned(),
        group_key: "{}:{alertname=\"GroupLag\", topic=\"orders\"}".to_owned(),
        group_labels: labels(&[("alertname", "GroupLag"), ("topic", "orders")]),
        alerts,
        truncated,
        created_at: NOW,
        delivery: Delivery::default(),
    }
}

/// One alert fires, one is over, and two more are left out.
fn firing() -> Notification {
    notification(vec![alert("audit", Some(NOW)), alert("billing", None)], 2)
}

fn resolved() -> Notification {
    notification(vec![alert("billing", Some(NOW))], 0)
}

fn secret_of(kind: ReceiverKind) -> Option<&'static str> {
    match kind {
        ReceiverKind::Webhook => Some(SECRET),
        ReceiverKind::Pagerduty => Some("0123456789abcdef0123456789abcdef"),
        ReceiverKind::Dingtalk | ReceiverKind::Feishu => Some("SEC-robot"),
        ReceiverKind::Alertmanager | ReceiverKind::Slack | ReceiverKind::Wecom => None,
    }
}

const KINDS: [(ReceiverKind, &str); 7] = [
    (ReceiverKind::Webhook, "webhook"),
    (ReceiverKind::Alertmanager, "alertmanager"),
    (ReceiverKind::Slack, "slack"),
    (ReceiverKind::Pagerduty, "pagerduty"),
    (ReceiverKind::Dingtalk, "dingtalk"),
    (ReceiverKind::Feishu, "feishu"),
    (ReceiverKind::Wecom, "wecom"),
];

fn written(notification: &Notification) -> Notice<'_> {
    Notice { id: "alert-17", notification, external_url: "https://mq.example.com" }
}

fn composed(kind: ReceiverKind, notification: &Notification) -> Outgoing {
    let url = match kind {
        ReceiverKind::Alertmanager => "https://alertmanager.example.com/",
        _ => "https://hooks.example.com/x?key=k",
    };
    compose(kind, (url, secret_of(kind)), &written(notification), NOW).unwrap()
}

#[test]
fn every_body_is_the_one_that_was_looked_at() {
    for (kind, name) in KINDS {
        for (notification, state) in [(firing(), "firing"), (resolved(), "resolved")] {
            let outgoing = composed(kind, &notification);
            let body: Value = serde_json::from_slice(&outgoing.body).unwrap();
            let headers: Vec<String> =
                outgoing.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
            let pretty = serde_json::to_string_pretty(&body).unwrap();
            let found = format!("POST {}\n{}\n{pretty}\n", outgoing.url, headers.concat());
            let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
                .join(format!("src/observe/notify/tests/{name}_{state}.txt"));
            if std::env::var_os("WHIMBREL_BLESS").is_some() {
                std::fs::write(&file, &found).unwrap();
            }
            let expected = std::fs::read_to_string(&file).unwrap_or_default();
            assert_eq!(found, expected, "{}", file.display());
        }
    }
}

/// Programs that read the body with a schema of their own may mind the order; Alertmanager's is kept.
#[test]
fn the_fields_of_a_webhook_come_in_alertmanagers_order() {
    let body = String::from_utf8(composed(ReceiverKind::Webhook, &firing()).body).unwrap();
    let names = [
        "receiver",
        "status",
        "alerts",
        "labels",
        "annotations",
        "startsAt",
        "endsAt",
        "generatorURL",
        "fingerprint",
        "groupLabels",
        "commonLabels",
        "commonAnnotations",
        "externalURL",
        "version",
        "groupKey",
        "truncatedAlerts",
    ];
    let places: Vec<usize> = names.iter().map(|name| body.find(&format!("\"{name}\":")).unwrap()).collect();
    assert!(places.is_sorted(), "{places:?} in {body}");
}

#[test]
fn an_incident_keeps_its_key_from_trigger_to_resolve() {
    let key = |notification: &Notification| {
        let body: Value =
            serde_json::from_slice(&composed(ReceiverKind::Pagerduty, notification).body).unwrap();
        (body["event_action"].as_str().unwrap().to_owned(), body["dedup_key"].as_str().unwrap().to_owned())
    };
    let ((trigger, first), (resolve, last)) = (key(&firing()), key(&resolved()));
    assert_eq!((trigger.as_str(), resolve.as_str()), ("trigger", "resolve"));
    assert_eq!(first, last);
    let other = Notification { group_key: "{}:{}".to_owned(), ..firing() };
    assert_ne!(key(&other).1, first);
}

#[test]
fn a_webhook_without_a_secret_is_not_signed_and_with_a_bad_one_not_sent() {
    let firing = firing();
    let to = |secret| compose(ReceiverKind::Webhook, ("https://a.example/", secret), &written(&firing), NOW);
    assert_eq!(to(None).unwrap().headers, []);
    assert_eq!(to(Some("geheim")), Err(SecretError));
}

#[test]
fn no_text_is_larger_than_its_receiver_takes() {
    let mut long = alert("billing", None);
    long.annotations.insert("summary".to_owned(), "ä".repeat(5_000));
    long.labels.insert("long".to_owned(), "x".repeat(5_000));
    let crowd = notification(vec![long; 60], 0);
    for (kind, limit) in [
        (ReceiverKind::Slack, 40_000),
        (ReceiverKind::Dingtalk, 20_000),
        (ReceiverKind::Feishu, 20_000),
        (ReceiverKind::Wecom, 4_400),
    ] {
        let body = composed(kind, &crowd).body;
        assert!(body.len() <= limit, "{kind:?}: {}", body.len());
        let text = String::from_utf8(body).unwrap();
        assert!(text.contains('…'), "{kind:?} says that something is left out: {text}");
    }
}

#[test]
fn an_answer_is_read_as_its_kind_means_it() {
    let is_again = |verdict| matches!(verdict, Verdict::Again(_));
    let is_never = |verdict| matches!(verdict, Verdict::Never(_));
    for (kind, _) in KINDS {
        for status in [301, 308, 400, 401, 403, 410, 413, 422] {
            assert!(is_never(judge(kind, status, "")), "{kind:?} {status}");
        }
        for status in [404, 408, 409, 425, 429, 500, 502, 503, 504, 599, 100, 999] {
            assert!(is_again(judge(kind, status, "")), "{kind:?} {status}");
        }
    }
    for kind in
        [ReceiverKind::Webhook, ReceiverKind::Alertmanager, ReceiverKind::Slack, ReceiverKind::Pagerduty]
    {
        assert_eq!(judge(kind, 202, "anything"), Verdict::Delivered);
    }
    for kind in [ReceiverKind::Dingtalk, ReceiverKind::Wecom] {
        assert_eq!(judge(kind, 200, "{\"errcode\":0,\"errmsg\":\"ok\"}"), Verdict::Delivered);
        assert!(is_never(judge(kind, 200, "{\"errcode\":310000,\"errmsg\":\"sign not match\"}")));
        assert!(is_again(judge(kind, 200, "<html>")));
    }
    assert_eq!(judge(ReceiverKind::Feishu, 200, "{\"code\":0,\"msg\":\"success\"}"), Verdict::Delivered);
    assert!(is_never(judge(ReceiverKind::Feishu, 200, "{\"code\":19021,\"msg\":\"sign match fail\"}")));
    assert!(is_again(judge(ReceiverKind::Feishu, 200, "{\"code\":9499,\"msg\":\"too many\"}")));
    assert!(is_again(judge(ReceiverKind::Wecom, 200, "{\"errcode\":45009}")));
    assert!(is_again(judge(ReceiverKind::Dingtalk, 200, "{\"errcode\":130101}")));
}

#[test]
fn an_alertmanager_is_told_that_what_fires_still_fires() {
    let again = refresh("http://am.example:9093/", &[alert("billing", None)], "", NOW);
    assert_eq!(again.url, "http://am.example:9093/api/v2/alerts");
    let body: Value = serde_json::from_slice(&again.body).unwrap();
    let end: Timestamp = body[0]["endsAt"].as_str().unwrap().parse().unwrap();
    assert_eq!(end.since(NOW), 240_000);
    assert_eq!(
        refresh("http://am.example/p/api/v2/alerts", &[], "", NOW).url,
        "http://am.example/p/api/v2/alerts"
    );
}
