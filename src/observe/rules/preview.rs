//! What a rule would have done: the same steps that alerts take, over values of the past.

use crate::model::Timestamp;

use super::condition::Condition;
use super::phase::{Memory, Phase, Timing, Truth, step};

/// A time in which an alert would have fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// When it would have begun to fire.
    pub from: Timestamp,
    /// When it would have been over; none when it would fire now.
    pub until: Option<Timestamp>,
}

/// When an alert would have fired over `values`, the oldest first. A gap (no value) is what the rule makes of it.
#[must_use]
pub fn preview(
    values: impl IntoIterator<Item = (Timestamp, Option<f64>)>,
    condition: Condition,
    timing: Timing,
    when_unknown: Truth,
) -> Vec<Interval> {
    let mut memory = Memory::default();
    let mut phase = None;
    let mut found: Vec<Interval> = Vec::new();
    for (at, value) in values {
        let truth = match value {
            Some(value) if condition.holds(value) => Truth::Yes,
            Some(_) => Truth::No,
            None => when_unknown,
        };
        let before = phase;
        phase = step(phase, truth, timing, (&mut memory, at));
        match (before, phase) {
            (Some(Phase::Firing), Some(Phase::Firing)) => {}
            (Some(Phase::Firing), _) => {
                if let Some(last) = found.last_mut() {
                    last.until = Some(at);
                }
            }
            (_, Some(Phase::Firing)) => found.push(Interval { from: at, until: None }),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::condition::Comparison;
    use super::*;

    #[test]
    fn it_fires_in_the_past_as_it_would_now() {
        let at = |second: u64| Timestamp(second * 1_000);
        let values = [0, 9, 9, 9, 9, 0, 9, 0, 9, 9, 9].iter().map(|value| Some(f64::from(*value)));
        let values = values.enumerate().map(|(step, value)| (at(10 * step as u64), value));
        let condition = Condition { comparison: Comparison::Above, threshold: 5.0 };
        let timing = Timing { for_ms: 20_000, keep_firing_for_ms: 0 };
        let found = preview(values, condition, timing, Truth::No);
        let expected =
            [Interval { from: at(30), until: Some(at(50)) }, Interval { from: at(100), until: None }];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_gap_is_what_the_rule_makes_of_it() {
        let values = || [(Timestamp(0), Some(9.0)), (Timestamp(10), None), (Timestamp(20), Some(9.0))];
        let condition = Condition { comparison: Comparison::AtLeast, threshold: 9.0 };
        let times = |truth| preview(values(), condition, Timing::default(), truth).len();
        assert_eq!((times(Truth::No), times(Truth::Keep), times(Truth::Yes)), (2, 1, 1));
    }

    #[test]
    fn a_threshold_is_on_the_side_that_its_sign_says() {
        let holds = |comparison, value| Condition { comparison, threshold: 5.0 }.holds(value);
        for (comparison, below, at, above) in [
            (Comparison::Above, false, false, true),
            (Comparison::AtLeast, false, true, true),
            (Comparison::Below, true, false, false),
            (Comparison::AtMost, true, true, false),
        ] {
            assert_eq!([4.9, 5.0, 5.1].map(|value| holds(comparison, value)), [below, at, above]);
            assert!(!holds(comparison, f64::NAN));
        }
    }
}
