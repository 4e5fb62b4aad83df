//! Following a topic: nothing is left out and nothing comes twice, however often the reader or the broker goes away.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::sse::{Event, Tail};
use crate::support::calls::Calls;
use crate::support::dice::{Dice, seed};
use crate::{launch, roomy};

/// What a reader has seen: by queue, offsets in the order they came.
#[derive(Default)]
struct Seen {
    offsets: BTreeMap<u64, Vec<u64>>,
    bodies: Vec<String>,
}

impl Seen {
    fn add(&mut self, event: &Event) {
        let (queue, offset) = (event.data["queue"].as_u64().unwrap(), event.data["offset"].as_u64().unwrap());
        self.offsets.entry(queue).or_default().push(offset);
        self.bodies.push(event.data["body"].as_str().unwrap().to_owned());
    }

    fn count(&self) -> usize {
        self.bodies.len()
    }

    /// Every offset of every queue once and in order, and every body that was accepted.
    fn check(&self, accepted: &BTreeSet<String>) {
        for (queue, offsets) in &self.offsets {
            assert!(offsets.iter().copied().eq(0..offsets.len() as u64), "queue {queue}: {offsets:?}");
        }
        let mut bodies: Vec<&String> = self.bodies.iter().collect();
        bodies.sort();
        assert!(bodies.windows(2).all(|pair| pair[0] != pair[1]), "a body came twice");
        let missing: Vec<&String> = accepted.iter().filter(|body| !bodies.contains(body)).collect();
        assert!(missing.is_empty(), "{} missing: {missing:?}", missing.len());
    }
}

async fn numbered(address: SocketAddr, from: usize, count: usize) {
    let messages: Vec<Value> =
        (from..from + count).map(|number| json!({"body": number.to_string()})).collect();
    Calls::to(address).publish_all("orders", &messages).await;
}

fn bodies(range: std::ops::Range<usize>) -> BTreeSet<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn a_reader_that_comes_back_at_any_event_misses_nothing_and_sees_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let broker = launch(folder.path()).start_or_fail();
    let address = broker.address();
    let mut calls = Calls::to(address);
    calls.expect(201, "PUT", "/v1/topics/orders", &json!({"queues": 3})).await;
    let mut tail = Tail::open(address, "orders", "", None).await;
    let producer = tokio::spawn(async move {
        for part in 0..40 {
            numbered(address, part * 25, 25).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let (mut dice, mut seen, mut resumed) = (Dice::new(seed(11), 1), Seen::default(), 0);
    while seen.count() < 1_000 {
        seen.add(&tail.expect("message").await);
        if dice.below(30) == 0 {
            let id = tail.last_id.clone();
            drop(tail);
            // `from` is only for a reader that was never here.
            tail = Tail::open(address, "orders", "?from=earliest", Some(&id)).await;
            resumed += 1;
        }
    }
    producer.await.unwrap();
    assert!(resumed > 10, "{resumed} resumes");
    seen.check(&bodies(0..1_000));
}

#[tokio::test]
async fn a_reader_goes_on_over_kills_of_the_broker() {
    let folder = tempfile::tempdir().unwrap();
    let launch = launch(folder.path());
    let mut broker = launch.start_or_fail();
    Calls::to(broker.address()).expect(201, "PUT", "/v1/topics/orders", &json!({"queues": 3})).await;
    let mut tail = Tail::open(broker.address(), "orders", "", None).await;
    let (mut seen, mut accepted, mut number) = (Seen::default(), BTreeSet::new(), 0);
    for kill in 0..6 {
        let address = broker.address();
        // Acknowledged messages must all come; what was under way when the broker died may, but only once.
        let producer = tokio::spawn(async move {
            let mut sent = Vec::new();
            let mut http = crate::support::http::Http::new(address);
            for at in number.. {
                let answer = http.post("/v1/topics/orders/messages", at.to_string().as_bytes()).await;
                match answer {
                    Ok(answer) if answer.status == 201 => sent.push(at.to_string()),
                    _ => return (sent, at + 1),
                }
            }
            unreachable!()
        });
        for _ in 0..50 + kill * 7 {
            seen.add(&tail.expect("message").await);
        }
        broker.kill();
        let (sent, next) = producer.await.unwrap();
        accepted.extend(sent);
        number = next;
        // What was on its way to this reader counts if it came whole.
        while let Some(event) = tail.next().await {
            seen.add(&event);
        }
        broker = launch.start_or_fail();
        tail = Tail::open(broker.address(), "orders", "", Some(&tail.last_id.clone())).await;
    }
    let topic = Calls::to(broker.address()).expect(200, "GET", "/v1/topics/orders", &Value::Null).await;
    let queues = topic["offsets"].as_array().unwrap();
    let stored: u64 = queues.iter().map(|queue| queue["next_offset"].as_u64().unwrap()).sum();
    while (seen.count() as u64) < stored {
        seen.add(&tail.expect("message").await);
    }
    seen.check(&accepted);
}

#[tokio::test]
async fn a_tail_begins_and_ends_where_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let broker = launch(folder.path()).start_or_fail();
    let address = broker.address();
    let mut calls = Calls::to(address);
    let tagged = |body: &str, tag: &str| json!({"body": body, "tag": tag, "queue": 0});
    calls.expect(201, "PUT", "/v1/topics/orders", &json!({"queues": 1})).await;
    calls.publish_all("orders", &[tagged("1", "a"), tagged("2", "b"), tagged("3", "a")]).await;
    let collect = async |query: &str, last_id: Option<String>| {
        let mut tail = Tail::open(address, "orders", query, last_id.as_deref()).await;
        let mut came = Vec::new();
        loop {
            let event = tail.next().await.expect("an end is said");
            if event.name == "end" {
                assert!(tail.next().await.is_none());
                came.push(event.data["reason"].as_str().unwrap().to_owned());
                return (came, event.id);
            }
            came.push(event.data["body"].as_str().unwrap().to_owned());
        }
    };
    let (came, id) = collect("?from=earliest&max_events=2", None).await;
    assert_eq!(came, ["1", "2", "max_events"]);
    assert_eq!(collect("?max_events=1", Some(id)).await.0, ["3", "max_events"], "it goes on behind its end");
    assert_eq!(collect("?from=earliest&tag=a&for=2s", None).await.0, ["1", "3", "for"]);
    assert_eq!(collect("?for=100ms", None).await.0, ["for"], "without a place only what comes from now on");
    let shown = calls.expect(200, "GET", "/v1/topics/orders/queues/0/messages", &Value::Null).await;
    let since = shown["messages"][0]["accepted_at"].as_str().unwrap();
    assert_eq!(collect(&format!("?from={since}&max_events=3"), None).await.0, ["1", "2", "3", "max_events"]);
    // A body that is JSON over several lines is several lines of data.
    calls.call("POST", "/v1/topics/orders/messages", b"{\r\n  \"a\": [1,\n2]\r}").await;
    let mut tail = Tail::open(address, "orders", "?from=earliest&encoding=json&max_events=4", None).await;
    for body in [json!(1), json!(2), json!(3), json!({"a": [1, 2]})] {
        assert_eq!(tail.expect("message").await.data["body"], body);
    }
}

#[tokio::test]
async fn a_topic_that_goes_ends_its_tails_and_its_ids() {
    let folder = tempfile::tempdir().unwrap();
    let broker = launch(folder.path()).start_or_fail();
    let mut calls = Calls::to(broker.address());
    calls.publish("orders", "1").await;
    let mut tail = Tail::open(broker.address(), "orders", "?from=earliest", None).await;
    let id = tail.expect("message").await.id;
    assert_eq!(calls.call("DELETE", "/v1/topics/orders?confirm=orders", b"").await.status, 204);
    assert_eq!(tail.expect("end").await.data["reason"], "topic_deleted");
    calls.expect(404, "GET", "/v1/topics/orders/tail", &Value::Null).await;
    calls.publish("orders", "2").await;
    let headers = [("last-event-id", id.as_str())];
    let answer = calls.0.call("GET", "/v1/topics/orders/tail", &headers, b"").await.unwrap();
    assert_eq!((answer.status, &answer.json()["code"]), (410, &"gone".into()));
}

#[tokio::test]
async fn a_stop_ends_tails_in_order_and_waits_for_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let launch = launch(folder.path());
    let broker = launch.start_or_fail();
    let mut calls = Calls::to(broker.address());
    calls.publish("orders", "1").await;
    let mut tail = Tail::open(broker.address(), "orders", "?from=earliest", None).await;
    tail.expect("message").await;
    let stopped = tokio::task::spawn_blocking(move || broker.terminate());
    let end = tail.expect("end").await;
    assert_eq!(end.data["reason"], "draining");
    assert!(tail.next().await.is_none());
    let (status, said) = stopped.await.unwrap();
    assert!(status.is_some_and(|status| status.success()) && !said.contains("cut connections"), "{said}");
    let broker = launch.start_or_fail();
    Calls::to(broker.address()).publish("orders", "2").await;
    let mut tail = Tail::open(broker.address(), "orders", "", Some(&end.id)).await;
    assert_eq!(tail.expect("message").await.data["body"], "2");
}

/// The sockets that a process has open.
fn sockets(pid: u32) -> usize {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let is_socket = |path: &std::path::PathBuf| path.to_string_lossy().starts_with("socket:");
    files.filter_map(|file| std::fs::read_link(file.path()).ok()).filter(is_socket).count()
}

/// It is cut, costs nobody anything meanwhile, and goes on where it was.
#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_and_loses_nothing() {
    const LARGE: usize = 256 << 10;
    let folder = tempfile::tempdir().unwrap();
    // Deadlines are looked at as often as the shortest of them asks for.
    let flags = ["--transfer-timeout", "1s", "--header-timeout", "1s"];
    let broker = roomy(folder.path(), &flags).start_or_fail();
    let address = broker.address();
    let mut calls = Calls::to(address);
    calls.publish("orders", "0").await;
    let mut tail = Tail::open(address, "orders", "?from=earliest", None).await;
    let mut seen = Seen::default();
    seen.add(&tail.expect("message").await);
    // More than the sockets on both sides take.
    for number in 1..=120 {
        calls.publish("orders", &format!("{number} {}", "x".repeat(LARGE))).await;
    }
    let open = sockets(broker.pid());
    while sockets(broker.pid()) >= open {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    while let Some(event) = tail.next().await {
        seen.add(&event);
    }
    assert!(seen.count() < 121, "it was not cut");
    let mut tail = Tail::open(address, "orders", "", Some(&tail.last_id.clone())).await;
    while seen.count() < 121 {
        seen.add(&tail.expect("message").await);
    }
    seen.bodies.iter_mut().for_each(|body| *body = body.split(' ').next().unwrap().to_owned());
    seen.check(&bodies(0..121));
}

#[tokio::test]
async fn what_a_tail_does_not_understand_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let broker = launch(folder.path()).with(&["--max-wait", "200ms"]).start_or_fail();
    let mut calls = Calls::to(broker.address());
    calls.publish("orders", "1").await;
    for (query, status, parameter) in [
        ("max_events=0", 400, "max_events"),
        ("max_events=x", 400, "max_events"),
        ("for=soon", 400, "for"),
        ("for=25h", 400, "for"),
        ("from=0", 400, "from"),
        ("tag=%7C", 422, "tag"),
        ("encoding=x", 400, "encoding"),
        ("group=g", 400, "group"),
    ] {
        let path = format!("/v1/topics/orders/tail?{query}");
        let problem = calls.expect(status, "GET", &path, &Value::Null).await;
        assert_eq!(problem["errors"][0]["parameter"], parameter, "{query}: {problem}");
    }
    let headers = [("last-event-id", "AQMEgIl6AgEBjw")];
    let answer = calls.0.call("GET", "/v1/topics/orders/tail", &headers, b"").await.unwrap();
    assert_eq!(answer.status, 410, "well-formed, and of another topic");
    let headers = [("last-event-id", "AQMEgIl6AgEBjx")];
    let answer = calls.0.call("GET", "/v1/topics/orders/tail", &headers, b"").await.unwrap();
    assert_eq!((answer.status, &answer.json()["errors"][0]["header"]), (400, &"Last-Event-ID".into()));
    // The bound on waits is one on tails as well, and the default.
    for query in ["", "?for=1h"] {
        let mut tail = Tail::open(broker.address(), "orders", query, None).await;
        assert_eq!(tail.expect("end").await.data["reason"], "for");
    }
}
