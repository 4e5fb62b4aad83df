//! Rows of values in steps of a fixed length, a fixed number of them.

use std::collections::VecDeque;
use std::str::FromStr;

use crate::model::{Millis, Timestamp};

use super::measure::{Fold, Measure, SubjectKind};

/// How far back, and how finely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Window {
    /// Ten minutes in steps of a second.
    TenMinutes,
    /// Six hours in steps of ten seconds.
    SixHours,
    /// Seven days in steps of a minute.
    SevenDays,
}

impl Window {
    /// All of them, the finest first.
    pub const ALL: [Window; 3] = [Window::TenMinutes, Window::SixHours, Window::SevenDays];

    /// Its name in the interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Window::TenMinutes => "10m",
            Window::SixHours => "6h",
            Window::SevenDays => "7d",
        }
    }

    /// How long a step is.
    #[must_use]
    pub fn step_ms(self) -> Millis {
        match self {
            Window::TenMinutes => 1_000,
            Window::SixHours => 10_000,
            Window::SevenDays => 60_000,
        }
    }

    /// How many steps there are at most.
    #[must_use]
    pub fn steps(self) -> usize {
        match self {
            Window::TenMinutes => 600,
            Window::SixHours => 2_160,
            Window::SevenDays => 10_080,
        }
    }
}

impl FromStr for Window {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Window, &'static str> {
        let found = Window::ALL.into_iter().find(|window| window.as_str() == text);
        found.ok_or("must be 10m (steps of 1 s), 6h (10 s) or 7d (60 s)")
    }
}

/// Not known. In memory and in the file a gap is a NaN; nobody outside ever sees one.
pub(super) const GAP: f32 = f32::NAN;

/// Rows without holes, the oldest first, the newest belonging to step `newest` (time divided by the length of a step).
#[derive(Debug)]
pub(super) struct Ring {
    pub(super) width: usize,
    pub(super) most: usize,
    pub(super) newest: u64,
    pub(super) values: VecDeque<f32>,
}

impl Ring {
    pub(super) fn new(width: usize, most: usize) -> Ring {
        Ring { width, most, newest: 0, values: VecDeque::new() }
    }

    pub(super) fn rows(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// Takes in the row of a step. Steps in between that were never told are gaps. When the clock was set back, what
    /// had been told of that time and later is forgotten.
    fn put(&mut self, step: u64, row: &[f32]) {
        let rows = self.rows();
        if rows > 0 && step <= self.newest {
            let taken_back = narrow(self.newest - step).saturating_add(1);
            self.values.truncate(rows.saturating_sub(taken_back) * self.width);
        } else if rows > 0 {
            let missing = narrow(step - self.newest - 1);
            if missing >= self.most {
                self.values.clear();
            } else {
                (0..missing).for_each(|_| self.push(None));
            }
        }
        self.push(Some(row));
        self.newest = step;
    }

    fn push(&mut self, row: Option<&[f32]>) {
        let whole = self.most * self.width;
        if self.values.len() + self.width > whole {
            self.values.drain(..self.width);
        }
        // By doubling, but never more than the ring may hold: its memory is bounded by what it is made for.
        if self.values.len() + self.width > self.values.capacity() {
            let more = self.values.len().max(16 * self.width).min(whole - self.values.len());
            self.values.reserve_exact(more);
        }
        match row {
            Some(row) => self.values.extend(row),
            None => self.values.extend(std::iter::repeat_n(GAP, self.width)),
        }
    }
}

/// A step of a longer ring that is not over yet.
#[derive(Debug, Default)]
struct Open {
    step: u64,
    /// By column: what was told, folded, and how often.
    told: Vec<(f64, u32)>,
}

/// In what [`Track::told`] is counted, so that a little can fade as well.
pub(super) const THOUSANDTHS: u64 = 1_000;

/// Everything that is remembered of one subject.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) kind: SubjectKind,
    /// How much it has had to tell lately. One that was read from the disk counts as if that was one thing.
    pub(super) told: u64,
    folds: Vec<Fold>,
    pub(super) rings: [Ring; 3],
    open: [Open; 3],
}

impl Track {
    pub(super) fn new(kind: SubjectKind) -> Track {
        let folds: Vec<Fold> = Measure::of(kind).map(Measure::fold).collect();
        let rings = Window::ALL.map(|window| Ring::new(folds.len(), window.steps()));
        Track { kind, told: THOUSANDTHS, folds, rings, open: std::array::from_fn(|_| Open::default()) }
    }

    /// Takes in one sample.
    pub(super) fn note(&mut self, now: Timestamp, values: &[(Measure, f32)]) {
        let mut row = vec![GAP; self.folds.len()];
        for (measure, value) in values {
            let place = measure.column(self.kind).and_then(|column| row.get_mut(column));
            if let Some(place) = place.filter(|_| value.is_finite()) {
                *place = *value;
            }
        }
        for (window, (ring, open)) in Window::ALL.into_iter().zip(self.rings.iter_mut().zip(&mut self.open)) {
            let step = now.0 / window.step_ms();
            if window == Window::TenMinutes {
                ring.put(step, &row);
                continue;
            }
            if open.step != step {
                if !open.told.is_empty() {
                    ring.put(open.step, &open.folded(&self.folds));
                }
                *open = Open { step, told: vec![(0.0, 0); row.len()] };
            }
            open.fold(&row, &self.folds);
        }
    }

    /// The columns of `measures` (none: never remembered of this kind) up to `now`: the first step and the values.
    pub(super) fn read(&self, measures: &[Measure], window: Window, now: Timestamp) -> Curves {
        let step_ms = window.step_ms();
        let current = now.0 / step_ms;
        let place = Window::ALL.iter().position(|one| *one == window);
        let Some(ring) = place.and_then(|place| self.rings.get(place)).filter(|ring| ring.rows() > 0) else {
            return Curves::empty(measures, window, now);
        };
        let rows = ring.rows();
        let oldest = (ring.newest + 1).saturating_sub(wide(rows));
        // Steps that are over and were not told are a gap at the end; the current one may still come.
        let end = ring.newest.max(current.saturating_sub(1));
        let first = oldest.max((end + 1).saturating_sub(wide(ring.most)));
        let value_at = |column: usize, step: u64| {
            let row = narrow(step.checked_sub(oldest)?);
            let value = ring.values.get(row.checked_mul(ring.width)? + column)?;
            value.is_finite().then_some(*value)
        };
        let column = |measure: &Measure| {
            let column = measure.column(self.kind);
            (*measure, (first..=end).map(|step| value_at(column?, step)).collect())
        };
        Curves { from: Timestamp(first * step_ms), step_ms, columns: measures.iter().map(column).collect() }
    }
}

impl Open {
    fn fold(&mut self, row: &[f32], folds: &[Fold]) {
        for ((told, value), fold) in self.told.iter_mut().zip(row).zip(folds) {
            if value.is_nan() {
                continue;
            }
            let value = f64::from(*value);
            told.0 = match fold {
                Fold::Mean => told.0 + value,
                Fold::Max if told.1 == 0 => value,
                Fold::Max => told.0.max(value),
            };
            told.1 += 1;
        }
    }

    fn folded(&self, folds: &[Fold]) -> Vec<f32> {
        let one = |((folded, times), fold): (&(f64, u32), &Fold)| match (times, fold) {
            (0, _) => GAP,
            (_, Fold::Max) => as_f32(*folded),
            (times, Fold::Mean) => as_f32(folded / f64::from(*times)),
        };
        self.told.iter().zip(folds).map(one).collect()
    }
}

/// Curves over the same steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Curves {
    /// When the first step began.
    pub from: Timestamp,
    /// How long a step is.
    pub step_ms: Millis,
    /// The values of each measure, the oldest first, all equally many; none where nothing is known.
    pub columns: Vec<(Measure, Vec<Option<f32>>)>,
}

impl Curves {
    /// Curves without a step: nothing is remembered.
    #[must_use]
    pub fn empty(measures: &[Measure], window: Window, now: Timestamp) -> Curves {
        let columns = measures.iter().map(|measure| (*measure, Vec::new())).collect();
        Curves { from: now, step_ms: window.step_ms(), columns }
    }

    /// The values of one measure; none when it was not asked for.
    #[must_use]
    pub fn values(&self, measure: Measure) -> &[Option<f32>] {
        let found = self.columns.iter().find(|(known, _)| *known == measure);
        found.map_or(&[], |(_, values)| values.as_slice())
    }

    /// The values of one measure, each with the end of its step: that is when it was known.
    pub fn points(&self, measure: Measure) -> impl Iterator<Item = (Timestamp, Option<f32>)> + '_ {
        let ends = (1u64..).map(|step| self.from.plus(step * self.step_ms));
        ends.zip(self.values(measure).iter().copied())
    }
}

/// As it is kept: seven digits are more than a curve shows.
#[expect(clippy::cast_possible_truncation, reason = "what does not fit is infinite, and that is a gap")]
pub(super) fn as_f32(value: f64) -> f32 {
    value as f32
}

fn narrow(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAG: Measure = Measure::LagSeconds;
    const RATE: Measure = Measure::AckedMessages;

    fn at(seconds: u64) -> Timestamp {
        Timestamp(1_790_000_040_500 + seconds * 1_000)
    }

    fn note(track: &mut Track, seconds: u64, lag: f32, rate: f32) {
        track.note(at(seconds), &[(LAG, lag), (RATE, rate)]);
    }

    fn values(track: &Track, measure: Measure, window: Window, now: u64) -> Vec<Option<f32>> {
        track.read(&[measure], window, at(now)).columns.remove(0).1
    }

    #[test]
    fn a_gap_is_a_gap_also_at_the_end() {
        let mut track = Track::new(SubjectKind::Group);
        note(&mut track, 0, 1.0, 5.0);
        note(&mut track, 3, 0.0, 7.0);
        let found = track.read(&[LAG, Measure::Connections], Window::TenMinutes, at(5));
        assert_eq!(found.from, Timestamp(1_790_000_040_000));
        assert_eq!(found.values(LAG), [Some(1.0), None, None, Some(0.0), None]);
        assert_eq!(found.values(Measure::Connections), [None; 5], "no group has that");
        let last = found.points(LAG).nth(3).unwrap();
        assert_eq!(last, (Timestamp(1_790_000_044_000), Some(0.0)));
        assert_eq!(values(&track, Measure::ReadyMessages, Window::TenMinutes, 3), [None; 4], "never told");
        track.note(at(5), &[(LAG, f32::INFINITY)]);
        assert_eq!(values(&track, LAG, Window::TenMinutes, 5).last(), Some(&None));
    }

    #[test]
    fn longer_steps_hold_means_and_what_was_worst() {
        let mut track = Track::new(SubjectKind::Group);
        for second in 0..120 {
            // One second in ten nothing is told.
            if second % 10 != 9 {
                note(&mut track, second, if second == 14 { 90.0 } else { 1.0 }, 8.0);
            }
        }
        note(&mut track, 120, 0.0, 0.0);
        let lag = values(&track, LAG, Window::SixHours, 120);
        assert_eq!((lag.len(), lag[0], lag[1], lag[2]), (12, Some(1.0), Some(90.0), Some(1.0)));
        assert_eq!(values(&track, RATE, Window::SixHours, 120), [Some(8.0); 12]);
        assert_eq!(values(&track, LAG, Window::SevenDays, 120), [Some(90.0), Some(1.0)]);
    }

    #[test]
    fn a_ring_holds_its_steps_and_no_more_memory_than_they_take() {
        let mut ring = Ring::new(3, 600);
        for step in 0..5_000 {
            ring.put(step, &[1.0, 2.0, 3.0]);
            assert!(ring.values.capacity() <= 600 * 3, "{}", ring.values.capacity());
        }
        assert_eq!((ring.rows(), ring.newest), (600, 4_999));
        ring.put(4_999 + 601, &[0.0; 3]);
        assert_eq!(ring.rows(), 1, "a gap longer than the ring leaves nothing before it");
    }

    #[test]
    fn a_clock_that_is_set_back_takes_back_what_had_not_come_yet() {
        let mut ring = Ring::new(1, 600);
        for step in 100..200u16 {
            ring.put(step.into(), &[f32::from(step)]);
        }
        ring.put(150, &[0.0]);
        assert_eq!((ring.rows(), ring.newest, ring.values.back()), (51, 150, Some(&0.0)));
        assert_eq!(ring.values.get(49), Some(&149.0));
        ring.put(7, &[1.0]);
        assert_eq!((ring.rows(), ring.newest), (1, 7), "further back than anything that is known");
    }
}
