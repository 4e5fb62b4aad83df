//! The rules that come with the broker.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use crate::model::AlertName;
use crate::model::alert::AlertRule;

/// As somebody would put them, by name.
const TEXT: &str = include_str!("built_in.json");

static RULES: LazyLock<Vec<(AlertName, Arc<AlertRule>)>> = LazyLock::new(|| {
    // A test reads them; a broker without them still brokers.
    let read: BTreeMap<AlertName, Arc<AlertRule>> = serde_json::from_str(TEXT).unwrap_or_default();
    read.into_iter().collect()
});

/// The rules that come with the broker, by name. Setting a rule of the same name takes its place.
#[must_use]
pub fn built_in_rules() -> &'static [(AlertName, Arc<AlertRule>)] {
    &RULES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_can_be_read_and_explain_themselves() {
        let read: BTreeMap<AlertName, AlertRule> = serde_json::from_str(TEXT).unwrap();
        assert!(read.len() >= 10 && read.len() == built_in_rules().len());
        for (name, rule) in read {
            assert_eq!(rule.check(), Ok(()), "{name}");
            assert!(rule.annotations.contains_key("summary"), "{name}");
        }
    }
}
