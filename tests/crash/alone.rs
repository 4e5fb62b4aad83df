//! One broker a directory; and one that nobody uses leaves the disk alone.

use std::time::Duration;

use serde_json::json;

use crate::disk;
use crate::support::calls::Calls;
use crate::support::http::Http;
use crate::support::proc_fs;
use crate::support::process::Launch;
use crate::support::socket::Socket;

fn launch(data: &std::path::Path) -> Launch {
    Launch::small(env!("CARGO_BIN_EXE_whimbrel"), data)
}

#[tokio::test]
async fn a_second_broker_on_the_same_directory_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let launch = launch(folder.path());
    let broker = launch.start_or_fail();
    let mut calls = Calls::to(broker.address());
    calls.publish("t", "first").await;
    let refused = launch.start().expect_err("two brokers on one directory");
    assert!(refused.status.is_some_and(|status| status.code().is_some_and(|code| code != 0)), "{refused:?}");
    let name = folder.path().to_str().unwrap();
    assert!(refused.said.contains(name), "names the directory:\n{}", refused.said);
    assert!(!refused.said.contains("panicked"), "{}", refused.said);
    // The first one does not notice, and its death frees the directory.
    calls.publish("t", "second").await;
    broker.kill();
    let broker = launch.start_or_fail();
    let mut calls = Calls::to(broker.address());
    calls.expect(201, "PUT", "/v1/groups/g", &json!({"subscriptions": [{"topic": "t"}]})).await;
    let mut bodies = calls.drain("g", 300).await;
    bodies.sort();
    assert_eq!(bodies, ["first", "second"]);
}

/// Long polls and WebSockets that wait for nothing cost no byte of disk; and all of them notice a message.
#[tokio::test]
async fn waiting_writes_nothing_and_is_woken() {
    const EACH: usize = 50;
    let folder = tempfile::tempdir().unwrap();
    // A slow or full disk of this machine would be an alert, and that is written; tests/alerts looks at that side.
    let launch = launch(folder.path()).with(&["--alert-interval=60s"]);
    let broker = launch.start_or_fail();
    let mut calls = Calls::to(broker.address());
    let mut polls = Vec::new();
    let mut sockets = Vec::new();
    for topic in ["p", "s"] {
        calls.expect(201, "PUT", &format!("/v1/topics/{topic}"), &json!({"queues": 4})).await;
    }
    for number in 0..EACH {
        for (kind, topic) in [("poll", "p"), ("socket", "s")] {
            let settings = json!({"subscriptions": [{"topic": topic}]});
            calls.expect(201, "PUT", &format!("/v1/groups/{kind}-{number}"), &settings).await;
        }
        let mut socket = Socket::open(broker.address()).await.unwrap();
        let group = format!("socket-{number}");
        socket.send(&json!({"type": "subscribe", "sub": "s", "group": group})).await.unwrap();
        assert_eq!(socket.next().await.unwrap()["type"], "subscribed");
        sockets.push(socket);
        let mut http = Http::new(broker.address());
        http.send("POST", &format!("/v1/groups/poll-{number}/receive?wait=60s"), &[], b"").await.unwrap();
        polls.push(http);
    }
    // What the last settings still cause on the disk may end.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let end = disk::records_end(&disk::newest_segment(folder.path()));
    let written = proc_fs::io(broker.pid())["write_bytes"];
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(
        disk::records_end(&disk::newest_segment(folder.path())),
        end,
        "an idle broker wrote to its log"
    );
    let after = proc_fs::io(broker.pid())["write_bytes"];
    assert_eq!(after - written, 0, "an idle broker wrote to the disk");

    calls.publish("p", "for the polls").await;
    calls.publish("s", "for the sockets").await;
    for mut poll in polls {
        let answer = poll.answer().await.unwrap().json();
        assert_eq!(answer["messages"][0]["body"], "for the polls");
    }
    for mut socket in sockets {
        let frame = socket.next().await.unwrap();
        assert_eq!(frame["messages"][0]["body"], "for the sockets", "{frame}");
    }
}
