//! Names that people give to topics and groups.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a name was refused; the text says what a name looks like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{}' is not a name: 1 to 127 characters, letters, digits, '.', '_' and '-', starting with a letter or digit",
    .0.escape_debug()
)]
pub struct NameError(String);

/// The grammar of every name: `^[A-Za-z0-9][A-Za-z0-9._-]{0,126}$`.
fn check(text: &str) -> Result<Arc<str>, NameError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let starts_well = text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
    if starts_well && text.len() <= super::NAME_BYTES_MAX && text.bytes().all(allowed) {
        Ok(Arc::from(text))
    } else {
        Err(NameError(text.chars().take(80).collect()))
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<$name, NameError> {
                check(text).map($name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, out)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                check(&text).map($name).map_err(serde::de::Error::custom)
            }
        }
    };
}

name! {
    /// The name of a topic.
    TopicName
}
name! {
    /// The name of a consumer group.
    GroupName
}
name! {
    /// The name of a rule of alerts, or of a receiver of notifications.
    AlertName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_held() {
        for good in ["a", "A.b_c-9", "0", &"x".repeat(127)] {
            assert!(good.parse::<TopicName>().is_ok(), "{good}");
        }
        for bad in ["", ".a", "-a", "_a", "a b", "a/b", "ä", "a\n", &"x".repeat(128)] {
            assert!(bad.parse::<GroupName>().is_err(), "{bad}");
        }
    }
}
