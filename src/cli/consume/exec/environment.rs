//! A message as environment variables, named like the headers of a raw body.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::process::Command;

use crate::cli::error::CliError;

/// Variables and the fields they hold.
const VARIABLES: [(&str, &str); 14] = [
    ("MQ_MESSAGE_ID", "id"),
    ("MQ_TOPIC", "topic"),
    ("MQ_QUEUE", "queue"),
    ("MQ_OFFSET", "offset"),
    ("MQ_ATTEMPT", "attempt"),
    ("MQ_MAX_ATTEMPTS", "max_attempts"),
    ("MQ_ROUND", "round"),
    ("MQ_TAG", "tag"),
    ("MQ_ORDERING_KEY", "ordering_key"),
    ("MQ_CONTENT_TYPE", "content_type"),
    ("MQ_ACCEPTED_AT", "accepted_at"),
    ("MQ_RECEIPT", "receipt"),
    ("TRACEPARENT", "traceparent"),
    ("TRACESTATE", "tracestate"),
];
/// A comma separates keys, as in the header `Mq-Keys`.
const IN_LIST: &AsciiSet = &CONTROLS.add(b'%').add(b',');

/// Sets the variables of one message; what the message does not have is not there, whatever we inherited.
pub(super) fn set(command: &mut Command, group: &str, message: &RawValue) -> Result<(), CliError> {
    let message: Value = serde_json::from_str(message.get()).map_err(CliError::odd)?;
    for (inherited, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"MQ_"))
    {
        command.env_remove(inherited);
    }
    command.env("MQ_GROUP", group);
    for (variable, field) in VARIABLES {
        put(command, variable, text(message.get(field)));
    }
    let keys = message.get("keys").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let keys: Vec<String> = keys
        .iter()
        .filter_map(Value::as_str)
        .map(|key| utf8_percent_encode(key, IN_LIST).to_string())
        .collect();
    put(command, "MQ_KEYS", (!keys.is_empty()).then(|| keys.join(",")));
    for (name, value) in message.get("properties").and_then(Value::as_object).into_iter().flatten() {
        put(command, &property(name), text(Some(value)));
    }
    Ok(())
}

/// A value with a NUL byte cannot be in an environment; the variable is then missing.
fn put(command: &mut Command, variable: &str, value: Option<String>) {
    match value.filter(|value| !value.contains('\0')) {
        Some(value) => command.env(variable, value),
        None => command.env_remove(variable),
    };
}

fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// `order-id` becomes `MQ_PROP_ORDER_ID`: a shell reads letters, digits and `_` only.
fn property(name: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' };
    format!("MQ_PROP_{}", name.chars().map(plain).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_becomes_variables() {
        let message = r#"{"id":"i","queue":2,"tag":null,"keys":["a,b","c"],"traceparent":"tp","content_type":"x\u0000y",
            "properties":{"order-id":"7"}}"#;
        let mut command = Command::new("true");
        set(&mut command, "g", &RawValue::from_string(message.to_owned()).unwrap()).unwrap();
        let variables: std::collections::BTreeMap<String, Option<String>> = command
            .as_std()
            .get_envs()
            .map(|(name, value)| {
                (name.to_str().unwrap().to_owned(), value.map(|value| value.to_str().unwrap().to_owned()))
            })
            .collect();
        let value = |name: &str| variables[name].as_deref();
        assert_eq!(
            (value("MQ_MESSAGE_ID"), value("MQ_GROUP"), value("MQ_QUEUE")),
            (Some("i"), Some("g"), Some("2"))
        );
        assert_eq!((value("MQ_KEYS"), value("MQ_PROP_ORDER_ID")), (Some("a%2Cb,c"), Some("7")));
        assert_eq!(
            (value("TRACEPARENT"), value("MQ_TAG"), value("MQ_CONTENT_TYPE")),
            (Some("tp"), None, None)
        );
    }
}
