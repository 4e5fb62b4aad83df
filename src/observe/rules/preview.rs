//! What a rule would have done: the same steps that alerts take, over values of the past.

use crate::model::Timestamp;

use super::condition::Condition;
use super::phase::{Memory, Phase, step};

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
) -> Vec<Interval> {
    let mut memory = Memory::default();
    let mut phase = None;
    let mut found: Vec<Interval> = Vec::new();
    for (at, value) in values {
        let before = phase;
        phase = step(phase, condition.of(value), condition.timing, (&mut memory, at));
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
    use super::*;
    use crate::model::alert::AlertRule;

    fn condition(more: &str) -> Condition {
        let text = format!(r#"{{"metric":"lag_messages","threshold":5,{more}}}"#);
        Condition::from(&serde_json::from_str::<AlertRule>(&text).unwrap())
    }

    #[test]
    fn it_fires_in_the_past_as_it_would_now() {
        let at = |second: u64| Timestamp(second * 1_000);
        let values = [0, 9, 9, 9, 9, 0, 9, 0, 9, 9, 9].iter().map(|value| Some(f64::from(*value)));
        let values = values.enumerate().map(|(step, value)| (at(10 * step as u64), value));
        let found = preview(values, condition(r#""for_ms":20000"#));
        let expected =
            [Interval { from: at(30), until: Some(at(50)) }, Interval { from: at(100), until: None }];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_gap_is_what_the_rule_makes_of_it() {
        let values = || [(Timestamp(0), Some(9.0)), (Timestamp(10), None), (Timestamp(20), Some(9.0))];
        let times = |word| preview(values(), condition(&format!(r#""no_data":"{word}""#))).len();
        assert_eq!((times("ok"), times("keep"), times("alert")), (2, 1, 1));
    }
}
