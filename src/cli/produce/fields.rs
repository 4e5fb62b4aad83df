//! What the flags say about a message, as headers of a raw body and as fields of a JSON message.

use std::time::Duration;

use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value};

use super::ProduceArgs;
use crate::cli::error::CliError;
use crate::cli::millis;

/// What a header value cannot carry as it is; `,` because it separates keys.
const IN_HEADER: &AsciiSet = &CONTROLS.add(b'%').add(b',').add(b' ');

/// The headers of a raw body; `is_text` when it was given as an argument.
pub(super) fn headers(args: &ProduceArgs, is_text: bool) -> Result<HeaderMap, CliError> {
    let mut headers = HeaderMap::new();
    let mut put = |name: &str, value: &str| -> Result<(), CliError> {
        let bad = |what: &str| CliError::Usage(format!("'{}' cannot be {what}", value.escape_debug()));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad(&format!("sent as {name}")))?;
        headers.append(name, HeaderValue::from_str(value).map_err(|_| bad("a header value"))?);
        Ok(())
    };
    let escaped = |text: &str| utf8_percent_encode(text, IN_HEADER).to_string();
    let human = |time: Duration| format!("{}ms", time.as_millis());
    if let Some(content_type) = &args.content_type {
        put(CONTENT_TYPE.as_str(), content_type)?;
    } else if is_text {
        put(CONTENT_TYPE.as_str(), "text/plain; charset=utf-8")?;
    }
    if let Some(tag) = &args.tag {
        put("mq-tag", &escaped(tag))?;
    }
    if !args.keys.is_empty() {
        let keys: Vec<String> = args.keys.iter().map(|key| escaped(key)).collect();
        put("mq-keys", &keys.join(","))?;
    }
    if let Some(key) = &args.ordering_key {
        put("mq-ordering-key", &escaped(key))?;
    }
    if let Some(delay) = args.delay {
        put("mq-delay", &human(delay))?;
    }
    if let Some(ttl) = args.ttl {
        put("mq-ttl", &human(ttl))?;
    }
    for (name, value) in &args.properties {
        put(&format!("mq-prop-{name}"), &escaped(value))?;
    }
    Ok(headers)
}

/// The fields of a JSON message that all lines of one run share.
pub(super) fn fields(args: &ProduceArgs) -> Map<String, Value> {
    let mut fields = Map::new();
    let texts =
        [("content_type", &args.content_type), ("tag", &args.tag), ("ordering_key", &args.ordering_key)];
    for (name, text) in texts {
        if let Some(text) = text {
            fields.insert(name.to_owned(), Value::from(text.as_str()));
        }
    }
    if !args.keys.is_empty() {
        fields.insert("keys".to_owned(), Value::from(args.keys.clone()));
    }
    for (name, time) in [("delay_ms", args.delay), ("ttl_ms", args.ttl)] {
        if let Some(time) = time {
            fields.insert(name.to_owned(), millis(time));
        }
    }
    if !args.properties.is_empty() {
        let properties: Map<String, Value> =
            args.properties.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
        fields.insert("properties".to_owned(), Value::from(properties));
    }
    fields
}
