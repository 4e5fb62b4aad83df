//! The queue index is disposable: whatever happens to its files, the answers after a restart are the same.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::damage;
use crate::disk;
use crate::support::calls::Calls;
use crate::support::dice::{Dice, seed};
use crate::support::process::{Broker, Launch};

fn launch(data: &Path) -> Launch {
    Launch::small(env!("CARGO_BIN_EXE_whimbrel"), data)
}

/// Until the broker says that its index has everything again: it serves before, and shows less of the past then.
async fn indexed(calls: &mut Calls) {
    for _ in 0..2_000 {
        let ready = calls.expect(200, "GET", "/readyz?verbose", &Value::Null).await;
        let checks = ready["checks"].as_array().expect("checks");
        let index = checks.iter().find(|check| check["name"] == "index").expect("a check of the index");
        if index["found"].as_str().is_some_and(|found| found.starts_with("made up to")) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the index is never done");
}

/// Everything a reader can look at without changing it.
async fn answers(broker: &Broker) -> Vec<Value> {
    let mut calls = Calls::to(broker.address());
    indexed(&mut calls).await;
    let mut all = Vec::new();
    let topic = calls.expect(200, "GET", "/v1/topics/t", &Value::Null).await;
    let queues = topic["queues"]
        .as_u64()
        .or_else(|| topic["queues"].as_array().map(|list| list.len() as u64))
        .unwrap();
    for queue in 0..queues {
        let mut offset = 0;
        loop {
            let path = format!("/v1/topics/t/queues/{queue}/messages?offset={offset}&limit=100");
            let page = calls.expect(200, "GET", &path, &Value::Null).await;
            let messages = page["messages"].as_array().expect("messages");
            let Some(last) = messages.last() else { break };
            offset = last["offset"].as_u64().expect("an offset") + 1;
            all.extend(
                messages.iter().map(|message| json!([message["id"], message["offset"], message["body"]])),
            );
        }
    }
    let group = calls.expect(200, "GET", "/v1/groups/readers", &Value::Null).await;
    all.push(group["lag"].clone());
    all
}

#[tokio::test]
async fn an_index_deleted_damaged_stale_or_foreign_gives_the_same_answers() {
    let seed = seed(16);
    let folder = tempfile::tempdir().unwrap();
    let original = folder.path().join("data");
    let older = folder.path().join("older");
    let foreign = folder.path().join("foreign");

    let broker = launch(&original).start_or_fail();
    let mut calls = Calls::to(broker.address());
    for number in 0..500 {
        calls.publish("t", &format!("early {number}")).await;
    }
    broker.terminate();
    disk::copy(&original.join("index"), &older);
    let broker = launch(&original).start_or_fail();
    damage::fill(&broker).await;
    let expected = answers(&broker).await;
    assert!(expected.len() > 1_000, "{} rows", expected.len());
    broker.kill();

    let other = folder.path().join("other");
    let broker = launch(&other).start_or_fail();
    damage::fill(&broker).await;
    broker.terminate();
    disk::copy(&other.join("index"), &foreign);

    let mut expected_bodies: Option<Vec<String>> = None;
    for harm in ["nothing", "deleted", "bit flips", "cut", "rubbish", "stale", "foreign", "emptied"] {
        let copy = folder.path().join("copy");
        disk::copy(&original, &copy);
        do_harm(harm, &copy.join("index"), (&older, &foreign), &mut Dice::new(seed, harm.len() as u64));
        for how in ["first start", "after a kill"] {
            let broker = launch(&copy).start_or_fail();
            let found = answers(&broker).await;
            let differing = found.iter().zip(&expected).position(|(found, expected)| found != expected);
            let place = differing.map(|at| format!("{} instead of {}", found[at], expected[at]));
            assert!(
                found == expected,
                "index {harm}, {how}: {} rows instead of {}, first at {differing:?}: {}, WHIMBREL_SEED={seed}\n{}",
                found.len(),
                expected.len(),
                place.unwrap_or_default().chars().take(400).collect::<String>(),
                broker.said()
            );
            broker.kill();
        }
        let broker = launch(&copy).start_or_fail();
        let mut bodies = Calls::to(broker.address()).drain("readers", 300).await;
        bodies.sort();
        match &expected_bodies {
            None => expected_bodies = Some(bodies),
            Some(expected) => assert!(&bodies == expected, "index {harm}: other messages were delivered"),
        }
        broker.kill();
        fs::remove_dir_all(&copy).unwrap();
    }
}

fn do_harm(harm: &str, index: &Path, (older, foreign): (&Path, &Path), dice: &mut Dice) {
    let files = disk::files(index);
    assert!(!files.is_empty(), "no index files");
    let sized = || files.iter().filter(|path| fs::metadata(path).unwrap().len() > 0);
    match harm {
        "nothing" => {}
        "deleted" => fs::remove_dir_all(index).unwrap(),
        "bit flips" => {
            for path in sized() {
                for _ in 0..8 {
                    disk::flip_bit(path, dice.below(fs::metadata(path).unwrap().len()), dice.roll());
                }
            }
        }
        "cut" => sized().for_each(|path| disk::truncate(path, dice.below(fs::metadata(path).unwrap().len()))),
        "rubbish" => {
            for path in sized() {
                let length = fs::metadata(path).unwrap().len().min(100_000);
                let bytes: Vec<u8> = (0..length).map(|_| dice.roll().to_le_bytes()[0]).collect();
                fs::write(path, bytes).unwrap();
            }
        }
        "emptied" => files.iter().for_each(|path| disk::truncate(path, 0)),
        "stale" | "foreign" => {
            fs::remove_dir_all(index).unwrap();
            disk::copy(if harm == "stale" { older } else { foreign }, index);
        }
        other => panic!("unknown harm {other}"),
    }
}
