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
/// The newest may be a step that is not over: then it holds what was told of it so far.
#[derive(Debug)]
pub(super) struct Ring {
    pub(super) width: usize,
    pub(super) most: usize,
    pub(super) newest: u64,
    pub(super) values: VecDeque<f32>,
    /// What the newest row is made of, by column. Empty while that is the row itself, for as many samples as
    /// `counts_as` says.
    parts: Vec<Part>,
    counts_as: u32,
    /// How many samples a whole row is made of.
    whole: u32,
}

/// A value that several samples make.
#[derive(Debug)]
struct Part {
    /// Their sum or the largest, as the column is folded.
    folded: f64,
    samples: u32,
}

impl Part {
    /// One whose value is known; a gap is made of none.
    fn of(value: f32, samples: u32, fold: Fold) -> Part {
        match fold {
            _ if value.is_nan() => Part { folded: 0.0, samples: 0 },
            Fold::Max => Part { folded: value.into(), samples },
            Fold::Mean => Part { folded: f64::from(value) * f64::from(samples), samples },
        }
    }

    /// Takes in another one; answers the value of all of them.
    fn add(&mut self, value: f32, fold: Fold) -> f32 {
        let value = f64::from(value);
        let samples = self.samples.saturating_add(1);
        self.folded = match fold {
            Fold::Max if self.samples > 0 => self.folded.max(value),
            Fold::Max | Fold::Mean => self.folded + value,
        };
        self.samples = samples;
        as_f32(if fold == Fold::Mean { self.folded / f64::from(samples) } else { self.folded })
    }
}

impl Ring {
    pub(super) fn new(width: usize, window: Window) -> Ring {
        let whole = u32::try_from(window.step_ms() / Window::TenMinutes.step_ms()).unwrap_or(u32::MAX);
        Ring {
            width,
            most: window.steps(),
            newest: 0,
            values: VecDeque::new(),
            parts: Vec::new(),
            counts_as: whole,
            whole,
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// Takes a sample into the row of its step. Steps in between that were never told are gaps. A sample of an earlier
    /// step than the newest says that the clock was set back: what had been told of later steps is forgotten, and what
    /// is known of its own counts as whole, so that a step that is over is not replaced by a sample or two.
    fn put(&mut self, step: u64, sample: &[f32], folds: &[Fold]) {
        let rows = self.rows();
        if rows > 0 && step < self.newest {
            let taken_back = narrow(self.newest - step);
            self.values.truncate(rows.saturating_sub(taken_back) * self.width);
            self.parts.clear();
            self.counts_as = self.whole;
        } else if rows > 0 && step > self.newest {
            let missing = narrow(step - self.newest - 1);
            if missing >= self.most {
                self.values.clear();
            } else {
                (0..missing).for_each(|_| self.push(None));
            }
        }
        if self.values.is_empty() || step > self.newest {
            self.push(Some(sample));
            self.parts.clear();
            self.counts_as = 1;
        } else {
            self.fold(sample, folds);
        }
        self.newest = step;
    }

    /// Takes a sample into the newest row.
    fn fold(&mut self, sample: &[f32], folds: &[Fold]) {
        let newest = self.values.len().saturating_sub(self.width)..;
        if self.parts.is_empty() {
            let row = self.values.range(newest.clone());
            let held = row.zip(folds).map(|(value, fold)| Part::of(*value, self.counts_as, *fold));
            self.parts.extend(held);
        }
        let row = self.values.range_mut(newest);
        for ((held, part), (value, fold)) in row.zip(&mut self.parts).zip(sample.iter().zip(folds)) {
            if !value.is_nan() {
                *held = part.add(*value, *fold);
            }
        }
    }

    /// How many rows have a value from step `first` on, by column.
    fn told_since(&self, first: u64) -> Vec<u32> {
        let rows = narrow((self.newest + 1).saturating_sub(first)).min(self.rows());
        let values = self.values.range(self.values.len() - rows * self.width..);
        let mut counted = vec![0; self.width];
        for (column, value) in (0..self.width).cycle().zip(values) {
            if let Some(count) = counted.get_mut(column) {
                *count += u32::from(!value.is_nan());
            }
        }
        counted
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
}

impl Track {
    pub(super) fn new(kind: SubjectKind) -> Track {
        let folds: Vec<Fold> = Measure::of(kind).map(Measure::fold).collect();
        let rings = Window::ALL.map(|window| Ring::new(folds.len(), window));
        Track { kind, told: THOUSANDTHS, folds, rings }
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
        for (window, ring) in Window::ALL.into_iter().zip(&mut self.rings) {
            ring.put(now.0 / window.step_ms(), &row, &self.folds);
        }
    }

    /// After it was read from a file: counts of how many samples the newest row of each longer ring is made, as far as
    /// its step was told. The ring of seconds knows.
    pub(super) fn go_on(&mut self) {
        let [seconds, longer @ ..] = &mut self.rings;
        for ring in longer.iter_mut().filter(|ring| ring.rows() > 0) {
            let counted = seconds.told_since(ring.newest.saturating_mul(ring.whole.into()));
            let newest = ring.values.range(ring.values.len() - ring.width..);
            let of_column = newest.zip(counted).zip(&self.folds);
            // Never of none: it has a value.
            ring.parts =
                of_column.map(|((value, count), fold)| Part::of(*value, count.max(1), *fold)).collect();
        }
    }

    /// The second of the newest sample; none before the first.
    pub(super) fn newest(&self) -> Option<u64> {
        let [seconds, ..] = &self.rings;
        (seconds.rows() > 0).then_some(seconds.newest)
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
        // Steps that are over and were not told are a gap at the end; the current one is there as far as it was told.
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
        assert_eq!((lag.len(), lag[0], lag[1], lag[2]), (13, Some(1.0), Some(90.0), Some(1.0)));
        assert_eq!(values(&track, RATE, Window::SixHours, 120)[..12], [Some(8.0); 12]);
        assert_eq!(values(&track, LAG, Window::SevenDays, 120), [Some(90.0), Some(1.0), Some(0.0)]);
    }

    #[test]
    fn a_step_is_shown_from_what_it_has() {
        let mut track = Track::new(SubjectKind::Group);
        for second in 0..60 {
            note(&mut track, second, 0.0, if second < 30 { 2.0 } else { 4.0 });
        }
        // The minute is over, and its last sample was the newest of all.
        for window in [Window::SixHours, Window::SevenDays] {
            let edge = track.read(&[RATE], window, Timestamp(at(60).0 - 500));
            assert_eq!(
                edge.values(RATE).last(),
                Some(&Some(if window == Window::SixHours { 4.0 } else { 3.0 }))
            );
        }
        note(&mut track, 60, 0.0, 5.0);
        track.note(at(61), &[(RATE, f32::NAN)]);
        note(&mut track, 62, 0.0, 8.0);
        assert_eq!(values(&track, RATE, Window::SevenDays, 62), [Some(3.0), Some(6.5)], "so far");
    }

    #[test]
    fn a_ring_holds_its_steps_and_no_more_memory_than_they_take() {
        let mut ring = Ring::new(3, Window::TenMinutes);
        for step in 0..5_000 {
            ring.put(step, &[1.0, 2.0, 3.0], &[Fold::Mean; 3]);
            assert!(ring.values.capacity() <= 600 * 3, "{}", ring.values.capacity());
        }
        assert_eq!((ring.rows(), ring.newest), (600, 4_999));
        ring.put(4_999 + 601, &[0.0; 3], &[Fold::Mean; 3]);
        assert_eq!(ring.rows(), 1, "a gap longer than the ring leaves nothing before it");
    }

    #[test]
    fn a_clock_that_is_set_back_takes_back_what_had_not_come_yet() {
        let mut ring = Ring::new(1, Window::TenMinutes);
        for step in 100..200u16 {
            ring.put(step.into(), &[f32::from(step)], &[Fold::Max]);
        }
        ring.put(150, &[0.0], &[Fold::Max]);
        assert_eq!((ring.rows(), ring.newest, ring.values.back()), (51, 150, Some(&150.0)));
        ring.put(7, &[1.0], &[Fold::Max]);
        assert_eq!((ring.rows(), ring.newest), (1, 7), "further back than anything that is known");
    }

    #[test]
    fn going_back_over_an_edge_leaves_the_minute_that_is_over() {
        let mut track = Track::new(SubjectKind::Group);
        for second in 0..62 {
            note(&mut track, second, 1.0, 8.0);
        }
        note(&mut track, 59, 0.0, 2.0);
        let minute = values(&track, RATE, Window::SevenDays, 59);
        assert_eq!(minute.len(), 1, "the next one has not come yet");
        assert!(minute[0].is_some_and(|rate| rate > 7.8), "one sample of sixty-one: {minute:?}");
        assert_eq!(values(&track, LAG, Window::SevenDays, 59), [Some(1.0)]);
        note(&mut track, 60, 1.0, 4.0);
        assert_eq!(values(&track, RATE, Window::SevenDays, 60).last(), Some(&Some(4.0)));
    }
}
