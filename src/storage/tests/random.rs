//! Many appends at once, power cut at a random moment: what was acknowledged is there, in order, and nothing else is.

use std::sync::mpsc;

use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::rig::open;
use crate::storage::{
    Record, RecordKind,
    vfs::sim::{Crash, Fault, SimFs},
};

fn record(index: u64, size: usize) -> Record {
    let body = vec![(index % 255 + 1) as u8; size];
    Record { index, term: 0, leader: 1, kind: RecordKind::Batch, parts: vec![Bytes::from(body)] }
}

/// One life of a log; answers whether a torn tail was met.
fn life(seed: u64) -> Result<bool, String> {
    let mut random = SmallRng::seed_from_u64(seed);
    let fs = SimFs::new(seed);
    let mut sizes: Vec<usize> = Vec::new();
    let mut acknowledged = 0u64;
    let mut torn = false;
    for crash in 0..3u64 {
        let (log, recovered) = open(&fs).map_err(|error| format!("crash {crash}: {error}"))?;
        torn |= recovered.torn.is_some();
        let found = recovered.last.map_or(0, |last| last.index + 1);
        if found < acknowledged || found > sizes.len() as u64 {
            return Err(format!("{found} entries, {acknowledged} acknowledged, {} sent", sizes.len()));
        }
        sizes.truncate(found as usize);
        for (index, size) in (0u64..).zip(&sizes) {
            let read = log.read(index, index + 1, 1).map_err(|error| error.to_string())?;
            if read.first().map(|read| read.as_ref()) != Some(&record(index, *size)) {
                return Err(format!("entry {index} is different"));
            }
        }
        fs.fail_at(fs.operations() + random.random_range(0..40), Fault::PowerOff);
        let (sender, receiver) = mpsc::channel();
        for _ in 0..random.random_range(1..60) {
            let size = if random.random_bool(0.1) { 1_500 } else { random.random_range(0..200) };
            let index = sizes.len() as u64;
            sizes.push(size);
            let sender = sender.clone();
            let done = move |result: Result<(), _>| drop(sender.send(result.map(|()| index)));
            log.append(vec![record(index, size)], index.saturating_sub(1), Box::new(done));
        }
        drop(sender);
        // Answers come in order, and none is good after a bad one.
        let (mut expected, mut failed) = (found, false);
        for result in receiver {
            match result {
                Ok(index) if !failed && index == expected => expected += 1,
                Ok(index) => return Err(format!("entry {index} was acknowledged out of turn")),
                Err(_) => failed = true,
            }
        }
        acknowledged = expected;
        drop(log);
        fs.restart(Crash::Power(random.random()));
    }
    Ok(torn)
}

#[test]
fn random_power_cuts_under_group_commit() {
    let mut torn = 0;
    for seed in 0..1_000 {
        match life(seed) {
            Ok(met) => torn += u32::from(met),
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    println!("{torn} of 1000 lives met a torn tail");
    assert!(torn > 100, "only {torn} torn tails");
}
