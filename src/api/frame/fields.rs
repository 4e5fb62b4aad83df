//! Every field that any client frame has, borrowed from the frame.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::within;
use crate::api::message_in::{Encoding, PropertiesForm};
use crate::api::problem::Problem;

/// A text that is borrowed when it holds no escapes.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Text<'a> {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn into_inner(self) -> Cow<'a, str> {
        self.0
    }
}

/// A value kept as it was written. Unlike `Option<&RawValue>`, a written `null` is a value here.
fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

macro_rules! fields {
    ($($(#[$attribute:meta])* $field:ident: $type:ty,)*) => {
        /// One frame's fields; each reader takes what is its own, and what is left over is refused.
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct Fields<'a> {
            #[serde(rename = "type", default, borrow)]
            pub(super) kind: Option<Text<'a>>,
            #[serde(default, borrow)]
            pub(super) id: Option<&'a RawValue>,
            $($(#[$attribute])* pub(super) $field: Option<$type>,)*
        }

        impl Fields<'_> {
            /// The first field that nobody took.
            pub(super) fn left_over(&self) -> Option<&'static str> {
                $(if self.$field.is_some() {
                    return Some(stringify!($field));
                })*
                None
            }
        }
    };
}

fields! {
    #[serde(default, borrow)] topic: Text<'a>,
    #[serde(default, borrow)] group: Text<'a>,
    #[serde(default, borrow)] sub: Text<'a>,
    // A list in a publish, a number in a credit.
    #[serde(default, borrow)] messages: &'a RawValue,
    #[serde(default)] bytes: u64,
    #[serde(default, borrow)] receipts: Vec<Text<'a>>,
    #[serde(default)] delay_ms: u64,
    #[serde(default)] lease_ms: u64,
    #[serde(default, borrow)] reason: Text<'a>,
    #[serde(default, borrow)] mode: Text<'a>,
    #[serde(default)] prefetch: u64,
    #[serde(default, borrow)] filter: &'a RawValue,
    #[serde(default, borrow)] client: Text<'a>,
    #[serde(default, borrow, deserialize_with = "raw")] body: &'a RawValue,
    #[serde(default)] encoding: Encoding,
    #[serde(default, borrow)] content_type: Text<'a>,
    #[serde(default, borrow)] tag: Text<'a>,
    #[serde(default, borrow)] keys: Vec<Text<'a>>,
    #[serde(default, borrow)] ordering_key: Text<'a>,
    #[serde(default)] queue: u64,
    #[serde(default, borrow)] deliver_at: Text<'a>,
    #[serde(default)] ttl_ms: u64,
    #[serde(default, borrow)] traceparent: Text<'a>,
    #[serde(default, borrow)] tracestate: Text<'a>,
    #[serde(default, borrow)] properties: PropertiesForm<'a>,
}

impl Fields<'_> {
    /// Takes `messages` as the number it is in a credit frame.
    pub(super) fn messages_count(&mut self, most: u32) -> Result<u32, Problem> {
        let text = format!("must be a number of 0 to {most}");
        let count =
            self.messages.take().and_then(|messages| serde_json::from_str::<u64>(messages.get()).ok());
        let count = count.ok_or_else(|| Problem::pointer("/messages", text))?;
        within("messages", count, 0, u64::from(most)).map(super::narrow)
    }
}
