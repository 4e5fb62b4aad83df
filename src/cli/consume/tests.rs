use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use super::*;
use crate::cli::ClientCommand;
use crate::cli::tests::{FakeBroker, Seen, parsed};

/// A standard output that remembers what it was given, notes how much of it was flushed, and can refuse.
#[derive(Clone, Default)]
struct Output {
    written: Arc<Mutex<Vec<u8>>>,
    flushed: Arc<Mutex<usize>>,
    closed: bool,
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        if self.closed {
            return Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()));
        }
        self.written.lock().unwrap().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        *self.flushed.lock().unwrap() = self.written.lock().unwrap().len();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.poll_flush(context)
    }
}

fn args(broker: &FakeBroker, more: &[&str]) -> ConsumeArgs {
    let line: Vec<&str> =
        ["consume", "g", "--topic", "t", "--url", &broker.url].iter().chain(more).copied().collect();
    match parsed(&line) {
        ClientCommand::Consume(args) => args,
        other => panic!("{other:?}"),
    }
}

fn consumer(args: &ConsumeArgs, output: Output) -> Consumer<Output> {
    Consumer {
        client: args.connect.client(),
        output,
        style: Style::Bytes,
        printed: 0,
        late: 0,
        said_paused: false,
    }
}

const TWO: &str = r#"{"messages":[{"id":"1","body":"one","encoding":"utf8","receipt":"r1"},
    {"id":"2","body":"/wAK","encoding":"base64","receipt":"r2"}]}"#;

fn two_then_ack(status: &'static str) -> impl Fn(&Seen) -> (u16, String) {
    move |seen| match seen.path.as_str() {
        "/v1/groups/g/receive" => (200, TWO.to_owned()),
        "/v1/groups/g/ack" => {
            let one = |receipt: &str| format!(r#"{{"receipt":"{receipt}","op":"ack","status":"{status}"}}"#);
            (200, format!(r#"{{"results":[{},{}]}}"#, one("r1"), one("r2")))
        }
        other => (404, other.to_owned()),
    }
}

#[tokio::test]
async fn acks_go_out_only_after_everything_printed_was_flushed() {
    let output = Output::default();
    let flushed_at_ack = Arc::new(Mutex::new(None));
    let (flushed, noted) = (output.flushed.clone(), flushed_at_ack.clone());
    let answers = two_then_ack("ok");
    let broker = FakeBroker::start(move |seen| {
        if seen.path.ends_with("/ack") {
            *noted.lock().unwrap() = Some(*flushed.lock().unwrap());
        }
        answers(seen)
    })
    .await;
    let args = args(&broker, &["--max", "2"]);
    consumer(&args, output.clone()).consume(&args, std::future::pending()).await.unwrap();
    assert_eq!(*output.written.lock().unwrap(), b"one\n\xff\x00\n\n");
    assert_eq!(*flushed_at_ack.lock().unwrap(), Some(8));
    let seen = broker.seen();
    let receive: serde_json::Value = serde_json::from_slice(&seen[0].body).unwrap();
    assert_eq!(receive, serde_json::json!({"max_messages": 2, "wait_ms": 20_000, "topic": "t"}));
    assert_eq!(seen[1].body.as_ref(), br#"{"receipts":["r1","r2"]}"#);
}

#[tokio::test]
async fn what_could_not_be_printed_is_not_acked() {
    let broker = FakeBroker::start(two_then_ack("ok")).await;
    let args = args(&broker, &[]);
    let output = Output { closed: true, ..Output::default() };
    let error = consumer(&args, output).consume(&args, std::future::pending()).await.unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(broker.seen().iter().all(|seen| !seen.path.ends_with("/ack")));
}

#[tokio::test]
async fn no_ack_never_acks_and_a_late_ack_is_said() {
    let broker = FakeBroker::start(two_then_ack("expired")).await;
    let silent = args(&broker, &["--max", "2", "--no-ack"]);
    consumer(&silent, Output::default()).consume(&silent, std::future::pending()).await.unwrap();
    assert_eq!(broker.seen().len(), 1);
    let late = args(&broker, &["--max", "2"]);
    let error = consumer(&late, Output::default()).consume(&late, std::future::pending()).await.unwrap_err();
    assert!(error.to_string().starts_with("2 of the printed messages"), "{error}");
}

#[tokio::test]
async fn nothing_for_the_wait_ends_a_bounded_run_with_code_four() {
    let broker = FakeBroker::start(|_| (200, r#"{"messages":[]}"#.to_owned())).await;
    let args = args(&broker, &["--max", "1", "--wait", "0s"]);
    let error = consumer(&args, Output::default()).consume(&args, std::future::pending()).await.unwrap_err();
    assert_eq!(error.exit_code(), 4);
}

#[tokio::test]
async fn a_stop_ends_the_waiting_without_error() {
    let broker = FakeBroker::start(two_then_ack("ok")).await;
    let args = args(&broker, &[]);
    let output = Output::default();
    consumer(&args, output.clone()).consume(&args, std::future::ready(())).await.unwrap();
    assert!(output.written.lock().unwrap().is_empty());
}

#[test]
fn a_terminal_sees_control_characters_as_text() {
    let mut out = Vec::new();
    write_body(&mut out, b"a\x1b[2J\tb\xff", Style::Terminal);
    assert_eq!(String::from_utf8(out).unwrap(), "a\\u{1b}[2J\tb\u{fffd}\n");
}
