use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::cli::ClientCommand;
use crate::cli::tests::{FakeBroker, client, parsed};

/// Follows a broker that gives these answers one after the other; what was printed, and what it was asked.
async fn follow(
    answers: Vec<(u16, &'static str)>,
    flags: &[&str],
) -> (Result<(), CliError>, String, FakeBroker) {
    let asked = AtomicUsize::new(0);
    let broker = FakeBroker::start(move |_| {
        let (status, body) = answers[asked.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)];
        (status, body.to_owned())
    })
    .await;
    let line: Vec<&str> = ["tail", "orders"].iter().chain(flags).copied().collect();
    let ClientCommand::Tail(args) = parsed(&line) else { panic!() };
    let until = args.lasting.map(|lasting| Instant::now() + lasting);
    let style = Style::of(args.output);
    let mut out = Vec::new();
    let client = client(&broker);
    let mut tail =
        Tail { args, client, output: &mut out, style, events: Events::default(), printed: 0, until };
    let outcome = tail.follow().await;
    (outcome, String::from_utf8(out).unwrap(), broker)
}

#[tokio::test]
async fn a_stream_that_breaks_goes_on_behind_its_last_event() {
    let first = "retry: 1000\nid: a\n\nid: b\ndata: {\"body\":\"one\"}\n\nid: c\ndata: {\"body\":\"cut";
    let drained =
        "id: b\n\nid: c\ndata: {\"body\":\"two\"}\n\nevent: end\nid: c\ndata: {\"reason\":\"draining\"}\n\n";
    let last = "id: c\n\nid: d\ndata: {\"body\":\"three\"}\n\nevent: end\nid: d\ndata: {\"reason\":\"max_events\"}\n\n";
    let answers = vec![(200, first), (503, "{\"code\":\"not_ready\"}"), (200, drained), (200, last)];
    let flags = ["--max-events", "3", "--tag", "a || b", "--from", "earliest"];
    let (outcome, printed, broker) = follow(answers, &flags).await;
    outcome.unwrap();
    assert_eq!(printed, "one\ntwo\nthree\n");
    let seen = broker.seen();
    let ids: Vec<Option<&str>> =
        seen.iter().map(|seen| seen.headers.get("last-event-id").map(|id| id.to_str().unwrap())).collect();
    assert_eq!(ids, [None, Some("b"), Some("b"), Some("c")]);
    assert_eq!(seen[0].path, "/v1/topics/orders/tail?max_events=3&tag=a%20%7C%7C%20b&from=earliest");
    assert_eq!(seen[3].path, "/v1/topics/orders/tail?max_events=1&tag=a%20%7C%7C%20b");
}

#[tokio::test]
async fn what_cannot_go_on_ends_with_its_reason() {
    let deleted = "event: end\ndata: {\"reason\":\"topic_deleted\"}\n\n";
    let fault = "event: end\ndata: {\"reason\":\"fault\",\"detail\":\"bad\\u001bdisk\"}\n\n";
    for (answer, words) in [
        ((200, deleted), "topic orders was deleted"),
        ((200, fault), "the broker cannot read on: bad\\u{1b}disk"),
        ((404, "{\"code\":\"topic_not_found\",\"detail\":\"no such topic\"}"), "no such topic"),
    ] {
        let (outcome, _, broker) = follow(vec![answer], &[]).await;
        let error = outcome.unwrap_err();
        assert_eq!((error.exit_code(), broker.seen().len()), (1, 1), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn the_time_that_was_asked_for_is_kept_whatever_the_broker_does() {
    let none = "id: a\n\nevent: end\nid: a\ndata: {\"reason\":\"for\"}\n\n";
    let (outcome, printed, broker) = follow(vec![(200, none)], &["--for", "700ms"]).await;
    outcome.unwrap();
    assert_eq!(printed, "");
    assert!(broker.seen().len() > 1, "a broker that ends streams early is asked again");
    let (outcome, ..) = follow(vec![(200, none)], &["--for", "300ms", "--max-events", "2"]).await;
    assert_eq!(outcome.unwrap_err().exit_code(), 4);
}

#[tokio::test]
async fn json_comes_a_line_a_message_and_skips_are_no_messages() {
    let stream = "event: skipped\nid: a\ndata: {\"queue\":0,\"from\":1,\"to\":5}\n\n\
        event: damaged\nid: a\ndata: {\"queue\":0,\"offset\":5,\"id\":\"i\"}\n\nevent: later\ndata: x\n\n\
        id: b\ndata: {\"body\":\ndata: 1}\n\n\
        event: end\nid: b\ndata: {\"reason\":\"max_events\"}\n\n";
    let (outcome, printed, _) = follow(vec![(200, stream)], &["-o", "ndjson", "--max-events", "1"]).await;
    outcome.unwrap();
    assert_eq!(printed, "{\"body\":1}\n");
}
