//! Pings: the only reason why an idle socket wakes up.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// How often a socket is pinged.
pub(super) const PERIOD: Duration = Duration::from_secs(20);
/// Periods without a sign of life after which the other side counts as gone.
const MISSES_MAX: u8 = 2;

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Beat {
    Nothing,
    Ping,
    Silent,
}

/// The pulse of one socket.
#[derive(Debug)]
pub(super) struct Heartbeat {
    timer: Pin<Box<Sleep>>,
    heard: bool,
    misses: u8,
}

impl Heartbeat {
    pub(super) fn new() -> Heartbeat {
        Heartbeat { timer: Box::pin(tokio::time::sleep(PERIOD)), heard: true, misses: 0 }
    }

    /// The other side sent something.
    pub(super) fn heard(&mut self) {
        self.heard = true;
    }

    /// Waits for the next beat. While the socket is not read, silence proves nothing.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, reading: bool) -> Beat {
        if self.timer.as_mut().poll(cx).is_pending() {
            return Beat::Nothing;
        }
        self.timer.as_mut().reset(Instant::now() + PERIOD);
        // Only a polled timer wakes; the next period is far away, so this is pending.
        let _: Poll<()> = self.timer.as_mut().poll(cx);
        self.beat(reading)
    }

    /// Counts one period.
    fn beat(&mut self, reading: bool) -> Beat {
        if self.heard || !reading {
            self.misses = 0;
        } else {
            self.misses += 1;
        }
        self.heard = false;
        if self.misses >= MISSES_MAX { Beat::Silent } else { Beat::Ping }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_misses_are_the_end() {
        let mut heartbeat = Heartbeat::new();
        assert_eq!(heartbeat.beat(true), Beat::Ping, "opening the socket was a sign of life");
        assert_eq!(heartbeat.beat(true), Beat::Ping);
        heartbeat.heard();
        assert_eq!(heartbeat.beat(true), Beat::Ping);
        assert_eq!(heartbeat.beat(true), Beat::Ping);
        assert_eq!(heartbeat.beat(false), Beat::Ping, "nobody listened");
        assert_eq!(heartbeat.beat(true), Beat::Ping);
        assert_eq!(heartbeat.beat(true), Beat::Silent);
    }
}
