//! The pages themselves: from a request to a template.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::one::{Asked, MessageFacts};
use super::payload::{PayloadForm, Piece};
use super::saved::{SavedSearch, saved_in, with, without};
use super::search::{Found, SUGGESTED_MAX, SearchError, SearchForm, search};
use super::send::SendForm;
use crate::broker::{Broker, BrokerError, TraceCursor};
use crate::dashboard::desk::Desk;
use crate::dashboard::fields::{Fields, address};
use crate::dashboard::form::Form;
use crate::dashboard::format::filters;
use crate::dashboard::frame::{Frame, Section};
use crate::dashboard::named::Named;
use crate::dashboard::visible::visible;
use crate::dashboard::visit::{FormError, Visit};
use crate::dashboard::words::Messages;
use crate::model::{GroupName, MessageId, TopicName};

#[derive(Template)]
#[template(path = "messages.html")]
struct SearchTemplate<'a> {
    frame: Frame,
    words: &'static Messages,
    form: &'a SearchForm,
    topics: &'a [TopicName],
    saved: &'a [SavedSearch],
    found: Option<&'a Found>,
    /// The address of this very search.
    here: String,
    tail: String,
}

#[derive(Template)]
#[template(path = "tail.html")]
struct TailTemplate<'a> {
    frame: Frame,
    words: &'static Messages,
    topic: &'a TopicName,
    tag: &'a str,
    source: String,
    search: String,
}

#[derive(Template)]
#[template(path = "message.html")]
struct MessageTemplate<'a> {
    frame: Frame,
    words: &'static Messages,
    page: &'a MessageFacts,
    here: String,
}

impl MessageTemplate<'_> {
    /// A name of a stranger, for the places of a text.
    fn seen(&self, name: &str) -> String {
        visible(name).into_owned()
    }
}

#[derive(Template)]
#[template(path = "send.html")]
struct SendTemplate<'a> {
    frame: Frame,
    words: &'static Messages,
    form: &'a SendForm,
    topics: &'a [TopicName],
    /// The dead letter that it is a copy of: its group and id.
    letter: Option<&'a (GroupName, MessageId)>,
}

/// `GET /messages`
pub(super) async fn index(State(desk): State<Desk>, mut visit: Visit, headers: HeaderMap) -> Response {
    let form = SearchForm::of(&visit.fields);
    let (own, fields) = (form.clone(), visit.fields.clone());
    let looked = desk.broker.look(move |broker| Ok((search(broker, &own, &fields), suggested(broker)))).await;
    let (found, topics) = match looked {
        Ok(looked) => looked,
        Err(error) => return visit.failed(&desk, &error),
    };
    let found = found.unwrap_or_else(|error| {
        let error = match error {
            SearchError::Field(error) => error.into(),
            SearchError::Broker(error) => FormError::from(error),
        };
        let fields = visit.fields.clone();
        visit = visit.clone().again("/messages", fields, &error);
        None
    });
    visit.page(&SearchTemplate {
        frame: visit.frame(&desk, Section::Messages),
        words: Messages::of(visit.lang),
        here: form.address(None),
        tail: address(
            "/messages/tail",
            [("topic", Some(form.topic.as_str())), ("tag", Some(form.tag.as_str()))],
        ),
        form: &form,
        topics: &topics,
        saved: &saved_of(&headers),
        found: found.as_ref(),
    })
}

/// `POST /messages/saved`: keeps a search under a name, or forgets one.
pub(super) async fn save(State(desk): State<Desk>, form: Form) -> Response {
    let Form { fields, headers, visit } = form;
    let saved = saved_of(&headers);
    let search = SearchForm::of(&fields).address(None);
    let cookie = match (fields.one("forget"), fields.one("name")) {
        (Some(name), _) => without(&saved, name),
        (None, Some(name)) => match with(&saved, name, &search) {
            Some(cookie) => cookie,
            None => {
                let error = FormError::new(Messages::of(visit.lang).search_too_long);
                return index(State(desk), visit.again("/messages", fields, &error), headers).await;
            }
        },
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
pub(super) async fn tail(State(desk): State<Desk>, visit: Visit) -> Response {
    let topic = match visit.fields.parsed::<TopicName>("topic") {
        Ok(Some(topic)) => topic,
        Ok(None) => return Redirect::to("/messages").into_response(),
        Err(error) => return visit.unread(&desk, error),
    };
    let tag = visit.fields.one("tag").unwrap_or_default();
    visit.page(&TailTemplate {
        frame: visit.frame(&desk, Section::Messages),
        words: Messages::of(visit.lang),
        source: address(&format!("/v1/topics/{topic}/tail"), [("tag", Some(tag))]),
        search: address("/messages", [("topic", Some(topic.as_str())), ("tag", Some(tag))]),
        topic: &topic,
        tag,
    })
}

/// `GET /messages/{id}`
pub(super) async fn show(
    State(desk): State<Desk>,
    Named(id): Named<MessageId>,
    visit: Visit,
    headers: HeaderMap,
) -> Response {
    let cursor = match visit.fields.parsed::<TraceCursor>("cursor") {
        Ok(cursor) => cursor.filter(|cursor| cursor.is_of(id)),
        Err(error) => return visit.unread(&desk, error),
    };
    let origin = format!("http://{}", host_of(&headers).unwrap_or_else(|| desk.about.address()));
    let form = visit.fields.one("as").and_then(PayloadForm::named);
    let wanted = Asked { id, form, cursor, origin };
    match desk.broker.look(move |broker| MessageFacts::gather(broker, wanted)).await {
        Ok(facts) => visit.page(&MessageTemplate {
            frame: visit.frame(&desk, Section::Messages),
            words: Messages::of(visit.lang),
            page: &facts,
            here: format!("/messages/{id}"),
        }),
        Err(error) => visit.failed(&desk, &error),
    }
}

/// How the browser calls this broker, if that is nothing but a host and a port.
fn host_of(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let is_plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-[]_".contains(&byte));
    (is_plain && !host.is_empty()).then_some(host)
}

/// `GET /send`: an empty form; with `from`, filled in with a message; with `group` and `letter`, with a dead letter.
pub(super) async fn send_form(State(desk): State<Desk>, visit: Visit) -> Response {
    let fields = visit.fields.clone();
    match desk.broker.look(move |broker| Ok((filled_in(broker, &fields)?, suggested(broker)))).await {
        Ok((Some((form, letter)), topics)) => sending(&desk, &visit, (&form, letter.as_ref()), &topics),
        Ok((None, _)) => {
            let text = Messages::of(visit.lang).too_large_to_edit;
            visit.oops(&desk, StatusCode::PAYLOAD_TOO_LARGE, text)
        }
        Err(error) => visit.failed(&desk, &error),
    }
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
    let Form { fields, visit, .. } = sent;
    let form = SendForm::of(&fields);
    let letter = fields.parsed::<GroupName>("group").ok().flatten();
    let letter = letter.zip(fields.parsed::<MessageId>("letter").ok().flatten());
    let error = match form.read() {
        Err(error) => error.into(),
        Ok((topic, new)) => match produced(&desk, topic, new).await {
            Ok(id) => return visit.lead_on(&format!("/messages/{id}")),
            Err(error) => FormError::from(error),
        },
    };
    let topics = suggested(&desk.broker);
    sending(&desk, &visit.again("/send", fields, &error), (&form, letter.as_ref()), &topics)
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
    visit: &Visit,
    (form, letter): (&SendForm, Option<&(GroupName, MessageId)>),
    topics: &[TopicName],
) -> Response {
    let (frame, words) = (visit.frame(desk, Section::Messages), Messages::of(visit.lang));
    visit.page(&SendTemplate { frame, words, form, topics, letter })
}

/// Topics to choose from.
fn suggested(broker: &Broker) -> Vec<TopicName> {
    broker.topic_names(SUGGESTED_MAX)
}
