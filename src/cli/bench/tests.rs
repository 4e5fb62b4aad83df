use std::collections::HashSet;

use hdrhistogram::Histogram;

use super::tally::KeptPace;
use super::*;
use crate::cli::ClientCommand;
use crate::cli::tests::parsed;

fn args(more: &[&str]) -> BenchArgs {
    let line: Vec<&str> = ["bench"].iter().chain(more).copied().collect();
    match parsed(&line) {
        ClientCommand::Bench(args) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn flags_that_do_not_fit_are_refused_by_name() {
    for (line, name) in [
        (vec!["produce", "--batch", "0"], "--batch"),
        (vec!["produce", "--batch", "1001"], "--batch"),
        (vec!["produce", "--batch", "1000", "--size", "100000"], "--batch"),
        (vec!["produce", "--batch", "10", "--transport", "ws"], "--batch"),
        (vec!["produce", "--keyed", "--transport", "ws"], "--keyed"),
        (vec!["produce", "--pipeline-depth", "10"], "--pipeline-depth"),
        (vec!["produce", "--pipeline-depth", "1001", "--transport", "ws"], "--pipeline-depth"),
        (vec!["pipeline", "--size", "35"], "--size"),
        (vec!["produce", "--size", "5000000"], "--size"),
        (vec!["pipeline", "--connections", "1"], "--connections"),
        (vec!["produce", "--duration", "0"], "--duration"),
        (vec!["produce", "--groups", "2"], "--groups"),
        (vec!["produce", "--delay", "2s"], "--delay"),
        (vec!["pipeline", "--messages", "2"], "--messages"),
        (vec!["consume", "--rate", "2"], "--rate"),
        (vec!["consume", "--interval", "2s"], "--interval"),
        (vec!["consume", "--warmup", "2s"], "--warmup"),
        (vec!["consume", "--keyed"], "--keyed"),
        (vec!["consume", "--batch", "1001"], "--batch"),
        (vec!["delay", "--interval", "2s"], "--interval"),
        (vec!["delay", "--delay", "0"], "--delay"),
        (vec!["delay", "--delay", "41d", "--rate", "1"], "--delay"),
        (vec!["delay", "--delay", "1h", "--rate", "500"], "--rate"),
        (vec!["fan-out", "--groups", "16"], "--connections 17"),
        (vec!["fan-out", "--groups", "17", "--transport", "ws"], "--connections 17"),
    ] {
        let error = args(&line).plan().unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line:?}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_plan_takes_the_defaults_of_its_transport() {
    let http = args(&["produce"]).plan().unwrap();
    assert_eq!((http.connections, http.size, http.batch, http.depth), (16, 1_024, 1, 1));
    assert_eq!(args(&["pipeline", "--transport", "ws"]).plan().unwrap().depth, 100);
    let consume = args(&["consume"]).plan().unwrap();
    assert_eq!((consume.batch, consume.backlog, consume.warmup), (100, 100_000, Duration::ZERO));
    let delay = args(&["delay"]).plan().unwrap();
    assert_eq!((delay.pace, delay.delay), (Pace::Rate(1_000), Duration::from_secs(1)));
    for text in ["500", "500/s"] {
        assert_eq!(args(&["produce", "--rate", text]).plan().unwrap().pace, Pace::Rate(500));
    }
}

#[test]
fn connections_are_shared_by_how_often_a_message_goes_each_way() {
    let shares = |line: &[&str]| {
        let plan = args(line).plan().unwrap();
        (plan.senders(), plan.connections)
    };
    assert_eq!(shares(&["produce"]), (16, 16));
    assert_eq!(shares(&["pipeline", "--connections", "5"]), (2, 5));
    assert_eq!(shares(&["fan-out", "--groups", "4"]), (3, 16));
    assert_eq!(shares(&["fan-out", "--groups", "15"]), (1, 16));
    assert_eq!(shares(&["fan-out", "--groups", "16", "--transport", "ws"]), (16, 16));
    assert_eq!(shares(&["consume"]), (0, 16));
    let due = args(&["fan-out", "--rate", "100", "--duration", "3s"]).plan().unwrap().due();
    assert_eq!(due, 1_200, "100 a second for 3 seconds to 4 groups");
}

#[test]
fn quantiles_and_rates_are_what_was_recorded() {
    let mut latency = Histogram::<u64>::new_with_bounds(1, 1_000_000_000, 3).unwrap();
    for micros in 1..=1_000 {
        latency.record(micros * 1_000).unwrap();
    }
    let behind_max = Duration::from_micros(1_500);
    let patience = Duration::from_secs(5);
    let kept_pace = Some(KeptPace { due: 1_000, unfinished: 3, patience, late: 7, behind_max });
    let elapsed = Duration::from_secs(2);
    let (early, remaining, left_behind) = (0, 0, vec!["topic t (gone wrong)".to_owned()]);
    let measured = Measured { messages: 1_000, elapsed, latency, kept_pace, early, remaining, left_behind };
    assert!((measured.rate() - 500.0).abs() < 1e-9);
    for (quantile, micros) in [(0.5, 500.0), (0.9, 900.0), (0.99, 990.0), (0.999, 999.0)] {
        let found = measured.latency_us(quantile);
        assert!((found - micros).abs() / micros < 0.002, "{quantile}: {found}");
    }
    let plan = args(&["produce", "--size", "2000"]).plan().unwrap();
    let report = report::Report::new(&plan, &measured, None, "1.2.3".to_owned());
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["messages_per_s"], 500.0);
    assert_eq!(json["megabytes_per_s"], 1.0);
    let text = report.to_string();
    assert_eq!((&json["format"], &json["version"]), (&"whimbrel-bench".into(), &1.into()));
    assert_eq!(json["schedule"]["behind_max_ms"], 1.5);
    assert_eq!(json["delay_ms"], serde_json::Value::Null);
    let wanted = ["500 messages/s", "p99.9", "fdatasync on a quorum", "kernel", "another host", "1.2.3"];
    for part in
        wanted.iter().chain(&["of 1000 due 3 were unfinished", "the latest 1.5 ms", "topic t (gone wrong)"])
    {
        assert!(text.contains(part), "{part} in {text}");
    }
}

mod broker {
    //! A hand-made broker for the load: keeps nothing, answers as the interface says.

    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::body::Bytes;
    use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
    use axum::extract::{Path, State};
    use axum::http::StatusCode;
    use axum::routing::{any, get, post, put};
    use serde_json::{Value, json};

    /// Bodies that wait, everything ever acked, and how many requests came.
    #[derive(Default)]
    pub(super) struct Kept {
        pub(super) ready: Vec<Value>,
        pub(super) acked: Vec<String>,
        pub(super) groups: Vec<String>,
        next: u64,
    }

    pub(super) type Shared = Arc<Mutex<Kept>>;

    fn keep(kept: &Shared, body: &Value) {
        let mut kept = kept.lock().unwrap();
        kept.next += 1;
        let receipt = format!("r{}", kept.next);
        kept.ready.push(json!({"body": body, "encoding": "utf8", "receipt": receipt}));
    }

    fn take(kept: &Shared, most: usize) -> Vec<Value> {
        let mut kept = kept.lock().unwrap();
        let count = kept.ready.len().min(most);
        kept.ready.drain(..count).collect()
    }

    fn ack(kept: &Shared, request: &Value) -> Value {
        let receipts = request["receipts"].as_array().unwrap();
        let texts = receipts.iter().map(|receipt| receipt.as_str().unwrap().to_owned());
        kept.lock().unwrap().acked.extend(texts);
        receipts.iter().map(|receipt| json!({"receipt": receipt, "op": "ack", "status": "ok"})).collect()
    }

    async fn one(State(kept): State<Shared>, body: Bytes) -> (StatusCode, String) {
        keep(&kept, &Value::from(std::str::from_utf8(&body).unwrap()));
        (StatusCode::CREATED, r#"{"id":"m","queue":0,"offset":0}"#.to_owned())
    }

    async fn many(State(kept): State<Shared>, body: String) -> String {
        let bodies: Vec<Value> =
            body.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["body"].clone()).collect();
        bodies.iter().for_each(|body| keep(&kept, body));
        json!({"failed": 0, "results": vec![json!({"id": "m"}); bodies.len()]}).to_string()
    }

    async fn receive(State(kept): State<Shared>) -> String {
        let messages = take(&kept, 100);
        if messages.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        json!({ "messages": messages }).to_string()
    }

    async fn acks(State(kept): State<Shared>, body: String) -> String {
        json!({"results": ack(&kept, &serde_json::from_str(&body).unwrap())}).to_string()
    }

    async fn group(State(kept): State<Shared>, Path(name): Path<String>) -> StatusCode {
        kept.lock().unwrap().groups.push(name);
        StatusCode::CREATED
    }

    async fn socket(State(kept): State<Shared>, upgrade: WebSocketUpgrade) -> axum::response::Response {
        upgrade.protocols(["mq.v1.json"]).on_upgrade(move |socket| talk(socket, kept))
    }

    async fn talk(mut socket: WebSocket, kept: Shared) {
        let text = |value: Value| Message::Text(value.to_string().into());
        let _ = socket.send(text(json!({"type": "welcome"}))).await;
        let mut subscribed = false;
        while let Some(Ok(message)) = socket.recv().await {
            let Message::Text(frame) = message else { continue };
            let frame: Value = serde_json::from_str(&frame).unwrap();
            let answer = match frame["type"].as_str().unwrap() {
                "subscribe" => {
                    subscribed = true;
                    json!({"type": "subscribed", "re": frame["id"]})
                }
                "publish" => {
                    keep(&kept, &frame["body"]);
                    json!({"type": "published", "re": frame["id"], "id": "m", "queue": 0, "offset": 0})
                }
                "ack" => json!({"type": "settled", "re": frame["id"], "results": ack(&kept, &frame)}),
                other => json!({"type": "error", "code": "unknown", "detail": other}),
            };
            let _ = socket.send(text(answer)).await;
            let messages = if subscribed { take(&kept, 100) } else { Vec::new() };
            if !messages.is_empty() {
                let _ = socket
                    .send(text(json!({"type": "messages", "sub": "bench", "messages": messages})))
                    .await;
            }
        }
    }

    /// Serves until the test process ends; the load makes its own runtimes, so this one needs a thread.
    pub(super) fn start() -> (String, Shared) {
        let kept = Shared::default();
        let router = Router::new()
            .route("/v1/topics/{topic}/messages", post(one))
            .route("/v1/topics/{topic}/messages/batch", post(many))
            .route("/v1/topics/{topic}", put(any_ok).delete(any_ok))
            .route("/v1/groups/{group}", put(group).delete(any_ok))
            .route("/v1/groups/{group}/receive", post(receive))
            .route("/v1/groups/{group}/ack", post(acks))
            .route("/v1/ws", get(socket))
            .fallback(any(|| async { (StatusCode::NOT_FOUND, r#"{"code":"not_found"}"#) }))
            .with_state(kept.clone());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, router).await
            })
        });
        (url, kept)
    }

    async fn any_ok() -> StatusCode {
        StatusCode::NO_CONTENT
    }
}

fn short(url: &str, more: &[&str]) -> Measured {
    let line: Vec<&str> = more
        .iter()
        .chain(&["--url", url, "--duration", "400ms", "--warmup", "0", "--size", "100"])
        .copied()
        .collect();
    measure(&args(&line).plan().unwrap()).unwrap()
}

#[test]
fn produce_over_http_counts_only_what_was_stored() {
    let (url, kept) = broker::start();
    let measured = short(&url, &["produce", "--connections", "5"]);
    let stored = kept.lock().unwrap().ready.len() as u64;
    assert!(measured.messages > 0 && measured.messages <= stored && stored <= measured.messages + 5);
    assert_eq!(measured.latency.len(), measured.messages);
    let measured = short(&url, &["produce", "--batch", "10", "--connections", "2", "--threads", "1"]);
    assert_eq!(measured.messages % 10, 0);
    assert!(kept.lock().unwrap().ready.iter().all(|message| message["body"].as_str().unwrap().len() == 100));
}

#[test]
fn produce_over_websocket_keeps_the_depth() {
    let (url, kept) = broker::start();
    let measured =
        short(&url, &["produce", "--transport", "ws", "--connections", "3", "--pipeline-depth", "7"]);
    let stored = kept.lock().unwrap().ready.len() as u64;
    assert!(measured.messages > 0 && measured.messages <= stored && stored <= measured.messages + 3 * 7);
}

#[test]
fn a_pipeline_counts_each_message_once_it_is_acked() {
    for transport in ["http", "ws"] {
        let (url, kept) = broker::start();
        let measured = short(&url, &["pipeline", "--transport", transport, "--connections", "4"]);
        let kept = kept.lock().unwrap();
        assert!(measured.messages > 0 && measured.messages <= kept.acked.len() as u64, "{transport}");
        let distinct: HashSet<&String> = kept.acked.iter().collect();
        assert_eq!(distinct.len(), kept.acked.len());
        assert_eq!(kept.groups.len(), 1);
    }
}

#[test]
fn an_interval_paces_each_connection() {
    let (url, kept) = broker::start();
    let line = [
        "pipeline",
        "--transport",
        "ws",
        "--connections",
        "1",
        "--interval",
        "20ms",
        "--pipeline-depth",
        "1",
    ];
    short(&url, &line);
    // 400 ms hold at most 20 sends 20 ms apart, however slow or fast the machine is.
    let sent = kept.lock().unwrap().acked.len();
    assert!((1..=20).contains(&sent), "{sent}");
}

#[test]
fn a_refusal_ends_the_run_with_its_reason() {
    let (url, _) = broker::start();
    let plan =
        Plan { topic: Some("../nowhere".to_owned()), ..args(&["produce", "--url", &url]).plan().unwrap() };
    let error = measure(&plan).unwrap_err();
    assert!(error.to_string().contains("not_found"), "{error}");
}

#[test]
fn a_rate_sends_what_is_due_and_finishes_it() {
    for line in [
        vec!["produce", "--rate", "300"],
        vec!["produce", "--rate", "300", "--transport", "ws", "--connections", "3"],
        vec!["produce", "--rate", "300", "--batch", "10", "--connections", "3"],
        vec!["pipeline", "--rate", "300"],
        vec!["pipeline", "--rate", "300", "--transport", "ws", "--connections", "3"],
    ] {
        let (url, kept) = broker::start();
        let measured = short(&url, &line);
        let kept_pace = measured.kept_pace.unwrap();
        // 400 ms of 300 a second; a batch of ten is timed as one.
        let requests = if line.contains(&"--batch") { 12 } else { 120 };
        assert_eq!((kept_pace.due, kept_pace.unfinished), (requests, 0), "{line:?}");
        assert_eq!(measured.latency.len(), requests, "{line:?}");
        let kept = kept.lock().unwrap();
        assert_eq!(kept.ready.len() + kept.acked.len(), 120, "{line:?}");
    }
}
