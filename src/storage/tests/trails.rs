//! Trails: whatever happens to a segment or to its trail, a number that was touched is never said to be untouched.

use std::path::PathBuf;

use xxhash_rust::xxh3::xxh3_64;

use super::rig::{Op, Rig};
use crate::storage::{
    Log, Record, SegmentInfo, StorageError, Touches,
    vfs::sim::{Crash, Fault, SimFs},
};

/// Every entry touches one number for each of its parts, which never are the same twice.
struct Parts;

impl Touches for Parts {
    fn rules(&self) -> u32 {
        7
    }

    fn of_entry(&self, record: &Record, touch: &mut dyn FnMut(u64)) -> Result<(), String> {
        record.parts.iter().for_each(|part| touch(xxh3_64(part)));
        Ok(())
    }
}

fn sealed(log: &Log) -> Vec<SegmentInfo> {
    log.segments().into_iter().filter(|segment| segment.sealed).collect()
}

fn lay(log: &Log) -> Result<(), StorageError> {
    log.sweep_trails()?;
    for segment in sealed(log) {
        if log.trail(segment.id, 7)?.is_none() {
            log.lay_trail(segment.id, &Parts, &mut |_| true)?;
        }
    }
    Ok(())
}

/// How many sealed segments have a trail, and how many of 200 numbers that nothing touches they know to be untouched.
fn check(log: &Log) -> Result<(usize, usize), String> {
    let (mut trails, mut untouched) = (0, 0);
    for segment in sealed(log) {
        let trail = log.trail(segment.id, 7).map_err(|error| error.to_string())?;
        let (Some(trail), Some(last)) = (trail, segment.last_index) else { continue };
        trails += 1;
        let told = |key| trail.may_touch(key).unwrap_or(true);
        for index in segment.first_index..=last {
            for record in log.read(index, index + 1, 1).map_err(|error| error.to_string())? {
                if record.parts.iter().any(|part| !told(xxh3_64(part))) {
                    return Err(format!("the trail of segment {} misses entry {index}", segment.id));
                }
            }
        }
        untouched += (0..200u64).filter(|number| !told(xxh3_64(&number.to_le_bytes()))).count();
    }
    Ok((trails, untouched))
}

/// Segments that are cut, written again and sealed anew, removed, and reopened: an old trail is never believed.
#[test]
fn a_trail_is_of_the_very_records_of_its_segment() {
    let (mut seen, mut stale) = (0, 0);
    for seed in 0..60u64 {
        let mut rig = Rig::new(SimFs::new(seed));
        rig.open().unwrap();
        let mut dice = seed;
        for _ in 0..40 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let ops = [
                Op::Small,
                Op::Large,
                Op::Roll,
                Op::Truncate,
                Op::Truncate,
                Op::Purge,
                Op::Remove,
                Op::Reopen,
            ];
            rig.apply(ops[usize::try_from(dice >> 61).unwrap()]).unwrap();
            let before = check(rig.log()).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            stale += usize::from(before.0 < sealed(rig.log()).len());
            if dice.is_multiple_of(3) {
                lay(rig.log()).unwrap();
                let (trails, untouched) =
                    check(rig.log()).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                assert_eq!(trails, sealed(rig.log()).len(), "seed {seed}");
                assert!(untouched * 100 >= trails * 200 * 98, "seed {seed}: {untouched} of {trails} * 200");
                seen += trails;
            }
        }
    }
    assert!(seen > 500 && stale > 100, "{seen} trails, {stale} times one was missing or void");
}

#[test]
fn a_crash_or_failure_while_a_trail_is_laid_leaves_it_whole_or_not_at_all() {
    let mut fired = 0;
    for fault in [Fault::PowerOff, Fault::Io, Fault::NoSpace] {
        for point in 0.. {
            let mut rig = Rig::new(SimFs::new(point));
            rig.open().unwrap();
            rig.apply(Op::Small).unwrap();
            rig.apply(Op::Roll).unwrap();
            rig.apply(Op::Roll).unwrap();
            rig.fs.fail_at(rig.fs.operations() + point, fault);
            let result = lay(rig.log());
            if rig.fs.fired() == 0 {
                result.unwrap();
                break;
            }
            fired += 1;
            if fault != Fault::PowerOff {
                assert!(rig.log().poisoned().is_none(), "{fault:?} at {point}");
                check(rig.log()).unwrap_or_else(|error| panic!("{fault:?} at {point}: {error}"));
                rig.append(&[5]).unwrap();
            }
            rig.log = None;
            rig.fs.restart(Crash::Power(point));
            rig.open().unwrap();
            check(rig.log()).unwrap_or_else(|error| panic!("{fault:?} at {point}: {error}"));
            lay(rig.log()).unwrap();
            let (trails, _) = check(rig.log()).unwrap();
            assert_eq!(trails, sealed(rig.log()).len(), "{fault:?} at {point}");
            let names = rig.fs.names();
            let kept = names.iter().filter(|name| name.starts_with("/data/trails")).count();
            assert_eq!(kept, trails, "{fault:?} at {point}: {names:?}");
        }
    }
    assert!(fired > 15, "{fired}");
}

#[test]
fn a_flipped_bit_hides_nothing() {
    let mut rig = Rig::new(SimFs::new(3));
    rig.open().unwrap();
    rig.apply(Op::Small).unwrap();
    rig.apply(Op::Roll).unwrap();
    lay(rig.log()).unwrap();
    let path = PathBuf::from("/data/trails/000000000001.trail");
    let good = rig.fs.contents(&path).unwrap();
    assert_eq!(good.len(), 64 + 4_100);
    let mut void = 0;
    for byte in 0..good.len() {
        let mut bytes = good.clone();
        bytes[byte] ^= 1 << (byte % 8);
        rig.fs.damage(&path, &bytes);
        let (trails, untouched) = check(rig.log()).unwrap_or_else(|error| panic!("byte {byte}: {error}"));
        void += usize::from(trails == 0 || untouched == 0);
    }
    assert_eq!(void, good.len(), "every flip is noticed");
    for length in 0..good.len() {
        rig.fs.damage(&path, &good[..length]);
        check(rig.log()).unwrap_or_else(|error| panic!("cut to {length}: {error}"));
    }
    // Under other rules it says nothing.
    rig.fs.damage(&path, &good);
    assert!(rig.log().trail(1, 8).unwrap().is_none());
    assert!(rig.log().trail(1, 7).unwrap().is_some());
}
