//! Labels, and what takes some and not others.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::group::SettingsError;
use super::super::limits::{ALERT_LABELS_MAX, NAME_BYTES_MAX};
use super::check_text;

/// Labels or annotations, by name.
pub type Labels = BTreeMap<String, String>;

/// Whether this is a label's name as Prometheus has them: `[a-zA-Z_][a-zA-Z0-9_]*`.
fn is_name(text: &str) -> bool {
    let starts_well = text.bytes().next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_');
    starts_well
        && text.len() <= NAME_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Checks names, lengths and how many there are.
///
/// # Errors
/// Names the first that is wrong.
pub fn check_labels(field: &str, labels: &Labels) -> Result<(), SettingsError> {
    if labels.len() > ALERT_LABELS_MAX {
        return Err(SettingsError::new(field, format!("must be at most {ALERT_LABELS_MAX}")));
    }
    for (name, value) in labels {
        if !is_name(name) {
            let text = "must be named by letters, digits and _, not beginning with a digit";
            return Err(SettingsError::new(field, text));
        }
        check_text(&format!("{field}/{name}"), value)?;
    }
    Ok(())
}

/// One condition on a label, as in Alertmanager. A label that is not there is compared as an empty text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matcher {
    /// The label's name.
    pub name: String,
    /// What its value is compared with. `*` stands for any characters.
    pub value: String,
    /// Whether the value must be as `value`, or must not.
    #[serde(default = "yes")]
    pub is_equal: bool,
}

fn yes() -> bool {
    true
}

impl Matcher {
    /// Whether it takes these labels.
    #[must_use]
    pub fn takes(&self, labels: &Labels) -> bool {
        let found = labels.get(&self.name).map_or("", String::as_str);
        like(&self.value, found) == self.is_equal
    }

    /// Checks the matchers of one thing.
    ///
    /// # Errors
    /// Names the first that is wrong.
    pub fn check_all(field: &str, matchers: &[Matcher]) -> Result<(), SettingsError> {
        if matchers.len() > ALERT_LABELS_MAX {
            return Err(SettingsError::new(field, format!("must be at most {ALERT_LABELS_MAX}")));
        }
        for (at, matcher) in matchers.iter().enumerate() {
            if !is_name(&matcher.name) {
                let text = "must be letters, digits and _, not beginning with a digit";
                return Err(SettingsError::new(format!("{field}/{at}/name"), text));
            }
            check_text(&format!("{field}/{at}/value"), &matcher.value)?;
        }
        Ok(())
    }
}

/// Whether `text` is as `pattern`, in which `*` stands for any characters, also none.
pub(super) fn like(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = rest.get(at + piece.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matcher_takes_or_leaves() {
        let labels: Labels = [("topic".to_owned(), "orders.eu".to_owned())].into_iter().collect();
        let takes = |name: &str, value: &str, is_equal: bool| {
            Matcher { name: name.into(), value: value.into(), is_equal }.takes(&labels)
        };
        assert!(takes("topic", "orders.*", true) && takes("topic", "*", true) && takes("group", "", true));
        assert!(takes("topic", "orders", false) && takes("group", "x", false));
        assert!(
            !takes("topic", "orders", true) && !takes("group", "x", true) && !takes("topic", "*eu", false)
        );
        let read: Matcher = serde_json::from_str(r#"{"name":"a","value":"b"}"#).unwrap();
        assert!(read.is_equal);
    }

    #[test]
    fn names_and_numbers_are_held() {
        let labels = |name: &str| Labels::from([(name.to_owned(), "x".to_owned())]);
        assert!(check_labels("labels", &labels("team_2")).is_ok());
        for bad in ["", "2a", "a-b", "ä"] {
            assert!(check_labels("labels", &labels(bad)).is_err(), "{bad}");
        }
        let many: Labels = (0..40).map(|number| (format!("l{number}"), String::new())).collect();
        assert!(check_labels("labels", &many).is_err());
    }
}
