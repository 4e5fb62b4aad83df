//! Patterns of names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::super::NAME_BYTES_MAX;
use super::labels::like;

/// Which names: text in which `*` stands for any characters, also none. `orders.*` takes every topic below `orders.`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(Box<str>);

impl NamePattern {
    /// Whether it takes `name`.
    #[must_use]
    pub fn takes(&self, name: &str) -> bool {
        like(&self.0, name)
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for NamePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<NamePattern, String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'*');
        if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(fits) {
            return Err(format!("must be 1 to {NAME_BYTES_MAX} characters of a name, or * for any of them"));
        }
        Ok(NamePattern(text.into()))
    }
}

impl Serialize for NamePattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for NamePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NamePattern, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, yes, no) in [
            ("orders", &["orders"][..], &["order", "orders2", ""][..]),
            ("*", &["", "a", "a.b"], &[]),
            ("orders.*", &["orders.", "orders.eu"], &["orders", "xorders.eu"]),
            ("*.dlq", &[".dlq", "a.dlq.dlq"], &["dlq", "a.dlq2"]),
            ("a*b*c", &["abc", "a1b2c", "abbcc"], &["acb", "ab", "abcd"]),
            ("a*a", &["aa", "aba"], &["a"]),
        ] {
            let parsed: NamePattern = pattern.parse().unwrap();
            assert!(yes.iter().all(|name| parsed.takes(name)), "{pattern}");
            assert!(!no.iter().any(|name| parsed.takes(name)), "{pattern}");
        }
        for bad in ["", "a b", "ä", &"x".repeat(128)] {
            assert!(bad.parse::<NamePattern>().is_err(), "{bad}");
        }
    }
}
