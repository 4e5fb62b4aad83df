//! Doing something again and again until the broker stops.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::core::Core;

/// Rounds of a duty, the first one at once. One that took longer than its time is followed by a whole pause.
pub(super) struct Rounds<'a> {
    core: &'a Core,
    every: Interval,
}

impl Core {
    /// Rounds every so often.
    pub(super) fn rounds_every(&self, time: Duration) -> Rounds<'_> {
        let mut every = interval(time);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Rounds { core: self, every }
    }
}

impl Rounds<'_> {
    /// Waits for the next round; `false` when the broker stops and there is none.
    pub(super) async fn next(&mut self) -> bool {
        tokio::select! {
            _ = self.every.tick() => !self.core.stopping(),
            () = self.core.until_stopped() => false,
        }
    }
}
