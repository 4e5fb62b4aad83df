//! Each check holds on the real code, and fails when its seeded bug is on (numbers of docs/TESTING.md).

use super::rig::{Op, Rig};
use crate::storage::vfs::sim::{Crash, SimFs};

/// What was acknowledged outlives power cuts, also right after a new segment.
fn acknowledged_survives_power_cuts() -> Result<(), String> {
    for seed in 0..40 {
        let mut rig = Rig::new(SimFs::new(seed));
        rig.open().map_err(|error| error.to_string())?;
        for op in [Op::Small, Op::Vote, Op::Roll, Op::Small] {
            rig.apply(op).map_err(|error| error.to_string())?;
        }
        rig.log = None;
        rig.fs.restart(Crash::Power(seed));
        let recovered = rig.open().map_err(|error| format!("recovery refused: {error}"))?;
        rig.check(&recovered)?;
    }
    Ok(())
}

fn sample(seed: u64) -> Result<Rig, String> {
    let mut rig = Rig::new(SimFs::new(seed));
    rig.open().map_err(|error| error.to_string())?;
    for _ in 0..4 {
        rig.append(&[200]).map_err(|error| error.to_string())?;
    }
    Ok(rig)
}

/// A flipped bit in a body is an error, not an answer.
fn a_damaged_body_is_never_served() -> Result<(), String> {
    let rig = sample(1)?;
    let path = &rig.fs.names()[0];
    let mut bytes = rig.fs.contents(path).unwrap();
    bytes[128 + 200] ^= 4;
    rig.fs.damage(path, &bytes);
    match rig.log().part(0, 1) {
        Err(_) => Ok(()),
        Ok(part) => Err(format!("served {part:?}")),
    }
}

/// Damage in the middle of the log refuses to open; it is not taken for a torn tail.
fn damage_in_the_middle_is_refused() -> Result<(), String> {
    let mut rig = sample(2)?;
    rig.log = None;
    let path = &rig.fs.names()[0];
    let mut bytes = rig.fs.contents(path).unwrap();
    bytes[128 + 200] ^= 4;
    rig.fs.damage(path, &bytes);
    match rig.open() {
        Err(_) => Ok(()),
        Ok(recovered) => Err(format!("opened with {:?}, cut {:?}", recovered.last, recovered.torn)),
    }
}

#[test]
fn checks_hold_without_bugs() {
    acknowledged_survives_power_cuts().unwrap();
    a_damaged_body_is_never_served().unwrap();
    damage_in_the_middle_is_refused().unwrap();
}

#[cfg(feature = "seeded-bugs")]
mod caught {
    use crate::model::seeded::{self, SeededBug};

    fn caught(bug: SeededBug, check: fn() -> Result<(), String>) {
        let guard = seeded::switch_on(bug);
        let verdict = check();
        drop(guard);
        println!("{bug:?}: {verdict:?}");
        assert!(verdict.is_err(), "the check did not notice the seeded bug {bug:?}");
    }

    #[test]
    fn seeded_bug_1_is_caught() {
        caught(SeededBug::FdatasyncSkipped, super::acknowledged_survives_power_cuts);
    }

    #[test]
    fn seeded_bug_3_is_caught() {
        caught(SeededBug::BadCrcAccepted, super::a_damaged_body_is_never_served);
    }

    #[test]
    fn seeded_bug_4_is_caught() {
        caught(SeededBug::CutAtCorruption, super::damage_in_the_middle_is_refused);
    }

    #[test]
    fn seeded_bug_5_is_caught() {
        caught(SeededBug::DirectoryFsyncSkipped, super::acknowledged_survives_power_cuts);
    }
}
