//! The life of one alert: inactive, pending, firing, and over again.
//!
//! Pending and firing are state of the machine and survive everything. What is only in the leader's memory is how long
//! the condition has been false of an alert that fires, and how often it began to fire: after a change of leader both
//! begin anew, so an alert is held a little longer, never shorter.

use std::collections::VecDeque;

use crate::model::{Millis, Timestamp};

/// An alert that began to fire this often within [`FLAPPING_WITHIN_MS`] flaps.
pub const FLAPPING_FIRINGS: usize = 3;

/// See [`FLAPPING_FIRINGS`].
pub const FLAPPING_WITHIN_MS: Millis = 3_600_000;

/// An alert that flaps ends only when its condition has been false for this long. Then it tells of one long trouble,
/// and not of ten short ones.
pub const FLAPPING_HOLD_MS: Millis = 15 * 60_000;

/// What a look at an object said about a rule's condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    Yes,
    /// It does not hold.
    No,
    /// Nothing is known, and the rule says that everything stays as it is.
    Keep,
}

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The condition holds, not yet for as long as the rule asks.
    Pending {
        /// Since when it holds.
        since: Timestamp,
    },
    /// People are told.
    Firing,
}

/// The times of a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// How long the condition must hold.
    pub for_ms: Millis,
    /// How long it must be false afterwards.
    pub keep_firing_for_ms: Millis,
}

/// What the leader remembers of an alert beyond its phase.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Since when the condition has been false while it fired.
    false_since: Option<Timestamp>,
    /// When it began to fire lately.
    firings: VecDeque<Timestamp>,
}

impl Memory {
    /// Whether it has begun to fire so often lately that it is held.
    #[must_use]
    pub fn is_flapping(&self, now: Timestamp) -> bool {
        self.lately(now).count() >= FLAPPING_FIRINGS
    }

    /// Whether nothing of it matters any more.
    #[must_use]
    pub fn is_idle(&self, now: Timestamp) -> bool {
        self.false_since.is_none() && self.lately(now).next().is_none()
    }

    fn lately(&self, now: Timestamp) -> impl Iterator<Item = &Timestamp> {
        self.firings.iter().filter(move |at| now.since(**at) <= FLAPPING_WITHIN_MS)
    }

    fn note_firing(&mut self, now: Timestamp) {
        self.firings.push_back(now);
        if self.firings.len() > FLAPPING_FIRINGS {
            self.firings.pop_front();
        }
    }
}

/// Where an alert stands after a look at `now`; none for inactive.
pub fn step(
    phase: Option<Phase>,
    truth: Truth,
    timing: Timing,
    (memory, now): (&mut Memory, Timestamp),
) -> Option<Phase> {
    match (phase, truth) {
        (None, Truth::No | Truth::Keep) => None,
        (None, Truth::Yes) => Some(hold(now, timing, (memory, now))),
        (Some(Phase::Pending { since }), Truth::Yes | Truth::Keep) => {
            Some(hold(since, timing, (memory, now)))
        }
        (Some(Phase::Pending { .. }), Truth::No) => None,
        (Some(Phase::Firing), Truth::Yes) => {
            memory.false_since = None;
            Some(Phase::Firing)
        }
        (Some(Phase::Firing), Truth::Keep) => Some(Phase::Firing),
        (Some(Phase::Firing), Truth::No) => {
            let false_since = *memory.false_since.get_or_insert(now);
            let hold_ms = if memory.is_flapping(now) { FLAPPING_HOLD_MS } else { 0 };
            if now.since(false_since) < timing.keep_firing_for_ms.max(hold_ms) {
                return Some(Phase::Firing);
            }
            memory.false_since = None;
            None
        }
    }
}

/// The condition has held since `since`.
fn hold(since: Timestamp, timing: Timing, (memory, now): (&mut Memory, Timestamp)) -> Phase {
    if now.since(since) < timing.for_ms {
        return Phase::Pending { since };
    }
    memory.note_firing(now);
    Phase::Firing
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks every 10 s; `looks` has a sign for each (`+` holds, `-` does not, `?` not known), the answer too (`.`
    /// inactive, `p` pending, `F` firing).
    fn life(timing: Timing, looks: &str) -> String {
        let mut memory = Memory::default();
        let mut phase = None;
        let mut now = Timestamp(1_000_000);
        let mut told = String::new();
        for look in looks.chars() {
            let truth = match look {
                '+' => Truth::Yes,
                '-' => Truth::No,
                _ => Truth::Keep,
            };
            phase = step(phase, truth, timing, (&mut memory, now));
            told.push(match phase {
                None => '.',
                Some(Phase::Pending { .. }) => 'p',
                Some(Phase::Firing) => 'F',
            });
            now = now.plus(10_000);
        }
        told
    }

    #[test]
    fn the_life_of_an_alert() {
        let (none, for_30, keep_20) = (
            Timing::default(),
            Timing { for_ms: 30_000, keep_firing_for_ms: 0 },
            Timing { for_ms: 0, keep_firing_for_ms: 20_000 },
        );
        for (timing, looks, told) in [
            (none, "-+-", ".F."),
            (for_30, "-++++-", ".pppF."),
            // One miss, and the time begins anew.
            (for_30, "+++-++++", "ppp.pppF"),
            (keep_20, "+--+---", "FFFFFF."),
            // What is not known changes nothing, and time goes on.
            (none, "?+?-?", ".FF.."),
            (for_30, "+??+", "pppF"),
            (keep_20, "+-??-", "FFFF."),
        ] {
            assert_eq!(life(timing, looks), told, "{timing:?} {looks}");
        }
    }

    #[test]
    fn what_flaps_is_held_until_it_was_quiet_for_long() {
        let quiet = "-".repeat(90);
        let told = life(Timing::default(), &format!("+-+-+-+-{quiet}--+"));
        // Three times it comes and goes, the third time it stays until a quarter of an hour was quiet.
        assert_eq!(told.get(..8), Some("F.F.FFFF"));
        let held = told.chars().skip(4).take_while(|sign| *sign == 'F').count();
        assert_eq!(held, 3 + 90, "the condition held for the last time two looks after the third beginning");
        assert!(told.ends_with(".F"), "{told}");
    }

    #[test]
    fn an_hour_later_it_is_forgiven() {
        let gap = "-".repeat(361);
        let told = life(Timing::default(), &format!("+-+-{gap}+-"));
        assert!(told.starts_with("F.F.") && told.ends_with(".F."), "{told}");
        let mut memory = Memory::default();
        memory.note_firing(Timestamp(0));
        assert!(!memory.is_idle(Timestamp(FLAPPING_WITHIN_MS)));
        assert!(memory.is_idle(Timestamp(FLAPPING_WITHIN_MS + 1)));
    }
}
