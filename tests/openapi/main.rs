//! Holds `openapi.yaml` against the node, in both directions: every route is documented and every documented operation is
//! routed; every documented status was really answered, and every real answer is documented, down to its fields.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

mod alerts;
#[path = "../client/mod.rs"]
mod client;
mod contract;
mod drive;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use client::Answer;
use contract::{Contract, Operation, routes};

/// Sends requests and keeps the books.
struct Witness {
    to: SocketAddr,
    contract: Contract,
    operations: BTreeMap<String, Operation>,
    seen: BTreeSet<(String, u16)>,
    complaints: Vec<String>,
}

impl Witness {
    fn new(to: SocketAddr) -> Witness {
        let contract = Contract::read();
        let operations = contract.operations();
        Witness { to, contract, operations, seen: BTreeSet::new(), complaints: Vec::new() }
    }

    /// Sends a request of `operation` and checks that its answer has `status` and is as documented.
    fn see(
        &mut self,
        (operation, status): (&str, u16),
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let known = &self.operations[operation];
        let template: Vec<&str> = known.path.split('/').collect();
        let sent: Vec<&str> = path.split('?').next().unwrap_or(path).split('/').collect();
        let fits = template.len() == sent.len()
            && template.iter().zip(&sent).all(|(known, sent)| known.starts_with('{') || known == sent);
        assert!(fits, "{path} is not a path of {operation}");
        let answer = client::send(self.to, (&known.method, path), headers, body);
        let what = format!("{operation} ({} {path})", known.method);
        if answer.status != status {
            let body = String::from_utf8_lossy(&answer.body);
            self.complaints.push(format!("{what}: expected {status}, got {}: {body}", answer.status));
        }
        match known.responses.get(&answer.status) {
            None => self.complaints.push(format!("{what}: status {} is not documented", answer.status)),
            Some(response) => {
                let lines: Vec<&[u8]> = answer.body.split_inclusive(|byte| *byte == b'\n').collect();
                let values: Vec<serde_json::Value> = match answer.media_type() {
                    "application/x-ndjson" => lines
                        .iter()
                        .map(|line| serde_json::from_slice(line).expect("a line of JSON"))
                        .collect(),
                    _ => vec![answer.json()],
                };
                for value in &values {
                    let found = self.contract.complaints(response, answer.media_type(), value);
                    self.complaints
                        .extend(found.into_iter().map(|text| format!("{what}: {}: {text}", answer.status)));
                }
            }
        }
        for name in ["x-request-id", "x-content-type-options"] {
            if answer.header(name).is_none() {
                self.complaints.push(format!("{what}: no {name}"));
            }
        }
        self.seen.insert((operation.to_owned(), answer.status));
        answer
    }
}

impl Witness {
    /// Sends a `GET` until its answer is as wanted, for at most a minute.
    fn until(
        &mut self,
        what: (&str, u16),
        path: &str,
        is_so: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let began = std::time::Instant::now();
        loop {
            let found = self.see(what, path, &[], b"").json();
            if is_so(&found) {
                return found;
            }
            assert!(began.elapsed() < std::time::Duration::from_secs(60), "it never came: {path}: {found}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

#[test]
fn the_contract_names_every_route_and_only_routes() {
    let documented: BTreeSet<String> = Contract::read()
        .operations()
        .values()
        .map(|operation| format!("{} {}", operation.method, operation.path))
        .collect();
    let routed: BTreeSet<String> = routes().into_iter().collect();
    assert!(routed.len() > 30, "the router was not read: {routed:?}");
    assert_eq!(documented, routed);
}

#[test]
fn the_checker_notices_what_does_not_fit() {
    let contract = Contract::read();
    let operations = contract.operations();
    let produced = &operations["produce"].responses[&201];
    let good = serde_json::json!({"id": "X", "topic": "t", "queue": 0, "offset": null, "state": "ready"});
    assert_eq!(contract.complaints(produced, "application/json", &good), Vec::<String>::new());
    for (field, value) in [
        ("colour", serde_json::json!(1)),
        ("state", serde_json::json!("odd")),
        ("queue", serde_json::json!("0")),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        assert_eq!(contract.complaints(produced, "application/json", &bad).len(), 1, "{field}");
    }
    let mut bad = good.clone();
    bad.as_object_mut().unwrap().remove("id");
    assert_eq!(contract.complaints(produced, "application/json", &bad).len(), 1);
    assert_eq!(contract.complaints(produced, "text/plain", &good).len(), 1);
}

/// Settings of a node on a fresh directory and any free port.
fn settings(data: &std::path::Path) -> whimbrel::config::Resolved {
    use clap::Args;
    let data = data.display().to_string();
    let line = ["whimbrel", "--listen=127.0.0.1:0", "--data", &data, "--segment-bytes=1MiB"];
    let command = whimbrel::config::ServeArgs::augment_args(clap::Command::new("whimbrel"));
    let flags = command.get_matches_from(line);
    whimbrel::config::resolve(&flags, None, []).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_answer_is_real_and_every_real_answer_is_documented() {
    let directory = tempfile::tempdir().unwrap();
    let node = whimbrel::node::Node::start(settings(directory.path())).await.unwrap();
    let to = node.addr();
    let witness = tokio::task::spawn_blocking(move || {
        let mut witness = Witness::new(to);
        drive::all(&mut witness);
        witness
    });
    let mut witness = witness.await.unwrap();
    node.stop().await;
    for (id, operation) in &witness.operations {
        for status in operation.responses.keys() {
            if !witness.seen.contains(&(id.clone(), *status)) {
                witness.complaints.push(format!("{id}: documented status {status} was never answered"));
            }
        }
    }
    assert!(witness.complaints.is_empty(), "{}", witness.complaints.join("\n"));
}
