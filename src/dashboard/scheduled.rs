//! `/scheduled`: messages that wait for their time, over all topics or of one, and taking one back.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;

use super::desk::Desk;
use super::fields::address;
use super::form::{Form, confirmed};
use super::format::filters;
use super::frame::{Frame, Section};
use super::messages::MessageRow;
use super::named::Named;
use super::visit::Visit;
use super::words::Messages;
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
    frame: Frame,
    words: &'static Messages,
    /// Only of this topic, if it is filled in.
    topic: &'a str,
    rows: &'a [Row],
    /// Whether there are more, of all topics, than are shown.
    more_rows: bool,
    /// Topics that have any, with how many.
    topics: &'a [(TopicName, u64)],
    more_topics: bool,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "scheduled_cancel.html")]
struct CancelTemplate<'a> {
    frame: Frame,
    words: &'static Messages,
    row: &'a Row,
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
    /// Whether there are more, of all topics, than are shown.
    more_rows: bool,
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
        // One more than is shown, to know whether there are more.
        None => (broker.upcoming(ROWS + 1), None),
        Some(topic) => {
            let page = broker.scheduled(topic, after, ROWS)?;
            (page.rows, page.next_cursor)
        }
    };
    let named = topic.map(TopicName::as_str);
    let next =
        next.map(|cursor| address("/scheduled", [("topic", named), ("cursor", Some(cursor.as_str()))]));
    Ok(Gathered {
        more_rows: topic.is_none() && rows.len() > ROWS,
        rows: rows.iter().take(ROWS).map(Row::of).collect(),
        more_topics: topics.next_cursor.is_some(),
        topics: topics.rows,
        next,
    })
}

async fn list(State(desk): State<Desk>, visit: Visit) -> Response {
    let topic = visit.fields.parsed::<TopicName>("topic");
    let read = topic.and_then(|topic| Ok((topic, visit.fields.parsed::<SchedulePlace>("cursor")?)));
    let (topic, after) = match read {
        Ok(read) => read,
        Err(error) => return visit.unread(&desk, error),
    };
    let named = topic.as_ref().map(ToString::to_string).unwrap_or_default();
    match desk.broker.look(move |broker| gather(broker, topic.as_ref(), after)).await {
        Ok(gathered) => visit.page(&ScheduledTemplate {
            frame: visit.frame(&desk, Section::Scheduled),
            words: Messages::of(visit.lang),
            topic: &named,
            rows: &gathered.rows,
            more_rows: gathered.more_rows,
            topics: &gathered.topics,
            more_topics: gathered.more_topics,
            next: gathered.next,
        }),
        Err(error) => visit.failed(&desk, &error),
    }
}

/// `GET /scheduled/{id}/cancel`: what would be taken back, and for its topic's name.
async fn ask(State(desk): State<Desk>, Named(id): Named<MessageId>, visit: Visit) -> Response {
    asked(&desk, visit, id).await
}

async fn asked(desk: &Desk, visit: Visit, id: MessageId) -> Response {
    let words = Messages::of(visit.lang);
    match desk.broker.look(move |broker| broker.message(id)).await {
        Ok(stored) if stored.standing == Standing::Scheduled => {
            let frame = visit.frame(desk, Section::Scheduled);
            visit.page(&CancelTemplate { frame, words, row: &Row::of(&stored) })
        }
        Ok(_) => visit.oops(desk, StatusCode::CONFLICT, words.not_scheduled),
        Err(error) => visit.failed(desk, &error),
    }
}

async fn cancel(State(desk): State<Desk>, Named(id): Named<MessageId>, form: Form) -> Response {
    let Form { fields, visit, .. } = form;
    let stored = match desk.broker.look(move |broker| broker.message(id)).await {
        Ok(stored) => stored,
        Err(error) => return visit.failed(&desk, &error),
    };
    if let Err(error) = confirmed(&fields, &visit, stored.topic.as_str()) {
        return asked(&desk, visit.again(format!("/scheduled/{id}/cancel"), fields, &error), id).await;
    }
    match desk.broker.cancel(id).await {
        Ok(()) => visit.lead_on_with("/scheduled", [("topic", Some(stored.topic.as_str()))]),
        Err(error) => visit.failed(&desk, &error),
    }
}
