//! A message as a command that sends it again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::model::{Message, TopicName};

/// Most bytes of a body that is written into a command: shells and terminals have limits (Linux: 128 KiB an argument).
pub(in crate::dashboard) const CURL_BODY_MAX: usize = 32 << 10;

/// A command for a POSIX shell that sends `message` to `topic` of the broker at `origin`; none when its body is too
/// large to be written into one. The JSON form carries every field byte for byte, whatever it holds, except
/// `content_encoding`, which only a header can say.
pub(in crate::dashboard) fn curl(origin: &str, topic: &TopicName, message: &Message) -> Option<String> {
    if message.body.len() > CURL_BODY_MAX {
        return None;
    }
    let body = json!({"messages": [Value::Object(fields(message))]});
    let url = format!("{origin}/v1/topics/{topic}/messages/batch");
    Some(format!(
        "curl -H 'Content-Type: application/json' -d {} {}",
        quoted(&body.to_string()),
        quoted(&url)
    ))
}

/// The message in the JSON form that producing takes.
fn fields(message: &Message) -> Map<String, Value> {
    let attributes = &message.attributes;
    let mut fields = Map::new();
    match std::str::from_utf8(&message.body) {
        Ok(text) => {
            fields.insert("body".to_owned(), text.into());
        }
        Err(_) => {
            fields.insert("body".to_owned(), STANDARD.encode(&message.body).into());
            fields.insert("encoding".to_owned(), "base64".into());
        }
    }
    let texts = [
        ("content_type", &attributes.content_type),
        ("tag", &attributes.tag),
        ("ordering_key", &attributes.ordering_key),
        ("traceparent", &attributes.traceparent),
        ("tracestate", &attributes.tracestate),
    ];
    for (name, text) in texts {
        fields.extend(text.as_deref().map(|text| (name.to_owned(), Value::from(text))));
    }
    if !attributes.keys.is_empty() {
        fields.insert("keys".to_owned(), attributes.keys.iter().map(|key| Value::from(&**key)).collect());
    }
    if !attributes.properties.is_empty() {
        let pairs = attributes.properties.iter();
        let object = pairs.map(|(name, value)| (name.to_string(), Value::from(&**value))).collect();
        fields.insert("properties".to_owned(), Value::Object(object));
    }
    fields
}

/// One word of a POSIX shell (Shell Command Language, section 2.2.2): within single quotes nothing means anything.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Attributes;

    /// What a POSIX shell makes of a command made of words in single quotes.
    fn words(command: &str) -> Vec<String> {
        let output = std::process::Command::new("sh")
            .args(["-c", &format!("set -- {command}; for word; do printf '%s\\0' \"$word\"; done")])
            .output()
            .unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        text.trim_end_matches('\0').split('\0').map(str::to_owned).collect()
    }

    #[test]
    fn the_command_carries_hostile_texts_unharmed() {
        let odd = "it's `id` $(id) \"x\" \\ ! \n 'end";
        let attributes = Attributes {
            tag: Some("a'b".into()),
            keys: vec![odd.into()],
            properties: [("na'me".into(), odd.into())].into(),
            ..Attributes::default()
        };
        let message = Message { body: odd.as_bytes().to_vec().into(), attributes };
        let command = curl("http://127.0.0.1:8080", &"t".parse().unwrap(), &message).unwrap();
        let words = words(&command);
        assert_eq!(words.len(), 6, "{command}");
        assert_eq!(words[5], "http://127.0.0.1:8080/v1/topics/t/messages/batch");
        let sent: Value = serde_json::from_str(&words[4]).unwrap();
        let sent = &sent["messages"][0];
        assert_eq!((&sent["body"], &sent["keys"][0]), (&json!(odd), &json!(odd)));
        assert_eq!((&sent["tag"], &sent["properties"]["na'me"]), (&json!("a'b"), &json!(odd)));
    }

    #[test]
    fn bytes_go_as_base64_and_a_large_body_does_not_go() {
        let bytes = Message { body: vec![0xff, 0].into(), ..Message::default() };
        let command = curl("http://h", &"t".parse().unwrap(), &bytes).unwrap();
        assert!(command.contains(r#""body":"/wA=","encoding":"base64""#), "{command}");
        let large = Message { body: vec![b'x'; CURL_BODY_MAX + 1].into(), ..Message::default() };
        assert_eq!(curl("http://h", &"t".parse().unwrap(), &large), None);
    }
}
