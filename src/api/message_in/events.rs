//! CloudEvents 1.0 on the way in. The body is stored byte for byte, as any body; recognising an event only adds its
//! attributes as properties `ce_<name>`, for filters and for whoever does not want to read the body. What is not quite
//! an event is a message all the same: nothing is refused for being a bad event.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::model::{PROPERTIES_BYTES_MAX, PROPERTIES_MAX};

/// One event in JSON (CloudEvents JSON format, section 3).
pub(crate) const EVENT: &str = "application/cloudevents+json";
/// A list of events in JSON (section 4).
pub(crate) const EVENTS: &str = "application/cloudevents-batch+json";

/// What every event has (CloudEvents, section 3.1). The version is 1.0 or a later 1.x.
const REQUIRED: [&str; 4] = ["id", "source", "specversion", "type"];

/// Whether a Content-Type is this media type, whatever its parameters.
pub(crate) fn is_media_type(content_type: &[u8], media_type: &str) -> bool {
    let found = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    found.trim_ascii().eq_ignore_ascii_case(media_type.as_bytes())
}

/// Whether the message is a structured event of version 1, and says so.
pub(crate) fn is_event(attributes: &crate::model::Attributes, body: &[u8]) -> bool {
    let content_type = attributes.content_type.as_deref().unwrap_or("");
    is_media_type(content_type.as_bytes(), EVENT) && !properties_of(body).is_empty()
}

/// Adds what is recognised in a structured event. What the producer said by itself stays, and when there would be more
/// properties than are accepted, nothing is added: it is all in the body still.
pub(super) fn recognise(attributes: &mut crate::model::Attributes, body: &[u8]) {
    let content_type = attributes.content_type.as_deref().unwrap_or("");
    if !is_media_type(content_type.as_bytes(), EVENT) {
        return;
    }
    let mut all = properties_of(body);
    all.extend(attributes.properties.iter().map(|(name, value)| (name.clone(), value.clone())));
    let bytes: usize = all.iter().map(|(name, value)| name.len() + value.len()).sum();
    if all.len() <= PROPERTIES_MAX && bytes <= PROPERTIES_BYTES_MAX {
        attributes.properties = all;
    }
}

/// The attributes of a structured event as properties; none when it is not an event of version 1.
pub(super) fn properties_of(body: &[u8]) -> BTreeMap<Box<str>, Box<str>> {
    let Ok(Attributes(found)) = serde_json::from_slice::<Attributes>(body) else { return BTreeMap::new() };
    let has = |name: &str| found.get(name).is_some_and(|value| !value.is_empty());
    let version = found.get("specversion").is_some_and(|version| version.starts_with("1."));
    if !version || !REQUIRED.into_iter().all(has) {
        return BTreeMap::new();
    }
    found.into_iter().map(|(name, value)| (format!("ce_{name}").into(), value)).collect()
}

/// The plain members of an event, as text; its data is passed over.
struct Attributes(BTreeMap<String, Box<str>>);

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Attributes, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Attributes;
            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("an event")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attributes, A::Error> {
                let mut found = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "data" || name == "data_base64" || !is_name(&name) {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    if let Plain(Some(value)) = map.next_value()? {
                        found.insert(name, value);
                    }
                }
                Ok(Attributes(found))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// Attribute names are lower-case letters and digits (CloudEvents, section 3).
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// A value in its canonical text (CloudEvents, section 2.2); nothing for null, lists and objects.
struct Plain(Option<Box<str>>);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Plain, D::Error> {
        let raw = <&serde_json::value::RawValue>::deserialize(deserializer)?.get();
        Ok(Plain(match raw.as_bytes().first() {
            Some(b'"') => serde_json::from_str::<Box<str>>(raw).ok(),
            Some(b't' | b'f' | b'-' | b'0'..=b'9') => Some(raw.into()),
            _ => None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Vec<(String, String)> {
        properties_of(body.as_bytes()).into_iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn attributes_become_properties_and_data_does_not() {
        let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"id":"no","x":[1]},
            "sampled":true,"rank":-5,"subject":"a\"b","time":null,"odd-name":"x","nested":{}}"#;
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read(event),
            [
                pair("ce_id", "1"),
                pair("ce_rank", "-5"),
                pair("ce_sampled", "true"),
                pair("ce_source", "/s"),
                pair("ce_specversion", "1.0"),
                pair("ce_subject", "a\"b"),
                pair("ce_type", "t"),
            ]
        );
    }

    #[test]
    fn what_is_no_event_has_no_attributes() {
        for body in [
            "",
            "[]",
            "{}",
            "rubbish",
            r#"{"specversion":"1.0","id":"1","source":"/s"}"#,
            r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#,
            r#"{"specversion":"1.0","id":"","source":"/s","type":"t"}"#,
        ] {
            assert_eq!(read(body), [], "{body}");
        }
        let large = format!(
            r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","x":"{}"}}"#,
            "v".repeat(PROPERTIES_BYTES_MAX)
        );
        let content_type = Some("application/cloudevents+json".into());
        let mut attributes = crate::model::Attributes { content_type, ..crate::model::Attributes::default() };
        attributes.properties.insert("ce_id".into(), "mine".into());
        recognise(&mut attributes, large.as_bytes());
        assert_eq!(attributes.properties.len(), 1, "too much is not taken");
        recognise(&mut attributes, br#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#);
        assert_eq!((attributes.properties.len(), &*attributes.properties["ce_id"]), (4, "mine"));
        assert!(is_media_type(b" Application/CloudEvents+JSON ; charset=utf-8", EVENT));
        assert!(!is_media_type(b"application/cloudevents-batch+json", EVENT));
    }
}
