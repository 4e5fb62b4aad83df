//! The calls that most tests make.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::http::{Answer, Http};

/// Calls whose failure is the failure of the test.
#[derive(Debug)]
pub struct Calls(pub Http);

impl Calls {
    /// Calls to `address`.
    pub fn to(address: SocketAddr) -> Calls {
        Calls(Http::new(address))
    }

    /// Any request; trouble fails the test.
    pub async fn call(&mut self, method: &str, path: &str, body: &[u8]) -> Answer {
        match self.0.call(method, path, &[], body).await {
            Ok(answer) => answer,
            Err(trouble) => panic!("{method} {path}: {trouble:?}"),
        }
    }

    /// A request whose answer must have this status; its JSON.
    pub async fn expect(&mut self, status: u16, method: &str, path: &str, body: &Value) -> Value {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.call(method, path, text.as_bytes()).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        answer.json()
    }

    /// Publishes one message, which must be accepted; its answer.
    pub async fn publish(&mut self, topic: &str, body: &str) -> Value {
        let path = format!("/v1/topics/{topic}/messages");
        let answer = self.call("POST", &path, body.as_bytes()).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    }

    /// Publishes many as NDJSON, all of which must be accepted; the results.
    pub async fn publish_all(&mut self, topic: &str, messages: &[Value]) -> Vec<Value> {
        let lines: String = messages.iter().map(|message| format!("{message}\n")).collect();
        let path = format!("/v1/topics/{topic}/messages/batch");
        let headers = [("content-type", "application/x-ndjson")];
        let answer = self.0.call("POST", &path, &headers, lines.as_bytes()).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        assert_eq!(answer["failed"], 0, "{answer}");
        answer["results"].as_array().expect("results").clone()
    }

    /// One receive; the messages.
    pub async fn receive(&mut self, group: &str, max_messages: u64, wait_ms: u64) -> Vec<Value> {
        let body = json!({"max_messages": max_messages, "wait_ms": wait_ms, "max_bytes": 4 << 20});
        let answer = self.expect(200, "POST", &format!("/v1/groups/{group}/receive"), &body).await;
        answer["messages"].as_array().expect("messages").clone()
    }

    /// Acks messages of a receive; the statuses, in order.
    pub async fn ack(&mut self, group: &str, messages: &[Value]) -> Vec<String> {
        let receipts: Vec<&Value> = messages.iter().map(|message| &message["receipt"]).collect();
        let path = format!("/v1/groups/{group}/ack");
        let answer = self.expect(200, "POST", &path, &json!({"receipts": receipts})).await;
        let results = answer["results"].as_array().expect("results");
        results.iter().map(|result| result["status"].as_str().expect("a status").to_owned()).collect()
    }

    /// Receives and acks until nothing came for `wait_ms`; the bodies, in the order they came.
    pub async fn drain(&mut self, group: &str, wait_ms: u64) -> Vec<String> {
        let mut bodies = Vec::new();
        loop {
            let messages = self.receive(group, 1_000, wait_ms).await;
            if messages.is_empty() {
                return bodies;
            }
            for status in self.ack(group, &messages).await {
                assert_eq!(status, "ok");
            }
            bodies.extend(messages.iter().map(|message| message["body"].as_str().expect("text").to_owned()));
        }
    }
}
