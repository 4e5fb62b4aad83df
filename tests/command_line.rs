//! The commands of the binary against a real broker: what they print, and the code they end with.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::calls::Calls;
use support::process::{Broker, Launch, wait_at_most};

const BINARY: &str = env!("CARGO_BIN_EXE_whimbrel");

fn broker(folder: &Path) -> Broker {
    Launch::small(BINARY, &folder.join("data")).start_or_fail()
}

fn command(broker: &Broker, line: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(line).env("WHIMBREL_URL", format!("http://{}", broker.address()));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run_with(broker: &Broker, line: &[&str], input: &str) -> Output {
    let mut child = command(broker, line).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Runs a command that must end with `code`; returns what it printed.
#[track_caller]
fn ends(broker: &Broker, code: i32, line: &[&str]) -> String {
    let output = run_with(broker, line, "");
    assert_eq!(output.status.code(), Some(code), "{line:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn json(broker: &Broker, line: &[&str]) -> Value {
    serde_json::from_str(&ends(broker, 0, line)).unwrap()
}

#[test]
fn topics_groups_and_messages_are_managed_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path());
    assert_eq!(ends(&broker, 0, &["topic", "create", "orders", "--queues", "1"]), "topic orders made\n");
    ends(&broker, 1, &["topic", "create", "orders"]);
    assert_eq!(ends(&broker, 0, &["topic", "create", "orders", "--if-missing"]), "topic orders exists\n");
    let replaced = ends(&broker, 0, &["topic", "create", "orders", "--replace", "--queues", "2"]);
    assert_eq!(replaced, "topic orders replaced\n");
    ends(&broker, 0, &["topic", "create", "other"]);
    assert_eq!(ends(&broker, 0, &["topic", "list"]).lines().count(), 3);
    assert!(json(&broker, &["topic", "list", "-o", "json", "--limit", "1"])["next_cursor"].is_string());
    assert_eq!(json(&broker, &["topic", "show", "orders", "-o", "json"])["queues"], 2);

    let flags =
        ["--topic", "orders:paid || sent", "--lease", "9s", "--max-attempts", "1", "--retry", "1s,2s"];
    let line: Vec<&str> = ["group", "create", "billing"].iter().chain(&flags).copied().collect();
    ends(&broker, 0, &line);
    let group = json(&broker, &["group", "show", "billing", "-o", "json"]);
    assert_eq!(group["retry"]["steps_ms"], serde_json::json!([1_000, 2_000]));
    assert!(ends(&broker, 0, &["group", "list"]).contains("orders (paid || sent)"));
    ends(&broker, 0, &["group", "pause", "billing"]);
    assert!(ends(&broker, 0, &["group", "show", "billing"]).contains("state          paused"));
    let explained = ends(&broker, 0, &["group", "explain", "billing"]);
    let first = explained.lines().nth(1).unwrap();
    assert!(first.starts_with("all") && first.contains("paused"), "{explained}");
    assert_eq!(json(&broker, &["group", "explain", "billing", "-o", "json"])["blocked"], true);
    ends(&broker, 0, &["group", "resume", "billing"]);

    let stored = ends(&broker, 0, &["produce", "orders", "a\u{fc}", "--tag", "paid", "--key", "k"]);
    let id = stored.split_whitespace().next().unwrap();
    assert_eq!(ends(&broker, 0, &["message", id, "--body"]), "a\u{fc}");
    assert_eq!(json(&broker, &["message", id, "-o", "json"])["keys"][0], "k");
    let sought =
        ["group", "seek", "billing", "--topic", "orders", "--to", "latest", "--dry-run", "-o", "json"];
    assert_eq!(json(&broker, &sought)["skipped"], 1);
    ends(&broker, 1, &["topic", "delete", "orders"]);
    ends(&broker, 0, &["topic", "delete", "orders", "--force"]);
    ends(&broker, 1, &["topic", "show", "orders"]);
    ends(&broker, 0, &["group", "delete", "billing", "--force"]);
    ends(&broker, 4, &["consume", "readers", "--topic", "other", "--max", "1", "--wait", "50ms"]);
    ends(&broker, 2, &["topic", "list", "--output", "xml"]);
}

#[test]
fn a_topic_is_searched_and_followed_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path());
    ends(&broker, 0, &["topic", "create", "orders", "--queues", "1"]);
    for (body, tag) in [("one", "a"), ("two", "b"), ("three", "a")] {
        ends(&broker, 0, &["produce", "orders", body, "--tag", tag, "--key", "k"]);
    }
    let found = ends(&broker, 0, &["message", "search", "orders", "--key", "k", "--tag", "a"]);
    let rows: Vec<&str> = found.lines().collect();
    assert!(rows.len() == 3 && rows[1].ends_with("three") && rows[2].ends_with("one"), "{found}");
    let found = json(&broker, &["message", "search", "orders", "--contains", "wo", "-o", "json"]);
    assert_eq!(found["messages"][0]["body"], "two");
    ends(&broker, 1, &["message", "search", "nothing"]);
    ends(&broker, 2, &["message", "search", "orders", "--from", "soon"]);

    let told = ends(&broker, 0, &["tail", "orders", "--from", "earliest", "--max-events", "3"]);
    assert_eq!(told, "one\ntwo\nthree\n");
    let told = ends(
        &broker,
        0,
        &["tail", "orders", "--from", "earliest", "--tag", "a", "--for", "2s", "-o", "ndjson"],
    );
    assert_eq!(told.lines().count(), 2);
    ends(&broker, 4, &["tail", "orders", "--max-events", "1", "--for", "100ms"]);
    ends(&broker, 1, &["tail", "nothing"]);
    let mut follower = command(&broker, &["tail", "orders"]).spawn().unwrap();
    terminate(&follower);
    assert!(wait_at_most(&mut follower, Duration::from_secs(60)).is_some());
}

#[test]
fn what_is_scheduled_is_listed_and_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path());
    for body in ["one", "two"] {
        ends(&broker, 0, &["produce", "orders", body, "--delay", "1h", "--tag", body]);
    }
    let list = json(&broker, &["scheduled", "list", "orders", "-o", "json"]);
    let ids = [0, 1].map(|at| list["messages"][at]["id"].as_str().unwrap().to_owned());
    assert!(ends(&broker, 0, &["scheduled", "list", "orders"]).contains("  one"));
    let done = ends(&broker, 0, &["scheduled", "cancel", &ids[0], &ids[1]]);
    assert_eq!(done.matches("cancelled").count(), 2, "{done}");
    assert_eq!(json(&broker, &["message", &ids[0], "-o", "json"])["state"], "cancelled");
    assert!(ends(&broker, 0, &["message", &ids[0]]).contains("cancelled"));
    let now = ends(&broker, 0, &["produce", "orders", "now"]);
    let id = now.split_whitespace().next().unwrap();
    assert!(ends(&broker, 1, &["scheduled", "cancel", id]).contains("not scheduled any more"));
    ends(&broker, 2, &["scheduled", "cancel"]);
    ends(&broker, 1, &["scheduled", "list", "nothing"]);
}

#[test]
fn what_a_command_fails_at_becomes_a_dead_letter_and_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path());
    ends(&broker, 0, &["group", "create", "strict", "--topic", "orders", "--max-attempts", "1"]);
    let lines = run_with(
        &broker,
        &["produce", "orders", "--rate", "1000", "--property", "who=me"],
        "good\nbad\nworse\n",
    );
    assert_eq!(lines.status.code(), Some(0), "{lines:?}");
    let fails_on_b = "grep -q '^good' && [ \"$MQ_PROP_WHO $MQ_TOPIC $MQ_ATTEMPT\" = 'me orders 1' ]";
    ends(&broker, 0, &["consume", "strict", "--exec", fails_on_b, "--concurrency", "2", "--max", "3"]);

    assert_eq!(ends(&broker, 0, &["dlq", "list", "strict"]).lines().count(), 3);
    let exported = ends(&broker, 0, &["dlq", "export", "strict"]);
    let letters: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut bodies: Vec<&str> =
        letters.iter().map(|letter| letter["message"]["body"].as_str().unwrap()).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, ["bad", "worse"]);
    let id = letters[0]["id"].as_str().unwrap();
    assert!(ends(&broker, 0, &["dlq", "show", "strict", id]).contains("nack: exit code 1"));

    ends(&broker, 2, &["dlq", "purge", "strict"]);
    ends(&broker, 0, &["dlq", "redrive", "strict", id]);
    ends(&broker, 1, &["dlq", "redrive", "strict", id]);
    let again = ends(&broker, 0, &["consume", "strict", "--topic", "orders", "--max", "1", "-o", "ndjson"]);
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!((&again["id"], &again["round"]), (&letters[0]["id"], &2.into()));
    let would = ends(&broker, 0, &["dlq", "redrive", "strict", "--failure", "exit code 1", "--dry-run"]);
    assert_eq!(would, "1 dead letters would move\n");
    let other = letters[1]["id"].as_str().unwrap();
    assert_eq!(ends(&broker, 0, &["dlq", "export", "strict", "--after", other]), "");
    ends(&broker, 0, &["topic", "create", "parked"]);
    let job =
        ends(&broker, 0, &["dlq", "redrive", "strict", "--all", "--to", "parked", "--wait", "-o", "json"]);
    let job: Value = serde_json::from_str(&job).unwrap();
    assert_eq!((&job["state"], &job["moved"]), (&"done".into(), &1.into()), "{job}");
    let id = job["id"].as_str().unwrap();
    assert!(ends(&broker, 0, &["jobs", "list"]).contains("strict  parked  done"));
    assert!(ends(&broker, 0, &["jobs", "show", id]).contains("looked      1/1"));
    ends(&broker, 1, &["jobs", "cancel", id]);
    let parked = ends(&broker, 0, &["consume", "park", "--topic", "parked", "--max", "1", "-o", "ndjson"]);
    let parked: Value = serde_json::from_str(&parked).unwrap();
    assert_eq!(parked["properties"]["dlq_origin_id"], *other);
    assert_eq!(ends(&broker, 0, &["dlq", "purge", "strict", "--force"]), "0 dead letters of strict purged\n");
}

#[test]
fn clients_are_listed_and_only_a_socket_is_disconnected() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path());
    assert_eq!(ends(&broker, 0, &["clients", "list"]).lines().count(), 1, "the titles");
    ends(&broker, 0, &["produce", "orders", "one"]);
    ends(&broker, 0, &["consume", "readers", "--topic", "orders", "--max", "1", "--client", "worker \u{fc}"]);
    let listed = json(&broker, &["clients", "list", "--group", "readers", "-o", "json"]);
    assert_eq!(
        (&listed["clients"][0]["name"], &listed["clients"][1]),
        (&"worker \u{fc}".into(), &Value::Null)
    );
    assert!(ends(&broker, 0, &["clients", "list"]).contains("readers (0 in flight)"));
    assert_eq!(
        json(&broker, &["clients", "list", "--group", "nobody", "-o", "json"])["clients"],
        serde_json::json!([])
    );
    ends(&broker, 1, &["clients", "disconnect", listed["clients"][0]["id"].as_str().unwrap()]);
    ends(&broker, 1, &["clients", "disconnect", "0123456789ab"]);
    ends(&broker, 2, &["clients", "disconnect", "worker"]);
}

#[test]
fn alerts_are_looked_at_and_silenced_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path());
    assert!(ends(&broker, 0, &["alert", "rules"]).contains("GroupLag"));
    assert_eq!(
        ends(&broker, 0, &["alert", "list", "--severity", "critical"]).lines().count(),
        1,
        "the titles"
    );
    let line = ["alert", "silence", "alertname=GroupLag", "group!=billing", "--comment", "moving"];
    let made = json(&broker, &[&line[..], &["--for", "1h", "--created-by", "ann", "-o", "json"]].concat());
    let id = made["id"].as_str().unwrap();
    let listed = ends(&broker, 0, &["alert", "silences"]);
    assert!(listed.contains("alertname=GroupLag group!=billing") && listed.contains("active"), "{listed}");
    ends(&broker, 0, &["alert", "unsilence", id]);
    assert!(ends(&broker, 0, &["alert", "silences"]).contains("expired"));
    ends(&broker, 2, &["alert", "silence", "billing", "--comment", "no label", "--created-by", "ann"]);
    ends(&broker, 1, &["alert", "test", "nobody"]);
    // Nobody is told yet: a receiver is made by the interface. The guard refuses where this one leads.
    let receiver = serde_json::json!({"kind": "webhook", "url": "http://127.0.0.1:1/"});
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        Calls::to(broker.address()).expect(201, "PUT", "/v1/alerts/receivers/ops", &receiver).await
    });
    assert!(ends(&broker, 0, &["alert", "receivers"]).contains("ops"));
    let tested = run_with(&broker, &["alert", "test", "ops"], "");
    let said = String::from_utf8_lossy(&tested.stderr).into_owned();
    assert!(tested.status.code() == Some(1) && said.contains("--webhook-allow"), "{said}");
    assert_eq!(
        json(&broker, &["alert", "deliveries", "--receiver", "ops", "-o", "json"])["deliveries"],
        serde_json::json!([])
    );
    ends(&broker, 1, &["alert", "redeliver", "1"]);
}

#[test]
fn a_worker_that_is_told_to_stop_finishes_its_message() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path());
    ends(&broker, 0, &["produce", "orders", "one"]);
    ends(&broker, 0, &["produce", "orders", "two"]);
    let path = |name: &str| folder.path().join(name);
    let script = format!(
        "touch '{}'; until [ -e '{}' ]; do sleep 0.02; done",
        path("started").display(),
        path("go").display()
    );
    let line = ["consume", "workers", "--topic", "orders", "--exec", &script];
    let mut worker = command(&broker, &line).spawn().unwrap();
    wait_for(&path("started"));
    terminate(&worker);
    // The command is still running; the worker must not have gone.
    assert_eq!(wait_at_most(&mut worker, Duration::from_millis(300)), None);
    std::fs::write(path("go"), "").unwrap();
    let status = wait_at_most(&mut worker, Duration::from_secs(60)).unwrap();
    assert_eq!(status.code(), Some(0));
    let group = json(&broker, &["group", "show", "workers", "-o", "json"]);
    assert_eq!((&group["topics"][0]["lag"], &group["in_flight"]), (&1.into(), &0.into()));
}

#[tokio::test]
async fn serve_reads_a_file_then_the_environment_then_flags() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("whimbrel.toml");
    std::fs::write(&file, "max_connections = 11\nmax_wait = \"2s\"\n").unwrap();
    let told = ["--config", file.to_str().unwrap(), "--max-wait", "3s"];
    let broker = Launch::small(BINARY, &folder.path().join("data")).with(&told).start_or_fail();
    let limits = Calls::to(broker.address()).expect(200, "GET", "/v1/limits", &Value::Null).await;
    assert_eq!((&limits["connections_max"], &limits["wait_ms_max"]), (&11.into(), &3_000.into()));

    // The page shows each with where it comes from.
    let page = Calls::to(broker.address()).call("GET", "/config", b"").await.text();
    let row =
        |key: &str| page.split("<tr>").find(|row| row.contains(&format!("<code>{key}</code>"))).unwrap();
    for (key, value, origin) in [
        ("max_connections", "11", "whimbrel.toml"),
        ("max_wait", "3s", "--max-wait"),
        ("request_timeout", "30s", "default"),
    ] {
        assert!(
            row(key).contains(&format!("<code>{value}</code>")) && row(key).contains(origin),
            "{}",
            row(key)
        );
    }

    let config = |environment: (&str, &str)| {
        let line = ["config", "--config", file.to_str().unwrap(), "-o", "json"];
        command(&broker, &line).env(environment.0, environment.1).output().unwrap()
    };
    let printed: Value = serde_json::from_slice(&config(("WHIMBREL_MAX_WAIT", "4s")).stdout).unwrap();
    let setting =
        printed["settings"].as_array().unwrap().iter().find(|row| row["key"] == "max_wait").unwrap();
    let found = (&setting["value"], &setting["origin"], &setting["source"]);
    assert_eq!(found, (&"4s".into(), &"environment".into(), &"WHIMBREL_MAX_WAIT".into()));
    let refused = config(("WHIMBREL_MAX_WIAT", "4s"));
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("did you mean 'WHIMBREL_MAX_WAIT'?"));
    std::fs::write(&file, "max_conections = 11\n").unwrap();
    let serve = Command::new(BINARY).args(["serve", "--config"]).arg(&file).output().unwrap();
    assert_eq!(serve.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&serve.stderr).contains("did you mean 'max_connections'?"));
}

#[test]
fn doctor_tells_a_healthy_broker_from_none() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path());
    assert_eq!(ends(&broker, 0, &["doctor", "--ready"]), "ready\n");
    let checks = json(&broker, &["doctor", "-o", "json"]);
    let checks = checks["checks"].as_array().unwrap();
    assert!(checks.len() > 5 && checks.iter().all(|row| row["verdict"] == "ok"), "{checks:?}");
    let data = folder.path().join("data");
    let looked = ends(&broker, 0, &["doctor", "--data", data.to_str().unwrap()]);
    assert!(looked.contains(&format!("a broker runs on it (process {})", broker.pid())), "{looked}");
    let address = broker.address();
    broker.kill();
    for line in [
        &["doctor"][..],
        &["doctor", "--ready"],
        &["topic", "list"],
        &["produce", "t", "x", "--retry-for", "0"],
    ] {
        let url = format!("http://{address}");
        let output = Command::new(BINARY).args(line).args(["--url", &url]).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{line:?}: {output:?}");
    }
}

/// Passes on what goes between clients and a broker; of its first connection it keeps the answer to itself.
fn lossy(to: std::net::SocketAddr) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (number, client) in (0..).zip(listener.incoming()) {
            let Ok(client) = client else { return };
            let broker = TcpStream::connect(to).unwrap();
            let (mut from, mut into) = (client.try_clone().unwrap(), broker.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut into);
                let _ = into.shutdown(Shutdown::Both);
            });
            if number == 0 {
                // The broker has answered, so it is stored; then the line is cut.
                let _ = (&broker).read(&mut [0; 4_096]);
                let _ = client.shutdown(Shutdown::Both);
                continue;
            }
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut &broker, &mut &client);
                let _ = client.shutdown(Shutdown::Both);
            });
        }
    });
    url
}

#[test]
fn a_lost_answer_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path());
    let send = |topic: &str, more: &[&str], input: &str| {
        let url = lossy(broker.address());
        let line: Vec<&str> = ["produce", topic, "--url", &url].iter().chain(more).copied().collect();
        run_with(&broker, &line, input)
    };
    // It prints all there is, and ends with 4 because more was asked for.
    let bodies = |topic: &str| {
        ends(&broker, 4, &["consume", topic, "--topic", topic, "--max", "9", "--wait", "500ms"])
    };
    let output = send("one", &["hello"], "");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("under the same key"), "{output:?}");
    assert_eq!(bodies("one"), "hello\n");
    let output = send("many", &["-"], "a\nb\nc\n");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let mut lines: Vec<String> = bodies("many").lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["a", "b", "c"]);
    // Without a key nobody knows, and it is not sent again.
    let output = send("unkeyed", &["--unkeyed", "hello"], "");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(bodies("unkeyed"), "hello\n");
}

#[test]
fn a_script_of_completions_is_printed_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = Command::new(BINARY).args(["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains("redrive"), "{shell}");
    }
}

/// A short load on any disk; `line` says which.
fn bench(broker: &Broker, folder: &Path, line: &[&str]) -> Value {
    let data = folder.join("data");
    let short =
        ["--duration", "300ms", "--size", "100", "--connections", "4", "--allow-memory", "--json", "--data"];
    let line: Vec<&str> = ["bench"].iter().chain(line).chain(&short).copied().collect();
    let output = run_with(broker, &[&line[..], &[data.to_str().unwrap()]].concat(), "");
    assert_eq!(output.status.code(), Some(0), "{line:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn bench_measures_every_load_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path());
    let brief = ["--warmup", "50ms"];
    for transport in ["http", "ws"] {
        for line in [
            &["produce"][..],
            &["produce", "--rate", "500/s"],
            &["pipeline"],
            &["pipeline", "--rate", "500"],
            &["fan-out", "--groups", "3", "--rate", "200"],
            &["fan-out", "--groups", "3"],
            &["delay", "--delay", "200ms", "--rate", "500"],
        ] {
            let found = bench(&broker, folder.path(), &[line, &brief, &["--transport", transport]].concat());
            assert!(found["messages"].as_u64().unwrap() > 0, "{line:?} {found}");
            assert!(found["latency_ms"]["p50"].as_f64().unwrap() > 0.0, "{line:?} {found}");
            assert_eq!(found["left_behind"], serde_json::json!([]), "{line:?}");
            if let Some(rate) = found["rate_per_s"].as_u64() {
                // 300 ms at this rate, to every group; each is finished and timed, however slow the machine is.
                let groups = if line[0] == "produce" { 1 } else { found["groups"].as_u64().unwrap() };
                let due = rate * 3 / 10 * groups;
                let samples = &found["latency_ms"]["samples"];
                assert_eq!((&found["schedule"]["due"], samples), (&due.into(), &due.into()), "{line:?}");
                assert_eq!(found["schedule"]["unfinished"], 0, "{line:?} {found}");
            }
            if line[0] == "delay" {
                assert_eq!(found["early_messages"], 0);
            }
        }
        let line = ["consume", "--messages", "1234", "--transport", transport];
        let patient = [&line[..], &["--duration", "60s"]].concat();
        let found = consumed(&broker, folder.path(), &patient);
        assert_eq!((&found["messages"], &found["remaining_messages"]), (&1_234.into(), &0.into()));
    }
    for plural in ["topics", "groups"] {
        let list = json(&broker, &[&plural[..plural.len() - 1], "list", "-o", "json"]);
        assert_eq!(list[plural], serde_json::json!([]), "{list}");
    }
}

/// A backlog is worked off to its end, however long that takes.
fn consumed(broker: &Broker, folder: &Path, line: &[&str]) -> Value {
    let data = folder.join("data");
    let more =
        ["--size", "100", "--connections", "4", "--allow-memory", "--json", "--data", data.to_str().unwrap()];
    json(broker, &[&["bench"], line, &more].concat())
}

#[test]
fn bench_keeps_a_topic_that_was_given_and_compares_two_results() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (before, after) = (path("before.json"), path("after.json"));
    let mut found = bench(&broker, folder.path(), &["produce", "--topic", "kept", "--warmup", "0"]);
    assert_eq!(found["topic"], "kept");
    ends(&broker, 0, &["topic", "show", "kept"]);
    std::fs::write(&before, found.to_string()).unwrap();
    found["messages_per_s"] = (found["messages_per_s"].as_f64().unwrap() / 2.0).into();
    found["connections"] = 5.into();
    std::fs::write(&after, found.to_string()).unwrap();
    let compared = ends(&broker, 0, &["bench", "--compare", &before, &after]);
    assert!(compared.contains("0.500") && compared.contains("connections: 4 -> 5"), "{compared}");
    ends(&broker, 1, &["bench", "--compare", &before, &after, "--tolerance", "49%"]);
    ends(&broker, 0, &["bench", "--compare", &before, &after, "--tolerance", "51"]);
    ends(&broker, 2, &["bench", "produce", "--compare", &before, &after]);
    ends(&broker, 2, &["bench"]);
    ends(&broker, 2, &["bench", "--compare", &before, "/proc/self/status"]);
}

#[test]
fn bench_that_is_stopped_deletes_what_it_made() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path());
    let data = folder.path().join("data");
    let line = ["bench", "pipeline", "--duration", "1h", "--allow-memory", "--data", data.to_str().unwrap()];
    let mut load = command(&broker, &line).spawn().unwrap();
    while json(&broker, &["group", "list", "-o", "json"])["groups"] == serde_json::json!([]) {
        std::thread::sleep(Duration::from_millis(5));
    }
    terminate(&load);
    let status = wait_at_most(&mut load, Duration::from_secs(60)).unwrap();
    assert_eq!(status.code(), Some(1));
    for plural in ["topics", "groups"] {
        let list = json(&broker, &[&plural[..plural.len() - 1], "list", "-o", "json"]);
        assert_eq!(list[plural], serde_json::json!([]), "{list}");
    }
}

fn wait_for(path: &Path) {
    while !path.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn terminate(child: &Child) {
    let status = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn every_command_of_the_runbooks_is_one() {
    use clap::Parser;
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/RUNBOOKS.md")).unwrap();
    let commands: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("    whimbrel ")).collect();
    assert!(commands.len() > 5, "{commands:?}");
    for command in commands {
        let words = std::iter::once("whimbrel").chain(command.split(' '));
        if let Err(error) = whimbrel::cli::Cli::try_parse_from(words) {
            panic!("whimbrel {command}: {error}");
        }
    }
}
