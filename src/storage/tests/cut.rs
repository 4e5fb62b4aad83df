//! A segment that somebody cut short is refused with file and offset, wherever the cut was made; and no crash looks
//! like that (crash.rs, random.rs).

use std::path::{Path, PathBuf};

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::{
    crash::sequences,
    rig::{OPS, Op, Rig, contents, open},
};
use crate::storage::{
    StorageError,
    segment::HEADER_BYTES,
    vfs::sim::{Crash, SimFs},
    wire::{narrow, u32_at},
};

fn newest(fs: &SimFs) -> PathBuf {
    fs.names().into_iter().rfind(|path| path.extension().is_some_and(|name| name == "log")).unwrap()
}

/// The process is gone; what it wrote stands.
fn kill(rig: &mut Rig) {
    rig.log = None;
    rig.fs.restart(Crash::Process);
}

/// Where a record or the footer begins, and where the last one ends.
fn boundaries(bytes: &[u8]) -> Vec<usize> {
    let mut found = vec![narrow(HEADER_BYTES)];
    while let Some(last) = found.last().copied()
        && let Some(length) = u32_at(bytes, last).filter(|length| *length != 0)
        && last + narrow(length.into()) <= bytes.len()
    {
        found.push(last + narrow(length.into()));
    }
    found
}

/// Opens the log with its newest segment cut to `length`. True: refused. False: it opened, and nothing is missing.
fn refused(rig: &Rig, path: &Path, length: usize) -> Result<bool, String> {
    let fs = rig.fs.fork(1);
    let bytes = fs.contents(path).unwrap();
    fs.damage(path, &bytes[..length]);
    match open(&fs) {
        Err(error @ StorageError::Damaged { .. }) => {
            let StorageError::Damaged { path: named, offset, .. } = &error else { return Ok(true) };
            if named != path || *offset > length as u64 {
                return Err(format!("cut to {length}: {error}"));
            }
            Ok(true)
        }
        Err(error) => Err(format!("cut to {length}: an odd refusal: {error}")),
        Ok((log, recovered)) => match contents(&log, &recovered) {
            Ok(found) if found == rig.before.entries => Ok(false),
            Ok(found) => Err(format!(
                "cut to {length} of {}: {} of {} entries, and nobody said why",
                bytes.len(),
                found.len(),
                rig.before.entries.len()
            )),
            Err(error) => Err(format!("cut to {length}: {error}")),
        },
    }
}

fn after(ops: &[Op]) -> Rig {
    let mut rig = Rig::new(SimFs::new(3));
    rig.open().unwrap();
    for op in ops {
        rig.apply(*op).unwrap();
    }
    kill(&mut rig);
    rig
}

#[test]
fn a_cut_to_any_length_is_refused_unless_nothing_is_missing() {
    let mut refusals = 0;
    for ops in [
        &[Op::Small, Op::Small, Op::Small][..],
        &[Op::Large, Op::Small, Op::Large],
        &[Op::Small, Op::Roll, Op::Small, Op::Small],
        &[Op::Small, Op::Small, Op::Truncate],
        &[Op::Large, Op::Roll, Op::Truncate, Op::Truncate, Op::Small],
        &[Op::Large, Op::Small, Op::Reopen],
        &[Op::Small, Op::Reopen, Op::Small, Op::Large],
    ] {
        let rig = after(ops);
        let path = newest(&rig.fs);
        for length in 0..rig.fs.contents(&path).unwrap().len() {
            match refused(&rig, &path, length) {
                Ok(refused) => refusals += u32::from(refused),
                Err(error) => panic!("{ops:?}: {error}"),
            }
        }
    }
    println!("{refusals} cuts refused");
    assert!(refusals > 5_000, "{refusals}");
}

#[test]
fn a_cut_between_two_records_is_refused_after_every_sequence() {
    let mut refusals = 0;
    for ops in (1..=3).flat_map(sequences) {
        let rig = after(&ops);
        let path = newest(&rig.fs);
        let places = boundaries(&rig.fs.contents(&path).unwrap());
        let (end, before) = places.split_last().unwrap();
        for length in before {
            match refused(&rig, &path, *length) {
                Ok(true) => refusals += 1,
                Ok(false) => panic!("{ops:?}: cut to {length}, the records end at {end}, and it opened"),
                Err(error) => panic!("{ops:?}: {error}"),
            }
        }
    }
    println!("{refusals} cuts refused");
    assert!(refusals > 700, "{refusals}");
}

/// The same after power cuts and full disks, whose recovery has made the file shorter by right.
#[test]
fn a_cut_is_refused_whatever_the_file_went_through() {
    let (mut refusals, mut full) = (0, 0);
    for seed in 0..300 {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut rig = Rig::new(SimFs::new(seed));
        let recovered = rig.open().unwrap();
        rig.check(&recovered).unwrap();
        for _ in 0..random.random_range(1..4) {
            for _ in 0..random.random_range(1..6) {
                let capacity = if random.random_bool(0.2) { rig.fs.used() } else { u64::MAX };
                rig.fs.set_capacity(capacity);
                let result = rig.apply(OPS[random.random_range(0..OPS.len())]);
                rig.fs.set_capacity(u64::MAX);
                if let Err(error) = result {
                    assert!(error.is_full(), "seed {seed}: {error}");
                    rig.after = None;
                    full += 1;
                    if rig.log.is_none() {
                        rig.open().unwrap();
                    }
                }
            }
            rig.log = None;
            rig.fs.restart(Crash::Power(random.random()));
            let recovered = rig.open().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            rig.check(&recovered).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
        rig.append(&[10, 20]).unwrap();
        kill(&mut rig);
        let path = newest(&rig.fs);
        for length in boundaries(&rig.fs.contents(&path).unwrap()).split_last().unwrap().1 {
            match refused(&rig, &path, *length) {
                Ok(true) => refusals += 1,
                verdict => panic!("seed {seed}: cut to {length}: {verdict:?}"),
            }
        }
    }
    println!("{refusals} cuts refused, the disk was full {full} times");
    assert!(refusals > 500 && full > 20, "{refusals} {full}");
}
