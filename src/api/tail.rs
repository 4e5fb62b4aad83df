//! `GET /v1/topics/{topic}/tail`: messages as they become ready, as server-sent events (WHATWG HTML, section 9.2).
//!
//! ```text
//!   retry: 1000                 how long EventSource waits before it comes back
//!   id: AQMEgIl6AgEBjw          the place before the first event, so that coming back is safe from the start
//!
//!   id: …                       the place behind this message
//!   data: {"id":"0000…", …}     as browsing shows a message
//!
//!   event: skipped              retention was faster than this reader
//!   event: end                  why the stream ends; its id says where to go on
//! ```
//!
//! One task reads for one tail and hands over a chunk at a time, when the connection has taken the one before. A reader
//! that takes nothing for as long as `--transfer-timeout` is cut like any other; it comes back with its last id.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::poll_fn;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::extract::{Answer, Call};
use super::json_out::Json;
use super::message_out::{BodyEncoding, write_stored};
use super::messages::tag_filter;
use super::options::{Api, Options};
use super::problem::{Code, Problem};
use crate::broker::{BrokerError, Tail, TailEvent, TailFrom, TailRequest, TailRound, TailWhat};
use crate::model::{Millis, TAIL_FOR_MS_MAX, TailPlace, TopicName, WAIT_MS_MAX};

/// How often a silent stream says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long EventSource waits before it comes back.
const RETRY_MS: u64 = 1_000;

/// Most messages of one tail: as large as whole numbers get on the wire.
const EVENTS_MAX: u64 = (1 << 53) - 1;

/// `GET /v1/topics/{topic}/tail`
pub(super) async fn tail(State(api): State<Api>, mut call: Call, headers: HeaderMap) -> Answer {
    let topic: TopicName = call.path("topic")?;
    let encoding = call.query.parse_as::<BodyEncoding>("encoding")?.unwrap_or_default();
    let tag = tag_filter(&mut call.query)?;
    let from = call.query.text("from");
    let from = from_of(from.as_deref())?;
    let max_events = match call.query.number("max_events")? {
        Some(0) => return Err(Problem::parameter("max_events", "must be 1 or more")),
        max_events => max_events.unwrap_or(EVENTS_MAX),
    };
    let lasting = lasting(&api.options, call.query.duration("for")?)?;
    call.query.finish()?;
    let from = match last_event_id(&headers)? {
        Some(place) => TailFrom::Place(place),
        None => from,
    };
    if api.options.draining.is_cancelled() {
        return Err(Problem::new(Code::NotReady, "this node is stopping"));
    }
    let tail = api.broker.tail(TailRequest { topic, from, tag }).await?;
    let (chunks, mut taken) = mpsc::channel(1);
    let teller = Teller { options: api.options.clone(), tail, encoding, left: max_events, chunks };
    tokio::spawn(teller.run(lasting.map(|lasting| Instant::now() + lasting)));
    let body = poll_fn(move |cx| taken.poll_recv(cx).map(|chunk| chunk.map(Ok::<Bytes, Infallible>)));
    Ok(event_stream(Body::from_stream(body)))
}

fn event_stream(body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // nginx would gather events until a buffer is full.
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (StatusCode::OK, headers, body).into_response()
}

fn from_of(text: Option<&str>) -> Result<TailFrom, Problem> {
    match text {
        None | Some("latest") => Ok(TailFrom::Latest),
        Some("earliest") => Ok(TailFrom::Earliest),
        Some(time) => time.parse().map(TailFrom::Time).map_err(|_| {
            Problem::parameter(
                "from",
                "must be latest, earliest or an RFC 3339 time such as 2026-01-31T23:59:59Z",
            )
        }),
    }
}

/// The longest a tail may be asked to last. `serve --max-wait` below its default bounds tails as well.
pub(super) fn longest_ms(options: &Options) -> Millis {
    let max_wait_ms = u64::try_from(options.max_wait.as_millis()).unwrap_or(u64::MAX);
    if max_wait_ms < WAIT_MS_MAX { max_wait_ms } else { TAIL_FOR_MS_MAX }
}

/// How long it lasts; none: as long as the client stays.
fn lasting(options: &Options, asked: Option<Millis>) -> Result<Option<Duration>, Problem> {
    if asked.is_some_and(|asked| asked > TAIL_FOR_MS_MAX) {
        return Err(Problem::parameter(
            "for",
            "must be at most 24h; without it the tail lasts as long as you stay",
        ));
    }
    let longest = longest_ms(options);
    let is_bounded = longest < TAIL_FOR_MS_MAX;
    let lasting = asked.or(is_bounded.then_some(longest)).map(|asked| asked.min(longest));
    Ok(lasting.map(Duration::from_millis))
}

/// `Last-Event-ID`, which wins over `from`: it is what a browser sends by itself when it comes back.
fn last_event_id(headers: &HeaderMap) -> Result<Option<TailPlace>, Problem> {
    let mut values = headers.get_all("last-event-id").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::header("Last-Event-ID", "is given twice"));
    }
    let place = value.to_str().ok().and_then(|text| text.parse().ok());
    place.map(Some).ok_or_else(|| Problem::header("Last-Event-ID", "must be the id of an event of this tail"))
}

/// Why a stream ends.
enum End {
    MaxEvents,
    Time,
    Draining,
    TopicDeleted,
    Fault(BrokerError),
}

impl End {
    fn reason(&self) -> &'static str {
        match self {
            End::MaxEvents => "max_events",
            End::Time => "for",
            End::Draining => "draining",
            End::TopicDeleted => "topic_deleted",
            End::Fault(_) => "fault",
        }
    }
}

/// Reads for one tail and writes its events.
struct Teller {
    options: std::sync::Arc<Options>,
    tail: Tail,
    encoding: BodyEncoding,
    /// Messages it may still write.
    left: u64,
    /// Closed when the client is gone.
    chunks: mpsc::Sender<Bytes>,
}

impl Teller {
    async fn run(mut self, until: Option<Instant>) {
        let start = format!("retry: {RETRY_MS}\nid: {}\n\n", self.tail.place());
        if self.chunks.send(Bytes::from(start)).await.is_err() {
            return;
        }
        let Some(end) = self.tell(until).await else { return };
        if let End::Fault(error) = &end {
            tracing::error!(%error, "a tail ends: what it follows cannot be read");
        }
        let mut out = Vec::new();
        write_end(&mut out, &end, self.tail.place());
        // When nobody takes it any more, nobody misses it.
        let _ = self.chunks.send(Bytes::from(out)).await;
    }

    /// Tells until there is a reason to end; none when the client is gone.
    async fn tell(&mut self, until: Option<Instant>) -> Option<End> {
        let over = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let mut over = std::pin::pin!(over);
        while self.left > 0 {
            let max = usize::try_from(self.left).unwrap_or(usize::MAX);
            let mut next = std::pin::pin!(self.tail.next(max));
            let round = loop {
                tokio::select! {
                    biased;
                    () = self.chunks.closed() => return None,
                    () = self.options.draining.cancelled() => return Some(End::Draining),
                    () = &mut over => return Some(End::Time),
                    round = &mut next => break round,
                    () = sleep(HEARTBEAT) => {
                        // A client that has not even taken the last chunk needs no sign of life.
                        let _ = self.chunks.try_send(Bytes::from_static(b":\n\n"));
                    }
                }
            };
            let events = match round {
                Ok(TailRound::Events(events)) => events,
                Ok(TailRound::TopicDeleted) => return Some(End::TopicDeleted),
                Ok(TailRound::Stopping) => return Some(End::Draining),
                Err(error) => return Some(End::Fault(error)),
            };
            let mut out = Vec::new();
            for event in &events {
                self.left -= u64::from(matches!(event.what, TailWhat::Message(_)));
                write_event(&mut out, event, self.encoding);
            }
            self.chunks.send(Bytes::from(out)).await.ok()?;
        }
        Some(End::MaxEvents)
    }
}

fn write_event(out: &mut Vec<u8>, event: &TailEvent, encoding: BodyEncoding) {
    let mut data = Json::with_capacity(512);
    let name = match &event.what {
        TailWhat::Message(stored) => {
            write_stored(&mut data, stored, encoding);
            None
        }
        TailWhat::Skipped { queue, from, to } => {
            data.open();
            data.number_field("queue", (*queue).into());
            data.number_field("from", *from);
            data.number_field("to", *to);
            data.close();
            Some("skipped")
        }
        TailWhat::Damaged { queue, offset, id } => {
            data.open();
            data.number_field("queue", (*queue).into());
            data.number_field("offset", *offset);
            data.key("id");
            data.plain(id);
            data.close();
            Some("damaged")
        }
    };
    write_fields(out, name, &event.place, &data.finish());
}

fn write_end(out: &mut Vec<u8>, end: &End, place: &TailPlace) {
    let mut data = Json::with_capacity(64);
    data.open();
    data.text_field("reason", end.reason());
    if let End::Fault(error) = end {
        data.text_field("detail", &error.to_string());
    }
    data.close();
    write_fields(out, Some("end"), place, &data.finish());
}

/// The fields of one event. JSON that a producer wrote may have line ends between its parts; each line of it is a field
/// of its own, and the client puts them together again.
fn write_fields(out: &mut Vec<u8>, name: Option<&str>, place: &TailPlace, data: &[u8]) {
    if let Some(name) = name {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"id: ");
    out.extend_from_slice(place.to_string().as_bytes());
    for line in data.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(b"\ndata: ");
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TopicId;

    #[test]
    fn every_line_of_the_data_is_a_field() {
        let place = TailPlace { topic: TopicId(3), offsets: vec![1_000_000, 1_000_001, 1_000_000, 999_999] };
        let mut out = Vec::new();
        write_fields(&mut out, Some("odd"), &place, b"{\"a\":\r\n1}");
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "event: odd\nid: AQMEgIl6AgEBjw\ndata: {\"a\":\ndata: \ndata: 1}\n\n");
    }

    #[test]
    fn max_wait_below_its_default_bounds_a_tail() {
        let with =
            |max_wait: u64| Options { max_wait: Duration::from_millis(max_wait), ..Options::default() };
        let lasts =
            |options: &Options, asked| lasting(options, asked).unwrap().map(|lasting| lasting.as_millis());
        assert_eq!(lasts(&with(60_000), None), None);
        assert_eq!(lasts(&with(60_000), Some(3_600_000)), Some(3_600_000));
        assert_eq!(lasts(&with(200), None), Some(200));
        assert_eq!(lasts(&with(200), Some(100)), Some(100));
        assert_eq!(lasts(&with(200), Some(3_600_000)), Some(200));
        assert!(lasting(&with(200), Some(TAIL_FOR_MS_MAX + 1)).is_err());
    }
}
