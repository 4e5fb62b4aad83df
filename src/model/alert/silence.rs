//! Silences.

use serde::{Deserialize, Serialize};

use super::super::group::SettingsError;
use super::super::objects;
use super::super::time::Timestamp;
use super::{Labels, Matcher, check_text};

/// Nobody is told of alerts that all its matchers take, from one time to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Silence {
    /// Which alerts; at least one.
    #[serde(deserialize_with = "objects")]
    pub matchers: Vec<Matcher>,
    /// From when.
    pub starts_at: Timestamp,
    /// Until when. One that is ended early has the time at which it was.
    pub ends_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub comment: String,
}

impl Silence {
    /// Whether it keeps alerts with these labels quiet at `now`.
    #[must_use]
    pub fn quiets(&self, labels: &Labels, now: Timestamp) -> bool {
        self.is_active(now) && self.matchers.iter().all(|matcher| matcher.takes(labels))
    }

    /// Whether it has begun and not ended.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.starts_at <= now && now < self.ends_at
    }

    /// Where it stands, as Alertmanager says: `pending`, `active`, `expired`.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> &'static str {
        if now < self.starts_at {
            "pending"
        } else if now < self.ends_at {
            "active"
        } else {
            "expired"
        }
    }

    /// Checks every field against its limits.
    ///
    /// # Errors
    /// Names the first that is wrong.
    pub fn check(&self) -> Result<(), SettingsError> {
        Matcher::check_all("matchers", &self.matchers)?;
        if self.matchers.iter().all(|matcher| matcher.value.trim_matches('*').is_empty()) {
            let text =
                "must name a label and a value at least once; a silence of everything hides everything";
            return Err(SettingsError::new("matchers", text));
        }
        if self.ends_at <= self.starts_at {
            return Err(SettingsError::new("ends_at", "must be after starts_at"));
        }
        for (field, text) in [("created_by", &self.created_by), ("comment", &self.comment)] {
            check_text(field, text)?;
            if text.trim().is_empty() {
                return Err(SettingsError::new(field, "must not be empty: others will ask"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_for_a_time_and_for_some() {
        let matcher = Matcher { name: "group".into(), value: "billing".into(), is_equal: true };
        let silence = Silence {
            matchers: vec![matcher],
            starts_at: Timestamp(100),
            ends_at: Timestamp(200),
            created_by: "ann".into(),
            comment: "deploy".into(),
        };
        let labels = |group: &str| Labels::from([("group".to_owned(), group.to_owned())]);
        assert!(silence.check().is_ok() && silence.quiets(&labels("billing"), Timestamp(100)));
        assert!(!silence.quiets(&labels("billing"), Timestamp(200)));
        assert!(!silence.quiets(&labels("other"), Timestamp(150)));
        assert_eq!([99, 100, 200].map(|now| silence.state(Timestamp(now))), ["pending", "active", "expired"]);
        let everything = Silence { matchers: Vec::new(), ..silence.clone() };
        assert_eq!(everything.check().unwrap_err().field, "matchers");
        let unsaid = Silence { comment: " ".into(), ..silence };
        assert_eq!(unsaid.check().unwrap_err().field, "comment");
    }
}
