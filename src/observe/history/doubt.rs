//! Samples of a clock that jumped wait until enough of them agree, so that one of a wrong clock moves nothing.
//!
//! Taken at once, a sample of next week would push everything out of the rings, and one of yesterday would take back a
//! day. What waits is not lost: once the clock is believed, all of it is taken in.

use crate::model::{Millis, Timestamp};

use super::{Incarnation, Measure};

/// A sample this much later than the one before is an ordinary one: the node was busy, or down for a moment.
const AHEAD_MS: Millis = 60_000;

/// So many samples in a row that agree with each other are believed: about ten seconds. Also the most that wait.
const BELIEVED: usize = 10;

/// What was known at a moment, by the wall clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// Of what, and what.
    pub told: Vec<(Incarnation, Vec<(Measure, f32)>)>,
}

/// The samples that wait, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    waiting: Vec<Sample>,
    /// Whether a sample was taken in since the process started.
    has_begun: bool,
}

impl Doubt {
    /// Which samples are to be taken in now that this one came, the oldest first. `newest` is the second of the newest
    /// that was taken, also by a process before this one; none before the first.
    pub(super) fn look_at(&mut self, newest: Option<u64>, sample: Sample) -> Vec<Sample> {
        // How long the node was down nothing tells but this clock.
        let follows_downtime = |newest| !self.has_begun && second(&sample) >= newest;
        if newest.is_none_or(|newest| goes_on(newest, &sample) || follows_downtime(newest)) {
            self.has_begun = true;
            // Whatever waited was of a wrong clock.
            self.waiting.clear();
            return vec![sample];
        }
        if self.waiting.last().is_some_and(|last| !goes_on(second(last), &sample)) {
            self.waiting.clear();
        }
        self.waiting.push(sample);
        if self.waiting.len() < BELIEVED {
            return Vec::new();
        }
        self.has_begun = true;
        std::mem::take(&mut self.waiting)
    }
}

fn second(sample: &Sample) -> u64 {
    sample.at.0 / 1_000
}

/// Whether a sample may follow one of the second `before` by a clock that runs as clocks do. Within the same second it
/// may: one came late, or the next one early.
fn goes_on(before: u64, sample: &Sample) -> bool {
    second(sample).checked_sub(before).is_some_and(|later| later <= AHEAD_MS / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of the samples at these seconds are taken, and when: each with how many were taken along with it.
    fn taken(seconds: &[u64]) -> Vec<(u64, usize)> {
        let (mut doubt, mut newest, mut found) = (Doubt::default(), None, Vec::new());
        for second in seconds {
            let sample = Sample { at: Timestamp(second * 1_000 + 500), told: Vec::new() };
            let believed = doubt.look_at(newest, sample);
            assert!(doubt.waiting.len() < BELIEVED);
            if let Some(last) = believed.last() {
                newest = Some(last.at.0 / 1_000);
                found.push((*second, believed.len()));
            }
        }
        found
    }

    #[test]
    fn a_clock_that_runs_is_believed() {
        assert_eq!(taken(&[100, 101, 101, 103, 163]), [(100, 1), (101, 1), (101, 1), (103, 1), (163, 1)]);
    }

    #[test]
    fn the_first_sample_of_a_process_says_how_long_the_node_was_down() {
        let sample = |second: u64| Sample { at: Timestamp(second * 1_000), told: Vec::new() };
        let mut doubt = Doubt::default();
        assert_eq!(doubt.look_at(Some(100), sample(90)).len(), 0, "it was not down for less than nothing");
        assert_eq!(doubt.look_at(Some(100), sample(9_000_000)).len(), 1);
        assert_eq!(doubt.look_at(Some(9_000_000), sample(18_000_000)).len(), 0, "but once");
    }

    #[test]
    fn a_few_samples_of_a_wrong_clock_are_not_taken() {
        assert_eq!(taken(&[100, 9_000_000, 101, 5, 6, 102]), [(100, 1), (101, 1), (102, 1)]);
        // A step back of two seconds: the clock gets there again.
        assert_eq!(taken(&[100, 99, 100, 101]), [(100, 1), (100, 1), (101, 1)]);
        // Every one of them says something else.
        let wild: Vec<u64> = (0..40).map(|number| if number % 2 == 0 { 5 } else { 9_000_000 }).collect();
        assert_eq!(taken(&[&[100], &wild[..]].concat()), [(100, 1)]);
    }

    #[test]
    fn a_jump_that_lasts_is_believed_and_nothing_of_it_is_lost() {
        for begins in [5, 9_000_000] {
            let jumped: Vec<u64> = (begins..begins + 12).collect();
            let expected = [(100, 1), (begins + 9, 10), (begins + 10, 1), (begins + 11, 1)];
            assert_eq!(taken(&[&[100], &jumped[..]].concat()), expected);
        }
    }
}
