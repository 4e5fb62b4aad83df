//! Frames of the server, written straight into bytes.

use std::borrow::Cow;

use bytes::Bytes;

use super::{NamedReceipt, OpName};
use crate::api::json_out::Json;
use crate::api::message_out::{BodyEncoding, write_delivered};
use crate::api::problem::{Place, Problem};
use crate::api::produce::write_produced;
use crate::api::settle::write_settled;
use crate::broker::{DeliveredMessage, ProduceAnswer, ProducedMessage};
use crate::machine::SettleStatus;
use crate::model::TopicName;

/// A `messages` frame is closed before it gets longer than this, unless one message alone is longer.
const FRAME_BYTES_MAX: usize = 1 << 20;
/// What a message takes besides its body, about.
const MESSAGE_OVERHEAD_BYTES: usize = 512;

/// What became of one receipt.
#[derive(Debug)]
pub(in crate::api) struct SettledEntry {
    /// As it was named.
    pub(in crate::api) receipt: NamedReceipt,
    /// What became of it.
    pub(in crate::api) status: SettleStatus,
}

fn begin(kind: &str, re: Option<&str>, bytes: usize) -> Json {
    let mut json = Json::with_capacity(bytes);
    json.open();
    json.key("type");
    json.name(kind);
    if let Some(re) = re {
        json.key("re");
        json.raw(re.as_bytes());
    }
    json
}

fn finish(mut json: Json) -> Bytes {
    json.close();
    json.finish()
}

/// The first frame of every socket; `limits` writes the object of that name.
pub(in crate::api) fn welcome(heartbeat_ms: u64, limits: impl FnOnce(&mut Json)) -> Bytes {
    let mut json = begin("welcome", None, 1_536);
    json.number_field("heartbeat_ms", heartbeat_ms);
    json.key("limits");
    limits(&mut json);
    finish(json)
}

/// A subscription runs.
pub(in crate::api) fn subscribed(re: Option<&str>, sub: &str) -> Bytes {
    let mut json = begin("subscribed", re, 192);
    json.text_field("sub", sub);
    finish(json)
}

/// One message is on disk on a quorum.
pub(in crate::api) fn published(re: Option<&str>, produced: &ProducedMessage) -> Bytes {
    let mut json = begin("published", re, 160);
    json.key("id");
    json.plain(produced.id);
    json.number_field("queue", produced.queue.into());
    json.key("offset");
    json.maybe_number(produced.offset);
    if let Some(due) = produced.due {
        json.text_field("state", "scheduled");
        json.key("deliver_at");
        json.plain(due);
    } else {
        json.key("state");
        json.name("ready");
    }
    finish(json)
}

/// What became of each message of one publish, in its order.
pub(in crate::api) fn published_many<'a>(
    re: Option<&str>,
    topic: &TopicName,
    results: impl Iterator<Item = Result<&'a ProduceAnswer, &'a Problem>>,
) -> Bytes {
    let mut json = begin("published", re, 256 + 160 * results.size_hint().0);
    json.key("results");
    json.open_list();
    let mut failed = 0;
    for (at, result) in results.enumerate() {
        match result {
            Ok(Ok(produced)) => {
                write_produced(&mut json, topic, produced);
                continue;
            }
            Ok(Err(refusal)) => {
                let place = |field| Place::Pointer(format!("/messages/{at}/{field}"));
                Problem::of_message(refusal, place).write(&mut json, None);
            }
            Err(problem) => problem.write(&mut json, None),
        }
        failed += 1;
    }
    json.close_list();
    json.number_field("failed", failed);
    finish(json)
}

/// What became of receipts, in the order of the frame that named them.
pub(in crate::api) fn settled(re: Option<&str>, op: OpName, entries: &[SettledEntry]) -> Bytes {
    let mut json = begin("settled", re, 64 + 192 * entries.len());
    json.key("results");
    json.open_list();
    for SettledEntry { receipt, status } in entries {
        let named = match receipt {
            NamedReceipt::Good(receipt) => Cow::Owned(receipt.to_string()),
            NamedReceipt::Bad(text) => Cow::Borrowed(&**text),
        };
        write_settled(&mut json, &named, op.as_str(), *status);
    }
    json.close_list();
    finish(json)
}

/// Something was refused; `fatal` says that the socket closes. The members are those of a problem document, but `type`
/// says what frame this is; the page of the problem is `/problems/{code}`.
pub(in crate::api) fn error(re: Option<&str>, sub: Option<&str>, problem: &Problem, fatal: bool) -> Bytes {
    let mut json = begin("error", re, 512);
    if let Some(sub) = sub {
        json.text_field("sub", sub);
    }
    json.key("fatal");
    json.truth(fatal);
    problem.write_members(&mut json, None);
    finish(json)
}

/// The server stops; the socket closes after at most so long.
pub(in crate::api) fn draining(deadline_ms: u64) -> Bytes {
    let mut json = begin("draining", None, 64);
    json.number_field("deadline_ms", deadline_ms);
    finish(json)
}

/// Writes deliveries as one frame or more and hands each to `emit`.
pub(in crate::api) fn messages(
    sub: &str,
    encoding: BodyEncoding,
    delivered: &[DeliveredMessage],
    mut emit: impl FnMut(Bytes),
) {
    let size = |message: &DeliveredMessage| message.message.body.len() + MESSAGE_OVERHEAD_BYTES;
    let mut rest = delivered;
    while !rest.is_empty() {
        let whole: usize = rest.iter().map(size).sum();
        let mut json = begin("messages", None, (whole + whole / 8).min(FRAME_BYTES_MAX) + 256);
        json.text_field("sub", sub);
        json.key("messages");
        json.open_list();
        let mut held = 0;
        for message in rest {
            if held > 0 && json.len() + size(message) > FRAME_BYTES_MAX {
                break;
            }
            write_delivered(&mut json, message, encoding);
            held += 1;
        }
        json.close_list();
        emit(finish(json));
        rest = rest.get(held..).unwrap_or_default();
    }
}
