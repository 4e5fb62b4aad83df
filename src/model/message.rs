//! A message: its body and everything the producer said about it.

use std::collections::BTreeMap;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::limits::{
    BODY_BYTES_MAX, HEADER_BYTES_MAX, KEY_BYTES_MAX, KEYS_MAX, ORDERING_KEY_BYTES_MAX, PROPERTIES_BYTES_MAX,
    PROPERTIES_MAX, TAG_BYTES_MAX,
};

/// What a producer sent: the payload, byte for byte, and its attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The payload; may be empty.
    pub body: Bytes,
    /// Everything else.
    pub attributes: Attributes,
}

/// What a message carries besides its body. All optional, all handed back unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Kept and handed back, never interpreted.
    pub content_type: Option<Box<str>>,
    /// Kept and handed back; the body is never decoded.
    pub content_encoding: Option<Box<str>>,
    /// What tag filters look at. 1 to 128 bytes, no control characters, no `|`.
    pub tag: Option<Box<str>>,
    /// Messages with the same ordering key keep their order in ordered groups.
    pub ordering_key: Option<Box<str>>,
    /// Business keys to search by.
    pub keys: Vec<Box<str>>,
    /// Free properties; names in lower case.
    pub properties: BTreeMap<Box<str>, Box<str>>,
    /// W3C trace context.
    pub traceparent: Option<Box<str>>,
    /// W3C trace context, vendor part.
    pub tracestate: Option<Box<str>>,
}

/// A message that is over a limit or malformed: which field, and what is accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {text}")]
pub struct MessageError {
    /// The field, as in the JSON form (`tag`, `keys/3`, `body`).
    pub field: String,
    /// What is wrong with it.
    pub text: String,
    /// Whether it is too large (413) rather than malformed (400).
    pub too_large: bool,
}

/// How a business key is looked up: a 64-bit hash, checked against the message itself when it matters.
#[must_use]
pub fn key_hash(key: &str) -> u64 {
    xxh3_64(key.as_bytes())
}

impl Attributes {
    /// The lane of the message in ordered groups: a 64-bit hash of the ordering key, 0 for none. Two keys that share a
    /// hash share a lane, which costs parallelism and never order.
    #[must_use]
    pub fn lane(&self) -> u64 {
        self.ordering_key.as_deref().map_or(0, |key| xxh3_64(key.as_bytes()).max(1))
    }

    /// Bytes of all texts together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let one = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        let properties: usize = self.properties.iter().map(|(name, value)| name.len() + value.len()).sum();
        let keys: usize = self.keys.iter().map(|key| key.len()).sum();
        one(&self.content_type)
            + one(&self.content_encoding)
            + one(&self.tag)
            + one(&self.ordering_key)
            + one(&self.traceparent)
            + one(&self.tracestate)
            + keys
            + properties
    }
}

impl Message {
    /// Checks every field against its limit.
    ///
    /// # Errors
    /// Names the first field that is refused.
    pub fn check(&self) -> Result<(), MessageError> {
        let refuse = |field: String, text: String| Err(MessageError { field, text, too_large: false });
        if self.body.len() > BODY_BYTES_MAX {
            let text = format!("has {} bytes, at most {BODY_BYTES_MAX} are accepted", self.body.len());
            return Err(MessageError { field: "body".to_owned(), text, too_large: true });
        }
        let attributes = &self.attributes;
        if let Some(tag) = &attributes.tag
            && (tag.is_empty()
                || tag.len() > TAG_BYTES_MAX
                || tag.contains(|c: char| c.is_control() || c == '|'))
        {
            return refuse(
                "tag".to_owned(),
                format!("must have 1 to {TAG_BYTES_MAX} bytes, no control characters and no '|'"),
            );
        }
        if let Some(key) = &attributes.ordering_key
            && (key.is_empty() || key.len() > ORDERING_KEY_BYTES_MAX)
        {
            return refuse(
                "ordering_key".to_owned(),
                format!("must have 1 to {ORDERING_KEY_BYTES_MAX} bytes"),
            );
        }
        if attributes.keys.len() > KEYS_MAX {
            return refuse("keys".to_owned(), format!("must name at most {KEYS_MAX} keys"));
        }
        if let Some(at) = attributes.keys.iter().position(|key| key.is_empty() || key.len() > KEY_BYTES_MAX) {
            return refuse(format!("keys/{at}"), format!("must have 1 to {KEY_BYTES_MAX} bytes"));
        }
        if attributes.properties.len() > PROPERTIES_MAX {
            return refuse("properties".to_owned(), format!("must be at most {PROPERTIES_MAX}"));
        }
        let property_bytes: usize =
            attributes.properties.iter().map(|(name, value)| name.len() + value.len()).sum();
        if property_bytes > PROPERTIES_BYTES_MAX {
            return refuse(
                "properties".to_owned(),
                format!("must have at most {PROPERTIES_BYTES_MAX} bytes together"),
            );
        }
        if attributes.properties.contains_key("") {
            return refuse("properties".to_owned(), "must have names".to_owned());
        }
        let headers = [
            ("content_type", &attributes.content_type),
            ("content_encoding", &attributes.content_encoding),
            ("traceparent", &attributes.traceparent),
            ("tracestate", &attributes.tracestate),
        ];
        for (field, value) in headers {
            if value
                .as_ref()
                .is_some_and(|value| value.len() > HEADER_BYTES_MAX || value.contains(char::is_control))
            {
                return refuse(
                    field.to_owned(),
                    format!("must have at most {HEADER_BYTES_MAX} bytes and no control characters"),
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_name_the_field() {
        let field =
            |attributes: Attributes| Message { body: Bytes::new(), attributes }.check().unwrap_err().field;
        assert_eq!(field(Attributes { tag: Some("a|b".into()), ..Attributes::default() }), "tag");
        assert_eq!(
            field(Attributes { keys: vec!["a".into(), "".into()], ..Attributes::default() }),
            "keys/1"
        );
        assert_eq!(
            field(Attributes { properties: [("".into(), "v".into())].into(), ..Attributes::default() }),
            "properties"
        );
        let large = Message { body: vec![0; BODY_BYTES_MAX + 1].into(), attributes: Attributes::default() };
        assert!(large.check().unwrap_err().too_large);
        assert!(Message { body: vec![0; BODY_BYTES_MAX].into(), ..Message::default() }.check().is_ok());
    }
}
