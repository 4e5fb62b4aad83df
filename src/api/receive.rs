//! Receiving: lease messages, waiting for the first one.

use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use serde::Deserialize;

use super::event_out::event_of;
use super::extract::{Answer, Call, Caller, client_name, peer, read_json};
use super::groups::filter_of;
use super::json_out::Json;
use super::message_in::{EVENT, is_media_type};
use super::message_out::{BodyEncoding, raw_headers, write_delivered};
use super::options::Api;
use super::problem::{Code, Place, Problem};
use super::query::Query;
use crate::broker::{Broker, BrokerError, DeliveredMessage, Waited};
use crate::machine::{ReceiveRequest, Refusal};
use crate::model::{
    Filter, GroupName, LEASE_MS_MAX, LEASE_MS_MIN, Millis, RECEIVE_BYTES_MAX, RECEIVE_MESSAGES_MAX, Receipt,
    TopicName, WAIT_MS_MAX,
};

/// Messages of one receive when it does not say.
const MESSAGES_DEFAULT: u64 = 16;
/// Body bytes of one receive when it does not say.
const BYTES_DEFAULT: u64 = 1 << 20;
/// How long a receive waits when it does not say.
const WAIT_MS_DEFAULT: Millis = 20_000;

/// The JSON body of a receive; every field may be a query parameter instead.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ReceiveForm {
    max_messages: Option<u64>,
    max_bytes: Option<u64>,
    wait: Option<String>,
    wait_ms: Option<Millis>,
    lease: Option<String>,
    lease_ms: Option<Millis>,
    topic: Option<TopicName>,
    filter: Option<serde_json::Value>,
}

/// A value, and where it was said.
#[derive(Debug)]
struct Said<T> {
    value: T,
    place: Place,
}

/// What is wished, checked.
#[derive(Debug)]
pub(super) struct Wish {
    max_messages: Option<Said<u64>>,
    max_bytes: u64,
    wait_ms: Millis,
    lease_ms: Option<Millis>,
    topic: Option<TopicName>,
    filter: Option<Filter>,
}

/// `POST /v1/groups/{group}/receive`
pub(super) async fn receive(State(api): State<Api>, mut call: Call, request: Request) -> Answer {
    let group: GroupName = call.path("group")?;
    let encoding = call.query.parse_as::<BodyEncoding>("encoding")?.unwrap_or_default();
    let auto_create = call.query.truth("auto_create")?.unwrap_or(true) && api.options.auto_create_topics;
    let (parts, body) = request.into_parts();
    let caller = parts.extensions.get::<Caller>();
    let client = client_name(&parts.headers, caller)?;
    let peer = peer(caller);
    let wish = merge(read_json(&api, body).await?, call.query)?;
    let form = Form::of(&parts.headers);
    let raw = form != Form::Json;
    let max_messages = match wish.max_messages {
        Some(Said { value, place }) if raw && value != 1 => {
            let text = "must be 1 when the raw body or an event is asked for";
            return Err(Problem::at(Code::InvalidRequest, place, text));
        }
        Some(Said { value, .. }) => value,
        None if raw => 1,
        None => MESSAGES_DEFAULT,
    };
    if let Some(filter) = &wish.filter {
        compare_filter(&api.broker, &group, wish.topic.as_ref(), filter)?;
    }
    let _member = api.broker.receiving(&client, peer, &group);
    let request = ReceiveRequest {
        group,
        topic: wish.topic,
        auto_create,
        max_messages: u32::try_from(max_messages).unwrap_or(RECEIVE_MESSAGES_MAX),
        max_bytes: wish.max_bytes,
        lease_ms: wish.lease_ms,
        session: 0,
        client,
        turn: next_turn(),
    };
    let waited = wait(&api, request, wish.wait_ms).await?;
    match form {
        Form::Json => Ok(json_answer(&api.broker, &waited, encoding)),
        Form::Raw => raw_answer(&api.broker, &waited, |delivered| delivered.message.body.clone()),
        Form::Event => {
            let mut response = raw_answer(&api.broker, &waited, event_of)?;
            if response.headers().contains_key(header::CONTENT_TYPE) {
                response.headers_mut().remove(header::CONTENT_ENCODING);
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENT));
            }
            Ok(response)
        }
    }
}

/// Waits for messages, the deadline, or the end of service, whichever comes first. Dropping the broker's future gives
/// back what it might have been leased.
async fn wait(api: &Api, request: ReceiveRequest, wait_ms: Millis) -> Result<Waited, BrokerError> {
    let longest = Duration::from_millis(wait_ms).min(api.options.max_wait);
    tokio::select! {
        biased;
        waited = api.broker.receive(request, longest) => waited,
        () = api.options.draining.cancelled() => Ok(Waited::default()),
    }
}

/// Receives take turns over topics and queues; where they begin need not be exact.
fn next_turn() -> u32 {
    static TURN: AtomicU32 = AtomicU32::new(0);
    TURN.fetch_add(1, Ordering::Relaxed)
}

/// Body and query together; the same field in both is refused, and every range is checked.
pub(super) fn merge(form: ReceiveForm, mut query: Query) -> Result<Wish, Problem> {
    let max_messages = pick("max_messages", form.max_messages, query.number("max_messages")?)?;
    let max_bytes = pick("max_bytes", form.max_bytes, query.number("max_bytes")?)?;
    let wait_ms = duration("wait", (form.wait, form.wait_ms), &mut query)?;
    let lease_ms = duration("lease", (form.lease, form.lease_ms), &mut query)?;
    let topic = pick("topic", form.topic, query.parse_as::<TopicName>("topic")?)?;
    let filter = match (form.filter, query.text("filter")) {
        (Some(_), Some(_)) => return Err(said_twice(in_query("filter"))),
        (Some(value), None) => Some(filter_of(&value, "/filter")?),
        (None, Some(tags)) => {
            let refused = |error| Problem::filter(in_query("filter"), &error);
            Some(Filter::parse_tags(&tags).map_err(refused)?)
        }
        (None, None) => None,
    };
    query.finish()?;
    within(max_messages.as_ref(), 1, RECEIVE_MESSAGES_MAX.into(), "")?;
    within(max_bytes.as_ref(), 1, RECEIVE_BYTES_MAX, "")?;
    within(wait_ms.as_ref(), 0, WAIT_MS_MAX, " milliseconds")?;
    within(lease_ms.as_ref(), LEASE_MS_MIN, LEASE_MS_MAX, " milliseconds")?;
    Ok(Wish {
        max_messages,
        max_bytes: max_bytes.map_or(BYTES_DEFAULT, |said| said.value),
        wait_ms: wait_ms.map_or(WAIT_MS_DEFAULT, |said| said.value),
        lease_ms: lease_ms.map(|said| said.value),
        topic: topic.map(|said| said.value),
        filter,
    })
}

fn in_body(name: &str) -> Place {
    Place::Pointer(format!("/{name}"))
}

fn in_query(name: &str) -> Place {
    Place::Parameter(name.to_owned())
}

fn said_twice(place: Place) -> Problem {
    Problem::at(Code::InvalidRequest, place, "was said already, in the body or the query; say it once")
}

/// A field of the body or the parameter of the same name.
fn pick<T>(name: &str, body: Option<T>, query: Option<T>) -> Result<Option<Said<T>>, Problem> {
    the_one([(body, in_body(name)), (query, in_query(name))])
}

/// `<name>` as a human duration or `<name>_ms` as a number, in the body or the query: one of the four.
fn duration(
    name: &str,
    (body_text, body_ms): (Option<String>, Option<Millis>),
    query: &mut Query,
) -> Result<Option<Said<Millis>>, Problem> {
    let name_ms = format!("{name}_ms");
    let body = body_text.map(|text| {
        crate::model::parse_duration(&text)
            .map_err(|error| Problem::at(Code::InvalidRequest, in_body(name), error))
    });
    the_one([
        (body.transpose()?, in_body(name)),
        (body_ms, in_body(&name_ms)),
        (query.duration(name)?, in_query(name)),
        (query.number(&name_ms)?, in_query(&name_ms)),
    ])
}

/// The only value that was said; a second one is refused where it stands.
fn the_one<T, const N: usize>(places: [(Option<T>, Place); N]) -> Result<Option<Said<T>>, Problem> {
    let mut said = places.into_iter().filter_map(|(value, place)| value.map(|value| Said { value, place }));
    let first = said.next();
    match said.next() {
        Some(second) => Err(said_twice(second.place)),
        None => Ok(first),
    }
}

fn within(said: Option<&Said<u64>>, low: u64, high: u64, unit: &str) -> Result<(), Problem> {
    match said {
        Some(Said { value, place }) if !(low..=high).contains(value) => {
            let text = format!("must be {low} to {high}{unit}");
            Err(Problem::at(Code::InvalidRequest, place.clone(), text))
        }
        _ => Ok(()),
    }
}

/// A filter given with a receive is only compared with the group's own.
pub(super) fn compare_filter(
    broker: &Broker,
    group: &GroupName,
    topic: Option<&TopicName>,
    filter: &Filter,
) -> Result<(), Problem> {
    let shown = |filter: &Filter| format!("{} {}", filter.kind(), filter.expression());
    let differs = |own: &Filter| {
        let (asked, own) = (shown(filter), shown(own));
        Problem::new(
            Code::FilterDiffers,
            format!("the filter asked for is [{asked}], group '{group}' has [{own}]"),
        )
    };
    match broker.group_settings(group) {
        Ok((settings, _)) => {
            let mut own = settings.subscriptions.iter();
            match own.find(|own| topic.is_none_or(|topic| own.topic == *topic) && own.filter != *filter) {
                Some(own) => Err(differs(&own.filter)),
                None => Ok(()),
            }
        }
        // The group would be made with defaults, that is without a filter.
        Err(BrokerError::Refused(Refusal::GroupNotFound(_))) if !filter.is_all() => {
            Err(differs(&Filter::All))
        }
        Err(BrokerError::Refused(Refusal::GroupNotFound(_))) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// How a receive is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Messages as JSON objects.
    Json,
    /// One message as its raw body.
    Raw,
    /// One message as a structured CloudEvent.
    Event,
}

impl Form {
    /// By `Accept`; the first that is known decides.
    fn of(headers: &HeaderMap) -> Form {
        let accept = headers.get(header::ACCEPT).map_or(&b""[..], HeaderValue::as_bytes);
        let known = |range: &[u8]| match range {
            raw if is_media_type(raw, "application/octet-stream") => Some(Form::Raw),
            event if is_media_type(event, EVENT) => Some(Form::Event),
            _ => None,
        };
        accept.split(|byte| *byte == b',').find_map(known).unwrap_or(Form::Json)
    }
}

fn json_answer(broker: &Broker, waited: &Waited, encoding: BodyEncoding) -> Response {
    let bodies: usize = waited.messages.iter().map(|delivered| delivered.message.body.len()).sum();
    let mut out = Json::with_capacity(bodies + bodies / 8 + 512 * waited.messages.len() + 64);
    out.open();
    out.key("messages");
    out.open_list();
    for delivered in &waited.messages {
        write_delivered(&mut out, delivered, encoding);
    }
    out.close_list();
    if waited.paused {
        out.key("paused");
        out.truth(true);
    }
    out.close();
    let mut response = leased_body(broker, &waited.messages, out.finish_line()).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn raw_answer(broker: &Broker, waited: &Waited, body: impl FnOnce(&DeliveredMessage) -> Bytes) -> Answer {
    let Some(delivered) = waited.messages.first() else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let body = leased_body(broker, &waited.messages, body(delivered));
    let mut response = Response::new(body);
    *response.headers_mut() = raw_headers(delivered)?;
    Ok(response)
}

/// An answer that gives its leases back when it is dropped before any of it went to the connection. An answer without a
/// byte (the raw body of an empty message) is dropped unread by the connection although it is sent, so it never gives
/// back; should it be lost, its lease runs out by time.
fn leased_body(broker: &Broker, messages: &[DeliveredMessage], bytes: Bytes) -> Body {
    if messages.is_empty() || bytes.is_empty() {
        return Body::from(bytes);
    }
    let receipts = messages.iter().map(|delivered| delivered.receipt).collect();
    Body::new(LeasedBody { bytes: Some(bytes), receipts, broker: broker.clone() })
}

struct LeasedBody {
    /// Taken when the connection asks for it.
    bytes: Option<Bytes>,
    receipts: Vec<Receipt>,
    broker: Broker,
}

impl hyper::body::Body for LeasedBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.bytes.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(u64::try_from(left).unwrap_or(u64::MAX))
    }
}

impl Drop for LeasedBody {
    fn drop(&mut self) {
        if self.bytes.is_some() {
            self.broker.give_back(std::mem::take(&mut self.receipts));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(body: &str, query: &str) -> Result<Wish, Problem> {
        merge(super::super::json_in::parse(body.as_bytes())?, Query::parse(Some(query))?)
    }

    #[test]
    fn fields_come_from_body_or_query() {
        let wish = merged(r#"{"max_messages":3,"lease_ms":2000}"#, "wait=5s&topic=a&filter=x||y").unwrap();
        let max_messages = wish.max_messages.map(|said| said.value);
        assert_eq!((max_messages, wish.lease_ms, wish.wait_ms), (Some(3), Some(2_000), 5_000));
        assert_eq!(wish.topic.unwrap().as_str(), "a");
        assert_eq!(wish.filter.unwrap().expression(), "x || y");
        let wish = merged("", "").unwrap();
        assert!(wish.max_messages.is_none());
        assert_eq!((wish.max_bytes, wish.wait_ms), (BYTES_DEFAULT, WAIT_MS_DEFAULT));
        assert_eq!(merged(r#"{"wait":"1m"}"#, "lease=1h").unwrap().lease_ms, Some(3_600_000));
    }

    #[test]
    fn twice_or_out_of_range_is_refused() {
        for (body, query) in [
            (r#"{"max_messages":3}"#, "max_messages=3"),
            (r#"{"wait_ms":3}"#, "wait=3s"),
            (r#"{"wait_ms":3,"wait":"3s"}"#, ""),
            ("", "wait=3s&wait_ms=3000"),
            (r#"{"topic":"a"}"#, "topic=a"),
            (r#"{"filter":{"tag":"a"}}"#, "filter=a"),
            (r#"{"max_messages":0}"#, ""),
            ("", "max_messages=1001"),
            ("", "wait=61s"),
            ("", "lease=999ms"),
            ("", "lease=13h"),
            ("", "max_bytes=0"),
            ("", "colour=1"),
            (r#"{"colour":1}"#, ""),
            ("", "topic=a/b"),
        ] {
            assert_eq!(merged(body, query).unwrap_err().code.row().status, 400, "{body} {query}");
        }
        assert_eq!(merged(r#"{"filter":{"sql":"a"}}"#, "").unwrap_err().code.row().status, 422);
        assert_eq!(merged(r#"{"filter":{"sql":"a=1"}}"#, "").unwrap().filter.unwrap().expression(), "a = 1");
        assert_eq!(merged("", "filter=a||").unwrap_err().code.row().status, 422);
    }

    #[test]
    fn what_is_wrong_is_named_where_it_was_said() {
        for (body, query, place) in [
            ("", "wait=61s", in_query("wait")),
            ("", "wait_ms=60001", in_query("wait_ms")),
            (r#"{"wait":"61s"}"#, "", in_body("wait")),
            (r#"{"max_messages":0}"#, "", in_body("max_messages")),
            ("", "max_messages=0", in_query("max_messages")),
            ("", "wait=1s&wait_ms=1000", in_query("wait_ms")),
            (r#"{"lease":"1s","lease_ms":1000}"#, "", in_body("lease_ms")),
            (r#"{"lease":"1s"}"#, "lease=1s", in_query("lease")),
        ] {
            assert_eq!(merged(body, query).unwrap_err().errors[0].place, place, "{body} {query}");
        }
    }

    #[test]
    fn raw_bodies_and_events_are_asked_for_by_accept() {
        let form = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            Form::of(&headers)
        };
        assert_eq!(form("application/octet-stream"), Form::Raw);
        assert_eq!(form("text/plain, Application/Octet-Stream;q=0.5"), Form::Raw);
        assert_eq!(form("application/cloudevents+json"), Form::Event);
        assert_eq!((form("*/*"), form("application/json")), (Form::Json, Form::Json));
        assert_eq!(Form::of(&HeaderMap::new()), Form::Json);
    }
}
