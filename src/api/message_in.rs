//! A message as a producer writes it: a JSON object, or headers on a raw body.

mod events;
mod trace;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use percent_encoding::percent_decode;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

pub(crate) use events::{EVENT, EVENTS, is_event, is_media_type};
use trace::TraceHeaders;

use super::problem::{Code, Place, Problem};
use super::query::whole;
use crate::machine::{Delay, NewMessage};
use crate::model::{Attributes, DELAY_MS_MAX, Message, Millis, TTL_MS_MAX, Timestamp, parse_duration};

/// The JSON form of a message. Unknown fields are refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageForm<'a> {
    /// The payload; what it means depends on `encoding`.
    #[serde(borrow)]
    pub(crate) body: &'a RawValue,
    /// Default: `utf8` for a string, `json` for any other value.
    #[serde(default)]
    pub(crate) encoding: Option<Encoding>,
    /// Kept and handed back.
    #[serde(borrow, default)]
    pub(crate) content_type: Option<Cow<'a, str>>,
    /// What tag filters look at.
    #[serde(borrow, default)]
    pub(crate) tag: Option<Cow<'a, str>>,
    /// Business keys.
    #[serde(borrow, default)]
    pub(crate) keys: Vec<Cow<'a, str>>,
    /// Keeps order within ordered groups.
    #[serde(borrow, default)]
    pub(crate) ordering_key: Option<Cow<'a, str>>,
    /// An explicit queue.
    #[serde(default)]
    pub(crate) queue: Option<u64>,
    /// Ready this long after it is accepted.
    #[serde(default)]
    pub(crate) delay_ms: Option<Millis>,
    /// Ready at this time.
    #[serde(borrow, default)]
    pub(crate) deliver_at: Option<Cow<'a, str>>,
    /// Time to live, from ready.
    #[serde(default)]
    pub(crate) ttl_ms: Option<Millis>,
    /// W3C Trace Context.
    #[serde(borrow, default)]
    pub(crate) traceparent: Option<Cow<'a, str>>,
    /// W3C Trace Context, vendor part.
    #[serde(borrow, default)]
    pub(crate) tracestate: Option<Cow<'a, str>>,
    /// Free properties.
    #[serde(borrow, default)]
    pub(crate) properties: PropertiesForm<'a>,
}

/// How `body` carries the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Encoding {
    /// A JSON string whose UTF-8 is the payload.
    Utf8,
    /// A JSON string in base64 (RFC 4648 section 4, padded).
    Base64,
    /// Any JSON value; its text is the payload.
    Json,
}

/// Properties in the order written; a name twice is noticed later, when names are in lower case.
#[derive(Debug, Default)]
pub(crate) struct PropertiesForm<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de: 'a, 'a> Deserialize<'de> for PropertiesForm<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PropertiesForm<'a>, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = PropertiesForm<'de>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object of texts")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PropertiesForm<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Text(name), Text(value))) = map.next_entry()? {
                    pairs.push((name, value));
                }
                Ok(PropertiesForm(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// A text that stays borrowed where it can.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> MessageForm<'a> {
    /// One event of a CloudEvents batch as a message.
    ///
    /// # Errors
    /// It is no JSON object.
    pub(crate) fn of_event(event: &'a RawValue) -> Result<MessageForm<'a>, Problem> {
        if !event.get().starts_with('{') {
            return Err(Problem::pointer("", "must be an event, which is a JSON object"));
        }
        Ok(MessageForm {
            body: event,
            encoding: Some(Encoding::Json),
            content_type: Some(Cow::Borrowed(EVENT)),
            tag: None,
            keys: Vec::new(),
            ordering_key: None,
            queue: None,
            delay_ms: None,
            deliver_at: None,
            ttl_ms: None,
            traceparent: None,
            tracestate: None,
            properties: PropertiesForm::default(),
        })
    }
}

impl MessageForm<'_> {
    /// Checks every field and makes the message.
    ///
    /// # Errors
    /// 400 or 413 with a pointer relative to the message object.
    pub(crate) fn build(self) -> Result<NewMessage, Problem> {
        let body = decode_body(self.body.get(), self.encoding)?;
        let delay = match (self.delay_ms, self.deliver_at) {
            (Some(_), Some(_)) => {
                return Err(Problem::pointer("/deliver_at", "and delay_ms exclude each other"));
            }
            (Some(millis), None) => delay_of(millis).map_err(|text| Problem::pointer("/delay_ms", text))?,
            (None, Some(time)) => time
                .parse::<Timestamp>()
                .map(Delay::At)
                .map_err(|text| Problem::pointer("/deliver_at", text))?,
            (None, None) => Delay::None,
        };
        if let Some(ttl_ms) = self.ttl_ms {
            check_ttl(ttl_ms).map_err(|text| Problem::pointer("/ttl_ms", text))?;
        }
        let mut properties = BTreeMap::new();
        for (name, value) in self.properties.0 {
            let lower = name.to_lowercase().into_boxed_str();
            if properties.insert(lower, Box::from(value.as_ref())).is_some() {
                let pointer = format!("/properties/{}", name.replace('~', "~0").replace('/', "~1"));
                return Err(Problem::pointer(pointer, "is given twice (names are case-insensitive)"));
            }
        }
        if self.traceparent.as_ref().is_some_and(|text| !trace::is_traceparent(text)) {
            return Err(Problem::pointer("/traceparent", trace::SHAPE));
        }
        if self.tracestate.as_ref().is_some_and(|text| !trace::is_tracestate(text)) {
            return Err(Problem::pointer("/tracestate", "must have at most 512 bytes of printable ASCII"));
        }
        let boxed = |text: Option<Cow<'_, str>>| text.map(|text| Box::from(text.as_ref()));
        let mut attributes = Attributes {
            content_type: boxed(self.content_type),
            tag: boxed(self.tag),
            ordering_key: boxed(self.ordering_key),
            keys: self.keys.iter().map(|key| Box::from(key.as_ref())).collect(),
            properties,
            traceparent: boxed(self.traceparent),
            tracestate: boxed(self.tracestate),
            ..Attributes::default()
        };
        events::recognise(&mut attributes, &body);
        let message = Message { body, attributes };
        message.check()?;
        Ok(NewMessage { message: Arc::new(message), queue: self.queue, delay, ttl_ms: self.ttl_ms })
    }
}

/// The payload that `raw` (a JSON value) stands for. Copied, so that a kept message does not hold a whole batch.
fn decode_body(raw: &str, encoding: Option<Encoding>) -> Result<Bytes, Problem> {
    let is_string = raw.starts_with('"');
    let encoding = encoding.unwrap_or(if is_string { Encoding::Utf8 } else { Encoding::Json });
    if encoding == Encoding::Json {
        return Ok(Bytes::copy_from_slice(raw.as_bytes()));
    }
    if !is_string {
        return Err(Problem::pointer("/body", "must be a string with this encoding"));
    }
    // A string without an escape is its own text; most are, and it was checked when the JSON was read.
    if encoding == Encoding::Utf8
        && let Some(text) = raw.as_bytes().strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""))
        && memchr::memchr(b'\\', text).is_none()
    {
        return Ok(Bytes::copy_from_slice(text));
    }
    let Text(text) = serde_json::from_str(raw).map_err(|error| {
        Problem::at(Code::InvalidJson, Place::Pointer("/body".to_owned()), error.to_string())
    })?;
    match encoding {
        Encoding::Base64 => STANDARD
            .decode(text.as_bytes())
            .map(Bytes::from)
            .map_err(|error| Problem::pointer("/body", format!("is not base64: {error}"))),
        Encoding::Utf8 | Encoding::Json => Ok(Bytes::copy_from_slice(text.as_bytes())),
    }
}

fn delay_of(millis: Millis) -> Result<Delay, String> {
    match millis {
        0 => Ok(Delay::None),
        millis if millis <= DELAY_MS_MAX => Ok(Delay::For(millis)),
        _ => Err("must be at most 40 days".to_owned()),
    }
}

fn check_ttl(millis: Millis) -> Result<(), String> {
    if (1..=TTL_MS_MAX).contains(&millis) { Ok(()) } else { Err(format!("must be 1 to {TTL_MS_MAX} ms")) }
}

/// Makes a message of a raw body and the headers it came with.
///
/// # Errors
/// 400 naming the header, or the field that is over its limit.
pub(crate) fn from_headers(headers: &HeaderMap, body: Bytes) -> Result<NewMessage, Problem> {
    let mut new = NewMessage::default();
    let mut attributes = Attributes::default();
    let mut trace = TraceHeaders::default();
    for (name, value) in headers {
        let name = name.as_str();
        let kept = match name.as_bytes() {
            [b'm', b'q', b'-', ..] => {
                marked(&mut new, &mut attributes, name, value.as_bytes())?;
                continue;
            }
            // A CloudEvent in binary mode (HTTP protocol binding, section 3.1).
            [b'c', b'e', b'-', attribute @ ..] if !attribute.is_empty() => {
                let property = format!("ce_{}", name.trim_start_matches("ce-"));
                let text = text_of(name, value.as_bytes())?;
                if attributes.properties.insert(property.into(), text).is_some() {
                    return Err(Problem::header(name, "is given twice"));
                }
                continue;
            }
            b"content-type" => &mut attributes.content_type,
            b"content-encoding" => &mut attributes.content_encoding,
            b"traceparent" => {
                trace.parent(value.as_bytes());
                continue;
            }
            b"tracestate" => {
                trace.state(value.as_bytes());
                continue;
            }
            _ => continue,
        };
        let text =
            std::str::from_utf8(value.as_bytes()).map_err(|_| Problem::header(name, "is not UTF-8"))?;
        *kept = Some(match kept.take() {
            None => Box::from(text),
            // Several codings are one list (RFC 9110, section 8.4); a body has only one type.
            Some(first) if name == "content-encoding" => format!("{first}, {text}").into(),
            Some(_) => return Err(Problem::header(name, "is given twice")),
        });
    }
    trace.keep(&mut attributes);
    events::recognise(&mut attributes, &body);
    let message = Message { body, attributes };
    message.check().map_err(|error| {
        // The same limits as in JSON, but the caller wrote headers.
        let header = header_of(&error.field);
        let mut problem = Problem::from(error);
        if let (Some(header), Some(first)) = (header, problem.errors.first_mut()) {
            problem.detail = format!("header {header}: {}", first.text);
            first.place = Place::Header(header.to_owned());
        }
        problem
    })?;
    new.message = Arc::new(message);
    Ok(new)
}

/// The header that carries a field of the JSON form.
pub(crate) fn header_of(field: &str) -> Option<&'static str> {
    match field.split('/').next().unwrap_or(field) {
        "tag" => Some("Mq-Tag"),
        "keys" => Some("Mq-Keys"),
        "queue" => Some("Mq-Queue"),
        "delay_ms" => Some("Mq-Delay"),
        "deliver_at" => Some("Mq-Deliver-At"),
        "ordering_key" => Some("Mq-Ordering-Key"),
        "properties" => Some("Mq-Prop-"),
        "content_type" => Some("Content-Type"),
        "content_encoding" => Some("Content-Encoding"),
        "traceparent" => Some("traceparent"),
        "tracestate" => Some("tracestate"),
        _ => None,
    }
}

/// Takes one `Mq-` header in.
fn marked(
    new: &mut NewMessage,
    attributes: &mut Attributes,
    name: &str,
    value: &[u8],
) -> Result<(), Problem> {
    let twice = || Problem::header(name, "is given twice");
    let refuse = |text: String| Problem::header(name, text);
    if let Some(property) = name.strip_prefix("mq-prop-") {
        // Header names arrive in lower case.
        let old = attributes.properties.insert(Box::from(property), text_of(name, value)?);
        return if old.is_some() { Err(twice()) } else { Ok(()) };
    }
    match name {
        "mq-tag" => set(&mut attributes.tag, text_of(name, value)?).map_err(|()| twice()),
        "mq-ordering-key" => set(&mut attributes.ordering_key, text_of(name, value)?).map_err(|()| twice()),
        "mq-keys" if !attributes.keys.is_empty() => Err(twice()),
        "mq-keys" => {
            for key in value.split(|byte| *byte == b',') {
                attributes.keys.push(text_of(name, key.trim_ascii())?);
            }
            Ok(())
        }
        "mq-queue" => {
            let queue =
                whole(&text_of(name, value)?).ok_or_else(|| refuse("must be a whole number".into()))?;
            set(&mut new.queue, queue).map_err(|()| twice())
        }
        "mq-delay" | "mq-deliver-at" => {
            if new.delay != Delay::None {
                return Err(refuse("only one of Mq-Delay and Mq-Deliver-At, once".to_owned()));
            }
            let text = text_of(name, value)?;
            new.delay = if name == "mq-delay" {
                parse_duration(&text).and_then(delay_of).map_err(refuse)?
            } else {
                Delay::At(text.parse().map_err(refuse)?)
            };
            Ok(())
        }
        "mq-ttl" => {
            let ttl_ms = parse_duration(&text_of(name, value)?).map_err(refuse)?;
            check_ttl(ttl_ms).map_err(refuse)?;
            set(&mut new.ttl_ms, ttl_ms).map_err(|()| twice())
        }
        // Names the caller; a producer may say it too. It was read before.
        "mq-client" => Ok(()),
        _ => Err(refuse("is not a header of this call".to_owned())),
    }
}

fn set<T>(slot: &mut Option<T>, value: T) -> Result<(), ()> {
    if slot.is_some() {
        return Err(());
    }
    *slot = Some(value);
    Ok(())
}

/// A text header: percent-decoded once; raw UTF-8 is accepted.
pub(crate) fn text_of(name: &str, value: &[u8]) -> Result<Box<str>, Problem> {
    let refuse = || Problem::header(name, "is not UTF-8");
    if value.contains(&b'%') {
        return percent_decode(value).decode_utf8().map(Box::from).map_err(|_| refuse());
    }
    std::str::from_utf8(value).map(Box::from).map_err(|_| refuse())
}

#[cfg(test)]
mod tests;
