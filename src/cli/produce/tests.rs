use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use serde_json::Value;

use super::*;
use crate::cli::ClientCommand;
use crate::cli::tests::{FakeBroker, Seen, parsed};

fn args(broker: &FakeBroker, more: &[&str]) -> ProduceArgs {
    let patience = if more.contains(&"--retry-for") { [].as_slice() } else { &["--retry-for", "0s"] };
    let line: Vec<&str> =
        ["produce", "orders", "--url", &broker.url].iter().chain(patience).chain(more).copied().collect();
    match parsed(&line) {
        ClientCommand::Produce(args) => args,
        other => panic!("{other:?}"),
    }
}

async fn send_text(args: &ProduceArgs, body: (Vec<u8>, bool), output: &mut Vec<u8>) -> Result<(), CliError> {
    send_one(args, &mut args.connect.client(), body, output).await
}

fn one_stored(_: &Seen) -> (u16, String) {
    (201, r#"{"id":"m1","topic":"orders","queue":2,"offset":7,"state":"ready"}"#.to_owned())
}

fn all_stored(seen: &Seen) -> (u16, String) {
    let count = seen.body.iter().filter(|byte| **byte == b'\n').count();
    let one = r#"{"id":"m","topic":"orders","queue":0,"offset":1,"state":"ready"}"#;
    (200, format!(r#"{{"results":[{}],"failed":0}}"#, vec![one; count].join(",")))
}

#[tokio::test]
async fn a_text_is_the_payload_and_its_id_and_place_are_printed() {
    let broker = FakeBroker::start(one_stored).await;
    let options = ["--tag", "a b", "--key", "k,1", "--key", "ü", "--delay", "1m30s", "--property", "Who=me"];
    let mut output = Vec::new();
    send_text(&args(&broker, &options), (b"hi".to_vec(), true), &mut output).await.unwrap();
    assert_eq!(output, b"m1 2/7\n");
    let seen = broker.seen().remove(0);
    assert_eq!((seen.path.as_str(), seen.body.as_ref()), ("/v1/topics/orders/messages", b"hi".as_slice()));
    let header = |name: &str| seen.headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("mq-tag"), "a%20b");
    assert_eq!(header("mq-keys"), "k%2C1,%C3%BC");
    assert_eq!(header("mq-delay"), "90000ms");
    assert_eq!(header("mq-prop-who"), "me");
}

#[tokio::test]
async fn a_scheduled_message_has_no_place_yet() {
    let answer = r#"{"id":"m1","topic":"orders","queue":2,"offset":null,"state":"scheduled"}"#;
    let broker = FakeBroker::start(move |_| (201, answer.to_owned())).await;
    let mut output = Vec::new();
    send_text(&args(&broker, &[]), (Vec::new(), false), &mut output).await.unwrap();
    assert_eq!(output, b"m1 scheduled\n");
}

#[tokio::test]
async fn lines_travel_in_batches_and_are_counted() {
    let broker = FakeBroker::start(all_stored).await;
    let input: String = (0..2_500).map(|n| format!("line {n}\n")).collect();
    let mut output = Vec::new();
    send_lines(&args(&broker, &["--tag", "t"]), None, [input.as_bytes()], &mut output).await.unwrap();
    assert_eq!(output, b"2500 messages stored in orders\n");
    let seen = broker.seen();
    let lines: Vec<Value> = seen
        .iter()
        .flat_map(|seen| seen.body.split_inclusive(|byte| *byte == b'\n'))
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2_500);
    assert_eq!(lines[2_499], serde_json::json!({"tag": "t", "body": "line 2499"}));
    assert!(seen.iter().all(|seen| seen.headers["content-type"] == "application/x-ndjson"));
}

#[tokio::test]
async fn few_lines_are_printed_one_by_one_and_empty_ones_count() {
    let broker = FakeBroker::start(all_stored).await;
    let mut output = Vec::new();
    send_lines(&args(&broker, &[]), None, [b"a\n\nlast without newline".as_slice()], &mut output)
        .await
        .unwrap();
    assert_eq!(output, b"m 0/1\nm 0/1\nm 0/1\n");
}

#[tokio::test]
async fn a_refused_line_fails_the_command_and_a_whole_refusal_stops_it() {
    let broker = FakeBroker::start(|_| {
        let results = r#"[{"id":"m","queue":0,"offset":0},{"status":413,"code":"too_large","detail":"no"}]"#;
        (200, format!(r#"{{"results":{results},"failed":1}}"#))
    })
    .await;
    let mut output = Vec::new();
    let error = send_lines(&args(&broker, &[]), None, [b"a\nb\n".as_slice()], &mut output).await.unwrap_err();
    assert_eq!((error.exit_code(), error.to_string().as_str()), (1, "1 messages were refused"));
    assert_eq!(output, b"m 0/0\n");

    let broker = FakeBroker::start(|_| (503, r#"{"code":"queue_full","detail":"full"}"#.to_owned())).await;
    let error =
        send_lines(&args(&broker, &[]), None, [b"a\n".as_slice()], &mut Vec::new()).await.unwrap_err();
    assert_eq!(error.exit_code(), 3);
}

#[tokio::test]
async fn a_line_or_input_beyond_the_body_limit_is_refused_before_it_fills_memory() {
    let broker = FakeBroker::start(all_stored).await;
    let endless = || BufReader::new(tokio::io::repeat(b'x'));
    let error = send_lines(&args(&broker, &[]), None, [endless()], &mut Vec::new()).await.unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert_eq!(read_whole(endless()).await.unwrap_err().exit_code(), 2);
    assert!(broker.seen().is_empty());
}

#[tokio::test]
async fn what_the_broker_does_not_take_now_goes_again_alone_and_in_order() {
    let asked = AtomicUsize::new(0);
    let broker = FakeBroker::start(move |seen| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => (503, r#"{"code":"not_ready","detail":"starting"}"#.to_owned()),
        1 => {
            let stored = r#"{"id":"m","queue":0,"offset":0}"#;
            let not_now = r#"{"status":503,"code":"overloaded","detail":"full"}"#;
            (200, format!(r#"{{"results":[{not_now},{stored},{not_now}],"failed":2}}"#))
        }
        _ => all_stored(seen),
    })
    .await;
    let mut output = Vec::new();
    let args = args(&broker, &["--retry-for", "60s"]);
    send_lines(&args, None, [b"a\nb\nc\n".as_slice()], &mut output).await.unwrap();
    assert_eq!(output, b"m 0/0\nm 0/1\nm 0/1\n");
    let bodies: Vec<String> =
        broker.seen().iter().map(|seen| String::from_utf8(seen.body.to_vec()).unwrap()).collect();
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(bodies[2], "{\"body\":\"a\"}\n{\"body\":\"c\"}\n");
}

/// Loses the first `lost` answers to requests that store; the topic remembers keys for `window_ms`.
async fn forgetful(lost: usize, window_ms: u64) -> FakeBroker {
    let asked = AtomicUsize::new(0);
    FakeBroker::start(move |seen| match seen.path.as_str() {
        "/v1/topics/orders" => (200, format!(r#"{{"name":"orders","idempotency_window_ms":{window_ms}}}"#)),
        _ if asked.fetch_add(1, Ordering::SeqCst) < lost => (504, r#"{"code":"outcome_unknown"}"#.to_owned()),
        "/v1/topics/orders/messages" => one_stored(seen),
        _ => all_stored(seen),
    })
    .await
}

/// The keys and bodies of what was to be stored, in order.
fn stores(broker: &FakeBroker) -> Vec<(String, Bytes)> {
    let seen = broker.seen().into_iter().filter(|seen| seen.method == "POST");
    seen.map(|seen| (seen.headers["idempotency-key"].to_str().unwrap().to_owned(), seen.body)).collect()
}

#[tokio::test]
async fn what_may_be_stored_already_goes_again_under_its_own_key() {
    let broker = forgetful(2, 300_000).await;
    let args = args(&broker, &["--retry-for", "60s"]);
    send_lines(&args, None, [b"a\n".as_slice()], &mut Vec::new()).await.unwrap();
    send_lines(&args, None, [b"a\n".as_slice()], &mut Vec::new()).await.unwrap();
    let sent = stores(&broker);
    assert_eq!(sent.len(), 4);
    assert!(sent[..3].iter().all(|request| *request == sent[0]), "{sent:?}");
    assert!(sent[3].0 != sent[0].0 && sent[3].1 == sent[0].1, "another request has another key");

    let broker = forgetful(1, 300_000).await;
    let args = self::args(&broker, &["--retry-for", "60s"]);
    send_text(&args, (b"x".to_vec(), true), &mut Vec::new()).await.unwrap();
    let sent = stores(&broker);
    assert_eq!((sent.len(), &sent[0]), (2, &sent[1]));
}

#[tokio::test]
async fn a_key_that_may_be_forgotten_is_not_relied_on() {
    let broker = forgetful(1, 0).await;
    let args = args(&broker, &["--retry-for", "60s"]);
    let error = send_text(&args, (b"x".to_vec(), true), &mut Vec::new()).await.unwrap_err();
    assert_eq!((error.exit_code(), stores(&broker).len()), (4, 1));
}

#[tokio::test]
async fn what_may_be_stored_already_is_not_sent_again_without_a_key() {
    let unknown = r#"{"status":504,"code":"outcome_unknown"}"#;
    let broker = FakeBroker::start(move |_| (504, unknown.to_owned())).await;
    let args = args(&broker, &["--retry-for", "60s", "--unkeyed"]);
    let error = send_lines(&args, None, [b"a\n".as_slice()], &mut Vec::new()).await.unwrap_err();
    assert_eq!((error.exit_code(), broker.seen().len()), (4, 1));
    assert!(!broker.seen()[0].headers.contains_key("idempotency-key"));

    let broker = FakeBroker::start(move |_| (200, format!(r#"{{"results":[{unknown}],"failed":1}}"#))).await;
    let args = self::args(&broker, &["--retry-for", "60s"]);
    let error = send_lines(&args, None, [b"a\n".as_slice()], &mut Vec::new()).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), broker.seen().len()), ("1 messages may or may not be stored", 1));
}

#[tokio::test]
async fn files_are_sent_line_by_line_or_whole_and_none_when_one_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (one, two, missing) = (path("one"), path("two"), path("missing"));
    std::fs::write(&one, "a\nb").unwrap();
    std::fs::write(&two, "c\n").unwrap();
    let broker = FakeBroker::start(|seen| match seen.path.as_str() {
        "/v1/topics/orders/messages" => one_stored(seen),
        _ => all_stored(seen),
    })
    .await;
    let mut output = Vec::new();
    send_inputs(&args(&broker, &["--file", &one, "--file", &two]), &mut output).await.unwrap();
    assert_eq!(output, b"m 0/1\nm 0/1\nm 0/1\n");
    let before = broker.seen().len();
    send_wholes(&args(&broker, &["--whole", "--file", &one, "--file", &two]), &mut output).await.unwrap();
    let bodies: Vec<Bytes> = broker.seen().iter().skip(before).map(|seen| seen.body.clone()).collect();
    assert_eq!(bodies, ["a\nb", "c\n"]);
    let before = broker.seen().len();
    let error =
        send_inputs(&args(&broker, &["--file", &one, "--file", &missing]), &mut output).await.unwrap_err();
    assert!(error.to_string().starts_with("opening "), "{error}");
    assert_eq!(broker.seen().len(), before);
}

#[tokio::test]
async fn as_json_every_answer_is_printed_as_it_came() {
    let broker = FakeBroker::start(all_stored).await;
    let mut output = Vec::new();
    let input: String = (0..30).map(|n| format!("line {n}\n")).collect();
    send_lines(&args(&broker, &["-o", "ndjson"]), None, [input.as_bytes()], &mut output).await.unwrap();
    assert_eq!(output.iter().filter(|byte| **byte == b'\n').count(), 30);
    assert!(output.starts_with(br#"{"id":"m","topic":"orders","#));
}
