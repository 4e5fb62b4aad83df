//! The frames of `mq.v1.json`: one JSON object per text frame, always with `type`.
//!
//! Reading borrows from the frame's text; only what is kept is copied. Unknown fields and types, and fields of
//! another type of frame, are refused and never ignored.

mod answers;
mod fields;
mod publish;

use serde_json::value::RawValue;

pub(super) use answers::{
    SettledEntry, draining, error, messages, published, published_many, settled, subscribed, welcome,
};
pub(super) use publish::PublishedBody;

use super::groups::filter_of;
use super::problem::{Code, Problem};
use super::{json_in, settle};
use crate::broker::CreditMode;
use crate::machine::SettleOp;
use crate::model::{
    CLIENT_BYTES_MAX, Filter, GroupName, LEASE_MS_MAX, LEASE_MS_MIN, Millis, Receipt, SETTLE_MAX, TopicName,
};
use fields::{Fields, Text};

/// Longest `sub` and `id` a client may choose, in bytes.
const LABEL_BYTES_MAX: usize = 128;
/// What a client may send.
const KINDS: &str =
    "publish, subscribe, credit, ack, nack, extend, dead_letter, pause, resume or unsubscribe";
/// Most credit, and most prefetch, of one subscription.
pub(super) const CREDIT_MAX: u32 = 10_000;
/// The prefetch of a subscription that does not say.
const PREFETCH_DEFAULT: u64 = 100;

/// A frame's `id` exactly as the client wrote it (a JSON string or number), to come back as `re`.
pub(super) type Re = Option<Box<str>>;

/// What a client may send.
#[derive(Debug)]
pub(super) enum Frame {
    /// Accept messages.
    Publish(Publish),
    /// Push messages of a group.
    Subscribe(Subscribe),
    /// Push so many more.
    Credit { sub: Box<str>, messages: u32, bytes: Option<u64> },
    /// Settle leases, all in the same way.
    Settle(Settle),
    /// Stop pushing for a while (true), or go on (false).
    Pause { sub: Box<str>, paused: bool },
    /// Stop pushing for good.
    Unsubscribe { sub: Box<str> },
}

/// Messages to be accepted.
#[derive(Debug)]
pub(super) struct Publish {
    pub(super) topic: TopicName,
    pub(super) body: PublishedBody,
}

/// A wish to be pushed messages.
#[derive(Debug, PartialEq)]
pub(super) struct Subscribe {
    pub(super) sub: Box<str>,
    pub(super) group: GroupName,
    pub(super) topic: Option<TopicName>,
    pub(super) filter: Option<Filter>,
    pub(super) mode: CreditMode,
    pub(super) lease_ms: Option<Millis>,
    pub(super) client: Option<Box<str>>,
}

/// Leases to be settled.
#[derive(Debug, PartialEq)]
pub(super) struct Settle {
    pub(super) name: OpName,
    pub(super) op: SettleOp,
    pub(super) receipts: Vec<NamedReceipt>,
}

/// What a client asked to be done with a lease, by its name on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpName {
    Ack,
    Nack,
    Extend,
    DeadLetter,
}

impl OpName {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            OpName::Ack => "ack",
            OpName::Nack => "nack",
            OpName::Extend => "extend",
            OpName::DeadLetter => "dead_letter",
        }
    }
}

/// A receipt, or the text that is none.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum NamedReceipt {
    Good(Receipt),
    Bad(Box<str>),
}

/// A frame that was not understood.
#[derive(Debug)]
pub(super) enum FrameError {
    /// Not a JSON object at all: what follows cannot be trusted either, so the connection ends.
    NotJson(Problem),
    /// One frame is wrong; the others are not affected. `publish` says that the client counts on an answer in the
    /// order of its publishes.
    Refused { re: Re, problem: Problem, publish: bool },
}

/// Reads one frame.
///
/// # Errors
/// See [`FrameError`].
pub(super) fn read(text: &str) -> Result<(Re, Frame), FrameError> {
    // Serde would also take a list for the fields in their order; a frame is an object.
    if !is_object(text) {
        return Err(FrameError::NotJson(Problem::new(Code::InvalidJson, "a frame is one JSON object")));
    }
    let fields: Fields<'_> = match serde_json::from_str(text) {
        Ok(fields) => fields,
        Err(error) => return Err(not_a_frame(text, &error)),
    };
    let publish = fields.kind.as_ref().is_some_and(|kind| kind.as_str() == "publish");
    let re = match read_id(fields.id) {
        Ok(re) => re,
        Err(problem) => return Err(FrameError::Refused { re: None, problem, publish }),
    };
    match read_frame(fields) {
        Ok(frame) => Ok((re, frame)),
        Err(problem) => Err(FrameError::Refused { re, problem, publish }),
    }
}

fn is_object(text: &str) -> bool {
    text.trim_ascii_start().starts_with('{')
}

/// Finds out what is wrong with a text that is no frame, and whose it was.
fn not_a_frame(text: &str, error: &serde_json::Error) -> FrameError {
    #[derive(serde::Deserialize)]
    struct Head<'a> {
        #[serde(borrow, default)]
        id: Option<&'a RawValue>,
        #[serde(borrow, default, rename = "type")]
        kind: Option<&'a RawValue>,
    }
    let problem = match json_in::parse_borrowed::<Fields<'_>>(text.as_bytes()) {
        Err(problem) => problem,
        Ok(_) => Problem::new(Code::InvalidJson, error.to_string()),
    };
    match serde_json::from_str::<Head<'_>>(text) {
        Ok(head) => FrameError::Refused {
            re: read_id(head.id).unwrap_or_default(),
            problem,
            publish: head.kind.is_some_and(|kind| kind.get() == "\"publish\""),
        },
        // A field that is named twice is still JSON.
        Err(head_error) if head_error.is_data() => FrameError::Refused { re: None, problem, publish: false },
        _ => FrameError::NotJson(problem),
    }
}

fn read_id(id: Option<&RawValue>) -> Result<Re, Problem> {
    let Some(id) = id.map(RawValue::get) else { return Ok(None) };
    let scalar = id.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit());
    if scalar && id.len() <= LABEL_BYTES_MAX + 2 {
        Ok(Some(id.into()))
    } else {
        Err(Problem::pointer(
            "/id",
            format!("must be a string or a number of at most {LABEL_BYTES_MAX} bytes"),
        ))
    }
}

fn read_frame(mut fields: Fields<'_>) -> Result<Frame, Problem> {
    let Some(kind) = fields.kind.take() else {
        return Err(Problem::pointer("/type", "is missing; every frame has one"));
    };
    let kind = kind.as_str();
    let fields = &mut fields;
    let settle = |name, op, receipts| Frame::Settle(Settle { name, op, receipts });
    let frame = match kind {
        "publish" => {
            let topic = name(fields.topic.take(), "topic")?;
            Frame::Publish(Publish { topic, body: publish::read_body(fields)? })
        }
        "subscribe" => Frame::Subscribe(read_subscribe(fields)?),
        "credit" => {
            let (sub, messages) = (label(fields)?, fields.messages_count(CREDIT_MAX)?);
            Frame::Credit { sub, messages, bytes: fields.bytes.take() }
        }
        "ack" => settle(OpName::Ack, SettleOp::Ack, receipts(fields)?),
        "nack" => {
            let op = settle::nack(fields.delay_ms.take(), reason(fields))?;
            settle(OpName::Nack, op, receipts(fields)?)
        }
        "extend" => settle(OpName::Extend, settle::extend(fields.lease_ms.take())?, receipts(fields)?),
        "dead_letter" => settle(OpName::DeadLetter, settle::dead_letter(reason(fields))?, receipts(fields)?),
        "pause" => Frame::Pause { sub: label(fields)?, paused: true },
        "resume" => Frame::Pause { sub: label(fields)?, paused: false },
        "unsubscribe" => Frame::Unsubscribe { sub: label(fields)? },
        other => {
            let shown: String = other.chars().take(40).collect();
            let text = format!("'{}' is unknown; a client sends {KINDS}", shown.escape_debug());
            return Err(Problem::pointer("/type", text));
        }
    };
    match fields.left_over() {
        Some(field) => Err(Problem::pointer(
            format!("/{field}"),
            format!("is not a field of a {kind} frame that has the others"),
        )),
        None => Ok(frame),
    }
}

fn read_subscribe(fields: &mut Fields<'_>) -> Result<Subscribe, Problem> {
    let sub = label(fields)?;
    let group = name(fields.group.take(), "group")?;
    let topic = fields.topic.take().map(|topic| name(Some(topic), "topic")).transpose()?;
    let prefetch = fields.prefetch.take();
    let mode = match (fields.mode.take().as_ref().map(Text::as_str), prefetch) {
        (None | Some("prefetch"), prefetch) => {
            let prefetch = prefetch.unwrap_or(PREFETCH_DEFAULT);
            CreditMode::Prefetch(within("prefetch", prefetch, 1, u64::from(CREDIT_MAX)).map(narrow)?)
        }
        (Some("credit"), None) => CreditMode::Credit,
        (Some("credit"), Some(_)) => {
            return Err(Problem::pointer("/prefetch", "has no meaning in mode credit; leave it out"));
        }
        (Some(_), _) => return Err(Problem::pointer("/mode", "must be \"prefetch\" or \"credit\"")),
    };
    let client = fields.client.take();
    let sane = |text: &str| (1..=CLIENT_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control);
    if client.as_ref().is_some_and(|client| !sane(client.as_str())) {
        let text = format!("must have 1 to {CLIENT_BYTES_MAX} bytes and no control characters");
        return Err(Problem::pointer("/client", text));
    }
    let filter = fields.filter.take().map(|filter| {
        let value = serde_json::from_str(filter.get());
        let value = value.map_err(|error| Problem::pointer("/filter", error.to_string()))?;
        filter_of(&value, "/filter")
    });
    let lease_ms = fields.lease_ms.take().map(|lease| within("lease_ms", lease, LEASE_MS_MIN, LEASE_MS_MAX));
    Ok(Subscribe {
        sub,
        group,
        topic,
        filter: filter.transpose()?,
        mode,
        lease_ms: lease_ms.transpose()?,
        client: client.map(|client| client.as_str().into()),
    })
}

fn label(fields: &mut Fields<'_>) -> Result<Box<str>, Problem> {
    match fields.sub.take() {
        Some(sub) if (1..=LABEL_BYTES_MAX).contains(&sub.as_str().len()) => Ok(sub.as_str().into()),
        Some(_) => Err(Problem::pointer("/sub", format!("must have 1 to {LABEL_BYTES_MAX} bytes"))),
        None => Err(Problem::pointer("/sub", "is missing: the name you give the subscription")),
    }
}

fn name<T>(text: Option<Text<'_>>, field: &str) -> Result<T, Problem>
where
    T: std::str::FromStr<Err = crate::model::NameError>,
{
    let pointer = || format!("/{field}");
    let text = text.ok_or_else(|| Problem::pointer(pointer(), "is missing"))?;
    text.as_str().parse().map_err(|error: T::Err| Problem::pointer(pointer(), error.to_string()))
}

fn receipts(fields: &mut Fields<'_>) -> Result<Vec<NamedReceipt>, Problem> {
    let texts = fields.receipts.take().ok_or_else(|| Problem::pointer("/receipts", "is missing"))?;
    if texts.len() > SETTLE_MAX {
        return Err(Problem::too_large("receipts in one frame", SETTLE_MAX));
    }
    let read = |text: Text<'_>| match text.as_str().parse() {
        Ok(receipt) => NamedReceipt::Good(receipt),
        // What comes back is cut, so that rubbish is not echoed by the megabyte.
        Err(_) => NamedReceipt::Bad(text.as_str().chars().take(200).collect::<String>().into()),
    };
    Ok(texts.into_iter().map(read).collect())
}

fn reason(fields: &mut Fields<'_>) -> Option<Box<str>> {
    fields.reason.take().map(|reason| reason.as_str().into())
}

fn within(field: &str, value: u64, low: u64, high: u64) -> Result<u64, Problem> {
    if (low..=high).contains(&value) {
        Ok(value)
    } else {
        Err(Problem::pointer(format!("/{field}"), format!("must be {low} to {high}")))
    }
}

/// A number that was checked to be small.
fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
