//! Every documented answer of alerting.

use serde_json::json;

use super::Witness;
use super::drive::{NOBODY, text};

const STALE: [(&str, &str); 1] = [("If-Match", "\"0000000000000000\"")];
const NEW: [(&str, &str); 1] = [("If-None-Match", "*")];

pub(crate) fn all(witness: &mut Witness) {
    rules(witness);
    receivers(witness);
    routing(witness);
    silences(witness);
    standing(witness);
    deliveries(witness);
}

fn too_large() -> Vec<u8> {
    vec![b' '; (1 << 20) + 1]
}

fn rules(witness: &mut Witness) {
    let path = "/v1/alerts/rules/OrdersLag";
    let rule = text(&json!({"metric": "lag_seconds", "threshold": 2.5, "selector": {"topic": "orders*"},
        "labels": {"team": "billing"}, "annotations": {"summary": "{{ group }} is behind"}}));
    let made = witness.see(("putAlertRule", 201), path, &[], &rule).json();
    assert_eq!((&made["origin"], &made["threshold"], &made["op"]), (&json!("api"), &json!(2.5), &json!(">")));
    witness.see(("putAlertRule", 200), path, &[], &rule);
    witness.see(("putAlertRule", 400), path, &[], b"{\"metric\": \"colour\", \"threshold\": 1}");
    witness.see(("putAlertRule", 412), path, &NEW, &rule);
    witness.see(("putAlertRule", 413), path, &[], &too_large());
    let odd = text(&json!({"metric": "lag_seconds", "threshold": 1, "window_ms": 1}));
    witness.see(("putAlertRule", 422), path, &[], &odd);
    witness.see(("getAlertRule", 200), path, &[], NOBODY);
    witness.see(("getAlertRule", 400), "/v1/alerts/rules/-", &[], NOBODY);
    witness.see(("getAlertRule", 404), "/v1/alerts/rules/Nothing", &[], NOBODY);
    let listed = witness.see(("listAlertRules", 200), "/v1/alerts/rules?limit=1", &[], NOBODY).json();
    let cursor = listed["next_cursor"].as_str().unwrap();
    witness.see(("listAlertRules", 200), &format!("/v1/alerts/rules?cursor={cursor}"), &[], NOBODY);
    witness.see(("listAlertRules", 400), "/v1/alerts/rules?limit=0", &[], NOBODY);

    let found = witness.see(("previewAlertRule", 200), "/v1/alerts/preview", &[], &rule).json();
    assert_eq!(found["times"], 0, "{found}");
    let unknown = text(&json!({"metric": "head_blocked_seconds", "threshold": 1}));
    let found = witness.see(("previewAlertRule", 200), "/v1/alerts/preview", &[], &unknown).json();
    assert!(found["times"].is_null() && !found["caveats"].as_array().unwrap().is_empty(), "{found}");
    witness.see(("previewAlertRule", 400), "/v1/alerts/preview", &[], b"{}");
    witness.see(("previewAlertRule", 413), "/v1/alerts/preview", &[], &too_large());
    witness.see(("previewAlertRule", 422), "/v1/alerts/preview", &[], &odd);

    witness.see(("deleteAlertRule", 412), path, &STALE, NOBODY);
    witness.see(("deleteAlertRule", 400), "/v1/alerts/rules/-", &[], NOBODY);
    witness.see(("deleteAlertRule", 204), path, &[], NOBODY);
    witness.see(("deleteAlertRule", 404), path, &[], NOBODY);
}

fn receivers(witness: &mut Witness) {
    let path = "/v1/alerts/receivers/on-call";
    // Nobody listens there, and the guard lets nobody knock.
    let receiver = text(
        &json!({"kind": "webhook", "url": "http://127.0.0.1:9/hook/geheim", "secret": "whsec_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0"}),
    );
    let made = witness.see(("putReceiver", 201), path, &[], &receiver).json();
    assert!(!made.to_string().contains("geheim") && !made.to_string().contains("whsec"), "{made}");
    witness.see(("putReceiver", 200), path, &[], &receiver);
    witness.see(("putReceiver", 400), path, &[], b"{\"kind\": \"pigeon\", \"url\": \"http://a/\"}");
    witness.see(("putReceiver", 412), path, &NEW, &receiver);
    witness.see(("putReceiver", 413), path, &[], &too_large());
    let odd = text(&json!({"kind": "webhook", "url": "ftp://a/"}));
    witness.see(("putReceiver", 422), path, &[], &odd);
    let known = text(&json!({"kind": "webhook", "url": "https://ann:geheim@hooks.example.com/"}));
    let refused = witness.see(("putReceiver", 422), path, &[], &known).json();
    assert!(refused.to_string().contains("secret") && !refused.to_string().contains("geheim"), "{refused}");
    witness.see(("getReceiver", 200), path, &[], NOBODY);
    witness.see(("getReceiver", 400), "/v1/alerts/receivers/-", &[], NOBODY);
    witness.see(("getReceiver", 404), "/v1/alerts/receivers/nobody", &[], NOBODY);
    witness.see(("listReceivers", 200), "/v1/alerts/receivers", &[], NOBODY);
    witness.see(("listReceivers", 400), "/v1/alerts/receivers?limit=0", &[], NOBODY);
    let tested = witness.see(("testReceiver", 200), &format!("{path}/test"), &[], NOBODY).json();
    assert!(tested["is_delivered"] == false && tested["status"].is_null(), "{tested}");
    assert!(tested["excerpt"].as_str().unwrap().contains("--webhook-allow"), "{tested}");
    witness.see(("testReceiver", 400), "/v1/alerts/receivers/-/test", &[], NOBODY);
    witness.see(("testReceiver", 404), "/v1/alerts/receivers/nobody/test", &[], NOBODY);
}

fn routing(witness: &mut Witness) {
    let path = "/v1/alerts/routing";
    let none = witness.see(("getRouting", 200), path, &[], NOBODY);
    assert!(none.header("etag").is_none() && none.json()["routes"] == json!([]));
    witness.see(("getRouting", 400), "/v1/alerts/routing?colour=1", &[], NOBODY);
    let routing = text(&json!({
        "routes": [{"receiver": "on-call", "match": [{"name": "severity", "value": "critical"}]}],
        "inhibitions": [{"source": [{"name": "severity", "value": "critical"}],
            "target": [{"name": "severity", "value": "warning"}], "equal": ["group"]}],
    }));
    witness.see(("putRouting", 200), path, &[], &routing);
    witness.see(("putRouting", 400), path, &[], b"{\"colour\": 1}");
    witness.see(("putRouting", 404), path, &[], b"{\"routes\": [{\"receiver\": \"nobody\"}]}");
    witness.see(("putRouting", 412), path, &STALE, &routing);
    witness.see(("putRouting", 413), path, &[], &too_large());
    let odd = text(&json!({"routes": [{"receiver": "on-call", "group_by": vec!["a"; 17]}]}));
    witness.see(("putRouting", 422), path, &[], &odd);
    let side = json!([{"name": "severity", "value": "critical"}]);
    let odd = text(&json!({"inhibitions": [{"source": side, "target": side, "equal": vec!["a"; 17]}]}));
    witness.see(("putRouting", 422), path, &[], &odd);
    let receiver = "/v1/alerts/receivers/on-call";
    witness.see(("deleteReceiver", 409), receiver, &[], NOBODY);
    witness.see(("putRouting", 200), path, &[], b"{}");
    witness.see(("deleteReceiver", 412), receiver, &STALE, NOBODY);
    witness.see(("deleteReceiver", 400), "/v1/alerts/receivers/-", &[], NOBODY);
    witness.see(("deleteReceiver", 204), receiver, &[], NOBODY);
    witness.see(("deleteReceiver", 404), receiver, &[], NOBODY);
}

fn silences(witness: &mut Witness) {
    let path = "/v1/alerts/silences";
    let silence = json!({"matchers": [{"name": "group", "value": "billing"}], "starts_at": "2026-01-01T00:00:00Z",
        "ends_at": "2096-01-01T00:00:00Z", "created_by": "ann", "comment": "a deployment"});
    let made = witness.see(("makeSilence", 201), path, &[], &text(&silence)).json();
    assert_eq!(made["state"], "active", "{made}");
    let id = made["id"].as_str().unwrap();
    witness.see(("makeSilence", 400), path, &[], b"{}");
    witness.see(("makeSilence", 413), path, &[], &too_large());
    let mut odd = silence;
    odd["comment"] = json!("");
    witness.see(("makeSilence", 422), path, &[], &text(&odd));
    witness.see(("listSilences", 200), path, &[], NOBODY);
    witness.see(("listSilences", 400), "/v1/alerts/silences?limit=0", &[], NOBODY);
    let one = format!("{path}/{id}");
    witness.see(("getSilence", 200), &one, &[], NOBODY);
    witness.see(("getSilence", 400), "/v1/alerts/silences/x", &[], NOBODY);
    witness.see(("getSilence", 404), "/v1/alerts/silences/999", &[], NOBODY);
    let ended = witness.see(("endSilence", 200), &one, &[], NOBODY).json();
    assert_eq!(ended["state"], "expired", "{ended}");
    witness.see(("endSilence", 400), "/v1/alerts/silences/x", &[], NOBODY);
    witness.see(("endSilence", 404), "/v1/alerts/silences/999", &[], NOBODY);
    witness.see(("endSilence", 409), &one, &[], NOBODY);
}

/// An alert fires as soon as its rule is looked at.
fn standing(witness: &mut Witness) {
    let rule = text(&json!({"metric": "disk_used_ratio", "op": ">=", "threshold": 0, "severity": "critical",
        "annotations": {"summary": "{{ value }} of the disk is used"}}));
    witness.see(("putAlertRule", 201), "/v1/alerts/rules/Always", &[], &rule);
    let receiver = text(&json!({"kind": "webhook", "url": "http://127.0.0.1:9/"}));
    witness.see(("putReceiver", 201), "/v1/alerts/receivers/nobody-listens", &[], &receiver);
    let routing = text(&json!({"routes": [{"receiver": "nobody-listens", "group_wait_ms": 0}]}));
    witness.see(("putRouting", 200), "/v1/alerts/routing", &[], &routing);
    let found = witness.until(("listAlerts", 200), "/v1/alerts?state=firing&rule=Always", |found| {
        found["alerts"].as_array().is_some_and(|alerts| !alerts.is_empty())
    });
    let alert = &found["alerts"][0];
    assert_eq!((&alert["severity"], &alert["group"]), (&json!("critical"), &json!(null)), "{alert}");
    witness.see(("listAlerts", 400), "/v1/alerts?state=asleep", &[], NOBODY);
}

fn deliveries(witness: &mut Witness) {
    let path = "/v1/alerts/deliveries";
    let found =
        witness.until(("listDeliveries", 200), "/v1/alerts/deliveries?receiver=nobody-listens", |found| {
            found["deliveries"][0]["attempts"].as_u64().is_some_and(|attempts| attempts > 0)
        });
    let delivery = &found["deliveries"][0];
    assert_eq!(delivery["state"], "pending", "{delivery}");
    assert!(delivery["excerpt"].as_str().unwrap().contains("--webhook-allow"), "{delivery}");
    let one = format!("{path}/{}", delivery["id"].as_str().unwrap());
    witness.see(("listDeliveries", 400), "/v1/alerts/deliveries?limit=0", &[], NOBODY);
    witness.see(("getDelivery", 200), &one, &[], NOBODY);
    witness.see(("getDelivery", 400), "/v1/alerts/deliveries/x", &[], NOBODY);
    witness.see(("getDelivery", 404), "/v1/alerts/deliveries/999", &[], NOBODY);
    witness.see(("redeliver", 202), &format!("{one}/redeliver"), &[], NOBODY);
    witness.see(("redeliver", 400), "/v1/alerts/deliveries/x/redeliver", &[], NOBODY);
    witness.see(("redeliver", 404), "/v1/alerts/deliveries/999/redeliver", &[], NOBODY);
}
