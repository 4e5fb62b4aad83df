use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::*;
use crate::cli::ClientCommand;
use crate::cli::tests::{FakeBroker, Seen, parsed};

fn args(broker: &FakeBroker, more: &[&str]) -> ConsumeArgs {
    let line: Vec<&str> = ["consume", "g", "--topic", "t", "--url", &broker.url, "--wait", "0s"]
        .iter()
        .chain(more)
        .copied()
        .collect();
    match parsed(&line) {
        ClientCommand::Consume(args) => args,
        other => panic!("{other:?}"),
    }
}

/// One message, then none; every receipt is still good.
fn one_message() -> impl Fn(&Seen) -> (u16, String) {
    let given = AtomicBool::new(false);
    move |seen| match seen.path.as_str() {
        "/v1/groups/g/receive" if !given.swap(true, Ordering::SeqCst) => {
            let message =
                r#"{"id":"i","topic":"t","body":"a \"b\"\n","encoding":"utf8","receipt":"r","attempt":2}"#;
            (200, format!(r#"{{"messages":[{message}]}}"#))
        }
        "/v1/groups/g/receive" => (200, r#"{"messages":[]}"#.to_owned()),
        _ => (200, r#"{"results":[{"status":"ok"}]}"#.to_owned()),
    }
}

fn settles(broker: &FakeBroker) -> Vec<(String, Value)> {
    let seen = broker.seen().into_iter().filter(|seen| !seen.path.ends_with("/receive"));
    seen.map(|seen| (seen.path.clone(), serde_json::from_slice(&seen.body).unwrap())).collect()
}

#[tokio::test]
async fn a_command_gets_the_body_and_the_rest_and_its_success_acks() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let broker = FakeBroker::start(one_message()).await;
    let command = format!("printf '%s %s ' $MQ_MESSAGE_ID $MQ_ATTEMPT > '{0}'; cat >> '{0}'", out.display());
    run(&args(&broker, &["--max", "1"]), &command).await.unwrap();
    assert_eq!(std::fs::read_to_string(out).unwrap(), "i 2 a \"b\"\n");
    assert_eq!(settles(&broker), [("/v1/groups/g/ack".to_owned(), json!({"receipts": ["r"]}))]);
}

#[tokio::test]
async fn a_failure_gives_the_message_back_with_the_reason() {
    for (command, reason) in [
        ("exit 3", "exit code 3"),
        ("kill -9 $$", "killed by signal 9"),
        ("sleep 600 & wait", "killed after 50 ms"),
    ] {
        let broker = FakeBroker::start(one_message()).await;
        let limit = if reason.contains("ms") { "50ms" } else { "1h" };
        run(&args(&broker, &["--max", "1", "--exec", "x", "--exec-timeout", limit]), command).await.unwrap();
        let given_back = json!({"receipts": ["r"], "reason": reason});
        assert_eq!(settles(&broker), [("/v1/groups/g/nack".to_owned(), given_back)], "{command}");
    }
}

#[tokio::test]
async fn a_lease_is_extended_as_long_as_the_command_runs() {
    let folder = tempfile::tempdir().unwrap();
    let extended = folder.path().join("extended");
    let (answers, mark) = (one_message(), extended.clone());
    let broker = FakeBroker::start(move |seen| {
        if seen.path.ends_with("/extend") {
            std::fs::write(&mark, "").unwrap();
        }
        answers(seen)
    })
    .await;
    let command = format!("until [ -e '{}' ]; do sleep 0.02; done", extended.display());
    run(&args(&broker, &["--max", "1", "--lease", "1s"]), &command).await.unwrap();
    let settles = settles(&broker);
    assert_eq!(settles[0], ("/v1/groups/g/extend".to_owned(), json!({"receipts": ["r"], "lease_ms": 1_000})));
    assert_eq!(settles.last().unwrap().0, "/v1/groups/g/ack");
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_hand_and_takes_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let (started, go) = (folder.path().join("started"), folder.path().join("go"));
    let broker = FakeBroker::start(one_message()).await;
    let args = args(&broker, &[]);
    let command =
        format!("touch '{}'; until [ -e '{}' ]; do sleep 0.02; done", started.display(), go.display());
    let pool = Pool::new(&args, &command);
    let stop = async {
        while !started.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        pool.stopping.cancel();
        std::fs::write(&go, "").unwrap();
    };
    let (ended, ()) = tokio::join!(pool.work(), stop);
    ended.unwrap();
    assert_eq!(broker.seen().iter().filter(|seen| seen.path.ends_with("/receive")).count(), 1);
    assert_eq!(settles(&broker).last().unwrap().0, "/v1/groups/g/ack");
}

#[tokio::test]
async fn workers_share_the_count_of_messages() {
    let broker = FakeBroker::start(|seen| match seen.path.as_str() {
        "/v1/groups/g/receive" => (200, r#"{"messages":[{"body":"","receipt":"r"}]}"#.to_owned()),
        _ => (200, r#"{"results":[{"status":"ok"}]}"#.to_owned()),
    })
    .await;
    run(&args(&broker, &["--max", "7", "--exec", "x", "--concurrency", "3"]), "true").await.unwrap();
    assert_eq!(settles(&broker).len(), 7);
}

#[tokio::test]
async fn nothing_for_the_wait_ends_a_bounded_run_with_code_four() {
    let broker = FakeBroker::start(|_| (200, r#"{"messages":[]}"#.to_owned())).await;
    assert_eq!(run(&args(&broker, &["--max", "1"]), "true").await.unwrap_err().exit_code(), 4);
}
