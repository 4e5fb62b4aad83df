//! `/v1/history` against a real node: what happened is there within seconds, over a restart too, and costs the log
//! nothing.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use whimbrel::model::Timestamp;
use whimbrel::node::Node;

use super::{call, client, serve_args};

/// How long something may take that takes a second or two.
const PATIENCE: Duration = Duration::from_secs(60);

async fn with_node_at<T: Send + 'static>(
    data: &Path,
    work: impl FnOnce(SocketAddr) -> T + Send + 'static,
) -> T {
    let node = Node::start(serve_args(data, &["--alert-interval=60s"])).await.unwrap();
    let to = node.addr();
    let result = tokio::task::spawn_blocking(move || work(to)).await.unwrap();
    node.stop().await;
    result
}

fn history(to: SocketAddr, query: &str) -> Value {
    call(to, &format!("GET /v1/history?{query}"), "")
}

/// The values of a column, gaps included.
fn column(history: &Value, name: &str) -> Vec<Option<f64>> {
    history["series"][name].as_array().unwrap().iter().map(Value::as_f64).collect()
}

/// Looks until something is so.
fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "it never came");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// When the first step began.
fn beginning(of: &Value) -> Timestamp {
    of["from"].as_str().unwrap().parse().unwrap()
}

/// The highest value of a column once there is one above 0.
fn peak(to: SocketAddr, query: &str, name: &'static str) -> f64 {
    until(|| {
        let found = column(&history(to, query), name).into_iter().flatten().fold(0.0, f64::max);
        (found > 0.0).then_some(found)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_seen_and_kept_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let before = with_node_at(directory.path(), |to| {
        call(to, "PUT /v1/groups/billing", "{\"subscriptions\": [{\"topic\": \"orders\"}]}");
        // A rate is the difference of two samples: the first one has to be there.
        until(|| column(&history(to, ""), "log_bytes").last().copied().flatten());
        for query in ["group=billing", "topic=orders"] {
            until(|| history(to, query)["kept"].as_bool().filter(|kept| *kept));
        }
        for _ in 0..5 {
            call(to, "POST /v1/topics/orders/messages", "paid");
        }
        assert!(peak(to, "group=billing", "lag_seconds") > 0.0);
        assert_eq!(peak(to, "group=billing", "lag_messages"), 5.0);
        assert_eq!(peak(to, "", "lag_messages"), 5.0);
        // Of 5 messages in one second, or spread over a few; never more.
        let rate = peak(to, "", "produced_messages_per_s");
        assert!((0.5..8.0).contains(&rate), "{rate}");
        assert!((0.5..8.0).contains(&peak(to, "topic=orders", "produced_messages_per_s")));
        for name in ["fsync_p50_seconds", "fsync_p99_seconds", "produce_p99_seconds"] {
            assert!(peak(to, "", name) < 60.0, "{name}");
        }
        let open = TcpStream::connect(to).unwrap();
        assert!(peak(to, "", "connections") >= 1.0);
        drop(open);
        history(to, "series=produced_messages_per_s")
    })
    .await;
    let start = beginning(&before);
    let at = column(&before, "produced_messages_per_s").iter().position(|rate| *rate > Some(0.0)).unwrap();
    let taken = column(&before, "produced_messages_per_s").len();
    let kept = with_node_at(directory.path(), move |to| {
        until(|| (column(&history(to, ""), "log_bytes").len() > taken).then_some(()));
        history(to, "series=produced_messages_per_s,lag_messages")
    })
    .await;
    assert_eq!(beginning(&kept), start, "the past begins where it began");
    let values = column(&kept, "produced_messages_per_s");
    assert_eq!(values[at], column(&before, "produced_messages_per_s")[at]);
    // While it stood still nothing was known, and the first sample has nothing before it.
    assert!(values[at..].contains(&None), "{values:?}");
}

/// What a subscription had counted is no burst when it is made again before its counters are dropped.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_is_made_again_is_no_burst() {
    let directory = tempfile::tempdir().unwrap();
    with_node_at(directory.path(), |to| {
        let subscribe = |topic: &str| {
            let settings = format!("{{\"subscriptions\": [{{\"topic\": \"{topic}\"}}]}}");
            call(to, "PUT /v1/groups/billing", &settings)
        };
        let rates = || column(&history(to, "group=billing"), "delivered_messages_per_s");
        let known = || rates().into_iter().flatten().count();
        let two_more = |taken: usize| until(|| (known() >= taken + 2).then_some(()));
        call(to, "PUT /v1/topics/refunds", "{}");
        subscribe("orders");
        for _ in 0..20 {
            call(to, "POST /v1/topics/orders/messages", "paid");
        }
        two_more(0);
        call(to, "POST /v1/groups/billing/receive?max_messages=100&wait=5s", "");
        peak(to, "group=billing", "delivered_messages_per_s");
        two_more(known());
        let sum = || rates().into_iter().flatten().sum::<f64>();
        let before = sum();
        subscribe("refunds");
        two_more(known());
        subscribe("orders");
        two_more(known());
        assert_eq!(sum(), before, "nothing was delivered since");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_again_under_a_name_has_no_past() {
    let directory = tempfile::tempdir().unwrap();
    with_node_at(directory.path(), |to| {
        // A rate is the difference of two samples: the first one has to be there.
        until(|| column(&history(to, ""), "log_bytes").last().copied().flatten());
        for (path, settings, series) in [
            ("/v1/topics/orders", "{}", "produced_messages_per_s"),
            ("/v1/groups/billing", "{\"subscriptions\": [{\"topic\": \"orders\"}]}", "lag_messages"),
        ] {
            let query = path.replace("/v1/topics/", "topic=").replace("/v1/groups/", "group=");
            call(to, &format!("PUT {path}"), settings);
            call(to, "POST /v1/topics/orders/messages", "paid");
            peak(to, &query, series);
            let end = |found: &Value| {
                let steps = column(found, series).len() as u64;
                (steps > 3).then(|| beginning(found).plus((steps - 1) * 1_000))
            };
            let end = until(|| end(&history(to, &query)));
            let confirmed = format!("{path}?confirm={}", path.rsplit('/').next().unwrap());
            let deleted = client::send(to, ("DELETE", &confirmed), &[], b"");
            assert_eq!(deleted.status, 204, "{path}");
            call(to, &format!("PUT {path}"), settings);
            until(|| {
                let found = history(to, &query);
                // Neither before the next sample nor after it.
                assert!(beginning(&found) >= end, "{found}");
                found["kept"].as_bool().filter(|kept| *kept)
            });
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_cache_is_a_gap_and_no_reason_not_to_start() {
    let directory = tempfile::tempdir().unwrap();
    with_node_at(directory.path(), |to| {
        until(|| column(&history(to, ""), "log_bytes").last().copied().flatten());
    })
    .await;
    let cache = directory.path().join("history/curves");
    let mut bytes = std::fs::read(&cache).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&cache, &bytes).unwrap();
    let start = with_node_at(directory.path(), |to| {
        until(|| column(&history(to, ""), "log_bytes").last().copied().flatten());
        call(to, "POST /v1/topics/orders/messages", "paid");
        column(&history(to, ""), "log_bytes").len()
    })
    .await;
    assert!(start < 60, "{start} steps: the damaged past was used");
    assert_ne!(std::fs::read(&cache).unwrap(), bytes, "and it is written anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_node_is_watched_and_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    with_node_at(directory.path(), |to| {
        call(to, "PUT /v1/groups/billing", "{\"subscriptions\": [{\"topic\": \"orders\"}]}");
        let last = || call(to, "GET /readyz?verbose", "")["node"]["last"].clone();
        let samples = || {
            let column = column(&history(to, ""), "lag_messages");
            column.into_iter().flatten().inspect(|lag| assert_eq!(*lag, 0.0)).count()
        };
        until(|| (samples() >= 1).then_some(()));
        let (before, taken) = (last(), samples());
        until(|| (samples() >= taken + 3).then_some(()));
        assert_eq!(last(), before, "watching wrote to the log");
    })
    .await;
}
