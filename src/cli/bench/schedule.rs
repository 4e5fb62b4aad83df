//! When a connection may send, and from when on the time of what it sends counts.
//!
//! A load that waits for an answer before it sends again stops measuring just when the broker is slow: the requests
//! that would have waited are never made, and the percentiles look good (coordinated omission, Gil Tene). With
//! `--rate` the sending times are therefore fixed in advance, and time counts from them, whenever the request was
//! really sent.

use std::time::{Duration, Instant};

const NANOS: u128 = 1_000_000_000;

/// Sending times fixed in advance: request `k` of the run belongs to `k × messages ÷ rate` after its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrivals {
    /// Messages in one request, at least 1.
    messages: u64,
    /// Messages a second, at least 1.
    rate: u64,
}

impl Arrivals {
    pub(super) fn new(rate: u64, messages: u64) -> Arrivals {
        Arrivals { messages: messages.max(1), rate: rate.max(1) }
    }

    /// When request `k` is to be sent, after the start.
    pub(super) fn offset(self, k: u64) -> Duration {
        let nanos = u128::from(k) * u128::from(self.messages) * NANOS / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How many requests are to be sent before `end`, after the start.
    fn before(self, end: Duration) -> u64 {
        let requests = (end.as_nanos() * u128::from(self.rate)).div_ceil(u128::from(self.messages) * NANOS);
        u64::try_from(requests).unwrap_or(u64::MAX)
    }

    /// How many requests are to be sent at or after `from` and before `until`.
    pub(super) fn between(self, from: Duration, until: Duration) -> u64 {
        self.before(until).saturating_sub(self.before(from))
    }
}

/// How one connection takes its turns.
#[derive(Clone, Copy, Debug)]
pub(super) enum Turns {
    /// Whenever there is room.
    Free,
    /// At most once in this time.
    Spaced {
        /// Time between two sends.
        interval: Duration,
        /// When the next may follow.
        next: Option<Instant>,
    },
    /// At times fixed in advance, of which this connection has every `stride`-th.
    Fixed {
        /// The times of all connections together.
        arrivals: Arrivals,
        /// What they count from.
        begin: Instant,
        /// The next request of this connection, among all.
        k: u64,
        /// Connections that share the times.
        stride: u64,
    },
}

impl Turns {
    /// The earliest time of the next send; a time that has passed when it may be sent at once.
    pub(super) fn next(&self, now: Instant) -> Instant {
        match *self {
            Turns::Free => now,
            Turns::Spaced { next, .. } => next.unwrap_or(now),
            Turns::Fixed { arrivals, begin, k, .. } => begin + arrivals.offset(k),
        }
    }

    /// Takes a turn at `now`; the time from which it counts. Call it when [`Turns::next`] has come.
    pub(super) fn take(&mut self, now: Instant) -> Instant {
        match self {
            Turns::Free => now,
            Turns::Spaced { interval, next } => {
                *next = Some(now + *interval);
                now
            }
            Turns::Fixed { arrivals, begin, k, stride } => {
                let begun = *begin + arrivals.offset(*k);
                *k += *stride;
                begun
            }
        }
    }

    /// Whether sends are waited for at certain times.
    pub(super) fn are_timed(&self) -> bool {
        !matches!(self, Turns::Free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_times_of_a_rate_are_even_and_do_not_drift() {
        let arrivals = Arrivals::new(3, 1);
        assert_eq!(arrivals.offset(1), Duration::from_nanos(333_333_333));
        assert_eq!(arrivals.offset(3_000_000), Duration::from_secs(1_000_000), "no rounding adds up");
        assert_eq!(Arrivals::new(1_000, 100).offset(7), 700 * MS, "a batch takes the time of its messages");
    }

    #[test]
    fn every_request_is_counted_in_exactly_one_window() {
        for (rate, messages) in [(1, 1), (3, 1), (7, 2), (1_000, 1), (999_983, 17), (10_000_000, 1)] {
            let arrivals = Arrivals::new(rate, messages);
            for (from, until) in [(0, 1), (1, 2), (999, 1_000), (0, 1_000), (333, 667)] {
                let (from, until) = (MS * from, MS * until);
                let counted = arrivals.between(from, until);
                let first = arrivals.before(from);
                assert!(arrivals.offset(first) >= from, "{rate} {messages}");
                assert!(first == 0 || arrivals.offset(first - 1) < from);
                assert!(arrivals.offset(first + counted) >= until);
                assert!(counted == 0 || arrivals.offset(first + counted - 1) < until);
            }
        }
        assert_eq!(Arrivals::new(1_000, 10).between(1_000 * MS, 3_000 * MS), 200);
    }

    #[test]
    fn a_fixed_turn_counts_from_its_time_however_late_it_is_taken() {
        let begin = Instant::now();
        let arrivals = Arrivals::new(1_000, 1);
        let mut turns = Turns::Fixed { arrivals, begin, k: 1, stride: 4 };
        assert_eq!(turns.next(begin), begin + MS);
        // The broker held the connection for a second: three requests wait, each counts from its own time.
        let late = begin + 1_000 * MS;
        assert_eq!(
            [turns.take(late), turns.take(late), turns.take(late)],
            [1, 5, 9].map(|ms| begin + MS * ms)
        );
        assert_eq!(turns.next(late), begin + 13 * MS);
    }

    #[test]
    fn the_connections_share_the_times_without_gap_or_overlap() {
        let begin = Instant::now();
        let arrivals = Arrivals::new(500, 1);
        let mut times: Vec<Instant> = Vec::new();
        for k in 0..3 {
            let mut turns = Turns::Fixed { arrivals, begin, k, stride: 3 };
            times.extend((0..4).map(|_| turns.take(begin)));
        }
        times.sort_unstable();
        assert_eq!(times, (0..12).map(|k| begin + MS * 2 * k).collect::<Vec<_>>());
    }

    #[test]
    fn free_and_spaced_turns_count_from_when_they_are_taken() {
        let now = Instant::now();
        let mut free = Turns::Free;
        assert_eq!((free.next(now), free.take(now), free.next(now)), (now, now, now));
        let mut spaced = Turns::Spaced { interval: 5 * MS, next: None };
        assert_eq!((spaced.next(now), spaced.take(now), spaced.next(now)), (now, now, now + 5 * MS));
        let later = now + 50 * MS;
        assert_eq!(spaced.take(later), later, "what was missed is not made up for");
        assert_eq!(spaced.next(later), later + 5 * MS);
    }
}
