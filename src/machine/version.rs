//! Conditions on settings: what a caller has seen is compared where its change is decided, so that no other change can
//! fall between the look and the change (RFC 9110, section 13.1).

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::{GroupId, GroupName, TopicId, TopicName};

use super::draft::Draft;
use super::refusal::Refusal;
use super::state::{Group, Machine, Topic};

/// A version of the settings of a topic or group, shown as its entity tag. Equal settings of one incarnation have equal
/// versions, on every node and after every restart; something deleted and made again has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(u64);

impl Version {
    pub(super) fn of(incarnation: u32, settings: &impl Serialize) -> Version {
        let mut text = incarnation.to_le_bytes().to_vec();
        // Settings are plain data: writing them to memory does not fail.
        let _ = serde_json::to_writer(&mut text, settings);
        Version(xxh3_64(&text))
    }
}

/// 16 hexadecimal digits.
impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

/// Reads what [`Version`] shows, and nothing else.
impl FromStr for Version {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Version, &'static str> {
        let digits = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = u64::from_str_radix(text, 16).ok().filter(|_| digits);
        number.map(Version).ok_or("not a version written by this broker")
    }
}

/// What a change of settings expects to find.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    /// Whatever there is.
    #[default]
    Anything,
    /// Nothing yet (`If-None-Match: *`).
    Missing,
    /// Any version, but it is there (`If-Match: *`).
    Existing,
    /// One of these versions (`If-Match`).
    OneOf(Vec<Version>),
}

impl Expected {
    /// Compares with what there is; none: there is nothing.
    ///
    /// # Errors
    /// It is not as expected.
    pub fn check(&self, name: &str, present: Option<Version>) -> Result<(), Refusal> {
        match (self, present) {
            (Expected::Anything, _) | (Expected::Missing, None) | (Expected::Existing, Some(_)) => Ok(()),
            (Expected::OneOf(versions), Some(version)) if versions.contains(&version) => Ok(()),
            (Expected::Missing, Some(_)) => Err(Refusal::Exists(name.to_owned())),
            (Expected::OneOf(_), Some(version)) => Err(Refusal::Stale { name: name.to_owned(), version }),
            (Expected::Existing | Expected::OneOf(_), None) => Err(Refusal::Absent(name.to_owned())),
        }
    }
}

impl Topic {
    /// The version of its settings; `id` is its own.
    #[must_use]
    pub fn version(&self, id: TopicId) -> Version {
        Version::of(id.0, &self.settings)
    }
}

impl Group {
    /// The version of its settings; `id` is its own.
    #[must_use]
    pub fn version(&self, id: GroupId) -> Version {
        Version::of(id.0, &*self.settings)
    }
}

impl Machine {
    fn topic_version(&self, name: &TopicName) -> Option<Version> {
        self.topic(name).map(|(id, topic)| topic.version(id))
    }

    fn group_version(&self, name: &GroupName) -> Option<Version> {
        self.group(name).map(|(id, group)| group.version(id))
    }
}

impl Draft {
    /// Goes on only when there is such a topic.
    ///
    /// # Errors
    /// There is none.
    pub fn find_topic(&self, name: &TopicName) -> Result<(), Refusal> {
        self.machine.topic(name).map(|_| ()).ok_or_else(|| Refusal::TopicNotFound(name.clone()))
    }

    /// Goes on only when there is such a group.
    ///
    /// # Errors
    /// There is none.
    pub fn find_group(&self, name: &GroupName) -> Result<(), Refusal> {
        self.machine.find_group(name).map(|_| ())
    }

    /// Goes on only when the topic is as expected.
    ///
    /// # Errors
    /// It is not.
    pub fn expect_topic(&self, name: &TopicName, expected: &Expected) -> Result<(), Refusal> {
        expected.check(name.as_str(), self.machine.topic_version(name))
    }

    /// Goes on only when the group is as expected.
    ///
    /// # Errors
    /// It is not.
    pub fn expect_group(&self, name: &GroupName, expected: &Expected) -> Result<(), Refusal> {
        expected.check(name.as_str(), self.machine.group_version(name))
    }
}

#[cfg(test)]
mod tests {
    use crate::model::TopicSettings;

    use super::*;

    #[test]
    fn versions_are_the_same_everywhere_and_differ_where_settings_do() {
        let settings = TopicSettings::default();
        let version = Version::of(1, &settings);
        assert_eq!(version, Version::of(1, &TopicSettings::default()));
        assert_eq!(version.to_string().parse(), Ok(version));
        assert_ne!(version, Version::of(2, &settings), "made again");
        assert_ne!(version, Version::of(1, &TopicSettings { queues: 5, ..settings }));
        for bad in ["", "0", "000000000000000G", "ABCDEFABCDEFABCD", "+00000000000000a", "00000000000000000"]
        {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }

    #[test]
    fn conditions_compare_as_rfc_9110_says() {
        let (a, b) = (Version(1), Version(2));
        for (expected, absent, at_a) in [
            (Expected::Anything, true, true),
            (Expected::Missing, true, false),
            (Expected::Existing, false, true),
            (Expected::OneOf(vec![b, a]), false, true),
            (Expected::OneOf(vec![b]), false, false),
            (Expected::OneOf(vec![]), false, false),
        ] {
            assert_eq!(expected.check("x", None).is_ok(), absent, "{expected:?}");
            assert_eq!(expected.check("x", Some(a)).is_ok(), at_a, "{expected:?}");
        }
    }
}
