//! Backups of a running node: under load, beside the cleaner, to readers that stop reading, over a stop; and what a
//! restored copy holds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

#[allow(dead_code, reason = "each test binary uses its own part")]
mod client;
mod support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::calls::Calls;
use support::dice::{Dice, seed};
use support::process::Launch;
use tokio::sync::{Mutex, MutexGuard};
use whimbrel::config::ServeArgs;
use whimbrel::node::Node;
use whimbrel::storage;

const BINARY: &str = env!("CARGO_BIN_EXE_whimbrel");
/// Long enough for the slowest machine; no test waits for it unless it fails.
const PATIENCE: Duration = Duration::from_secs(90);

fn run(line: &[&str]) -> Output {
    Command::new(BINARY).args(line).output().unwrap()
}

#[track_caller]
fn ends(code: i32, line: &[&str]) -> String {
    let output = run(line);
    assert_eq!(output.status.code(), Some(code), "{line:?}: {output:?}");
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// What the clients were told, so far.
#[derive(Clone, Debug, Default)]
struct Told {
    stored: BTreeSet<String>,
    acked: BTreeSet<String>,
}

struct Load {
    address: SocketAddr,
    told: Mutex<Told>,
    stop: AtomicBool,
}

impl Load {
    async fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().await
    }

    async fn produce(self: Arc<Load>, producer: u64, seed: u64) {
        let mut dice = Dice::new(seed, producer);
        let mut calls = Calls::to(self.address);
        for number in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let filler = "x".repeat(usize::try_from(dice.below(3_000)).unwrap());
            let body = format!("{producer}/{number}/{filler}");
            calls.publish("t", &body).await;
            self.told().await.stored.insert(body);
        }
    }

    async fn work(self: Arc<Load>) {
        let mut calls = Calls::to(self.address);
        while !self.stop.load(Ordering::Relaxed) {
            let messages = calls.receive("workers", 20, 100).await;
            let statuses = calls.ack("workers", &messages).await;
            let acked = messages.iter().zip(statuses).filter(|(_, status)| status == "ok");
            let bodies = acked.map(|(message, _)| message["body"].as_str().unwrap().to_owned());
            self.told().await.acked.extend(bodies);
        }
    }
}

/// A copy holds everything that was acknowledged before its backup was asked for, and the acks too.
async fn check_copy(data: &Path, before: &Told, after: &Told) {
    let copy = tokio::task::block_in_place(|| Launch::small(BINARY, data).start_or_fail());
    let mut calls = Calls::to(copy.address());
    let all = json!({"subscriptions": [{"topic": "t"}]});
    calls.expect(201, "PUT", "/v1/groups/all", &all).await;
    let stored = calls.drain("all", 1_000).await;
    let found: BTreeSet<String> = stored.iter().cloned().collect();
    assert_eq!(found.len(), stored.len(), "a message is there twice");
    let lost: Vec<_> = before.stored.difference(&found).collect();
    assert!(lost.is_empty(), "{} acknowledged messages are not in the copy: {:?}", lost.len(), lost.first());
    assert!(found.is_subset(&after.stored), "the copy holds what nobody sent");
    // What was leased when the backup began runs out within a second.
    let again: BTreeSet<String> = calls.drain("workers", 2_500).await.into_iter().collect();
    let undone: Vec<_> = before.acked.intersection(&again).collect();
    assert!(undone.is_empty(), "{} acks are not in the copy: {:?}", undone.len(), undone.first());
    let missing = before.stored.iter().find(|body| !again.contains(*body) && !after.acked.contains(*body));
    assert_eq!(missing, None, "neither acked nor delivered");
    // A settled copy goes on as any node does.
    calls.publish("t", "new").await;
    assert_eq!(calls.drain("workers", 500).await, ["new"]);
    let (status, said) = copy.terminate();
    assert!(status.is_some_and(|status| status.success()), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_holds_all_that_was_acknowledged_before_it() {
    let seed = seed(20_261_127);
    let folder = tempfile::tempdir().unwrap();
    let broker = Launch::small(BINARY, &folder.path().join("data")).start_or_fail();
    let group = json!({"subscriptions": [{"topic": "t"}], "lease_ms": 1_000,
        "retry": {"kind": "table", "steps_ms": [100]}});
    let mut calls = Calls::to(broker.address());
    calls.expect(201, "PUT", "/v1/groups/workers", &group).await;
    let load =
        Arc::new(Load { address: broker.address(), told: Mutex::default(), stop: AtomicBool::new(false) });
    let mut everyone: Vec<_> =
        (0..4).map(|number| tokio::spawn(Arc::clone(&load).produce(number, seed))).collect();
    everyone.push(tokio::spawn(Arc::clone(&load).work()));
    let url = format!("http://{}", broker.address());
    let mut backups: Vec<(PathBuf, Told)> = Vec::new();
    for number in 0..3 {
        let wanted = load.told().await.stored.len() + 700;
        let limit = Instant::now() + PATIENCE;
        while load.told().await.stored.len() < wanted {
            assert!(Instant::now() < limit, "the load stands still");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let before = load.told().await.clone();
        let file = folder.path().join(format!("{number}.tar"));
        let line = ["backup", file.to_str().unwrap(), "--url", &url, "-o", "json"];
        let said = tokio::task::block_in_place(|| ends(0, &line));
        let said: Value = serde_json::from_str(&said).unwrap();
        assert!(said["last_index"].as_u64().unwrap() > 0 && said["files"].as_u64().unwrap() >= 3, "{said}");
        backups.push((file, before));
    }
    let during = load.told().await.stored.len() > backups[2].1.stored.len();
    assert!(during, "nothing was produced while a backup was taken");
    load.stop.store(true, Ordering::Relaxed);
    for one in everyone {
        one.await.unwrap();
    }
    let after = load.told().await.clone();
    drop(broker);
    for (number, (file, before)) in backups.iter().enumerate() {
        let data = folder.path().join(format!("copy{number}"));
        let line = ["restore", file.to_str().unwrap(), "--data", data.to_str().unwrap()];
        let said = tokio::task::block_in_place(|| ends(0, &line));
        assert!(said.contains("restored from cluster"), "{said}");
        check_copy(&data, before, &after).await;
    }
}

#[test]
fn backup_and_restore_on_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (data, backups, copy, cut) = (path("data"), path("backups"), path("copy"), path("cut.tar"));
    let broker = Launch::small(BINARY, Path::new(&data)).start_or_fail();
    let url = format!("http://{}", broker.address());
    ends(0, &["produce", "t", "kept", "--url", &url]);
    std::fs::create_dir(&backups).unwrap();
    let said = ends(0, &["backup", &backups, "--url", &url]);
    assert!(said.contains("checked") && said.contains("cluster"), "{said}");
    let names: Vec<_> = std::fs::read_dir(&backups).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [archive] = names.as_slice() else { panic!("{names:?}") };
    let name = archive.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("whimbrel-2") && name.ends_with("Z.tar"), "{name}");
    let archive = archive.to_str().unwrap();
    assert!(ends(2, &["backup", archive, "--url", &url]).contains("--force"));
    ends(0, &["backup", archive, "--force", "--url", &url]);
    assert!(ends(0, &["restore", archive, "--check"]).starts_with("whole: "));
    read_with_common_tools(archive, &path("unpacked"));

    // A directory in use, one with something in it, and one that is a copy already are left alone.
    for used in [&data, &backups] {
        let refused = ends(2, &["restore", archive, "--data", used]);
        assert!(refused.contains("is not empty"), "{refused}");
    }
    let bytes = std::fs::read(archive).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() - 4_000]).unwrap();
    let refused = ends(1, &["restore", &cut, "--data", &copy]);
    assert!(refused.contains("cut off") || refused.contains("missing"), "{refused}");
    ends(0, &["restore", archive, "--data", &copy]);
    ends(2, &["restore", archive, "--data", &copy]);
    assert!(ends(0, &["doctor", "--data", &copy]).contains("restored from cluster"));

    // An interrupted restore: no broker starts, and it is simply run again.
    std::fs::write(Path::new(&copy).join("restoring"), "").unwrap();
    let refused = Launch::small(BINARY, Path::new(&copy)).start().unwrap_err();
    assert!(refused.said.contains("a restore was not finished; run it again"), "{}", refused.said);
    let mut piped = Command::new(BINARY);
    piped.args(["restore", "-", "--data", &copy]).stdin(std::fs::File::open(archive).unwrap());
    assert!(piped.status().unwrap().success());
    // The copy and its origin run beside each other; each has the message.
    let other = Launch::small(BINARY, Path::new(&copy)).start_or_fail();
    for address in [broker.address(), other.address()] {
        let url = format!("http://{address}");
        let line = ["consume", "g", "--topic", "t", "--max", "1", "--url", &url];
        assert_eq!(ends(0, &line), "kept\n");
    }
}

/// Any `tar` and any `sha256sum` can read it.
fn read_with_common_tools(archive: &str, folder: &str) {
    std::fs::create_dir(folder).unwrap();
    let unpacked = Command::new("tar").args(["-xf", archive, "-C", folder]).status();
    if !unpacked.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no tar here");
        return;
    }
    let mut sums = Command::new("sha256sum");
    assert!(sums.args(["--quiet", "-c", "SHA256SUMS"]).current_dir(folder).status().unwrap().success());
}

async fn node(data: &Path, more: &[&str]) -> Node {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArgs,
    }
    let data = data.display().to_string();
    let line = ["whimbrel", "--listen=127.0.0.1:0", "--segment-bytes=1MiB", "--data", &data];
    let line = <Line as clap::Parser>::parse_from(line.into_iter().chain(more.iter().copied()));
    Node::start(line.serve).await.unwrap()
}

/// More than the buffers of both kernels and of the node hold, so that who does not read holds up the backup.
const LARGE: usize = 12;

async fn fill(node: &Node) {
    let mut calls = Calls::to(node.addr());
    for number in 0..LARGE {
        calls.publish("t", &format!("{number:02}").repeat(3 << 19)).await;
    }
}

/// Asks for a backup and reads no more than the head of the answer.
fn begin(to: SocketAddr) -> (TcpStream, u64) {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("POST /v1/backup HTTP/1.1\r\nHost: {to}\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 200 ") && head.contains("content-type: application/x-tar"), "{head}");
    assert!(head.contains("content-disposition: attachment; filename=\"whimbrel-2"), "{head}");
    let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    (stream, length.parse().unwrap())
}

fn rest(stream: &TcpStream, length: u64) -> Vec<u8> {
    let mut archive = Vec::new();
    // A connection that is cut ends in an error or early.
    let _ = stream.take(length).read_to_end(&mut archive);
    archive
}

fn backup(to: SocketAddr) -> client::Answer {
    client::send(to, ("POST", "/v1/backup"), &[], b"")
}

/// Asks until a backup is taken again.
fn taken_again(to: SocketAddr) -> client::Answer {
    let limit = Instant::now() + PATIENCE;
    loop {
        let answer = backup(to);
        if answer.status == 200 {
            return answer;
        }
        assert_eq!(answer.json()["code"], "backup_running");
        assert!(Instant::now() < limit, "a backup that nobody reads goes on for ever");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn segments(data: &Path) -> BTreeSet<String> {
    let names = std::fs::read_dir(data.join("log")).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cleaner_waits_for_what_is_still_to_be_copied_and_one_backup_is_taken_at_a_time() {
    let data = tempfile::tempdir().unwrap();
    let node = node(data.path(), &["--image-facts=3"]).await;
    let mut calls = Calls::to(node.addr());
    calls.expect(201, "PUT", "/v1/topics/t", &json!({"queues": 1, "max_age_ms": 1_000})).await;
    fill(&node).await;
    let to = node.addr();
    let (stream, length) = tokio::task::spawn_blocking(move || begin(to)).await.unwrap();
    let before = segments(data.path());
    let second = tokio::task::spawn_blocking(move || backup(to)).await.unwrap();
    assert_eq!((second.status, second.json()["code"].as_str()), (409, Some("backup_running")));
    // Old, nobody's, and under the purge mark: it goes as soon as it may.
    let limit = Instant::now() + PATIENCE;
    let mut looked = 0;
    while looked < 5 {
        assert!(Instant::now() < limit, "the cleaner removes nothing at all");
        tokio::time::sleep(Duration::from_millis(300)).await;
        calls.publish("t", "one more").await;
        node.broker().tend().await;
        let gone = before.difference(&segments(data.path())).count();
        // The first ones are copied already, and go; of the last there is no byte in any buffer.
        looked += usize::from(gone > 0);
        assert!(gone <= before.len() - 3, "what was still to be copied is gone: {gone} of {}", before.len());
    }
    let archive = tokio::task::spawn_blocking(move || rest(&stream, length)).await.unwrap();
    assert_eq!(archive.len() as u64, length);
    let contents = storage::backup::check(archive.as_slice()).unwrap();
    assert!(contents.files > before.len() as u64, "{contents:?}");
    let limit = Instant::now() + PATIENCE;
    while before.intersection(&segments(data.path())).count() > 1 {
        assert!(Instant::now() < limit, "segments stay although no backup is taken");
        calls.publish("t", "one more").await;
        node.broker().tend().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let copy = data.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    let vfs: Arc<dyn storage::vfs::Vfs> = Arc::new(storage::vfs::RealFs);
    storage::backup::restore(&vfs, &copy, archive.as_slice()).unwrap();
    node.stop().await;
    let node = self::node(&copy, &[]).await;
    let mut calls = Calls::to(node.addr());
    calls.expect(201, "PUT", "/v1/groups/g", &json!({"subscriptions": [{"topic": "t"}]})).await;
    calls.publish("t", "it goes on").await;
    assert_eq!(calls.drain("g", 1_000).await.last().map(String::as_str), Some("it goes on"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_reading_or_goes_away_holds_nothing_for_long() {
    let data = tempfile::tempdir().unwrap();
    let node = node(data.path(), &["--transfer-timeout=1s", "--header-timeout=500ms"]).await;
    fill(&node).await;
    let to = node.addr();
    tokio::task::spawn_blocking(move || {
        let (silent, length) = begin(to);
        let whole = taken_again(to);
        assert!(storage::backup::check(whole.body.as_slice()).is_ok());
        let cut = rest(&silent, length);
        assert!((cut.len() as u64) < length);
        assert!(
            storage::backup::check(cut.as_slice()).unwrap_err().to_string().contains("cut off")
                || !cut.is_empty()
        );
        assert!(storage::backup::check(cut.as_slice()).is_err());
        drop(begin(to));
        taken_again(to);
    })
    .await
    .unwrap();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_a_backup_and_what_came_of_it_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let node = node(data.path(), &["--drain-timeout=1s"]).await;
    fill(&node).await;
    let to = node.addr();
    let (stream, length) = tokio::task::spawn_blocking(move || begin(to)).await.unwrap();
    node.stop().await;
    let archive = tokio::task::spawn_blocking(move || rest(&stream, length)).await.unwrap();
    assert!((archive.len() as u64) < length, "it was whole before the stop");
    assert!(storage::backup::check(archive.as_slice()).is_err());
    // The directory is free again, whole, and nothing is held.
    let node = self::node(data.path(), &[]).await;
    let answer = tokio::task::spawn_blocking({
        let to = node.addr();
        move || backup(to)
    });
    assert!(storage::backup::check(answer.await.unwrap().body.as_slice()).is_ok());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_breaks_the_stream_off_and_is_named() {
    let data = tempfile::tempdir().unwrap();
    let node = node(data.path(), &[]).await;
    fill(&node).await;
    let harmed = data.path().join("log").join(segments(data.path()).into_iter().next().unwrap());
    let mut bytes = std::fs::read(&harmed).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&harmed, bytes).unwrap();
    let to = node.addr();
    let cut = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("POST /v1/backup HTTP/1.1\r\nHost: {to}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        // Even the head may be cut: it goes out with the first bytes of the archive, if there are any before the end.
        let head = answer.windows(4).position(|end| end == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
        answer.split_off(head)
    });
    let cut = cut.await.unwrap();
    assert!(storage::backup::check(cut.as_slice()).is_err(), "{} bytes", cut.len());
    let limit = Instant::now() + PATIENCE;
    let name = harmed.file_name().unwrap().to_str().unwrap().to_owned();
    let named =
        |node: &Node| node.broker().readiness().checks.iter().any(|(_, _, text)| text.contains(&name));
    while !named(&node) {
        assert!(Instant::now() < limit, "the damage is not named");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    node.stop().await;
}
