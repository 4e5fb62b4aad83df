//! Producing: one message as a raw body, or many as JSON or NDJSON.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt::Write as _;

use super::extract::{Answer, Call, FreeCall, check_client, json, read_body};
use super::json_in;
use super::json_out::Json;
use super::message_in::{EVENT, EVENTS, MessageForm, from_headers, header_of, is_media_type};
use super::options::Api;
use super::problem::{Code, Place, Problem};
use super::query::Query;
use super::terms;
use crate::broker::{BrokerError, ProduceAnswer, ProducedMessage, ProducedOn};
use crate::machine::{NewMessage, ProduceRequest, Refusal, Terms};
use crate::model::{BATCH_BYTES_MAX, BATCH_MESSAGES_MAX, BODY_BYTES_MAX, TopicName, objects};

/// `POST /v1/topics/{topic}/messages`: the body is the payload.
pub(super) async fn one(State(api): State<Api>, FreeCall(call): FreeCall, request: Request) -> Answer {
    accept(&api, call.path("topic")?, request).await
}

/// The topic, when the request is to produce one message and its path says so without any escape.
pub(super) fn plainly_to(request: &Request) -> Option<TopicName> {
    if request.method() != Method::POST {
        return None;
    }
    request.uri().path().strip_prefix("/v1/topics/")?.strip_suffix("/messages")?.parse().ok()
}

/// Produces the message that `request` is. The hot path: one answer buffer, three headers.
pub(super) async fn accept(api: &Api, topic: TopicName, request: Request) -> Answer {
    let mut query = Query::parse(request.uri().query())?;
    let auto_create = query.truth("auto_create")?.unwrap_or(true) && api.options.auto_create_topics;
    query.finish()?;
    let (parts, body) = request.into_parts();
    check_client(&parts.headers)?;
    let key = terms::key_of(&parts.headers)?;
    let body = read_body(api, body, BODY_BYTES_MAX).await?;
    let message = from_headers(&parts.headers, body)?;
    if let Some(key) = key {
        return once(api, topic, auto_create, (message, &key)).await;
    }
    let answers = api.broker.produce(topic.clone(), auto_create, vec![message]).await?;
    let produced = answer_of_one(answers)?;
    Ok(created(&topic, &produced))
}

/// What became of the only message of a request; a refusal names the header that is to blame.
fn answer_of_one(answers: Vec<ProduceAnswer>) -> Result<ProducedMessage, Problem> {
    match answers.into_iter().next() {
        Some(Ok(produced)) => Ok(produced),
        Some(Err(refusal)) => Err(Problem::of_message(&refusal, |field| {
            let header = header_of(field).map_or_else(|| field.to_owned(), str::to_owned);
            Place::Header(header)
        })),
        None => Err(Problem::new(Code::Fault, "the broker gave no answer for the message")),
    }
}

/// As [`one`], under a key.
async fn once(api: &Api, topic: TopicName, auto_create: bool, (message, key): (NewMessage, &str)) -> Answer {
    let terms = Terms { key: Some(terms::of_one(key, &topic, &message)), ..Terms::default() };
    let request = ProduceRequest { topic: topic.clone(), auto_create, messages: vec![message] };
    let ProducedOn { answers, replayed } = api.broker.produce_on(request, terms).await?;
    let produced = answer_of_one(answers)?;
    Ok(marked(created(&topic, &produced), replayed))
}

/// Says of an answer that it was given before, when it was.
fn marked(mut response: Response, replayed: bool) -> Response {
    if replayed {
        let (name, value) = terms::REPLAYED;
        response.headers_mut().insert(name, value);
    }
    response
}

/// 201 with `Location` and the message's place, cut from one buffer.
fn created(topic: &TopicName, produced: &ProducedMessage) -> Response {
    let mut text = BytesMut::with_capacity(384);
    // Writing to memory cannot fail.
    let _ = write!(text, "/v1/messages/{}", produced.id);
    let location = text.split().freeze();
    let mut out = Json::with_capacity(192);
    write_produced(&mut out, topic, produced);
    let mut response = Response::new(Body::from(out.finish_line()));
    *response.status_mut() = StatusCode::CREATED;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(location) = HeaderValue::from_maybe_shared(location) {
        headers.insert(header::LOCATION, location);
    }
    response
}

/// Writes `{id, topic, queue, offset, state}`; a scheduled message also says when it is due.
pub(crate) fn write_produced(out: &mut Json, topic: &TopicName, produced: &ProducedMessage) {
    out.open();
    out.key("id");
    out.plain(produced.id);
    out.key("topic");
    out.name(topic.as_str());
    out.number_field("queue", produced.queue.into());
    out.key("offset");
    out.maybe_number(produced.offset);
    out.key("state");
    if let Some(due) = produced.due {
        out.name("scheduled");
        out.key("deliver_at");
        out.plain(due);
    } else {
        out.name("ready");
    }
    out.close();
}

/// `POST /v1/topics/{topic}/messages/batch`.
pub(super) async fn batch(State(api): State<Api>, mut call: Call, headers: HeaderMap, body: Body) -> Answer {
    let topic: TopicName = call.path("topic")?;
    let auto_create = call.query.truth("auto_create")?.unwrap_or(true) && api.options.auto_create_topics;
    let atomic = call.query.truth("atomic")?.unwrap_or(false);
    call.query.finish()?;
    let form = BatchForm::of(&headers)?;
    let key = terms::key_of(&headers)?;
    let body = read_body(&api, body, BATCH_BYTES_MAX).await?;
    let key = key.map(|key| terms::of_batch(&key, &topic, (form.name(), atomic), &body));
    let built = match form {
        BatchForm::Json => from_json(&body)?,
        BatchForm::Lines => from_lines(&body)?,
        BatchForm::Events => from_events(&body)?,
    };
    drop(body);
    if built.len() > BATCH_MESSAGES_MAX {
        return Err(Problem::too_large("messages in one batch", BATCH_MESSAGES_MAX));
    }
    let terms = Terms { atomic, key, ..Terms::default() };
    produce_built(&api, (&topic, auto_create), form, (built, terms)).await
}

/// Produces the messages that could be built, and puts every outcome back in input order. An atomic request fails as a
/// whole when one could not be.
async fn produce_built(
    api: &Api,
    (topic, auto_create): (&TopicName, bool),
    form: BatchForm,
    (built, terms): (Vec<Built>, Terms),
) -> Answer {
    let mut messages = Vec::with_capacity(built.len());
    let outcomes: Vec<(usize, Option<Problem>)> = built
        .into_iter()
        .map(|Built { at, message }| match message {
            Ok(message) => {
                messages.push(message);
                (at, None)
            }
            Err(problem) => (at, Some(problem.within(&form.pointer(at)))),
        })
        .collect();
    if terms.atomic && messages.len() < outcomes.len() {
        let of = outcomes.len();
        let problems = outcomes.into_iter().filter_map(|(_, problem)| problem).collect();
        return Err(terms::none_stored(problems, (of - messages.len(), of)));
    }
    let ProducedOn { answers, replayed } = if messages.is_empty() {
        ProducedOn { answers: Vec::new(), replayed: false }
    } else {
        let request = ProduceRequest { topic: topic.clone(), auto_create, messages };
        api.broker.produce_on(request, terms).await.map_err(|error| match error {
            BrokerError::Refused(Refusal::NoneStored { named, count, of }) => {
                let at = |number: usize| outcomes.get(number).map_or(number, |(at, _)| *at);
                terms::none_stored(terms::placed(&named, |number| form.pointer(at(number))), (count, of))
            }
            other => other.into(),
        })?
    };
    let mut answers = answers.into_iter();
    let mut failed = 0;
    let mut out = Json::with_capacity(128 * outcomes.len() + 64);
    out.open();
    out.key("results");
    out.open_list();
    for (at, outcome) in outcomes {
        let problem = match outcome {
            Some(problem) => problem,
            None => match answers.next() {
                Some(Ok(produced)) => {
                    write_produced(&mut out, topic, &produced);
                    continue;
                }
                Some(Err(refusal)) => {
                    let at = form.pointer(at);
                    Problem::of_message(&refusal, |field| Place::Pointer(format!("{at}/{field}")))
                }
                None => Problem::new(Code::Fault, "the broker gave no answer for this message"),
            },
        };
        failed += 1;
        problem.write(&mut out, None);
    }
    out.close_list();
    out.number_field("failed", failed);
    out.close();
    Ok(marked(json(StatusCode::OK, out), replayed))
}

/// How a batch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BatchForm {
    /// `{"messages":[…]}`
    Json,
    /// One message object a line.
    Lines,
    /// A CloudEvents batch.
    Events,
}

impl BatchForm {
    /// The JSON pointer of message `at`.
    fn pointer(self, at: usize) -> String {
        match self {
            BatchForm::Json => format!("/messages/{at}"),
            BatchForm::Lines | BatchForm::Events => format!("/{at}"),
        }
    }

    /// By Content-Type alone: NDJSON and events say so, everything else is taken for JSON.
    fn of(headers: &HeaderMap) -> Result<BatchForm, Problem> {
        let content_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        match content_type {
            lines if is_media_type(lines, "application/x-ndjson") => Ok(BatchForm::Lines),
            events if is_media_type(events, EVENTS) => Ok(BatchForm::Events),
            event if is_media_type(event, EVENT) => {
                let text = "one event is produced at …/messages; a batch of them is application/cloudevents-batch+json";
                Err(Problem::new(Code::UnsupportedMediaType, text))
            }
            _ => Ok(BatchForm::Json),
        }
    }

    fn name(self) -> &'static str {
        match self {
            BatchForm::Json => "json",
            BatchForm::Lines => "lines",
            BatchForm::Events => "events",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    #[serde(borrow, deserialize_with = "objects")]
    messages: Vec<MessageForm<'a>>,
}

/// One message of a batch, and which one it is.
#[derive(Debug)]
pub(super) struct Built {
    /// Its number in the list, or its line; from 0.
    pub(super) at: usize,
    pub(super) message: Result<NewMessage, Problem>,
}

/// Messages that are well-formed but over a limit fail one by one; JSON that is not well-formed fails as a whole.
pub(super) fn from_json(body: &Bytes) -> Result<Vec<Built>, Problem> {
    let batch: Batch<'_> = json_in::parse_borrowed(body)?;
    Ok(batch.messages.into_iter().enumerate().map(|(at, form)| Built { at, message: form.build() }).collect())
}

/// As [`from_json`], one object a line; blank lines are skipped. Places are given as `/line` counted from 0.
pub(super) fn from_lines(body: &Bytes) -> Result<Vec<Built>, Problem> {
    let mut built = Vec::new();
    for (at, line) in lines_of(body).enumerate().filter(|(_, line)| !line.trim_ascii().is_empty()) {
        if built.len() == BATCH_MESSAGES_MAX {
            return Err(Problem::too_large("messages in one batch", BATCH_MESSAGES_MAX));
        }
        let form: MessageForm<'_> =
            json_in::parse_borrowed(line).map_err(|problem| problem.within(&BatchForm::Lines.pointer(at)))?;
        built.push(Built { at, message: form.build() });
    }
    Ok(built)
}

/// The lines of a body, with what stands behind the last line end.
fn lines_of(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = memchr::memchr_iter(b'\n', body).chain(std::iter::once(body.len()));
    let mut start = 0;
    ends.map(move |end| body.get(std::mem::replace(&mut start, end + 1)..end).unwrap_or_default())
}

/// A CloudEvents batch (CloudEvents JSON format, section 4): every event is a message, its text the body.
pub(super) fn from_events(body: &Bytes) -> Result<Vec<Built>, Problem> {
    let events: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| {
        let text = format!("a JSON list of events is expected here: {error}");
        Problem::at(Code::InvalidJson, Place::Pointer(String::new()), text)
    })?;
    let built = events.into_iter().enumerate().map(|(at, event)| {
        let form = MessageForm::of_event(event);
        Built { at, message: form.and_then(MessageForm::build) }
    });
    Ok(built.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_order_and_name_the_bad_one() {
        let body = Bytes::from_static(br#"{"messages":[{"body":"a"},{"body":"b","tag":"x|y"},{"body":3}]}"#);
        let built = from_json(&body).unwrap();
        assert_eq!(built.len(), 3);
        assert_eq!(&built[0].message.as_ref().unwrap().message.body[..], b"a");
        let place = &built[1].message.as_ref().unwrap_err().errors[0].place;
        assert_eq!((built[1].at, place), (1, &Place::Pointer("/tag".into())));
        assert_eq!(BatchForm::Json.pointer(1), "/messages/1");
        assert_eq!(&built[2].message.as_ref().unwrap().message.body[..], b"3");
        let body = Bytes::from_static(br#"{"messages":[{"body":"a"},{"body":"b","colour":1}]}"#);
        let problem = from_json(&body).unwrap_err();
        assert_eq!(problem.errors[0].place, Place::Pointer("/messages/1/colour".into()));
        assert!(from_json(&Bytes::from_static(b"{}")).is_err());
    }

    #[test]
    fn lines_are_messages() {
        let body = Bytes::from_static(
            b"{\"body\":\"a\"}\r\n\n{\"body\":{\"b\":1}}\n{\"body\":\"\",\"keys\":[\"\"]}",
        );
        let built = from_lines(&body).unwrap();
        assert_eq!(built.len(), 3);
        assert_eq!(&built[1].message.as_ref().unwrap().message.body[..], br#"{"b":1}"#);
        let place = &built[2].message.as_ref().unwrap_err().errors[0].place;
        assert_eq!((built[2].at, place), (3, &Place::Pointer("/keys/0".into())));
        assert_eq!(BatchForm::Lines.pointer(3), "/3");
        let problem = from_lines(&Bytes::from_static(b"{\"body\":\"a\"}\n{\"bod")).unwrap_err();
        assert!(problem.detail.starts_with("/1/bod: the text ends"), "{}", problem.detail);
        let lines = |text: &'static [u8]| lines_of(text).collect::<Vec<_>>();
        assert_eq!(lines(b""), [b""]);
        assert_eq!(lines(b"\n"), [b"", b""]);
        assert_eq!(lines(b"a\n\nbc\n"), [&b"a"[..], b"", b"bc", b""]);
        let many = Bytes::from(b"{\"body\":1}\n".repeat(BATCH_MESSAGES_MAX + 1));
        assert_eq!(from_lines(&many).unwrap_err().code, Code::TooLarge);
    }

    #[test]
    fn the_form_follows_the_content_type() {
        let of = |content_type: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            BatchForm::of(&headers).map_err(|problem| problem.code)
        };
        assert_eq!(of("application/x-ndjson; charset=utf-8"), Ok(BatchForm::Lines));
        assert_eq!(of("application/x-www-form-urlencoded"), Ok(BatchForm::Json));
        assert_eq!(of("application/cloudevents-batch+json"), Ok(BatchForm::Events));
        assert_eq!(of("application/cloudevents+json"), Err(Code::UnsupportedMediaType));
    }

    #[test]
    fn every_event_of_a_batch_is_a_message_byte_for_byte() {
        let body =
            Bytes::from_static(br#"[{"specversion":"1.0", "id":"1","source":"/s","type":"t"}, 7, {}]"#);
        let built = from_events(&body).unwrap();
        let first = built[0].message.as_ref().unwrap();
        assert_eq!(&first.message.body[..], br#"{"specversion":"1.0", "id":"1","source":"/s","type":"t"}"#);
        assert_eq!(&*first.message.attributes.properties["ce_id"], "1");
        assert_eq!(first.message.attributes.content_type.as_deref(), Some(EVENT));
        assert_eq!(built[1].message.as_ref().unwrap_err().code, Code::InvalidRequest);
        assert!(built[2].message.is_ok(), "recognising nothing is no refusal");
        assert!(from_events(&Bytes::from_static(b"{}")).is_err());
    }
}
