//! CloudEvents 1.0 on the way out: a leased message as one structured event, when it is asked for.

use bytes::Bytes;

use super::json_out::Json;
use super::message_in::is_event;
use crate::broker::DeliveredMessage;
use crate::model::Attributes;

/// The type of what was not sent as an event.
const TYPE: &str = "whimbrel.message";

/// The message as an event in JSON. What was sent as a structured event goes out byte for byte; of anything else the
/// attributes come from its `ce_` properties, and what is missing from the message itself.
pub(super) fn event_of(delivered: &DeliveredMessage) -> Bytes {
    let message = &delivered.message;
    if is_event(&message.attributes, &message.body) {
        return message.body.clone();
    }
    let attributes = &message.attributes;
    let mut json = Json::with_capacity(message.body.len() * 2 + 512);
    json.open();
    json.text_field("specversion", "1.0");
    let own = |name: &str| attributes.properties.get(name).map(AsRef::as_ref);
    let topic = &delivered.leased.topic_name;
    write_or(&mut json, "id", own("ce_id"), || delivered.id.to_string());
    write_or(&mut json, "source", own("ce_source"), || format!("/v1/topics/{topic}"));
    write_or(&mut json, "type", own("ce_type"), || TYPE.to_owned());
    write_or(&mut json, "time", own("ce_time"), || delivered.accepted_at.to_string());
    write_extensions(&mut json, attributes);
    if let Some(content_type) = &attributes.content_type {
        json.text_field("datacontenttype", content_type);
    }
    write_data(&mut json, attributes.content_type.as_deref(), &message.body);
    json.close();
    json.finish_line()
}

fn write_or(json: &mut Json, name: &str, own: Option<&str>, other: impl FnOnce() -> String) {
    match own {
        Some(own) => json.text_field(name, own),
        None => json.text_field(name, &other()),
    }
}

/// The other `ce_` properties, then what CloudEvents has documented extensions for: partitioning and tracing.
fn write_extensions(json: &mut Json, attributes: &Attributes) {
    const WRITTEN: [&str; 7] = ["specversion", "id", "source", "type", "time", "datacontenttype", "data"];
    let name_of = |property: &str| {
        let name = property.strip_prefix("ce_")?.to_owned();
        let plain =
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        (plain && !WRITTEN.contains(&name.as_str())).then_some(name)
    };
    for (property, value) in &attributes.properties {
        if let Some(name) = name_of(property) {
            json.text_field(&name, value);
        }
    }
    let known = [
        ("partitionkey", &attributes.ordering_key),
        ("traceparent", &attributes.traceparent),
        ("tracestate", &attributes.tracestate),
    ];
    for (name, value) in known {
        if let Some(value) = value
            && !attributes.properties.contains_key(format!("ce_{name}").as_str())
        {
            json.text_field(name, value);
        }
    }
}

/// JSON as itself, text as a string, everything else in base64 (CloudEvents JSON format, section 3.1).
fn write_data(json: &mut Json, content_type: Option<&str>, body: &[u8]) {
    if body.is_empty() {
        return;
    }
    let media_type = content_type.unwrap_or("").split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let text = std::str::from_utf8(body).ok();
    let is_json = media_type == "application/json" || media_type.ends_with("+json");
    let is_text = media_type.is_empty() || media_type.starts_with("text/");
    match text {
        Some(text) if is_json && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => {
            json.key("data");
            json.raw(body);
        }
        Some(text) if is_text => json.text_field("data", text),
        _ => {
            json.key("data_base64");
            json.base64(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::machine::Leased;
    use crate::model::{GroupId, Message, MessageId, Place, Position, Timestamp, TopicId};

    fn shown(attributes: Attributes, body: &'static [u8]) -> Value {
        let position = Position { index: 7, slot: 1 };
        let leased = Leased {
            position,
            topic: TopicId(1),
            topic_name: "orders".parse().unwrap(),
            queue: 0,
            place: Place { offset: 3, turn: 0 },
            offset: 3,
            round: 1,
            attempt: 1,
            max_attempts: 16,
            until: Timestamp(2),
            nonce: 9,
            ready_at: Timestamp(1),
            body_bytes: 1,
        };
        let delivered = DeliveredMessage {
            id: MessageId::new(position),
            receipt: leased.receipt(GroupId(1), 7),
            leased,
            accepted_at: Timestamp(1_700_000_000_000),
            message: Message { body: Bytes::from_static(body), attributes },
        };
        serde_json::from_slice(&event_of(&delivered)).unwrap()
    }

    #[test]
    fn any_message_is_an_event() {
        let plain = shown(Attributes { ordering_key: Some("k".into()), ..Attributes::default() }, b"hi");
        let id = MessageId::new(Position { index: 7, slot: 1 }).to_string();
        let expected = json!({"specversion": "1.0", "id": id, "source": "/v1/topics/orders", "type": TYPE,
            "time": "2023-11-14T22:13:20.000Z", "partitionkey": "k", "data": "hi"});
        assert_eq!(plain, expected);
        let properties =
            [("ce_id", "1"), ("ce_source", "/s"), ("ce_type", "t"), ("ce_rank", "5"), ("other", "x")];
        let properties = properties.map(|(name, value)| (name.into(), value.into())).into();
        let content_type = Some("application/json; charset=utf-8".into());
        let event = shown(Attributes { properties, content_type, ..Attributes::default() }, b" {\"a\":1}");
        assert_eq!((&event["id"], &event["type"], &event["rank"]), (&json!("1"), &json!("t"), &json!("5")));
        assert_eq!((&event["data"], event.get("other")), (&json!({"a": 1}), None));
        let octets = Attributes { content_type: Some("image/png".into()), ..Attributes::default() };
        assert_eq!(shown(octets, b"\xff\x00")["data_base64"], "/wA=");
        assert_eq!(shown(Attributes::default(), b"").get("data"), None);
    }

    #[test]
    fn what_came_as_an_event_goes_out_as_it_came() {
        let content_type = Some("application/cloudevents+json".into());
        let attributes = Attributes { content_type, ..Attributes::default() };
        let body = b"{\"specversion\":\"1.0\",\"id\":\"x\",\"source\":\"/s\",\"type\":\"t\",\"unknown\":[1]}";
        assert_eq!(shown(attributes.clone(), body)["unknown"], json!([1]));
        // It only said that it was one.
        assert_eq!(shown(attributes, b"{}")["type"], TYPE);
    }
}
