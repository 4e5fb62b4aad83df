//! The neighbours that people have already: a real Alertmanager takes our alerts and their end, and a real Prometheus
//! scrapes the broker while the rules of `deploy/prometheus/` fire on the same trouble. Skipped where they are not
//! installed (Debian: `apt-get install prometheus prometheus-alertmanager`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

#[path = "client/mod.rs"]
#[allow(dead_code, reason = "this needs a part of it")]
mod client;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use whimbrel::config::ServeArgs;
use whimbrel::node::Node;

/// Longest time anything is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A neighbour; it ends with this.
struct Peer {
    child: Child,
    address: SocketAddr,
}

impl Peer {
    /// Starts a program whose flag for its address is `listen`; none when it is not installed.
    fn start(program: &str, listen: &str, arguments: &[String], home: &Path) -> Option<Peer> {
        // It takes no port of the system's choice that it would tell us, so one is chosen that was free just now.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = fs::File::create(home.join("log")).unwrap();
        let started = Command::new(program)
            .arg(format!("{listen}={address}"))
            .args(arguments)
            .current_dir(home)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        let Ok(child) = started else {
            eprintln!(
                "skipped: {program} is not installed (Debian: apt-get install prometheus prometheus-alertmanager)"
            );
            return None;
        };
        let mut peer = Peer { child, address };
        until("the neighbour is ready", || {
            if let Some(ended) = peer.child.try_wait().unwrap() {
                panic!("{program} ended with {ended}: {}", fs::read_to_string(home.join("log")).unwrap());
            }
            std::net::TcpStream::connect(address).ok()?;
            (client::send(address, ("GET", "/-/ready"), &[], b"").status == 200).then_some(())
        });
        Some(peer)
    }

    fn get(&self, path: &str) -> Value {
        client::send(self.address, ("GET", path), &[], b"").json()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "it never came: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn serve_args(data: &Path) -> ServeArgs {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArgs,
    }
    let data = data.display().to_string();
    let line = [
        "whimbrel",
        "--listen=127.0.0.1:0",
        "--data",
        &data,
        "--segment-bytes=1MiB",
        "--alert-interval=1s",
        "--webhook-allow=127.0.0.1",
    ];
    <Line as clap::Parser>::parse_from(line).serve
}

async fn with_node<T: Send + 'static>(work: impl FnOnce(SocketAddr) -> T + Send + 'static) -> T {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(serve_args(directory.path())).await.unwrap();
    let to = node.addr();
    let result = tokio::task::spawn_blocking(move || work(to)).await.unwrap();
    node.stop().await;
    result
}

fn call(to: SocketAddr, line: &str, body: &Value) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = client::send(to, line.split_once(' ').unwrap(), &[], body.as_bytes());
    assert!((200..300).contains(&answer.status), "{line}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

/// A message waits in the group `billing`, and nobody takes it.
fn trouble(to: SocketAddr) {
    call(to, "PUT /v1/groups/billing", &json!({"subscriptions": [{"topic": "orders"}]}));
    call(to, "POST /v1/topics/orders/messages", &json!("paid"));
}

/// Somebody takes it.
fn relief(to: SocketAddr) {
    let received = call(to, "POST /v1/groups/billing/receive", &json!({}));
    let receipt = received["messages"][0]["receipt"].as_str().expect("a message");
    call(to, &format!("DELETE /v1/receipts/{receipt}"), &Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alertmanager_takes_alerts_and_their_end() {
    let home = tempfile::tempdir().unwrap();
    let config = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n";
    fs::write(home.path().join("alertmanager.yml"), config).unwrap();
    let flags = ["--config.file=alertmanager.yml", "--storage.path=data", "--cluster.listen-address="];
    let flags = flags.map(str::to_owned);
    let program = "prometheus-alertmanager";
    let Some(peer) = Peer::start(program, "--web.listen-address", &flags, home.path()) else { return };
    with_node(move |to| {
        let url = format!("http://{}", peer.address);
        call(to, "PUT /v1/alerts/receivers/am", &json!({"kind": "alertmanager", "url": url}));
        let route = json!({"receiver": "am", "group_wait_ms": 0, "group_interval_ms": 1_000});
        call(to, "PUT /v1/alerts/routing", &json!({"routes": [route]}));
        let rule = json!({"metric": "backlog_without_consumers", "threshold": 0, "labels": {"team": "billing"},
            "annotations": {"summary": "{{ value }} wait in {{ group }}"}});
        call(to, "PUT /v1/alerts/rules/Backlog", &rule);
        trouble(to);
        let ours = || {
            let alerts = peer.get("/api/v2/alerts?filter=alertname%3D%22Backlog%22");
            alerts.as_array().unwrap().first().cloned()
        };
        let alert = until("the alert at the Alertmanager", ours);
        assert_eq!(alert["labels"]["group"], "billing", "{alert}");
        assert_eq!((&alert["labels"]["team"], &alert["labels"]["severity"]), (&json!("billing"), &json!("warning")));
        assert_eq!(alert["annotations"]["summary"], "1 wait in billing");
        assert_eq!(alert["status"]["state"], "active");
        let link = alert["generatorURL"].as_str().unwrap();
        assert!(link.ends_with("/alerts/rules/Backlog"), "{link}");
        relief(to);
        until("its end", || ours().is_none().then_some(()));
    })
    .await;
}

/// The rules as they are shipped, but for their patience: a test does not wait five minutes.
fn impatient(rules: &str) -> String {
    let lines = rules.lines().map(|line| match line.split_once("for: ") {
        Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 1s"),
        _ => line.replace("whimbrel_group_lag_seconds > 300", "whimbrel_group_lag_seconds > 1"),
    });
    lines.map(|line| line + "\n").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_sees_the_same_trouble_and_its_end() {
    let home = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus");
    for file in ["recording.yml", "alerts.yml"] {
        let rules = fs::read_to_string(shipped.join(file)).unwrap();
        fs::write(home.path().join(file), impatient(&rules)).unwrap();
    }
    with_node(move |to| {
        let config = fs::read_to_string(shipped.join("prometheus.yml")).unwrap();
        let config = config.replace("127.0.0.1:8080", &to.to_string()).replace(": 15s", ": 1s");
        assert!(config.contains(&to.to_string()) && config.contains("scrape_interval: 1s"), "{config}");
        fs::write(home.path().join("prometheus.yml"), config).unwrap();
        let flags = ["--config.file=prometheus.yml", "--storage.tsdb.path=data"].map(str::to_owned);
        let Some(peer) = Peer::start("prometheus", "--web.listen-address", &flags, home.path()) else {
            return;
        };
        until("the first scrape", || {
            let up = peer.get("/api/v1/query?query=up");
            (up["data"]["result"][0]["value"][1] == "1").then_some(())
        });
        trouble(to);
        let ours = || {
            let found = peer.get("/api/v1/alerts");
            let alerts = found["data"]["alerts"].as_array().unwrap().clone();
            alerts.into_iter().find(|alert| alert["labels"]["alertname"] == "WhimbrelLagOld")
        };
        let firing = until("the alert", || ours().filter(|alert| alert["state"] == "firing"));
        assert_eq!(
            (&firing["labels"]["group"], &firing["labels"]["topic"]),
            (&json!("billing"), &json!("orders"))
        );
        relief(to);
        until("its end", || ours().is_none().then_some(()));
    })
    .await;
}
