//! `/messages/{id}`: one message, what it holds, what happened to it, and what every group is doing with it.

use crate::broker::{Broker, BrokerError, Gap, InGroup, Standing, StoredMessage, TraceCursor, TraceEvent};
use crate::dashboard::visible::visible;
use crate::dashboard::words::{Common, Messages};
use crate::model::{MessageId, Millis, QueueNo, Timestamp, TopicName};

use super::curl::curl;
use super::payload::{Payload, PayloadForm};

/// Events of one page of the life of a message.
const EVENTS: usize = 100;
/// How long the log is read for them at most.
const TRACE_MS: Millis = 50;

/// What is asked about a message.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) id: MessageId,
    pub(super) form: Option<PayloadForm>,
    /// Where its life goes on.
    pub(super) cursor: Option<TraceCursor>,
    /// `http://host:port` of the broker as the browser knows it.
    pub(super) origin: String,
}

/// A message, ready to be shown.
#[derive(Clone, Debug)]
pub(super) struct MessageFacts {
    pub(super) id: MessageId,
    pub(super) topic: TopicName,
    pub(super) queue: QueueNo,
    pub(super) offset: Option<u64>,
    pub(super) standing: Standing,
    pub(super) accepted_at: Timestamp,
    pub(super) due: Option<Timestamp>,
    pub(super) attributes: Vec<(Attribute, String)>,
    pub(super) properties: Vec<(String, String)>,
    pub(super) payload: Payload,
    /// A command that sends it again; none when it is too large for one.
    pub(super) curl: Option<String>,
    pub(super) life: Life,
    pub(super) groups: Vec<InGroup>,
    pub(super) more_groups: bool,
}

/// What a message says of itself besides its properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dashboard) enum Attribute {
    ContentType,
    ContentEncoding,
    Tag,
    Key,
    OrderingKey,
    Traceparent,
    Tracestate,
}

impl Attribute {
    /// What people call it.
    pub(in crate::dashboard) fn words(self, words: &Messages, common: &Common) -> &'static str {
        match self {
            Attribute::ContentType => words.content_type,
            Attribute::ContentEncoding => words.content_encoding,
            Attribute::Tag => common.tag,
            Attribute::Key => common.key,
            Attribute::OrderingKey => words.ordering_key,
            Attribute::Traceparent => "traceparent",
            Attribute::Tracestate => "tracestate",
        }
    }
}

/// What happened to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Life {
    pub(super) events: Vec<TraceEvent>,
    pub(super) gone: Vec<Gap>,
    pub(super) groups_left_out: bool,
    /// Entries of the log that were read.
    pub(super) scanned: u64,
    /// Where it goes on; none when it is told to the end.
    pub(super) next: Option<String>,
    /// Why it cannot be told.
    pub(super) fault: Option<String>,
}

impl MessageFacts {
    /// Gathers them. Waits for the disk.
    ///
    /// # Errors
    /// No such message, or it cannot be read.
    pub(super) fn gather(broker: &Broker, asked: Asked) -> Result<MessageFacts, BrokerError> {
        let stored = broker.message(asked.id)?;
        let (groups, more_groups) = broker.in_groups(&stored)?;
        let life = Life::gather(broker, asked.id, asked.cursor);
        Ok(MessageFacts {
            id: stored.id,
            topic: stored.topic.clone(),
            queue: stored.queue,
            offset: stored.offset,
            standing: stored.standing,
            accepted_at: stored.accepted_at,
            due: stored.due,
            attributes: attributes(&stored),
            properties: properties(&stored),
            payload: Payload::of(&stored.message.body, asked.form),
            curl: curl(&asked.origin, &stored.topic, &stored.message),
            life,
            groups,
            more_groups,
        })
    }
}

impl MessageFacts {
    /// Where it stands in its topic, in the words of the interface.
    pub(super) fn standing(&self) -> &'static str {
        match self.standing {
            Standing::Ready => "ready",
            Standing::Scheduled => "scheduled",
            Standing::Cancelled => "cancelled",
            Standing::Unknown => "–",
        }
    }

    pub(super) fn is_scheduled(&self) -> bool {
        self.standing == Standing::Scheduled
    }
}

impl Life {
    fn gather(broker: &Broker, id: MessageId, cursor: Option<TraceCursor>) -> Life {
        // A log that cannot be read takes its story away, and nothing else of the page.
        match broker.trace_within(id, cursor, EVENTS, TRACE_MS) {
            Ok(trace) => Life {
                events: trace.events,
                gone: trace.gone,
                groups_left_out: trace.groups_left_out,
                scanned: trace.scanned,
                next: trace.next.map(|next| next.to_string()),
                fault: None,
            },
            Err(error) => Life { fault: Some(error.to_string()), ..Life::default() },
        }
    }
}

/// Attributes that a message has, each key on a row of its own.
pub(in crate::dashboard) fn attributes(stored: &StoredMessage) -> Vec<(Attribute, String)> {
    let own = &stored.message.attributes;
    let single = [
        (Attribute::ContentType, &own.content_type),
        (Attribute::ContentEncoding, &own.content_encoding),
        (Attribute::Tag, &own.tag),
        (Attribute::OrderingKey, &own.ordering_key),
        (Attribute::Traceparent, &own.traceparent),
        (Attribute::Tracestate, &own.tracestate),
    ];
    let single = single.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?)));
    let keys = own.keys.iter().map(|key| (Attribute::Key, &**key));
    single.chain(keys).map(|(name, text)| (name, visible(text).into_owned())).collect()
}

/// Its properties, so that what hides in them is seen.
pub(in crate::dashboard) fn properties(stored: &StoredMessage) -> Vec<(String, String)> {
    let own = stored.message.attributes.properties.iter();
    own.map(|(name, value)| (visible(name).into_owned(), visible(value).into_owned())).collect()
}
