//! The pages themselves: from a request to a template.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::one::{Asked as AskedOf, MessageFacts};
use super::payload::{PayloadForm, Piece};
use super::saved::{SavedSearch, saved_in, with, without};
use super::search::{Found, SUGGESTED_MAX, SearchError, SearchForm, search};
use super::send::SendForm;
use crate::broker::{Broker, BrokerError, Standing, TraceCursor};
use crate::dashboard::assets::{ASSETS, Assets};
use crate::dashboard::desk::Desk;
use crate::dashboard::fields::{Asked, FieldError, Fields, address};
use crate::dashboard::form::Form;
use crate::dashboard::format::filters;
use crate::dashboard::{oops, page};
use crate::model::{GroupName, MessageId, TopicName};

#[derive(Template)]
#[template(path = "messages.html")]
struct SearchTemplate<'a> {
    assets: &'a Assets,
    token: &'a str,
    form: &'a SearchForm,
    topics: &'a [TopicName],
    saved: &'a [SavedSearch],
    found: Option<&'a Found>,
    error: Option<&'a FieldError>,
    /// The address of this very search.
    here: String,
    tail: String,
}

#[derive(Template)]
#[template(path = "tail.html")]
struct TailTemplate<'a> {
    assets: &'a Assets,
    topic: &'a TopicName,
    tag: &'a str,
    source: String,
    search: String,
}

#[derive(Template)]
#[template(path = "message.html")]
struct MessageTemplate<'a> {
    assets: &'a Assets,
    page: &'a MessageFacts,
    here: String,
    sent: bool,
}

#[derive(Template)]
#[template(path = "send.html")]
struct SendTemplate<'a> {
    assets: &'a Assets,
    token: &'a str,
    form: &'a SendForm,
    topics: &'a [TopicName],
    error: Option<&'a FieldError>,
    /// The dead letter that it is a copy of: its group and id.
    letter: Option<&'a (GroupName, MessageId)>,
}

/// `GET /messages`
pub(super) async fn index(State(desk): State<Desk>, Asked(asked): Asked, headers: HeaderMap) -> Response {
    let form = SearchForm::of(&asked);
    let (own, fields) = (form.clone(), asked);
    let looked = desk.broker.look(move |broker| Ok((search(broker, &own, &fields), suggested(broker)))).await;
    let (found, topics) = match looked {
        Ok(looked) => looked,
        Err(error) => return oops::failed(&error),
    };
    let (found, error) = match found {
        Ok(found) => (found, None),
        Err(SearchError::Field(error)) => (None, Some(error)),
        Err(SearchError::Broker(error)) => match error {
            BrokerError::Refused(refusal) => (None, Some(FieldError::new("topic", refusal.to_string()))),
            other => return oops::failed(&other),
        },
    };
    let saved = saved_of(&headers);
    let token = desk.csrf.token(&headers);
    let tail =
        address("/messages/tail", [("topic", Some(form.topic.as_str())), ("tag", Some(form.tag.as_str()))]);
    let template = SearchTemplate {
        assets: &ASSETS,
        token: &token.token,
        here: form.address(None),
        form: &form,
        topics: &topics,
        saved: &saved,
        found: found.as_ref(),
        error: error.as_ref(),
        tail,
    };
    let answer = token.with(page::respond(page::render(&template)));
    if error.is_some() { (StatusCode::UNPROCESSABLE_ENTITY, answer).into_response() } else { answer }
}

/// `POST /messages/saved`: keeps a search under a name, or forgets one.
pub(super) async fn save(form: Form) -> Response {
    let fields = &form.fields;
    let saved = saved_of(&form.headers);
    let search = SearchForm::of(fields).address(None);
    let cookie = match (fields.one("forget"), fields.one("name")) {
        (Some(name), _) => without(&saved, name),
        (None, Some(name)) => with(&saved, name, &search),
        (None, None) => return Redirect::to(&search).into_response(),
    };
    let mut answer = Redirect::to(&search).into_response();
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
    answer
}

fn saved_of(headers: &HeaderMap) -> Vec<SavedSearch> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    saved_in(&lines.collect::<Vec<_>>().join(";"))
}

/// `GET /messages/tail`
pub(super) async fn tail(Asked(asked): Asked) -> Response {
    let topic = match asked.parsed::<TopicName>("topic") {
        Ok(Some(topic)) => topic,
        Ok(None) => return Redirect::to("/messages").into_response(),
        Err(error) => return oops::refused(StatusCode::BAD_REQUEST, &error.text),
    };
    let tag = asked.one("tag").unwrap_or_default();
    let template = TailTemplate {
        assets: &ASSETS,
        source: address(&format!("/v1/topics/{topic}/tail"), [("tag", Some(tag))]),
        search: address("/messages", [("topic", Some(topic.as_str())), ("tag", Some(tag))]),
        topic: &topic,
        tag,
    };
    page::respond(page::render(&template))
}

/// `GET /messages/{id}`
pub(super) async fn show(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    Asked(asked): Asked,
    headers: HeaderMap,
) -> Response {
    let Ok(id) = id.parse::<MessageId>() else {
        return oops::refused(StatusCode::NOT_FOUND, "This is not the id of a message.");
    };
    let cursor = match asked.parsed::<TraceCursor>("cursor") {
        Ok(cursor) => cursor.filter(|cursor| cursor.is_of(id)),
        Err(error) => return oops::refused(StatusCode::BAD_REQUEST, &error.text),
    };
    let origin = format!("http://{}", host_of(&headers).unwrap_or_else(|| desk.about.address()));
    let form = asked.one("as").and_then(PayloadForm::named);
    let wanted = AskedOf { id, form, cursor, origin };
    match desk.broker.look(move |broker| MessageFacts::gather(broker, wanted)).await {
        Ok(facts) => {
            let (here, sent) = (format!("/messages/{id}"), asked.one("sent").is_some());
            page::respond(page::render(&MessageTemplate { assets: &ASSETS, page: &facts, here, sent }))
        }
        Err(error) => oops::failed(&error),
    }
}

/// How the browser calls this broker, if that is nothing but a host and a port.
fn host_of(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let is_plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-[]_".contains(&byte));
    (is_plain && !host.is_empty()).then_some(host)
}

/// `GET /send`: an empty form; with `from`, filled in with a message; with `group` and `letter`, with a dead letter.
pub(super) async fn send_form(State(desk): State<Desk>, Asked(asked): Asked, headers: HeaderMap) -> Response {
    let looked = desk.broker.look(move |broker| Ok((filled_in(broker, &asked)?, suggested(broker)))).await;
    let (filled, topics) = match looked {
        Ok(looked) => looked,
        Err(error) => return oops::failed(&error),
    };
    let Some((form, letter)) = filled else {
        let text =
            "The body of this message is too large to be edited on a page. `whimbrel produce` sends files.";
        return oops::refused(StatusCode::PAYLOAD_TOO_LARGE, text);
    };
    sending(&desk, &headers, (&form, letter.as_ref()), (&topics, None))
}

type Filled = Option<(SendForm, Option<(GroupName, MessageId)>)>;

fn filled_in(broker: &Broker, asked: &Fields) -> Result<Filled, BrokerError> {
    let id = |name| asked.one(name).and_then(|id| id.parse::<MessageId>().ok());
    let group = asked.one("group").and_then(|group| group.parse::<GroupName>().ok());
    if let (Some(group), Some(letter)) = (group, id("letter")) {
        let (_, stored) = broker.dead_letter(&group, letter)?;
        return Ok(SendForm::again(&stored.topic, &stored.message).map(|form| (form, Some((group, letter)))));
    }
    if let Some(id) = id("from") {
        let stored = broker.message(id)?;
        return Ok(SendForm::again(&stored.topic, &stored.message).map(|form| (form, None)));
    }
    Ok(Some((SendForm::of(asked), None)))
}

/// `POST /send`
pub(super) async fn send(State(desk): State<Desk>, sent: Form) -> Response {
    let form = SendForm::of(&sent.fields);
    let letter = sent.fields.parsed::<GroupName>("group").ok().flatten();
    let letter = letter.zip(sent.fields.parsed::<MessageId>("letter").ok().flatten());
    let wrong = match form.read() {
        Err(error) => error,
        Ok((topic, new)) => match produced(&desk, topic, new).await {
            Ok(id) => return Redirect::to(&format!("/messages/{id}?sent=1")).into_response(),
            Err(BrokerError::Refused(refusal)) => FieldError::new("topic", refusal.to_string()),
            Err(error) => return oops::failed(&error),
        },
    };
    let topics = suggested(&desk.broker);
    let answer = sending(&desk, &sent.headers, (&form, letter.as_ref()), (&topics, Some(&wrong)));
    (StatusCode::UNPROCESSABLE_ENTITY, answer).into_response()
}

/// A topic that is not there is not made: a slip of the pen would be a topic that nobody reads.
async fn produced(
    desk: &Desk,
    topic: TopicName,
    new: crate::machine::NewMessage,
) -> Result<MessageId, BrokerError> {
    let mut answers = desk.broker.produce(topic, false, vec![new]).await?;
    let answer = answers.pop().ok_or_else(|| BrokerError::Fault("no answer".to_owned()))?;
    Ok(answer.map_err(BrokerError::Refused)?.id)
}

fn sending(
    desk: &Desk,
    headers: &HeaderMap,
    (form, letter): (&SendForm, Option<&(GroupName, MessageId)>),
    (topics, error): (&[TopicName], Option<&FieldError>),
) -> Response {
    let token = desk.csrf.token(headers);
    let template = SendTemplate { assets: &ASSETS, token: &token.token, form, topics, error, letter };
    token.with(page::respond(page::render(&template)))
}

/// Topics to choose from.
fn suggested(broker: &Broker) -> Vec<TopicName> {
    broker.topic_names(SUGGESTED_MAX)
}
