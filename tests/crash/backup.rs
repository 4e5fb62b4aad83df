//! kill -9 amid a backup: the broker starts as ever, nothing is held, and what came of the backup is refused.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::calls::Calls;
use crate::support::dice::{Dice, number_from_env, seed};
use crate::support::process::Launch;

const BINARY: &str = env!("CARGO_BIN_EXE_whimbrel");
const BODY_BYTES: usize = 1 << 20;
const MESSAGES: usize = 16;

/// Asks for a backup and reads `most` bytes of the answer, or what comes of it.
fn read_some(to: SocketAddr, most: u64) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).unwrap();
    let request = format!("POST /v1/backup HTTP/1.1\r\nHost: {to}\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut read = Vec::new();
    let _ = stream.take(most).read_to_end(&mut read);
    read
}

fn restore(archive: &Path, data: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(BINARY);
    let output = command.arg("restore").arg(archive).arg("--data").arg(data).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// `WHIMBREL_BACKUP_KILLS` (4) says how often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_amid_a_backup_harms_nothing_and_half_a_backup_is_refused() {
    let seed = seed(20_261_129);
    let folder = tempfile::tempdir().unwrap();
    let launch = Launch::small(BINARY, &folder.path().join("data"));
    let mut broker = launch.start_or_fail();
    let mut calls = Calls::to(broker.address());
    calls.expect(201, "PUT", "/v1/groups/g", &json!({"subscriptions": [{"topic": "t"}]})).await;
    for number in 0..MESSAGES {
        calls.publish("t", &format!("{number}/{}", "b".repeat(BODY_BYTES))).await;
    }
    let mut dice = Dice::new(seed, 1);
    let mut cut = 0;
    let archive = folder.path().join("half.tar");
    for round in 0..number_from_env("WHIMBREL_BACKUP_KILLS", 4) {
        let to = broker.address();
        let most = 1_000 + dice.below((BODY_BYTES * MESSAGES / 2) as u64);
        let url = format!("http://{to}");
        let mut command = Command::new(BINARY);
        // In the first round the command itself is cut off, in the others half an archive is left.
        let command = (round == 0).then(|| {
            let file = folder.path().join("never.tar");
            command.arg("backup").arg(file).args(["--url", &url]).stderr(Stdio::piped()).spawn().unwrap()
        });
        let half = if command.is_none() { read_some(to, most) } else { Vec::new() };
        let said = tokio::task::block_in_place(|| broker.kill());
        if let Some(command) = command {
            let output = tokio::task::block_in_place(|| command.wait_with_output()).unwrap();
            let whole = output.status.success();
            assert_eq!(folder.path().join("never.tar").exists(), whole, "{output:?}");
            assert!(!folder.path().join("never.tar.partial").exists());
        } else {
            assert!(said.contains("a backup begins"), "{said}");
            // The body begins after the head.
            let body =
                half.windows(4).position(|window| window == b"\r\n\r\n").map_or(half.len(), |at| at + 4);
            std::fs::write(&archive, &half[body..]).unwrap();
            let data = folder.path().join("copy");
            let (code, said) = restore(&archive, &data);
            assert_eq!(code, Some(1), "{said}");
            assert!(said.contains("cut off") || said.contains("missing"), "{said}");
            cut += 1;
        }
        broker = tokio::task::block_in_place(|| launch.start_or_fail());
        let said = broker.said();
        assert!(!said.contains("damage") && !said.contains("torn tail"), "{said}");
    }
    assert!(cut > 0, "no backup was cut off");
    let whole = folder.path().join("whole.tar");
    let url = format!("http://{}", broker.address());
    let status = Command::new(BINARY).arg("backup").arg(&whole).args(["--url", &url]).status().unwrap();
    assert!(status.success());
    broker.kill();
    let data = folder.path().join("copy");
    let (code, said) = restore(&whole, &data);
    assert_eq!(code, Some(0), "{said}");
    let copy = Launch::small(BINARY, &data).start_or_fail();
    assert_eq!(Calls::to(copy.address()).drain("g", 1_000).await.len(), MESSAGES);
}
