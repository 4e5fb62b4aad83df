//! `/send`: a message as a form, empty, or filled in with one that was sent before.
//!
//! What is not changed goes out byte for byte as it came in. A text area of a browser keeps neither other line ends
//! than its own nor characters that cannot be typed, so a body that has such is filled in as base64.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::dashboard::fields::{FieldError, Fields};
use crate::machine::{Delay, NewMessage};
use crate::model::{Attributes, DELAY_MS_MAX, Message, Millis, TTL_MS_MAX, TopicName, parse_duration};

/// Largest body that is filled into a form.
pub(in crate::dashboard) const EDIT_BYTES_MAX: usize = 256 << 10;

/// The fields, as they were filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::dashboard) struct SendForm {
    pub(in crate::dashboard) topic: String,
    pub(in crate::dashboard) body: String,
    /// Whether `body` is base64.
    pub(in crate::dashboard) base64: bool,
    pub(in crate::dashboard) content_type: String,
    pub(in crate::dashboard) content_encoding: String,
    pub(in crate::dashboard) tag: String,
    /// One a line, or a JSON list.
    pub(in crate::dashboard) keys: String,
    pub(in crate::dashboard) ordering_key: String,
    /// A JSON object of texts.
    pub(in crate::dashboard) properties: String,
    pub(in crate::dashboard) delay: String,
    pub(in crate::dashboard) ttl: String,
}

impl SendForm {
    /// A form that sends `message` again; none when its body is too large for a form. Its trace context is left out:
    /// the new message is not part of the old one's story.
    pub(in crate::dashboard) fn again(topic: &TopicName, message: &Message) -> Option<SendForm> {
        if message.body.len() > EDIT_BYTES_MAX {
            return None;
        }
        let own = &message.attributes;
        let text = |text: &Option<Box<str>>| text.as_deref().unwrap_or_default().to_owned();
        let typed = std::str::from_utf8(&message.body).ok().filter(|text| can_be_typed(text));
        let properties: BTreeMap<&str, &str> =
            own.properties.iter().map(|(name, value)| (&**name, &**value)).collect();
        let is_plain = |key: &str| {
            can_be_typed(key) && !key.contains('\n') && key.trim() == key && !key.starts_with('[')
        };
        let keys = match own.keys.iter().all(|key| is_plain(key)) {
            true => own.keys.join("\n"),
            false => own.keys.iter().map(|key| Value::from(&**key)).collect::<Value>().to_string(),
        };
        Some(SendForm {
            topic: topic.to_string(),
            body: typed.map_or_else(|| STANDARD.encode(&message.body), str::to_owned),
            base64: typed.is_none(),
            content_type: text(&own.content_type),
            content_encoding: text(&own.content_encoding),
            tag: text(&own.tag),
            keys,
            ordering_key: text(&own.ordering_key),
            properties: if properties.is_empty() { String::new() } else { pretty(&properties) },
            delay: String::new(),
            ttl: String::new(),
        })
    }

    /// What was filled in.
    pub(in crate::dashboard) fn of(fields: &Fields) -> SendForm {
        // Browsers send every line end as CR LF (WHATWG HTML, section 4.10.22.4).
        let text = |name| fields.raw(name).unwrap_or_default().replace("\r\n", "\n");
        SendForm {
            topic: text("topic").trim().to_owned(),
            body: text("body"),
            base64: fields.one("encoding") == Some("base64"),
            content_type: text("content_type"),
            content_encoding: text("content_encoding"),
            tag: text("tag"),
            keys: text("keys"),
            ordering_key: text("ordering_key"),
            properties: text("properties"),
            delay: text("delay").trim().to_owned(),
            ttl: text("ttl").trim().to_owned(),
        }
    }

    /// Whether something is filled in that few messages have.
    pub(in crate::dashboard) fn has_more(&self) -> bool {
        let rare = [
            &self.properties,
            &self.content_type,
            &self.content_encoding,
            &self.ordering_key,
            &self.delay,
            &self.ttl,
        ];
        rare.iter().any(|text| !text.is_empty())
    }

    /// The message, and where it goes.
    ///
    /// # Errors
    /// The first field that is refused.
    pub(in crate::dashboard) fn read(&self) -> Result<(TopicName, NewMessage), FieldError> {
        let topic: TopicName =
            self.topic.parse().map_err(|error| FieldError::new("topic", format!("{error}")))?;
        let body = if self.base64 {
            let packed: String = self.body.split_whitespace().collect();
            STANDARD
                .decode(packed)
                .map_err(|error| FieldError::new("body", format!("is not base64: {error}")))?
        } else {
            self.body.clone().into_bytes()
        };
        let filled = |text: &str| Some(text).filter(|text| !text.is_empty()).map(Box::from);
        let attributes = Attributes {
            content_type: filled(&self.content_type),
            content_encoding: filled(&self.content_encoding),
            tag: filled(&self.tag),
            ordering_key: filled(&self.ordering_key),
            keys: self.read_keys()?,
            properties: self.read_properties()?,
            ..Attributes::default()
        };
        let message = Message { body: body.into(), attributes };
        message.check().map_err(|error| FieldError::new(field_of(&error.field), error.text))?;
        let delay = duration("delay", &self.delay, DELAY_MS_MAX)?.map_or(Delay::None, Delay::For);
        let ttl_ms = duration("ttl", &self.ttl, TTL_MS_MAX)?;
        Ok((topic, NewMessage { message: Arc::new(message), queue: None, delay, ttl_ms }))
    }

    fn read_keys(&self) -> Result<Vec<Box<str>>, FieldError> {
        let refused = || FieldError::new("keys", "must be one key a line, or a JSON list of texts");
        if self.keys.trim_start().starts_with('[') {
            return serde_json::from_str(&self.keys).map_err(|_| refused());
        }
        Ok(self.keys.lines().map(str::trim).filter(|key| !key.is_empty()).map(Box::from).collect())
    }

    fn read_properties(&self) -> Result<BTreeMap<Box<str>, Box<str>>, FieldError> {
        let refused = |text: String| FieldError::new("properties", text);
        if self.properties.trim().is_empty() {
            return Ok(BTreeMap::new());
        }
        let read: BTreeMap<Cow<'_, str>, Cow<'_, str>> =
            serde_json::from_str(&self.properties).map_err(|error| {
                refused(format!("must be a JSON object of texts, such as {{\"source\": \"shop\"}}: {error}"))
            })?;
        let count = read.len();
        let lower: BTreeMap<Box<str>, Box<str>> = read
            .into_iter()
            .map(|(name, value)| (name.to_lowercase().into_boxed_str(), value.into_owned().into_boxed_str()))
            .collect();
        if lower.len() < count {
            return Err(refused("name one twice (names are case-insensitive)".to_owned()));
        }
        Ok(lower)
    }
}

/// Whether a text area gives it back as it was filled in.
fn can_be_typed(text: &str) -> bool {
    !text.contains(|letter: char| letter.is_control() && letter != '\n' && letter != '\t')
}

fn pretty(properties: &BTreeMap<&str, &str>) -> String {
    // A map of texts is JSON whatever they hold.
    serde_json::to_string_pretty(properties).unwrap_or_default()
}

/// The field of the form for a field of the message, such as `keys/3`.
fn field_of(field: &str) -> &'static str {
    const FIELDS: [&str; 7] =
        ["body", "tag", "ordering_key", "keys", "properties", "content_type", "content_encoding"];
    let first = field.split('/').next().unwrap_or(field);
    FIELDS.into_iter().find(|known| *known == first).unwrap_or("body")
}

fn duration(field: &'static str, text: &str, most: Millis) -> Result<Option<Millis>, FieldError> {
    if text.is_empty() {
        return Ok(None);
    }
    match parse_duration(text).map_err(|text| FieldError::new(field, text))? {
        0 => Ok(None),
        millis if millis <= most => Ok(Some(millis)),
        _ => Err(FieldError::new(field, format!("must be at most {} d", most / 86_400_000))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::fields::encoded;

    /// What a browser sends of a form that nobody changed.
    fn submitted(form: &SendForm) -> SendForm {
        let lines = |text: &str| encoded(&text.replace('\n', "\r\n"));
        let text = format!(
            "topic={}&body={}&encoding={}&content_type={}&content_encoding={}&tag={}&keys={}&ordering_key={}&properties={}",
            form.topic,
            lines(&form.body),
            if form.base64 { "base64" } else { "text" },
            encoded(&form.content_type),
            encoded(&form.content_encoding),
            encoded(&form.tag),
            lines(&form.keys),
            encoded(&form.ordering_key),
            lines(&form.properties)
        );
        SendForm::of(&Fields::parse(&text).unwrap())
    }

    #[test]
    fn a_message_that_is_not_changed_goes_out_as_it_came_in() {
        let topic: TopicName = "orders".parse().unwrap();
        let attributes = Attributes {
            content_type: Some("text/plain; charset=\"utf-8\"".into()),
            content_encoding: Some("gzip".into()),
            tag: Some("<b>'\"".into()),
            ordering_key: Some("k&y".into()),
            keys: vec!["one".into(), "two & three".into()],
            properties: [("name".into(), "line\r\nline\0 </textarea>".into())].into(),
            ..Attributes::default()
        };
        for body in [&b"{\"a\":\n 1}"[..], b"\nleading", b"crlf\r\n", b"a\rb", b"\xff\xfe\0", b"", b"\0"] {
            for keys in
                [attributes.keys.clone(), vec!["new\nline".into(), " blank ".into()], vec!["[".into()]]
            {
                let message = Message {
                    body: body.to_vec().into(),
                    attributes: Attributes { keys, ..attributes.clone() },
                };
                let form = SendForm::again(&topic, &message).unwrap();
                let (to, new) = submitted(&form).read().unwrap();
                assert_eq!((&to, &*new.message), (&topic, &message));
            }
        }
        let large = Message { body: vec![b'x'; EDIT_BYTES_MAX + 1].into(), ..Message::default() };
        assert_eq!(SendForm::again(&topic, &large), None);
    }

    #[test]
    fn the_field_that_is_refused_is_named() {
        let good = SendForm { topic: "t".into(), ..SendForm::default() };
        let refused = |form: SendForm| form.read().unwrap_err().field;
        assert!(good.read().is_ok(), "an empty body is a body");
        assert_eq!(refused(SendForm { topic: "-".into(), ..good.clone() }), "topic");
        assert_eq!(refused(SendForm { body: "no!".into(), base64: true, ..good.clone() }), "body");
        assert_eq!(refused(SendForm { tag: "a|b".into(), ..good.clone() }), "tag");
        assert_eq!(refused(SendForm { keys: "[1]".into(), ..good.clone() }), "keys");
        assert_eq!(refused(SendForm { keys: "x".repeat(300), ..good.clone() }), "keys");
        assert_eq!(refused(SendForm { properties: "[]".into(), ..good.clone() }), "properties");
        assert_eq!(
            refused(SendForm { properties: r#"{"a":"1","A":"2"}"#.into(), ..good.clone() }),
            "properties"
        );
        assert_eq!(refused(SendForm { delay: "41d".into(), ..good.clone() }), "delay");
        assert_eq!(refused(SendForm { ttl: "soon".into(), ..good }), "ttl");
    }
}
