//! What is counted, by one thread and by all together.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::cli::CliError;

/// Latencies beyond this are counted as this.
const LATENCY_NANOS_MAX: u64 = 300_000_000_000;
/// Times on the interface are whole milliseconds: what comes less than that before its time is not early, and a send
/// that is less behind its time is not late.
const RESOLUTION: Duration = Duration::from_millis(1);

/// What a run found.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Messages stored (produce) or acked with the broker's confirmation (all others) in the measured time.
    pub messages: u64,
    /// The measured time; for consume until the last ack.
    pub elapsed: Duration,
    /// Nanoseconds of what the workload measures, see [`super::Workload`].
    pub latency: Histogram<u64>,
    /// How a load with fixed sending times kept to them; none for another load.
    pub kept_pace: Option<KeptPace>,
    /// Messages that came before they were due.
    pub early: u64,
    /// Messages of the backlog that were still there at the end (consume).
    pub remaining: u64,
    /// What could not be cleared away, with the reason.
    pub left_behind: Vec<String>,
}

/// How the sends and their answers kept to the times fixed in advance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptPace {
    /// What was to be finished: each request (produce) or each delivery (others) whose time lies in the measured time.
    pub due: u64,
    /// Of them those not finished when the run gave up. They are in the latencies with the time it waited for them,
    /// which is less than they really take.
    pub unfinished: u64,
    /// How long the run waited after the measured time before it gave up.
    pub patience: Duration,
    /// Requests sent more than a millisecond after their time, because earlier ones held the connection.
    pub late: u64,
    /// The longest time that a request was sent after its time.
    pub behind_max: Duration,
}

impl Measured {
    /// Messages per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.elapsed.as_secs_f64()
    }

    /// Latency at a quantile, in microseconds.
    #[must_use]
    pub fn latency_us(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e3
    }
}

/// What one thread counted.
#[derive(Debug)]
pub(super) struct Tally {
    from: Instant,
    until: Instant,
    /// Whether a latency belongs to the window by when it began, and not by when it ended.
    by_beginning: bool,
    pub(super) messages: u64,
    pub(super) latency: Histogram<u64>,
    pub(super) early: u64,
    pub(super) late: u64,
    pub(super) behind_max: Duration,
    /// When the last message was done.
    pub(super) last: Instant,
}

/// The tally of one thread, shared by its connections.
pub(super) type SharedTally = Rc<RefCell<Tally>>;

impl Tally {
    /// Nothing counted yet, in the window from `from` to before `until`. With `by_beginning` every latency that began
    /// there counts, however late it ended: what is slow at the end of the window must not drop out of it.
    pub(super) fn new(from: Instant, until: Instant, by_beginning: bool) -> Result<Tally, CliError> {
        let (messages, early, late, behind_max) = (0, 0, 0, Duration::ZERO);
        let latency = histogram()?;
        Ok(Tally { from, until, by_beginning, messages, latency, early, late, behind_max, last: from })
    }

    fn within(&self, time: Instant) -> bool {
        self.from <= time && time < self.until
    }

    /// Counts messages that are done.
    pub(super) fn done(&mut self, now: Instant, messages: u64) {
        if self.within(now) && messages > 0 {
            self.messages += messages;
            self.last = now;
        }
    }

    /// Counts one latency, from `begun` to `now`.
    pub(super) fn took(&mut self, begun: Instant, now: Instant) {
        if now + RESOLUTION < begun {
            self.early += 1;
        }
        if self.within(if self.by_beginning { begun } else { now }) {
            self.latency.saturating_record(nanos(now.saturating_duration_since(begun)).max(1));
        }
    }

    /// Counts a request that was to be sent at `wanted` and is sent `now`.
    pub(super) fn sends(&mut self, wanted: Instant, now: Instant) {
        let behind = now.saturating_duration_since(wanted);
        if behind > RESOLUTION && self.within(wanted) {
            self.late += 1;
        }
        if self.within(wanted) {
            self.behind_max = self.behind_max.max(behind);
        }
    }
}

impl Measured {
    /// All threads together.
    pub(super) fn total(tallies: &[Tally], elapsed: Duration) -> Result<Measured, CliError> {
        let mut total = Measured {
            messages: tallies.iter().map(|tally| tally.messages).sum(),
            elapsed,
            latency: histogram()?,
            kept_pace: None,
            early: tallies.iter().map(|tally| tally.early).sum(),
            remaining: 0,
            left_behind: Vec::new(),
        };
        for tally in tallies {
            total.latency.add(&tally.latency).map_err(|error| CliError::Failed(error.to_string()))?;
        }
        Ok(total)
    }

    /// Adds what was to be finished and was not: each such latency is at least `patience`.
    pub(super) fn keep_pace(&mut self, tallies: &[Tally], due: u64, patience: Duration) {
        let unfinished = due.saturating_sub(self.latency.len());
        self.latency.saturating_record_n(nanos(patience).max(1), unfinished);
        self.kept_pace = Some(KeptPace {
            due,
            unfinished,
            patience,
            late: tallies.iter().map(|tally| tally.late).sum(),
            behind_max: tallies.iter().map(|tally| tally.behind_max).max().unwrap_or_default(),
        });
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn histogram() -> Result<Histogram<u64>, CliError> {
    Histogram::new_with_bounds(1, LATENCY_NANOS_MAX, 3).map_err(|error| CliError::Failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn near(nanos: u64, wanted: Duration) -> bool {
        (nanos as f64 / wanted.as_nanos() as f64 - 1.0).abs() < 0.002
    }

    #[test]
    fn a_stall_is_in_the_percentiles_once_times_are_fixed_in_advance() {
        // 100 requests, one each 10 ms; the broker answers in 1 ms, but stands still from 500 to 700 ms.
        let start = Instant::now();
        let answered = |sent: Instant| {
            let after = sent - start;
            if (500 * MS..700 * MS).contains(&after) { start + 701 * MS } else { sent + MS }
        };
        let mut closed = Tally::new(start, start + 1_000 * MS, false).unwrap();
        let mut open = Tally::new(start, start + 1_000 * MS, true).unwrap();
        let mut free_at = start;
        for k in 0..100 {
            let wanted = start + 10 * MS * k;
            let sent = wanted.max(free_at);
            let now = answered(sent);
            closed.took(sent, now);
            open.took(wanted, now);
            open.sends(wanted, sent);
            free_at = now;
        }
        // Waiting for answers hides the stall in one request; counted from the wanted times it is in a fifth of them.
        assert!(closed.latency.value_at_quantile(0.98) <= 2_000_000);
        assert!(
            near(open.latency.value_at_quantile(0.90), 111 * MS),
            "{}",
            open.latency.value_at_quantile(0.9)
        );
        assert!(near(open.latency.max(), 201 * MS));
        assert!(open.late >= 19 && open.behind_max == 191 * MS, "{} {:?}", open.late, open.behind_max);
    }

    #[test]
    fn what_began_in_the_window_counts_there_even_when_it_ends_later() {
        let start = Instant::now();
        let mut tally = Tally::new(start + 10 * MS, start + 20 * MS, true).unwrap();
        tally.took(start + 9 * MS, start + 15 * MS);
        tally.took(start + 10 * MS, start + 90 * MS);
        tally.took(start + 20 * MS, start + 21 * MS);
        assert_eq!(tally.latency.len(), 1);
        let mut closed = Tally::new(start + 10 * MS, start + 20 * MS, false).unwrap();
        closed.took(start + 9 * MS, start + 15 * MS);
        closed.took(start + 10 * MS, start + 90 * MS);
        assert_eq!(closed.latency.len(), 1);
        tally.done(start + 20 * MS, 1);
        tally.done(start + 15 * MS, 3);
        assert_eq!((tally.messages, tally.last), (3, start + 15 * MS));
    }

    #[test]
    fn what_never_finished_is_in_the_latencies_and_counted() {
        let start = Instant::now();
        let mut tally = Tally::new(start, start + 10 * MS, true).unwrap();
        for k in 0..90 {
            tally.took(start + MS * k / 10, start + MS * k / 10 + MS);
        }
        let tallies = [tally];
        let mut measured = Measured::total(&tallies, 10 * MS).unwrap();
        measured.keep_pace(&tallies, 100, 5_000 * MS);
        let kept = measured.kept_pace.unwrap();
        assert_eq!((kept.due, kept.unfinished), (100, 10));
        assert_eq!(measured.latency.len(), 100);
        assert!(near(measured.latency.value_at_quantile(0.95), 5_000 * MS));
    }

    #[test]
    fn a_millisecond_before_its_time_is_not_early() {
        let start = Instant::now();
        let mut tally = Tally::new(start, start + 100 * MS, true).unwrap();
        tally.took(start + 5 * MS, start + 4 * MS);
        assert_eq!(tally.early, 0);
        tally.took(start + 5 * MS, start + 3 * MS);
        assert_eq!((tally.early, tally.latency.len()), (1, 2));
    }
}
