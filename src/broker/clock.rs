//! Log time, as the leader stamps it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::model::Timestamp;

/// How much faster or slower than the monotonic clock log time may run to get back to the wall clock: 5 %.
const SLEW_DIVISOR: i128 = 20;

/// A wall clock this far from log time is shown as a fault of the host: one hour.
const JUMP_NANOS: i128 = 3_600_000_000_000;

/// Log time of one leadership: starts at the later of the last stamp and the wall clock, then runs on the monotonic
/// clock, bent by at most 5 % towards the wall clock. Never goes back, so a schedule cannot fire early because
/// somebody set the host's clock.
#[derive(Debug)]
pub(super) struct LogClock {
    log_nanos: i128,
    read_at: Instant,
}

/// Nanoseconds of the wall clock since the Unix epoch; 0 before it.
pub(super) fn wall_nanos() -> i128 {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    let now = SystemTime::now();
    now.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| i128::try_from(since.as_nanos()).unwrap_or(i128::MAX))
}

/// The wall clock, for what is shown to people and never decides anything. Not for ages: those are told in log time
/// ([`SharedClock`]).
pub(super) fn wall_time() -> Timestamp {
    Timestamp(u64::try_from(wall_nanos() / 1_000_000).unwrap_or(0))
}

impl LogClock {
    /// Starts a leadership whose last stamp was `last`.
    pub(super) fn start(last: Timestamp) -> LogClock {
        LogClock::start_at(last, wall_nanos(), Instant::now())
    }

    fn start_at(last: Timestamp, wall_nanos: i128, now: Instant) -> LogClock {
        LogClock { log_nanos: wall_nanos.max(i128::from(last.0) * 1_000_000), read_at: now }
    }

    /// Log time now.
    pub(super) fn now(&mut self) -> Timestamp {
        self.advance(wall_nanos(), Instant::now())
    }

    fn advance(&mut self, wall_nanos: i128, now: Instant) -> Timestamp {
        let elapsed =
            i128::try_from(now.saturating_duration_since(self.read_at).as_nanos()).unwrap_or(i128::MAX);
        self.read_at = now;
        let steady = self.log_nanos.saturating_add(elapsed);
        let bend = elapsed / SLEW_DIVISOR;
        self.log_nanos = steady + (wall_nanos - steady).clamp(-bend, bend);
        self.time()
    }

    fn time(&self) -> Timestamp {
        Timestamp(u64::try_from(self.log_nanos / 1_000_000).unwrap_or(u64::MAX))
    }

    /// Log time now, when the newest stamp of the log is `stamped`: never before that, and on from there.
    fn advance_past(&mut self, stamped: Timestamp, wall_nanos: i128, now: Instant) -> Timestamp {
        self.advance(wall_nanos, now);
        self.log_nanos = self.log_nanos.max(i128::from(stamped.0) * 1_000_000);
        self.time()
    }

    /// How long until log time reaches `due`, at the fastest it may run; zero when it has.
    pub(super) fn until(&mut self, due: Timestamp) -> Duration {
        let now = self.now();
        Duration::from_millis(due.since(now))
    }

    /// Whether the wall clock is more than an hour away from log time.
    pub(super) fn has_jumped(&self) -> bool {
        (wall_nanos() - self.log_nanos).abs() > JUMP_NANOS
    }
}

/// Log time for all who only look, and for duties that have the proposer decide: what an age is told in, and when
/// something is due. By the wall clock every message would be as old as that clock is wrong. Locked to be read, because
/// reading it moves it on.
#[derive(Debug)]
pub(super) struct SharedClock(Mutex<LogClock>);

impl SharedClock {
    /// Starts when the newest stamp is `last`.
    pub(super) fn start(last: Timestamp) -> SharedClock {
        SharedClock(Mutex::new(LogClock::start(last)))
    }

    /// The time now, for who looks at a state whose newest stamp is `stamped`: never before that.
    pub(super) fn now(&self, stamped: Timestamp) -> Timestamp {
        let mut clock = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clock.advance_past(stamped, wall_nanos(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i128 = 1_000_000_000;

    #[test]
    fn log_time_follows_the_wall_clock_by_at_most_five_percent() {
        let start = Instant::now();
        let mut clock = LogClock::start_at(Timestamp(0), 1_000 * SECOND, start);
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(clock.advance(1_100 * SECOND, after(100)), Timestamp(1_100_000), "in step");
        assert_eq!(clock.advance(9_999 * SECOND, after(200)), Timestamp(1_205_000), "the host jumps ahead");
        assert_eq!(clock.advance(0, after(300)), Timestamp(1_300_000), "the host jumps back");
    }

    #[test]
    fn who_looks_goes_on_from_the_newest_stamp() {
        let start = Instant::now();
        let mut clock = LogClock::start_at(Timestamp(0), 1_000 * SECOND, start);
        let after = |seconds| start + Duration::from_secs(seconds);
        let ahead = clock.advance_past(Timestamp(5_000_000), 1_000 * SECOND, start);
        assert_eq!(ahead, Timestamp(5_000_000), "a log that runs ahead of the host");
        let later = clock.advance_past(Timestamp(5_000_000), 1_100 * SECOND, after(100));
        assert_eq!(later, Timestamp(5_095_000), "it does not stand still, nor fall back");
        let jumped = clock.advance_past(Timestamp(5_000_000), 9_999 * SECOND, after(101));
        assert_eq!(jumped, Timestamp(5_096_050), "nor jump with the host");
    }

    #[test]
    fn log_time_never_goes_back() {
        let start = Instant::now();
        let mut clock = LogClock::start_at(Timestamp(5_000_000), 10 * SECOND, start);
        let mut last = Timestamp(0);
        for step in 0..1_000u32 {
            let wall = if step % 2 == 0 { 0 } else { i128::from(step) * 3_600 * SECOND };
            let now = clock.advance(wall, start + Duration::from_millis(u64::from(step)));
            assert!(now >= last);
            last = now;
        }
    }
}
