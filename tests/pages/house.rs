//! A node with something of everything that a stranger can write.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use whimbrel::config::ServeArgs;
use whimbrel::node::Node;

use crate::support::calls::Calls;
use crate::support::http::Answer;

/// Markup that runs wherever it is taken for markup: in text, in an attribute, in a text area, in a script.
pub const CANARY: &str = "</textarea></code></title></script>'\"><img src=x onerror=\"window.canary=1\"><script>window.canary=1</script>";

/// The same where few bytes are allowed, and none of `|`, comma or control characters.
pub const SHORT: &str = "'\"><img src=x onerror=window.canary=1>";

/// A running node.
pub struct House {
    pub node: Node,
    pub calls: Calls,
    directory: tempfile::TempDir,
}

/// What [`House::fill`] made.
pub struct Things {
    /// A message with everything.
    pub message: String,
    /// A message that is bytes.
    pub bytes: String,
    /// A dead letter of the group `billing`.
    pub letter: String,
    /// A scheduled message.
    pub scheduled: String,
    /// A job.
    pub job: String,
    /// An open WebSocket, for as long as it is kept.
    pub socket: Socket,
}

pub type Socket =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

impl House {
    pub async fn start() -> House {
        House::start_with(&[]).await
    }

    /// Starts it with more flags.
    pub async fn start_with(more: &[&str]) -> House {
        House::open(tempfile::tempdir().unwrap(), more).await
    }

    /// Stops it and starts it again on what it kept, at another port.
    pub async fn restart(self) -> House {
        self.node.stop().await;
        House::open(self.directory, &[]).await
    }

    async fn open(directory: tempfile::TempDir, more: &[&str]) -> House {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            serve: ServeArgs,
        }
        let data = directory.path().display().to_string();
        let line = ["serve", "--listen=127.0.0.1:0", "--drain-timeout=1s", "--data", &data];
        let line = line.into_iter().chain(more.iter().copied());
        let node = Node::start(<Line as clap::Parser>::parse_from(line).serve).await.unwrap();
        let calls = Calls::to(node.addr());
        House { node, calls, directory }
    }

    pub fn address(&self) -> SocketAddr {
        self.node.addr()
    }

    pub fn origin(&self) -> String {
        format!("http://{}", self.node.addr())
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.calls.call("GET", path, b"").await
    }

    /// Has the group `billing` reject a message of `orders` with these words; what comes before it is acked.
    pub async fn reject(&mut self, id: &str, words: &str) {
        loop {
            let message = self.calls.receive("billing", 1, 20_000).await.remove(0);
            if message["id"] != id {
                self.calls.ack("billing", &[message]).await;
                continue;
            }
            let body = json!({"receipts": [message["receipt"]], "reason": words});
            self.calls.expect(200, "POST", "/v1/groups/billing/dead-letter", &body).await;
            return;
        }
    }

    /// Makes a dead letter of the group `billing` with this body; its id.
    pub async fn letter(&mut self, body: &str, words: &str) -> String {
        let published = self.calls.publish("orders", body).await;
        let id = published["id"].as_str().unwrap().to_owned();
        self.reject(&id, words).await;
        id
    }

    /// One of everything, as hostile as the interface lets it be.
    pub async fn fill(&mut self) -> Things {
        let group = json!({"subscriptions": [{"topic": "orders"}]});
        self.calls.expect(201, "PUT", "/v1/topics/orders", &json!({"queues": 1})).await;
        self.calls.expect(201, "PUT", "/v1/groups/billing", &group).await;
        let nested = json!({CANARY: [CANARY, 1, {"deep": CANARY}]}).to_string();
        let hostile = json!({"body": nested, "tag": SHORT, "keys": [CANARY, "plain"], "ordering_key": CANARY,
            "content_type": CANARY, "properties": {CANARY: CANARY}});
        let results = self.calls.publish_all("orders", std::slice::from_ref(&hostile)).await;
        let letter = results[0]["id"].as_str().unwrap().to_owned();
        self.reject(&letter, CANARY).await;
        let mut later = hostile.clone();
        later["delay_ms"] = json!(3_600_000);
        later["body"] = CANARY.into();
        let bytes = json!({"body": "/wD+", "encoding": "base64"});
        let more = self.calls.publish_all("orders", &[hostile, later, bytes]).await;
        let id = |at: usize| more[at]["id"].as_str().unwrap().to_owned();
        // A lease, a failure and a client, each with words of its own.
        let named = [("mq-client", SHORT)];
        let path = "/v1/groups/billing/receive?max_messages=1&wait=20s";
        let leased = self.calls.0.call("POST", path, &named, b"").await.unwrap().json();
        let nack =
            json!({"receipts": [leased["messages"][0]["receipt"]], "reason": CANARY, "delay_ms": 3_600_000});
        self.calls.expect(200, "POST", "/v1/groups/billing/nack", &nack).await;
        let filter = json!({"filter": {"tag": "nobody", "failure_contains": CANARY}});
        let job = self.calls.expect(202, "POST", "/v1/groups/billing/dead-letters/redrive", &filter).await;
        self.fill_alerting().await;
        let socket = connect(self.address()).await;
        Things {
            message: id(0),
            scheduled: id(1),
            bytes: id(2),
            letter,
            job: job["id"].as_str().unwrap().to_owned(),
            socket,
        }
    }

    /// A rule, a silence and a receiver with every text that a stranger can write. The rule is off: what it would do is
    /// the business of other tests.
    async fn fill_alerting(&mut self) {
        let rule = json!({"metric": "lag_messages", "threshold": 5, "enabled": false, "labels": {"team": CANARY},
            "annotations": {"summary": CANARY, "runbook_url": CANARY}});
        self.calls.expect(201, "PUT", "/v1/alerts/rules/Hostile", &rule).await;
        let matcher = json!({"name": "alertname", "value": CANARY, "is_equal": true});
        let silence = json!({"matchers": [matcher], "created_by": CANARY, "comment": CANARY,
            "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2099-01-01T00:00:00Z"});
        self.calls.expect(201, "POST", "/v1/alerts/silences", &silence).await;
        let receiver = json!({"kind": "webhook", "url": "http://127.0.0.1:9/x", "secret": CANARY});
        self.calls.expect(201, "PUT", "/v1/alerts/receivers/hostile", &receiver).await;
    }

    pub async fn stop(self) {
        self.node.stop().await;
    }
}

/// A WebSocket that subscribes under names of markup.
async fn connect(to: SocketAddr) -> Socket {
    let mut request = format!("ws://{to}/v1/ws").into_client_request().unwrap();
    request.headers_mut().insert("Mq-Client", SHORT.parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let subscribe = json!({"type": "subscribe", "sub": CANARY, "group": "billing", "topic": "orders",
                           "mode": "credit", "client": SHORT});
    socket.send(Message::text(subscribe.to_string())).await.unwrap();
    loop {
        let Message::Text(text) = socket.next().await.unwrap().unwrap() else { continue };
        let frame: Value = serde_json::from_str(&text).unwrap();
        assert_ne!(frame["type"], "error", "{frame}");
        if frame["type"] == "subscribed" {
            return socket;
        }
    }
}

impl Things {
    /// Every page that shows something of them.
    pub fn pages(&self) -> Vec<String> {
        let Things { message, bytes, letter, scheduled, job, .. } = self;
        let mut pages: Vec<String> = [
            "/",
            "/topics",
            "/topics/orders",
            "/groups",
            "/groups/billing",
            "/config",
            "/alerts",
            "/alerts/rules",
            "/alerts/rules/GroupLag",
            "/alerts/rules/Hostile",
            "/alerts/silence?rule=GroupLag&group=billing",
            "/alerts/silences",
            "/alerts/receivers",
            "/alerts/receivers?name=hostile",
            "/alerts/deliveries",
            "/search?q=o",
            "/messages",
            "/messages?topic=orders",
            "/messages?topic=orders&key=plain",
            "/messages/tail?topic=orders",
            "/send",
            "/dead-letters",
            "/dead-letters/billing",
            "/dead-letters/billing?reason=rejected",
            "/scheduled",
            "/scheduled?topic=orders",
            "/jobs",
            "/clients",
            "/clients?group=billing",
        ]
        .map(str::to_owned)
        .to_vec();
        for form in ["text", "json", "hex"] {
            pages.push(format!("/messages/{message}?as={form}"));
            pages.push(format!("/dead-letters/billing/{letter}?as={form}"));
        }
        pages.push(format!("/messages/{bytes}"));
        pages.push(format!("/messages/{scheduled}"));
        pages.push(format!("/send?from={message}"));
        pages.push(format!("/send?from={bytes}"));
        pages.push(format!("/send?group=billing&letter={letter}"));
        pages.push(format!("/scheduled/{scheduled}/cancel"));
        pages.push(format!("/jobs/{job}"));
        pages
    }
}
