//! `/scheduled`: messages that wait for their time, over all topics or of one, and taking one back.

use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use super::assets::{ASSETS, Assets};
use super::desk::Desk;
use super::fields::{Asked, FieldError, address};
use super::form::Form;
use super::format::filters;
use super::messages::MessageRow;
use super::{oops, page};
use crate::broker::{Broker, BrokerError, SchedulePlace, Standing, StoredMessage};
use crate::model::{MessageId, TopicName};

/// Messages of one page.
const ROWS: usize = 50;
/// Topics that are listed.
const TOPICS: usize = 200;

pub(super) fn routes() -> Router<Desk> {
    Router::new().route("/scheduled", get(list)).route("/scheduled/{id}/cancel", get(ask).post(cancel))
}

#[derive(Template)]
#[template(path = "scheduled.html")]
struct ScheduledTemplate<'a> {
    assets: &'a Assets,
    /// Only of this topic, if it is filled in.
    topic: &'a str,
    rows: &'a [Row],
    /// Topics that have any, with how many.
    topics: &'a [(TopicName, u64)],
    more_topics: bool,
    next: Option<String>,
    cancelled: bool,
}

#[derive(Template)]
#[template(path = "scheduled_cancel.html")]
struct CancelTemplate<'a> {
    assets: &'a Assets,
    token: &'a str,
    row: &'a Row,
    error: Option<&'a FieldError>,
}

/// A scheduled message, ready to be shown.
struct Row {
    topic: TopicName,
    message: MessageRow,
}

impl Row {
    fn of(stored: &StoredMessage) -> Row {
        Row { topic: stored.topic.clone(), message: MessageRow::of(stored) }
    }
}

/// What a page shows.
struct Gathered {
    rows: Vec<Row>,
    topics: Vec<(TopicName, u64)>,
    more_topics: bool,
    next: Option<String>,
}

fn gather(
    broker: &Broker,
    topic: Option<&TopicName>,
    after: Option<SchedulePlace>,
) -> Result<Gathered, BrokerError> {
    let topics = broker.topics_with_scheduled(None, TOPICS);
    let (rows, next) = match topic {
        None => (broker.upcoming(ROWS), None),
        Some(topic) => {
            let page = broker.scheduled(topic, after, ROWS)?;
            (page.rows, page.next_cursor)
        }
    };
    let named = topic.map(TopicName::as_str);
    let next =
        next.map(|cursor| address("/scheduled", [("topic", named), ("cursor", Some(cursor.as_str()))]));
    Ok(Gathered {
        rows: rows.iter().map(Row::of).collect(),
        more_topics: topics.next_cursor.is_some(),
        topics: topics.rows,
        next,
    })
}

async fn list(State(desk): State<Desk>, Asked(asked): Asked) -> Response {
    let read = asked
        .parsed::<TopicName>("topic")
        .and_then(|topic| Ok((topic, asked.parsed::<SchedulePlace>("cursor")?)));
    let (topic, after) = match read {
        Ok(read) => read,
        Err(error) => return oops::refused(StatusCode::BAD_REQUEST, &error.text),
    };
    let named = topic.as_ref().map(ToString::to_string).unwrap_or_default();
    let gathered = desk.broker.look(move |broker| gather(broker, topic.as_ref(), after)).await;
    match gathered {
        Ok(gathered) => page::respond(page::render(&ScheduledTemplate {
            assets: &ASSETS,
            topic: &named,
            rows: &gathered.rows,
            topics: &gathered.topics,
            more_topics: gathered.more_topics,
            next: gathered.next,
            cancelled: asked.one("cancelled").is_some(),
        })),
        Err(error) => oops::failed(&error),
    }
}

/// `GET /scheduled/{id}/cancel`: what would be taken back, and for its topic's name.
async fn ask(State(desk): State<Desk>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    asked(&desk, &headers, &id, None).await
}

async fn asked(desk: &Desk, headers: &HeaderMap, id: &str, error: Option<&FieldError>) -> Response {
    let Ok(id) = id.parse::<MessageId>() else { return no_message() };
    match desk.broker.look(move |broker| broker.message(id)).await {
        Ok(stored) if stored.standing == Standing::Scheduled => {
            let token = desk.csrf.token(headers);
            let row = Row::of(&stored);
            let template = CancelTemplate { assets: &ASSETS, token: &token.token, row: &row, error };
            token.with(page::respond(page::render(&template)))
        }
        Ok(_) => oops::refused(StatusCode::CONFLICT, "This message is not scheduled, or not any more."),
        Err(error) => oops::failed(&error),
    }
}

async fn cancel(State(desk): State<Desk>, Path(id): Path<String>, form: Form) -> Response {
    let Ok(message) = id.parse::<MessageId>() else { return no_message() };
    let stored = match desk.broker.look(move |broker| broker.message(message)).await {
        Ok(stored) => stored,
        Err(error) => return oops::failed(&error),
    };
    if form.fields.one("confirm").map(str::trim) != Some(stored.topic.as_str()) {
        let text = format!("type {} to take the message back; nothing was done", stored.topic);
        let answer = asked(&desk, &form.headers, &id, Some(&FieldError::new("confirm", text))).await;
        return (StatusCode::UNPROCESSABLE_ENTITY, answer).into_response();
    }
    match desk.broker.cancel(message).await {
        Ok(()) => {
            let pairs = [("topic", Some(stored.topic.as_str())), ("cancelled", Some("1"))];
            Redirect::to(&address("/scheduled", pairs)).into_response()
        }
        Err(error) => oops::failed(&error),
    }
}

fn no_message() -> Response {
    oops::refused(StatusCode::NOT_FOUND, "This is not the id of a message.")
}
