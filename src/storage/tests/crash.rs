//! Every sequence of up to four operations, with a crash or failure at every I/O point of its last operation.

use super::rig::{OPS, Op, Rig};
use crate::storage::vfs::sim::{Crash, Fault, SimFs};

/// Runs a sequence with the fault at the given I/O point of the last operation. `Ok(false)`: there is no such point.
fn run(sequence: &[Op], point: u64, fault: Fault, crash: Crash, seed: u64) -> Result<bool, String> {
    let mut rig = Rig::new(SimFs::new(seed));
    rig.open().map_err(|error| error.to_string())?;
    let (last, first) = sequence.split_last().expect("not empty");
    for op in first {
        rig.apply(*op).map_err(|error| format!("{op:?} failed without a fault: {error}"))?;
    }
    let start = rig.fs.operations();
    rig.fs.fail_at(start + point, fault);
    let result = rig.apply(*last);
    if rig.fs.fired() == 0 {
        result.map_err(|error| format!("{last:?} failed without a fault: {error}"))?;
        return Ok(false);
    }
    if result.is_err() && rig.log.as_ref().is_some_and(|log| log.poisoned().is_some()) {
        let before = rig.before.clone();
        let after = rig.after.take();
        if rig.append(&[1]).is_ok() {
            return Err("an append was acknowledged after a fault".to_owned());
        }
        (rig.before, rig.after) = (before, after);
    } else if fault == Fault::NoSpace && result.is_err() && rig.log.is_some() {
        rig.after = None;
        rig.append(&[5]).map_err(|error| format!("no append after space was found again: {error}"))?;
    }
    survive(&mut rig, crash, seed)
}

/// Crashes, crashes again somewhere in recovery, recovers, checks, appends, and recovers once more.
fn survive(rig: &mut Rig, crash: Crash, seed: u64) -> Result<bool, String> {
    rig.log = None;
    rig.fs.restart(crash);
    rig.fs.fail_at(rig.fs.operations() + seed % 11, Fault::PowerOff);
    let first = super::rig::open(&rig.fs);
    drop(first);
    rig.fs.restart(if seed.is_multiple_of(3) { Crash::Process } else { Crash::Power(seed + 1) });
    let recovered = rig.open().map_err(|error| format!("recovery refused: {error}"))?;
    rig.check(&recovered)?;
    rig.append(&[33, 4]).map_err(|error| format!("no append after recovery: {error}"))?;
    rig.log = None;
    rig.fs.restart(Crash::Power(seed + 2));
    let again = rig.open().map_err(|error| format!("second recovery refused: {error}"))?;
    rig.check(&again).map_err(|error| format!("second recovery: {error}"))?;
    Ok(true)
}

pub(super) fn sequences(length: u32) -> impl Iterator<Item = Vec<Op>> {
    let base = OPS.len();
    (0..base.pow(length)).map(move |mut number| {
        (0..length)
            .map(|_| {
                let op = OPS[number % base];
                number /= base;
                op
            })
            .collect()
    })
}

/// Runs all sequences of these lengths against one kind of fault; answers (sequences, faults met).
fn sweep(lengths: std::ops::RangeInclusive<u32>, fault: Fault, crash: fn(u64) -> Crash) -> (u64, u64) {
    // A few threads, because most of a run is waiting for the writer thread to wake up. Seeds do not depend on them.
    const WORKERS: u64 = 4;
    let all: Vec<Vec<Op>> = lengths.flat_map(sequences).collect();
    let share = |worker: u64| {
        let mut fired = 0u64;
        for (number, sequence) in (0u64..).zip(&all).filter(|(number, _)| number % WORKERS == worker) {
            for point in 0.. {
                let seed = number * 131 + point;
                match run(sequence, point, fault, crash(seed), seed) {
                    Ok(true) => fired += 1,
                    Ok(false) => break,
                    Err(error) => panic!("{sequence:?} {fault:?} at point {point}, seed {seed}: {error}"),
                }
            }
        }
        fired
    };
    let fired = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                scope.spawn({
                    let share = &share;
                    move || share(worker)
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    (all.len() as u64, fired)
}

#[test]
fn power_cut_at_every_point_of_every_sequence() {
    let (ran, fired) = sweep(1..=4, Fault::PowerOff, Crash::Power);
    println!("{ran} sequences, {fired} power cuts");
    assert_eq!(ran, 8 + 64 + 512 + 4_096);
    assert!(fired > 3 * ran, "only {fired} faults fired");
}

#[test]
fn failed_operation_at_every_point_then_restart() {
    let (ran, fired) = sweep(1..=3, Fault::Io, |_| Crash::Process);
    println!("{ran} sequences, {fired} failures, process restarted");
    assert!(fired > 3 * ran, "only {fired} faults fired");
}

#[test]
fn failed_operation_at_every_point_then_power_cut() {
    let (ran, fired) = sweep(1..=3, Fault::Io, Crash::Power);
    println!("{ran} sequences, {fired} failures, power cut");
    assert!(fired > 3 * ran, "only {fired} faults fired");
}

#[test]
fn no_space_at_every_point() {
    let (ran, fired) = sweep(1..=3, Fault::NoSpace, Crash::Power);
    println!("{ran} sequences, {fired} times no space");
    assert!(fired > 3 * ran, "only {fired} faults fired");
}
