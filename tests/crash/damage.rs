//! Damaged files of a stopped broker: refused with file and offset, or repaired with nothing acknowledged lost. Wrong
//! bytes are never served.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::disk;
use crate::support::calls::Calls;
use crate::support::dice::{Dice, number_from_env, seed};
use crate::support::http::{Http, Trouble};
use crate::support::process::{Broker, Launch};

const MESSAGES: usize = 800;
const SETTLED: usize = 300;

/// What a harm did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// The broker did not start, and named the file.
    Refused,
    /// The broker started, and everything was there.
    Whole,
    /// The broker started; where it met the damage it said so and served nothing wrong.
    Named,
}

fn body(number: usize) -> String {
    format!("{number}:{}", "0123456789abcdef".repeat(200 + number % 100))
}

fn launch(data: &Path) -> Launch {
    Launch::small(env!("CARGO_BIN_EXE_whimbrel"), data)
}

/// Messages over several segments, some of them settled; returns the bodies that are not.
pub(crate) async fn fill(broker: &Broker) -> Vec<String> {
    let mut calls = Calls::to(broker.address());
    let topic = calls.call("PUT", "/v1/topics/t", br#"{"queues": 4}"#).await;
    assert!(matches!(topic.status, 200 | 201), "{}", topic.text());
    calls
        .expect(
            201,
            "PUT",
            "/v1/groups/readers",
            &json!({"subscriptions": [{"topic": "t"}], "lease_ms": 60_000}),
        )
        .await;
    for start in (0..MESSAGES).step_by(50) {
        let some: Vec<_> = (start..start + 50).map(|number| json!({"body": body(number)})).collect();
        calls.publish_all("t", &some).await;
    }
    let mut open: Vec<String> = (0..MESSAGES).map(body).collect();
    let mut settled = 0;
    while settled < SETTLED {
        let messages = calls.receive("readers", 50, 1_000).await;
        assert!(calls.ack("readers", &messages).await.iter().all(|status| status == "ok"));
        settled += messages.len();
        open.retain(|body| !messages.iter().any(|message| message["body"] == json!(body)));
    }
    open.sort();
    open
}

/// Files by kind. Of the log: sealed segments and the newest one apart.
fn kinds(data: &Path) -> BTreeMap<&'static str, Vec<PathBuf>> {
    let mut kinds: BTreeMap<&'static str, Vec<PathBuf>> = BTreeMap::new();
    let newest = disk::newest_segment(data);
    for path in disk::files(data) {
        let name = path.strip_prefix(data).unwrap().to_owned();
        let first = name.components().next().unwrap().as_os_str().to_str().unwrap().to_owned();
        let kind = match first.as_str() {
            "log" if path == newest => "newest segment",
            "log" => "sealed segment",
            "images" => "image",
            "index" => "index",
            "vote" => "vote",
            "node.json" => "node.json",
            _ => continue,
        };
        if std::fs::metadata(&path).unwrap().len() > 0 {
            kinds.entry(kind).or_default().push(name);
        }
    }
    kinds
}

/// `WHIMBREL_DAMAGES` (4) says how many bit flips each kind of file gets; half as many truncations, and of the newest
/// segment as many again that end exactly between two records.
#[tokio::test]
async fn damage_is_named_or_repaired_and_never_served() {
    let seed = seed(18);
    let flips = number_from_env("WHIMBREL_DAMAGES", 4);
    let folder = tempfile::tempdir().unwrap();
    let original = folder.path().join("data");
    let broker = launch(&original).start_or_fail();
    let open = fill(&broker).await;
    broker.kill();
    let kinds = kinds(&original);
    for kind in ["newest segment", "sealed segment", "image", "index", "vote", "node.json"] {
        assert!(kinds.contains_key(kind), "no {kind} among {:?}", disk::files(&original));
    }
    let mut ends: BTreeMap<(&str, &str, End), u32> = BTreeMap::new();
    for (kind, names) in &kinds {
        let newest = *kind == "newest segment";
        for case in 0..flips + flips / 2 * (1 + u64::from(newest)) {
            let mut dice = Dice::new(seed, case + 1_000 * kind.len() as u64);
            let name = &names[usize::try_from(dice.below(names.len() as u64)).unwrap()];
            let copy = folder.path().join("copy");
            disk::copy(&original, &copy);
            let path = copy.join(name);
            let length = if kind.ends_with("segment") {
                disk::records_end(&path)
            } else {
                std::fs::metadata(&path).unwrap().len()
            };
            let mut at = dice.below(length);
            let harm = if case < flips {
                disk::flip_bit(&path, at, dice.roll());
                "bit flip"
            } else {
                if case >= flips + flips / 2 {
                    let starts = disk::record_starts(&path);
                    at = starts[usize::try_from(dice.below(starts.len() as u64)).unwrap()];
                }
                disk::truncate(&path, at);
                "truncation"
            };
            let context =
                format!("{harm} of {kind} {} at {at} of {length}, WHIMBREL_SEED={seed}", name.display());
            let end = judge(&copy, name, &open, &context).await;
            assert!(
                end == End::Refused || !newest || harm == "bit flip",
                "{context}: what was cut off is missing, and the broker started"
            );
            *ends.entry((*kind, harm, end)).or_default() += 1;
            std::fs::remove_dir_all(&copy).unwrap();
        }
    }
    for ((kind, harm, end), count) in &ends {
        println!("{kind:16} {harm:10} {end:?} {count}");
    }
    let refused = ends.keys().any(|(kind, _, end)| *kind == "sealed segment" && *end != End::Whole);
    assert!(refused, "no damage of the log was noticed: the harm does not reach it");
}

async fn judge(data: &Path, name: &Path, open: &[String], context: &str) -> End {
    let file = name.file_name().unwrap().to_str().unwrap().to_owned();
    let broker = match launch(data).start() {
        Ok(broker) => broker,
        Err(refused) => {
            let said = &refused.said;
            assert!(
                refused.status.is_some_and(|status| status.code().is_some_and(|code| code != 0)),
                "{context}: {refused:?}"
            );
            assert!(said.contains(&file), "{context}: the refusal must name {file}:\n{said}");
            assert!(!said.contains("panicked"), "{context}:\n{said}");
            if file.ends_with(".log") {
                assert!(said.contains("offset") || said.contains("byte"), "{context}: no offset:\n{said}");
            }
            return End::Refused;
        }
    };
    let came = read_all(&broker).await;
    let said = broker.kill();
    assert!(!said.contains("panicked"), "{context}:\n{said}");
    for body in &came {
        assert!(open.binary_search(body).is_ok(), "{context}: served what was settled or never sent");
    }
    if came == open {
        return End::Whole;
    }
    let missing = open.len() - came.len();
    assert!(came.len() < open.len(), "{context}: {} came twice", came.len() - open.len());
    assert!(
        said.contains(&file),
        "{context}: {missing} acknowledged messages are missing, and nobody said why:\n{said}"
    );
    End::Named
}

/// Everything that can be had, sorted. A broker that stops itself because of damage ends it.
async fn read_all(broker: &Broker) -> Vec<String> {
    let mut http = Http::new(broker.address());
    let mut bodies = Vec::new();
    loop {
        let request = json!({"max_messages": 100, "wait_ms": 200, "max_bytes": 4 << 20}).to_string();
        let messages = match http.post("/v1/groups/readers/receive", request.as_bytes()).await {
            Ok(answer) if answer.status == 200 => {
                answer.json()["messages"].as_array().cloned().unwrap_or_default()
            }
            Ok(answer) => {
                assert!(answer.status >= 500, "{}", answer.text());
                Vec::new()
            }
            Err(Trouble::Hung) => panic!("receive hangs"),
            Err(_) => Vec::new(),
        };
        if messages.is_empty() {
            bodies.sort();
            return bodies;
        }
        bodies.extend(messages.iter().map(|message| message["body"].as_str().expect("text").to_owned()));
        let receipts: Vec<_> = messages.iter().map(|message| &message["receipt"]).collect();
        let _ =
            http.post("/v1/groups/readers/ack", json!({ "receipts": receipts }).to_string().as_bytes()).await;
    }
}
