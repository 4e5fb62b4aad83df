//! A value held against a threshold. Here the numbers of the machine become floats.

use crate::model::Millis;
use crate::model::alert::{AlertRule, Comparison, NoData, Quantity};

use super::phase::{Timing, Truth};

/// What one is in millionths.
const ONE: f64 = 1e6;

/// What a rule asks of a value, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Condition {
    op: Comparison,
    threshold: f64,
    no_data: NoData,
    /// Its times.
    pub timing: Timing,
}

impl From<&AlertRule> for Condition {
    fn from(rule: &AlertRule) -> Condition {
        let AlertRule { op, no_data, for_ms, keep_firing_for_ms, .. } = *rule;
        let timing = Timing { for_ms, keep_firing_for_ms };
        Condition { op, threshold: from_quantity(rule.threshold), no_data, timing }
    }
}

impl Condition {
    /// What the rule makes of a value, or of none.
    #[must_use]
    pub fn of(&self, value: Option<f64>) -> Truth {
        match (value, self.no_data) {
            (Some(value), _) if self.holds(value) => Truth::Yes,
            (Some(_), _) | (None, NoData::Ok) => Truth::No,
            (None, NoData::Keep) => Truth::Keep,
            (None, NoData::Alert) => Truth::Yes,
        }
    }

    fn holds(&self, value: f64) -> bool {
        match self.op {
            Comparison::Above => value > self.threshold,
            Comparison::AtLeast => value >= self.threshold,
            Comparison::Below => value < self.threshold,
            Comparison::AtMost => value <= self.threshold,
        }
    }
}

/// As a float.
#[must_use]
pub fn from_quantity(quantity: Quantity) -> f64 {
    quantity.millionths() as f64 / ONE
}

/// To the nearest millionth; none for what is no number, or too large to be one.
#[must_use]
pub fn to_quantity(value: f64) -> Option<Quantity> {
    format!("{value:.6}").parse().ok()
}

/// The longest time that some rule looks back.
#[must_use]
pub fn longest_window<'a>(rules: impl IntoIterator<Item = &'a AlertRule>) -> Millis {
    rules.into_iter().map(|rule| rule.window_ms).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> AlertRule {
        serde_json::from_str(&format!(r#"{{"metric":"lag_messages",{text}}}"#)).unwrap()
    }

    #[test]
    fn a_threshold_is_on_the_side_that_its_sign_says() {
        for (op, below, at, above) in [
            (">", false, false, true),
            (">=", false, true, true),
            ("<", true, false, false),
            ("<=", true, true, false),
        ] {
            let condition = Condition::from(&rule(&format!(r#""op":"{op}","threshold":0.5"#)));
            assert_eq!([0.4, 0.5, 0.6].map(|value| condition.holds(value)), [below, at, above], "{op}");
            assert_eq!(condition.of(Some(f64::NAN)), Truth::No, "{op}");
        }
    }

    #[test]
    fn what_is_not_known_is_what_the_rule_says() {
        for (word, truth) in [("ok", Truth::No), ("keep", Truth::Keep), ("alert", Truth::Yes)] {
            let condition = Condition::from(&rule(&format!(r#""threshold":1,"no_data":"{word}""#)));
            assert_eq!(condition.of(None), truth, "{word}");
        }
    }

    #[test]
    fn floats_become_quantities_and_back() {
        for value in [0.0, 0.25, -3.5, 123_456.789_012, 9e12] {
            assert_eq!(from_quantity(to_quantity(value).unwrap()), value);
        }
        assert_eq!(to_quantity(0.1 + 0.2), "0.3".parse().ok());
        assert_eq!([f64::NAN, f64::INFINITY, 1e13].map(to_quantity), [None; 3]);
    }
}
