//! `/metrics` against a real node: the text is well-formed, the numbers are those of what was done (I24), the documents
//! and the rules name what there is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

mod agree;
mod boards;
#[path = "../client/mod.rs"]
mod client;
mod documents;
mod history;
mod rules;
mod text;

use std::net::SocketAddr;

use text::Scrape;
use whimbrel::config::ServeArgs;
use whimbrel::machine::Expected;
use whimbrel::model::alert::{Origin, Receiver, ReceiverKind};
use whimbrel::node::Node;

fn serve_args(data: &std::path::Path, more: &[&str]) -> ServeArgs {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArgs,
    }
    let data = data.display().to_string();
    let line = ["whimbrel", "--listen=127.0.0.1:0", "--data", &data, "--segment-bytes=1MiB"];
    <Line as clap::Parser>::parse_from(line.into_iter().chain(more.iter().copied())).serve
}

/// Runs blocking `work` against a fresh node that has one receiver of notifications.
async fn with_node<T: Send + 'static>(work: impl FnOnce(SocketAddr) -> T + Send + 'static) -> T {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(serve_args(directory.path(), &[])).await.unwrap();
    let receiver = Receiver {
        kind: ReceiverKind::Webhook,
        url: "https://hooks.example.com/".to_owned(),
        secret: None,
        send_resolved: true,
    };
    let name = "ops".parse().unwrap();
    node.broker().put_receiver(name, receiver, Origin::Api, Expected::Anything).await.unwrap();
    let to = node.addr();
    let result = tokio::task::spawn_blocking(move || work(to)).await.unwrap();
    node.stop().await;
    result
}

/// Sends a request that must succeed; answers its JSON.
fn call(to: SocketAddr, line: &str, body: &str) -> serde_json::Value {
    let answer = client::send(to, line.split_once(' ').unwrap(), &[], body.as_bytes());
    assert!((200..300).contains(&answer.status), "{line}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

/// The text at `path`, as it came.
fn raw(to: SocketAddr, path: &str) -> String {
    let answer = client::send(to, ("GET", path), &[], b"");
    assert_eq!((answer.status, answer.media_type()), (200, "text/plain"), "{path}");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4"));
    String::from_utf8(answer.body).unwrap()
}

/// The samples at `path`, strictly read.
fn scrape(to: SocketAddr, path: &str) -> Scrape {
    Scrape::read(&raw(to, path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
