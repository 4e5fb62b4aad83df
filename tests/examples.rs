//! The examples do what they say, against a real node. They need bash and curl, as their readers do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use whimbrel::config::ServeArgs;
use whimbrel::node::Node;

fn serve_args(data: &Path) -> ServeArgs {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArgs,
    }
    let data = data.display().to_string();
    let line = ["whimbrel", "--listen=127.0.0.1:0", "--data", &data, "--segment-bytes=1MiB"];
    <Line as clap::Parser>::parse_from(line).serve
}

/// Runs an example with `input` on its standard input.
fn example(to: SocketAddr, script: &str, arguments: &[&str], input: &str) -> Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/curl").join(script);
    let mut child = Command::new(path)
        .args(arguments)
        .env("WHIMBREL_URL", format!("http://{to}"))
        .env("STOP_WHEN_EMPTY", "1")
        .env("WAIT", "1s")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Dropping the pipe ends the input.
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn curl(arguments: &[&str]) -> serde_json::Value {
    let output = Command::new("curl").arg("-sS").args(arguments).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_in_bash_sees_every_line_and_gives_back_what_fails() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(serve_args(directory.path())).await.unwrap();
    let to = node.addr();
    let work = tokio::task::spawn_blocking(move || {
        // The last line has no line end, and one is empty.
        succeeded(&example(to, "send.sh", &["orders"], "first\n\n\u{fc}mlaut \\ \"quoted\"\nlast"));
        let command = ["billing", "orders", "sh", "-c", "printf '<%s>' \"$(cat)\""];
        let mut seen: Vec<String> = succeeded(&example(to, "work.sh", &command, ""))
            .split_inclusive('>')
            .map(ToOwned::to_owned)
            .collect();
        seen.sort();
        assert_eq!(seen, ["<>", "<first>", "<last>", "<\u{fc}mlaut \\ \"quoted\">"]);
        let group = curl(&[&format!("http://{to}/v1/groups/billing")]);
        assert_eq!((&group["topics"][0]["lag"], &group["in_flight"]), (&0.into(), &0.into()));

        // A group that allows one attempt: what fails is a dead letter at once, with the reason.
        let settings = r#"{"subscriptions": [{"topic": "orders"}], "max_attempts": 1}"#;
        curl(&["-X", "PUT", "-d", settings, &format!("http://{to}/v1/groups/strict")]);
        succeeded(&example(to, "work.sh", &["strict", "orders", "sh", "-c", "! grep -q first"], ""));
        let dead = curl(&[&format!("http://{to}/v1/groups/strict/dead-letters")]);
        let id = dead["dead_letters"][0]["id"].as_str().unwrap();
        assert_eq!(dead["dead_letters"].as_array().unwrap().len(), 1);
        let letter = curl(&[&format!("http://{to}/v1/groups/strict/dead-letters/{id}")]);
        assert_eq!(letter["message"]["body"], "first");
        assert_eq!(letter["failures"][0]["reason"], "exit code 1");

        // What the broker refuses, the producer does not hide.
        let refused = example(to, "send.sh", &["-not-a-name"], "x");
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    });
    work.await.unwrap();
    node.stop().await;
}
