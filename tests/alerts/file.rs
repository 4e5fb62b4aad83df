//! What the configuration file says of alerting is true after every start, and free again once it says so no more. What a
//! receiver keeps when it is put again.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use whimbrel::config::resolve;
use whimbrel::machine::AlertingFromFile;
use whimbrel::node::Node;

use crate::rig::{name, read_rule, sample, until};
use crate::support::calls::Calls;

const FILE: &str = r#"
listen = "127.0.0.1:0"
segment_bytes = "1MiB"

[alerting.receivers.ops]
kind = "webhook"
url = "https://hooks.example.com/x"

[alerting.routing]
routes = [{ receiver = "ops" }]

[alerting.rules.OrdersLag]
metric = "lag_seconds"
threshold = 2.5
"#;

/// Starts a node as `whimbrel serve --config` does.
async fn start(data: &Path, file: &str) -> (Node, Calls) {
    let config = data.with_extension("toml");
    std::fs::write(&config, format!("data = {:?}\n{file}", data.display().to_string())).unwrap();
    let flags = clap::Command::new("serve");
    let flags = <whimbrel::config::ServeArgs as clap::Args>::augment_args(flags).get_matches_from(["serve"]);
    let resolved = resolve(&flags, Some(config.as_path()), std::iter::empty()).unwrap();
    let node = Node::start(resolved).await.unwrap();
    let calls = Calls::to(node.addr());
    (node, calls)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_start_makes_the_file_true_and_nothing_is_written_twice() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let (node, mut calls) = start(&data, FILE).await;
    let rule = calls.expect(200, "GET", "/v1/alerts/rules/OrdersLag", &Value::Null).await;
    assert_eq!((&rule["origin"], &rule["threshold"]), (&json!("file"), &json!(2.5)));
    let changed = json!({"metric": "lag_seconds", "threshold": 9});
    calls.expect(409, "PUT", "/v1/alerts/rules/OrdersLag", &changed).await;
    calls.expect(409, "DELETE", "/v1/alerts/receivers/ops", &Value::Null).await;
    calls.expect(409, "PUT", "/v1/alerts/routing", &json!({})).await;
    node.stop().await;

    let (node, mut calls) = start(&data, FILE).await;
    let found = calls.expect(200, "GET", "/v1/alerts/routing", &Value::Null).await;
    assert_eq!((&found["origin"], &found["routes"][0]["receiver"]), (&json!("file"), &json!("ops")));
    let first = sample(&mut calls, "whimbrel_raft_last_index").await;
    let again = node.broker().set_alerting_from_file(Arc::new(as_in_the_file())).await.unwrap();
    assert_eq!(again, 0, "it is so already");
    assert!((sample(&mut calls, "whimbrel_raft_last_index").await - first).abs() < f64::EPSILON);
    node.stop().await;

    let (node, mut calls) = start(&data, "listen = \"127.0.0.1:0\"").await;
    calls.expect(404, "GET", "/v1/alerts/rules/OrdersLag", &Value::Null).await;
    calls.expect(404, "GET", "/v1/alerts/receivers/ops", &Value::Null).await;
    let found = calls.expect(200, "GET", "/v1/alerts/routing", &Value::Null).await;
    assert_eq!(found["routes"], json!([]));
    calls.expect(200, "PUT", "/v1/alerts/routing", &json!({})).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_left_the_file_stays_only_while_a_route_set_by_hand_leads_to_it() {
    const TWO: &str = r#"
        listen = "127.0.0.1:0"
        [alerting.receivers]
        a = { kind = "webhook", url = "https://hooks.example.com/a" }
        b = { kind = "webhook", url = "https://hooks.example.com/b" }
    "#;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let (node, mut calls) = start(&data, TWO).await;
    calls.expect(200, "PUT", "/v1/alerts/routing", &json!({"routes": [{"receiver": "a"}]})).await;
    node.stop().await;

    let (node, mut calls) = start(&data, "listen = \"127.0.0.1:0\"").await;
    let kept = calls.expect(200, "GET", "/v1/alerts/receivers/a", &Value::Null).await;
    assert_eq!(kept["origin"], "api", "whoever set the route can change it");
    calls.expect(404, "GET", "/v1/alerts/receivers/b", &Value::Null).await;
    calls.expect(200, "PUT", "/v1/alerts/routing", &json!({})).await;
    calls.expect(204, "DELETE", "/v1/alerts/receivers/a", &Value::Null).await;
    node.stop().await;
}

/// So many receivers by the names `<letter>0`, `<letter>1`, and a route to each.
fn many(letter: char, count: usize) -> String {
    let receiver = |number| {
        format!("{letter}{number} = {{ kind = \"webhook\", url = \"https://hooks.example.com/x\" }}\n")
    };
    let route = |number| format!("{{ receiver = \"{letter}{number}\" }},");
    let (receivers, routes): (String, String) =
        ((0..count).map(receiver).collect(), (0..count).map(route).collect());
    format!(
        "listen = \"127.0.0.1:0\"\n[alerting.receivers]\n{receivers}[alerting.routing]\nroutes = [{routes}]\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_may_rename_as_many_receivers_as_there_may_be() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let (node, _) = start(&data, &many('a', 100)).await;
    node.stop().await;
    let (node, mut calls) = start(&data, &many('b', 100)).await;
    calls.expect(404, "GET", "/v1/alerts/receivers/a0", &Value::Null).await;
    let last = calls.expect(200, "GET", "/v1/alerts/receivers/b99", &Value::Null).await;
    assert_eq!(last["origin"], "file");
    let routing = calls.expect(200, "GET", "/v1/alerts/routing", &Value::Null).await;
    assert_eq!(
        (routing["routes"].as_array().unwrap().len(), &routing["routes"][0]["receiver"]),
        (100, &json!("b0"))
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_file_says_is_tried_until_it_is_true_and_never_true_by_half() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let (node, mut calls) = start(&data, "listen = \"127.0.0.1:0\"").await;
    let receiver = json!({"kind": "webhook", "url": "https://hooks.example.com/x"});
    for number in 0..100 {
        calls.expect(201, "PUT", &format!("/v1/alerts/receivers/own{number}"), &receiver).await;
    }
    node.stop().await;

    let (node, mut calls) = start(&data, FILE).await;
    calls.expect(404, "GET", "/v1/alerts/receivers/ops", &Value::Null).await;
    calls.expect(404, "GET", "/v1/alerts/rules/OrdersLag", &Value::Null).await;
    calls.expect(204, "DELETE", "/v1/alerts/receivers/own0", &Value::Null).await;
    let alerting = || node.broker().alerting();
    until(|| async { alerting().receiver(&name("ops")).is_some() }, || "nobody tries again".to_owned()).await;
    calls.expect(200, "GET", "/v1/alerts/rules/OrdersLag", &Value::Null).await;
    assert_eq!(alerting().routing().unwrap().value.routes.len(), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_file_is_not_true_yet_stops_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let (node, mut calls) = start(&data, "listen = \"127.0.0.1:0\"").await;
    calls
        .expect(
            201,
            "PUT",
            "/v1/alerts/receivers/own",
            &json!({"kind": "webhook", "url": "https://a.example/"}),
        )
        .await;
    node.stop().await;
    let (node, _) = start(&data, &many('a', 100)).await;
    assert_eq!(node.broker().alerting().receivers().count(), 1, "a hundred and one are too many");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_needs_a_secret_may_be_put_without_the_one_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let (node, mut calls) = start(&directory.path().join("data"), "listen = \"127.0.0.1:0\"").await;
    let put = |url: &str, secret: Value| json!({"kind": "pagerduty", "url": url, "secret": secret, "send_resolved": secret.is_string()});
    let (here, elsewhere) = ("https://events.example.com/v2", "https://elsewhere.example.com/");
    let path = "/v1/alerts/receivers/pager";
    calls.expect(422, "PUT", path, &put(here, Value::Null)).await;
    calls.expect(201, "PUT", path, &put(here, json!("key"))).await;
    let quieter = calls.expect(200, "PUT", path, &put(here, Value::Null)).await;
    assert_eq!((&quieter["secret_set"], &quieter["send_resolved"]), (&json!(true), &json!(false)));
    calls.expect(422, "PUT", path, &put(elsewhere, Value::Null)).await;
    node.stop().await;
}

/// The same as in the file.
fn as_in_the_file() -> AlertingFromFile {
    let receiver = json!({"kind": "webhook", "url": "https://hooks.example.com/x"});
    let routing = json!({"routes": [{"receiver": "ops"}]});
    let rule = read_rule(json!({"metric": "lag_seconds", "threshold": 2.5}));
    AlertingFromFile {
        rules: [(name("OrdersLag"), Arc::new(rule))].into(),
        receivers: [(name("ops"), serde_json::from_value(receiver).unwrap())].into(),
        routing: Some(serde_json::from_value(routing).unwrap()),
    }
}
