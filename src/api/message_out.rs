//! A message as consumers and readers see it: a JSON object, or headers on a raw body.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::json_out::Json;
use super::problem::Problem;
use crate::broker::{DeliveredMessage, Standing, StoredMessage};
use crate::model::{Attributes, Message};

/// How bodies are shown in JSON (`?encoding=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BodyEncoding {
    /// `utf8` where the bytes are UTF-8, else `base64`.
    #[default]
    Auto,
    /// A string; falls back to `base64` where the bytes are not UTF-8, and says so.
    Utf8,
    /// Always base64.
    Base64,
    /// The JSON value itself; falls back to `auto`.
    Json,
}

impl std::str::FromStr for BodyEncoding {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<BodyEncoding, &'static str> {
        match text {
            "auto" => Ok(BodyEncoding::Auto),
            "utf8" => Ok(BodyEncoding::Utf8),
            "base64" => Ok(BodyEncoding::Base64),
            "json" => Ok(BodyEncoding::Json),
            _ => Err("must be auto, utf8, base64 or json"),
        }
    }
}

/// Writes a leased message.
pub(crate) fn write_delivered(json: &mut Json, delivered: &DeliveredMessage, encoding: BodyEncoding) {
    let leased = &delivered.leased;
    json.open();
    json.key("id");
    json.plain(delivered.id);
    json.key("topic");
    json.plain(&leased.topic_name);
    json.number_field("queue", leased.queue.into());
    json.number_field("offset", leased.offset);
    write_message(json, &delivered.message, encoding);
    json.key("accepted_at");
    json.plain(delivered.accepted_at);
    json.number_field("attempt", leased.attempt.into());
    json.number_field("round", leased.round.into());
    json.number_field("max_attempts", leased.max_attempts.into());
    json.key("lease_expires_at");
    json.plain(leased.until);
    json.key("receipt");
    json.plain(delivered.receipt);
    json.close();
}

/// Writes a message that was only looked at.
pub(crate) fn write_stored(json: &mut Json, stored: &StoredMessage, encoding: BodyEncoding) {
    json.open();
    json.key("id");
    json.plain(stored.id);
    json.key("topic");
    json.plain(&stored.topic);
    json.number_field("queue", stored.queue.into());
    json.key("offset");
    json.maybe_number(stored.offset);
    let state = match stored.standing {
        Standing::Ready => None,
        Standing::Scheduled => Some("scheduled"),
        Standing::Cancelled => Some("cancelled"),
        Standing::Unknown => Some("unknown"),
    };
    if let Some(state) = state {
        json.text_field("state", state);
    }
    if let Some(due) = stored.due {
        json.key("deliver_at");
        json.plain(due);
    }
    write_message(json, &stored.message, encoding);
    json.key("accepted_at");
    json.plain(stored.accepted_at);
    json.close();
}

/// Attributes and body, the same in both forms.
fn write_message(json: &mut Json, message: &Message, encoding: BodyEncoding) {
    let attributes = &message.attributes;
    json.key("keys");
    json.open_list();
    for key in &attributes.keys {
        json.text(key);
    }
    json.close_list();
    json.key("tag");
    json.maybe_text(attributes.tag.as_deref());
    json.key("ordering_key");
    json.maybe_text(attributes.ordering_key.as_deref());
    json.key("properties");
    json.open();
    for (name, value) in &attributes.properties {
        // A producer chose the name, so it is escaped like any text.
        json.member(name, value);
    }
    json.close();
    json.key("content_type");
    json.maybe_text(attributes.content_type.as_deref());
    if let Some(content_encoding) = &attributes.content_encoding {
        json.text_field("content_encoding", content_encoding);
    }
    json.key("body");
    write_body(json, &message.body, encoding);
    json.key("traceparent");
    json.maybe_text(attributes.traceparent.as_deref());
    if let Some(tracestate) = &attributes.tracestate {
        json.text_field("tracestate", tracestate);
    }
}

/// The value of `body`, then the field `encoding`, which says what it is.
fn write_body(json: &mut Json, body: &[u8], encoding: BodyEncoding) {
    let text = if encoding == BodyEncoding::Base64 { None } else { std::str::from_utf8(body).ok() };
    let is_json = |text: &str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    let shown_as = match text {
        Some(text) if encoding == BodyEncoding::Json && is_json(text) => {
            json.raw(body);
            "json"
        }
        Some(text) => {
            json.text(text);
            "utf8"
        }
        None => {
            json.base64(body);
            "base64"
        }
    };
    json.text_field("encoding", shown_as);
}

/// What must be percent-encoded in a text header: all but visible ASCII, and what the reader would take for syntax.
const UNSAFE: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b',');

/// The headers of a raw delivery.
///
/// # Errors
/// None in practice: everything is encoded into visible ASCII or was a header before.
pub(crate) fn raw_headers(delivered: &DeliveredMessage) -> Result<HeaderMap, Problem> {
    let mut headers = HeaderMap::with_capacity(24);
    let leased = &delivered.leased;
    let mut put = |name: &'static str, value: String| -> Result<(), Problem> {
        headers.insert(HeaderName::from_static(name), header_value(&value)?);
        Ok(())
    };
    put("mq-message-id", delivered.id.to_string())?;
    put("mq-topic", leased.topic_name.to_string())?;
    put("mq-queue", leased.queue.to_string())?;
    put("mq-offset", leased.offset.to_string())?;
    put("mq-receipt", delivered.receipt.to_string())?;
    put("mq-attempt", leased.attempt.to_string())?;
    put("mq-round", leased.round.to_string())?;
    put("mq-max-attempts", leased.max_attempts.to_string())?;
    put("mq-lease-expires-at", leased.until.to_string())?;
    put("mq-accepted-at", delivered.accepted_at.to_string())?;
    attribute_headers(&mut headers, &delivered.message.attributes)?;
    Ok(headers)
}

/// The produce headers, handed back.
fn attribute_headers(headers: &mut HeaderMap, attributes: &Attributes) -> Result<(), Problem> {
    let encoded = |text: &str| utf8_percent_encode(text, UNSAFE).to_string();
    if let Some(tag) = &attributes.tag {
        headers.insert(HeaderName::from_static("mq-tag"), header_value(&encoded(tag))?);
    }
    if let Some(key) = &attributes.ordering_key {
        headers.insert(HeaderName::from_static("mq-ordering-key"), header_value(&encoded(key))?);
    }
    if !attributes.keys.is_empty() {
        let keys: Vec<String> = attributes.keys.iter().map(|key| encoded(key)).collect();
        headers.insert(HeaderName::from_static("mq-keys"), header_value(&keys.join(","))?);
    }
    for (name, value) in &attributes.properties {
        // A name given in JSON may not fit a header; such a property is only in the JSON form.
        if let Ok(name) = HeaderName::try_from(format!("mq-prop-{name}")) {
            headers.insert(name, header_value(&encoded(value))?);
        }
    }
    let as_sent = [
        (header::CONTENT_TYPE, attributes.content_type.as_deref().or(Some("application/octet-stream"))),
        (header::CONTENT_ENCODING, attributes.content_encoding.as_deref()),
        (HeaderName::from_static("traceparent"), attributes.traceparent.as_deref()),
        (HeaderName::from_static("tracestate"), attributes.tracestate.as_deref()),
    ];
    for (name, value) in as_sent {
        if let Some(value) = value {
            headers.insert(name, header_value(value)?);
        }
    }
    Ok(())
}

fn header_value(text: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(text)
        .or_else(|_| HeaderValue::from_bytes(text.as_bytes()))
        .map_err(|_| Problem::new(super::problem::Code::Fault, "a stored attribute does not fit a header"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::{MessageId, Position, Timestamp};

    fn shown(body: &'static [u8], encoding: BodyEncoding) -> serde_json::Value {
        let stored = StoredMessage {
            id: MessageId::new(Position { index: 7, slot: 1 }),
            topic: "orders".parse().unwrap(),
            queue: 2,
            offset: Some(41),
            standing: Standing::Ready,
            accepted_at: Timestamp(1_700_000_000_000),
            due: None,
            message: Message {
                body: Bytes::from_static(body),
                attributes: Attributes {
                    keys: vec!["k\"1".into()],
                    properties: [("a\"b".into(), "c\\d".into())].into(),
                    ..Attributes::default()
                },
            },
        };
        let mut json = Json::default();
        write_stored(&mut json, &stored, encoding);
        serde_json::from_slice(&json.finish()).unwrap()
    }

    #[test]
    fn stored_messages_are_valid_json_whatever_they_hold() {
        let value = shown(b"hi\n", BodyEncoding::Auto);
        assert_eq!(value["body"], "hi\n");
        assert_eq!(value["encoding"], "utf8");
        assert_eq!(value["offset"], 41);
        assert_eq!(value["keys"][0], "k\"1");
        assert_eq!(value["properties"]["a\"b"], "c\\d");
        assert_eq!(value["tag"], serde_json::Value::Null);
        assert_eq!(value["accepted_at"], "2023-11-14T22:13:20.000Z");
        for encoding in [BodyEncoding::Auto, BodyEncoding::Utf8, BodyEncoding::Json] {
            let value = shown(b"\xff\x00", encoding);
            assert_eq!(value["body"], "/wA=");
            assert_eq!(value["encoding"], "base64");
        }
        let value = shown(b" {\"a\": [1]}", BodyEncoding::Json);
        assert_eq!(value["body"]["a"][0], 1);
        assert_eq!(value["encoding"], "json");
        assert_eq!(shown(b"{\"a\":", BodyEncoding::Json)["encoding"], "utf8");
        assert_eq!(shown(b"", BodyEncoding::Json)["body"], "");
        assert_eq!(shown(b"hi", BodyEncoding::Base64)["body"], "aGk=");
    }

    #[test]
    fn text_headers_come_back_the_way_they_are_read() {
        let attributes = Attributes {
            tag: Some("café %".into()),
            keys: vec!["a,b".into(), "c".into()],
            ordering_key: Some("x y".into()),
            properties: [("colour".into(), "red\n".into()), ("not a header".into(), "1".into())].into(),
            ..Attributes::default()
        };
        let mut headers = HeaderMap::new();
        attribute_headers(&mut headers, &attributes).unwrap();
        headers.remove(header::CONTENT_TYPE);
        let back = crate::api::message_in::from_headers(&headers, Bytes::new()).unwrap();
        let back = &back.message.attributes;
        assert_eq!(
            (&back.tag, &back.keys, &back.ordering_key),
            (&attributes.tag, &attributes.keys, &attributes.ordering_key)
        );
        assert_eq!(back.properties["colour"].as_ref(), "red\n");
        assert!(!back.properties.contains_key("not a header"));
    }
}
