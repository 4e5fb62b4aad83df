//! Which dead letters a redrive takes.

use serde::{Deserialize, Serialize};

use super::group::DeadReason;
use super::limits::{KEY_BYTES_MAX, REASON_BYTES_MAX, TAG_BYTES_MAX};
use super::message::Attributes;
use super::name::TopicName;
use super::time::Timestamp;

/// A choice among the dead letters of a group: those for which everything that is set holds. Empty, it takes all.
///
/// Also the form on the wire and in the log; a field that is not known is refused, for leaving it out would take more
/// letters than were meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeadLetterFilter {
    /// Why it died.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<DeadReason>,
    /// The topic it was in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<TopicName>,
    /// Its tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Box<str>>,
    /// One of its keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Box<str>>,
    /// What the reason that a consumer gave for the last failed delivery contains, letter by letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_contains: Option<Box<str>>,
    /// Dead at this time or later (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Dead before this time (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

impl DeadLetterFilter {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// Names the first field that is refused, and says what is accepted.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let texts = [
            ("tag", &self.tag, TAG_BYTES_MAX),
            ("key", &self.key, KEY_BYTES_MAX),
            ("failure_contains", &self.failure_contains, REASON_BYTES_MAX),
        ];
        for (field, text, most) in texts {
            if text.as_ref().is_some_and(|text| text.is_empty() || text.len() > most) {
                return Err((field, format!("must have 1 to {most} bytes")));
            }
        }
        match (self.from, self.to) {
            (Some(from), Some(to)) if from >= to => Err(("to", "must be later than from".to_owned())),
            _ => Ok(()),
        }
    }

    /// Whether what the state itself knows of a dead letter fits.
    #[must_use]
    pub fn admits(&self, reason: DeadReason, topic: &TopicName, dead_at: Timestamp) -> bool {
        self.reason.is_none_or(|only| only == reason)
            && self.topic.as_ref().is_none_or(|only| only == topic)
            && self.from.is_none_or(|from| dead_at >= from)
            && self.to.is_none_or(|to| dead_at < to)
    }

    /// Whether the message has to be read to decide.
    #[must_use]
    pub fn reads_message(&self) -> bool {
        self.tag.is_some() || self.key.is_some()
    }

    /// Whether what the message says of itself fits.
    #[must_use]
    pub fn admits_message(&self, attributes: &Attributes) -> bool {
        self.tag.as_ref().is_none_or(|only| attributes.tag.as_ref() == Some(only))
            && self.key.as_ref().is_none_or(|only| attributes.keys.contains(only))
    }

    /// Whether the last failure has to be read to decide.
    #[must_use]
    pub fn reads_failure(&self) -> bool {
        self.failure_contains.is_some()
    }

    /// Whether the words of the last failure fit.
    #[must_use]
    pub fn admits_failure(&self, words: Option<&str>) -> bool {
        self.failure_contains.as_deref().is_none_or(|part| words.is_some_and(|words| words.contains(part)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> DeadLetterFilter {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_is_set_must_hold_and_what_is_not_set_takes_all() {
        let topic: TopicName = "orders".parse().unwrap();
        let other: TopicName = "refunds".parse().unwrap();
        let at = Timestamp(1_700_000_000_000);
        let all = DeadLetterFilter::default();
        assert!(all.admits(DeadReason::Expired, &topic, at) && all.admits_failure(None));
        assert!(!all.reads_message() && !all.reads_failure());
        let some = read(r#"{"reason":"rejected","topic":"orders","from":"2023-11-14T22:13:20Z"}"#);
        assert!(some.admits(DeadReason::Rejected, &topic, at));
        assert!(!some.admits(DeadReason::MaxAttempts, &topic, at));
        assert!(!some.admits(DeadReason::Rejected, &other, at));
        assert!(!some.admits(DeadReason::Rejected, &topic, Timestamp(at.0 - 1)));
        let before = read(r#"{"to":"2023-11-14T22:13:20Z"}"#);
        assert!(!before.admits(DeadReason::Rejected, &topic, at), "the end is not part of it");
        let words = read(r#"{"failure_contains":"db down"}"#);
        assert!(words.admits_failure(Some("the db down again")) && !words.admits_failure(Some("db up")));
        assert!(!words.admits_failure(None));
        let named = read(r#"{"tag":"eu","key":"k2"}"#);
        let message = |tag: &str, keys: &[&str]| Attributes {
            tag: Some(tag.into()),
            keys: keys.iter().map(|key| (*key).into()).collect(),
            ..Attributes::default()
        };
        assert!(named.reads_message() && named.admits_message(&message("eu", &["k1", "k2"])));
        assert!(
            !named.admits_message(&message("eu", &["k1"])) && !named.admits_message(&message("us", &["k2"]))
        );
    }

    #[test]
    fn it_reads_back_as_it_was_written_and_refuses_what_it_does_not_know() {
        for json in ["{}", r#"{"topic":"t","key":"k","to":"2023-11-14T22:13:20.123Z"}"#] {
            assert_eq!(serde_json::to_string(&read(json)).unwrap(), json);
        }
        for bad in [r#"{"colour":1}"#, r#"{"reason":"odd"}"#, r#"{"from":"yesterday"}"#, r#"{"topic":"-"}"#] {
            assert!(serde_json::from_str::<DeadLetterFilter>(bad).is_err(), "{bad}");
        }
        for (bad, field) in [
            (r#"{"tag":""}"#, "tag"),
            (r#"{"failure_contains":""}"#, "failure_contains"),
            (r#"{"from":"2023-11-14T22:13:20Z","to":"2023-11-14T22:13:20Z"}"#, "to"),
        ] {
            assert_eq!(read(bad).check().unwrap_err().0, field);
        }
    }
}
