//! The examples do what they say, against a real node, and what is right against a broker that is in trouble. They need the
//! languages that their readers have: what is not on this machine is counted and printed as skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::Uri;
use serde_json::{Value, json};
use whimbrel::config::ServeArgs;
use whimbrel::node::Node;

/// How to run the two programs of a language, and how to see that it is there.
struct Language {
    name: &'static str,
    probe: &'static [&'static str],
    send: &'static [&'static str],
    work: &'static [&'static str],
}

const LANGUAGES: [Language; 5] = [
    Language {
        name: "Python",
        probe: &["python3", "--version"],
        send: &["python3", "examples/python/send.py"],
        work: &["python3", "examples/python/work.py"],
    },
    Language {
        name: "Node",
        probe: &["node", "--version"],
        send: &["node", "examples/node/send.mjs"],
        work: &["node", "examples/node/work.mjs"],
    },
    Language {
        name: "Go",
        probe: &["go", "version"],
        send: &["go", "run", "examples/go/producer/main.go"],
        work: &["go", "run", "examples/go/worker/main.go"],
    },
    Language {
        name: "Java",
        probe: &["java", "--version"],
        send: &["java", "examples/java/Send.java"],
        work: &["java", "examples/java/Work.java"],
    },
    Language {
        name: "PHP",
        probe: &["php", "--version"],
        send: &["php", "examples/php/send.php"],
        work: &["php", "examples/php/work.php"],
    },
];

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

fn is_here(probe: &[&str]) -> bool {
    let probed =
        Command::new(probe[0]).args(&probe[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    probed.is_ok_and(|status| status.success())
}

/// Past the test harness, which keeps what a passing test prints: a skip has to be seen.
fn say(text: &str) {
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

/// Runs a program with `input` on its standard input.
fn run(to: SocketAddr, program: &[&str], arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program[0])
        .args(&program[1..])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("WHIMBREL_URL", format!("http://{to}"))
        .env("STOP_WHEN_EMPTY", "1")
        .env("WAIT", "1s")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Dropping the pipe ends the input. A program that gave up early reads no more of it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// One call of the interface, by curl as a reader would.
fn curl(arguments: &[&str]) -> Value {
    let output = Command::new("curl").arg("-sS").args(arguments).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Makes a group that allows one attempt, so that what fails is a dead letter at once.
fn make_strict_group(to: SocketAddr, group: &str, topic: &str) {
    let settings = json!({ "subscriptions": [{ "topic": topic }], "max_attempts": 1 }).to_string();
    curl(&["-X", "PUT", "-d", &settings, &format!("http://{to}/v1/groups/{group}")]);
}

/// The only dead letter of a group, whole.
#[track_caller]
fn only_dead_letter(to: SocketAddr, group: &str) -> Value {
    let dead = curl(&[&format!("http://{to}/v1/groups/{group}/dead-letters")]);
    assert_eq!(dead["dead_letters"].as_array().unwrap().len(), 1, "{dead}");
    let id = dead["dead_letters"][0]["id"].as_str().unwrap();
    curl(&[&format!("http://{to}/v1/groups/{group}/dead-letters/{id}")])
}

#[track_caller]
fn nothing_is_left(to: SocketAddr, group: &str) {
    let group = curl(&[&format!("http://{to}/v1/groups/{group}")]);
    assert_eq!((&group["topics"][0]["lag"], &group["in_flight"]), (&0.into(), &0.into()));
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A broker in trouble: does not take the first message for `busy` now, and does not know about any for `lost`.
struct Troubled {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Troubled {
    async fn start() -> Troubled {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let troubled = Troubled { address: listener.local_addr().unwrap(), asked: Arc::default() };
        let asked = Arc::clone(&troubled.asked);
        let answer = move |uri: Uri| async move {
            let mut asked = asked.lock().unwrap();
            asked.push(uri.path().to_owned());
            let status = match uri.path() {
                "/v1/topics/lost/messages" => 504,
                _ if asked.len() == 1 => 503,
                _ => 201,
            };
            (axum::http::StatusCode::from_u16(status).unwrap(), r#"{"code":"x","detail":"trouble"}"#)
        };
        let router = Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        troubled
    }

    /// How often it was asked since the last time.
    fn asked(&self) -> usize {
        std::mem::take(&mut *self.asked.lock().unwrap()).len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_and_workers_of_every_language() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(serve_args(directory.path())).await.unwrap();
    let to = node.addr();
    let troubled = Troubled::start().await;
    let work = tokio::task::spawn_blocking(move || {
        let mut skipped = Vec::new();
        for language in &LANGUAGES {
            if is_here(language.probe) {
                say(&format!("examples in {}: run", language.name));
                works_off_what_it_sent(to, language);
                bears_trouble(&troubled, language);
            } else {
                skipped.push(language.name);
            }
        }
        if !skipped.is_empty() {
            say(&format!(
                "examples: SKIPPED {} (not on this machine): {}",
                skipped.len(),
                skipped.join(", ")
            ));
        }
    });
    work.await.unwrap();
    node.stop().await;
}

#[track_caller]
fn works_off_what_it_sent(to: SocketAddr, language: &Language) {
    let (topic, group) = (format!("orders-{}", language.name), format!("billing-{}", language.name));
    make_strict_group(to, &group, &topic);
    // The last line has no line end, and one is empty, which the worker of each example refuses.
    succeeded(&run(to, language.send, &[&topic], "first\n\n\u{fc}mlaut \\ \"quoted\"\nlast"));
    let output = succeeded(&run(to, language.work, &[&group, &topic], ""));
    let mut billed: Vec<&str> = output.lines().collect();
    billed.sort_unstable();
    assert_eq!(
        billed,
        ["billed: first", "billed: last", "billed: \u{fc}mlaut \\ \"quoted\""],
        "{}",
        language.name
    );
    nothing_is_left(to, &group);
    let letter = only_dead_letter(to, &group);
    assert_eq!(letter["failures"][0]["reason"], "an empty order", "{}", language.name);
    // What the broker refuses, neither of the two hides.
    for (program, arguments) in [(language.send, vec!["-no-name"]), (language.work, vec!["-no-name", &topic])]
    {
        let refused = run(to, program, &arguments, "x\n");
        assert!(!refused.status.success(), "{}: {refused:?}", language.name);
    }
}

#[track_caller]
fn bears_trouble(troubled: &Troubled, language: &Language) {
    succeeded(&run(troubled.address, language.send, &["busy"], "x\n"));
    assert_eq!(troubled.asked(), 2, "{} sends again what was not stored", language.name);
    let unknown = run(troubled.address, language.send, &["lost"], "x\ny\n");
    assert!(!unknown.status.success(), "{}: {unknown:?}", language.name);
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(said.contains("not known whether this was stored"), "{}: {said}", language.name);
    assert_eq!(troubled.asked(), 1, "{} does not send again what may be stored", language.name);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_a_browser() {
    if !is_here(&["node", "--version"]) {
        return say("examples: SKIPPED the page (it is run by Node, which is not on this machine)");
    }
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(serve_args(directory.path())).await.unwrap();
    let to = node.addr();
    let troubled = Troubled::start().await;
    let work = tokio::task::spawn_blocking(move || {
        let page = |to: SocketAddr, topic: &str, rest: &[&str], input: &str| {
            let broker = format!("http://{to}");
            let arguments: Vec<&str> =
                ["examples/browser/index.html", &broker, topic, "page"].iter().chain(rest).copied().collect();
            succeeded(&run(to, &["node", "tests/page/run.mjs"], &arguments, input))
        };
        make_strict_group(to, "page", "orders");
        let said = page(to, "orders", &["send"], "first\n\nl\u{e4}st");
        assert_eq!(said, "stored: first\nstored: \nstored: l\u{e4}st\n");
        let refused = page(to, "-no-name", &["send"], "x");
        assert!(refused.starts_with("refused: "), "{refused}");
        let mut billed: Vec<String> =
            page(to, "orders", &["work"], "").lines().map(ToOwned::to_owned).collect();
        billed.sort();
        assert_eq!(billed, ["billed: first", "billed: l\u{e4}st"]);
        assert_eq!(only_dead_letter(to, "page")["failures"][0]["reason"], "an empty order");
        nothing_is_left(to, "page");

        assert_eq!(page(troubled.address, "busy", &["send"], "x"), "stored: x\n");
        assert_eq!(troubled.asked(), 2);
        assert_eq!(page(troubled.address, "lost", &["send"], "x"), "not known whether this was stored: x\n");
        assert_eq!(troubled.asked(), 1);
    });
    work.await.unwrap();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_in_bash_sees_every_line_and_gives_back_what_fails() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(serve_args(directory.path())).await.unwrap();
    let to = node.addr();
    let work = tokio::task::spawn_blocking(move || {
        let (send, work) = (["bash", "examples/curl/send.sh"], ["bash", "examples/curl/work.sh"]);
        // The last line has no line end, and one is empty.
        succeeded(&run(to, &send, &["orders"], "first\n\n\u{fc}mlaut \\ \"quoted\"\nlast"));
        let command = ["billing", "orders", "sh", "-c", "printf '<%s>' \"$(cat)\""];
        let mut seen: Vec<String> =
            succeeded(&run(to, &work, &command, "")).split_inclusive('>').map(ToOwned::to_owned).collect();
        seen.sort();
        assert_eq!(seen, ["<>", "<first>", "<last>", "<\u{fc}mlaut \\ \"quoted\">"]);
        nothing_is_left(to, "billing");

        // What fails is a dead letter at once, with the reason.
        make_strict_group(to, "strict", "orders");
        succeeded(&run(to, &work, &["strict", "orders", "sh", "-c", "! grep -q first"], ""));
        let letter = only_dead_letter(to, "strict");
        assert_eq!(letter["message"]["body"], "first");
        assert_eq!(letter["failures"][0]["reason"], "exit code 1");

        // What the broker refuses, the producer does not hide.
        let refused = run(to, &send, &["-not-a-name"], "x");
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    });
    work.await.unwrap();
    node.stop().await;
}
