//! `/topics` and `/topics/{topic}`.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};

use super::ROWS;
use crate::broker::{Broker, BrokerError, SubscriberView, TopicView};
use crate::dashboard::chart::{self, Charts};
use crate::dashboard::desk::Desk;
use crate::dashboard::editor::{self, Edited, Editor, InputValue};
use crate::dashboard::fields::{Fields, address};
use crate::dashboard::form::{Form, confirmed};
use crate::dashboard::format::filters;
use crate::dashboard::frame::{Frame, Section};
use crate::dashboard::named::Named;
use crate::dashboard::visit::{FormError, Visit};
use crate::dashboard::words::Objects;
use crate::machine::Expected;
use crate::model::{GroupName, TopicName, TopicSettings};
use crate::observe::history::{Measure, Subject, Window};

/// Behind which group of a topic its page goes on.
const GROUPS_AFTER: &str = "groups_after";

pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/topics", get(list).post(create))
        .route("/topics/{topic}", get(show))
        .route("/topics/{topic}/settings", post(save))
        .route("/topics/{topic}/delete", post(delete))
}

#[derive(Template)]
#[template(path = "topics.html")]
struct TopicsPage {
    frame: Frame,
    words: &'static Objects,
    rows: Vec<TopicRow>,
    /// The name in the form that makes a topic.
    asked_name: String,
    asked_queues: String,
    first: Option<String>,
    next: Option<String>,
}

/// One topic of the list.
struct TopicRow {
    name: TopicName,
    queues: Option<u64>,
    kept: Option<u64>,
    rate: String,
    scheduled: Option<u64>,
    groups: Option<u64>,
}

#[derive(Template)]
#[template(path = "topic.html")]
struct TopicPage {
    frame: Frame,
    words: &'static Objects,
    topic: TopicView,
    kept: Option<u64>,
    charts: Charts,
    /// Some of the groups that read it, each with how it stands in it.
    groups: Vec<SubscriberView>,
    first_groups: Option<String>,
    next_groups: Option<String>,
    editor: Editor,
    /// Where the forms go.
    save_to: String,
    delete_at: String,
}

fn page_of(name: &TopicName) -> String {
    format!("/topics/{name}")
}

/// Messages that can still be read, in all queues.
fn kept(view: &TopicView) -> u64 {
    view.queues.iter().map(|queue| queue.next_offset.saturating_sub(queue.first_kept)).sum()
}

impl TopicRow {
    fn of(broker: &Broker, view: &TopicView) -> TopicRow {
        let measure = Measure::ProducedMessages;
        let past = broker.history(&Subject::Topic(view.name.clone()), &[measure], Window::TenMinutes);
        let rate = past.ok().and_then(|past| chart::newest(&past.curves, measure));
        TopicRow {
            name: view.name.clone(),
            queues: Some(view.settings.queues.into()),
            kept: Some(kept(view)),
            rate: chart::shown(rate, measure.as_str()),
            scheduled: Some(view.scheduled),
            groups: Some(view.groups.len() as u64),
        }
    }
}

async fn list(State(desk): State<Desk>, visit: Visit) -> Response {
    let gather = |broker: &Broker, frame, visit: &Visit| {
        let cursor = visit.fields.one("cursor");
        let found = broker.topics(cursor, ROWS);
        let next = found.next_cursor.as_deref();
        Ok(TopicsPage {
            frame,
            words: Objects::of(visit.lang),
            rows: found.rows.iter().map(|view| TopicRow::of(broker, view)).collect(),
            asked_name: visit.fields.kept("name").to_owned(),
            asked_queues: visit.fields.raw("queues").unwrap_or("4").to_owned(),
            first: cursor.map(|_| "/topics".to_owned()),
            next: next.map(|next| address("/topics", [("cursor", Some(next))])),
        })
    };
    visit.show(&desk, Section::Topics, gather).await
}

async fn create(State(desk): State<Desk>, form: Form) -> Response {
    let Form { fields, visit, .. } = form;
    let read = || -> Result<(TopicName, TopicSettings), FormError> {
        let name = fields.needed::<TopicName>("name")?;
        let queues = fields.parsed::<u16>("queues")?.unwrap_or(TopicSettings::default().queues);
        let settings = TopicSettings { queues, ..TopicSettings::default() };
        settings.check()?;
        Ok((name, settings))
    };
    let made = match read() {
        Ok((name, settings)) => {
            let put = desk.broker.put_topic(name.clone(), settings, Expected::Missing).await;
            put.map(|_| name).map_err(FormError::from)
        }
        Err(error) => Err(error),
    };
    match made {
        Ok(name) => visit.lead_on(&page_of(&name)),
        Err(error) => list(State(desk), visit.again("/topics", fields, &error)).await,
    }
}

async fn show(State(desk): State<Desk>, Named(name): Named<TopicName>, visit: Visit) -> Response {
    shown(&desk, visit, name, None).await
}

/// The page of a topic, with its settings as they were sent if they were.
async fn shown(desk: &Desk, visit: Visit, name: TopicName, editor: Option<Editor>) -> Response {
    let gather = move |broker: &Broker, frame, visit: &Visit| page(broker, frame, visit, (&name, editor));
    visit.show(desk, Section::Topics, gather).await
}

fn page(
    broker: &Broker,
    frame: Frame,
    visit: &Visit,
    (name, editor): (&TopicName, Option<Editor>),
) -> Result<TopicPage, BrokerError> {
    let words = Objects::of(visit.lang);
    let topic = broker.topic(name)?;
    let after = visit.fields.one(GROUPS_AFTER).and_then(|name| name.parse::<GroupName>().ok());
    let groups = broker.subscribers(name, after.as_ref(), ROWS)?;
    let next = groups.next_cursor.as_deref();
    let path = page_of(name);
    let wanted =
        [(Measure::ProducedMessages, words.produced), (Measure::ProducedBytes, words.produced_bytes)];
    Ok(TopicPage {
        frame,
        words,
        kept: Some(kept(&topic)),
        charts: Charts::gather(broker, visit, &Subject::Topic(name.clone()), &wanted)?,
        groups: groups.rows,
        first_groups: after.map(|_| path.clone()),
        next_groups: next.map(|next| address(&path, [(GROUPS_AFTER, Some(next))])),
        save_to: format!("{path}/settings"),
        delete_at: format!("{path}/delete"),
        editor: editor.unwrap_or_else(|| Editor::of(&topic.settings, topic.version, visit.lang)),
        topic,
    })
}

async fn save(State(desk): State<Desk>, Named(name): Named<TopicName>, form: Form) -> Response {
    let Form { fields, visit, .. } = form;
    let (path, broker) = (page_of(&name), &desk.broker);
    let present = || broker.topic_settings(&name).ok();
    let put = |settings, expected| broker.put_topic(name.clone(), settings, expected);
    match editor::submit(&fields, (visit.lang, broker.now()), present, put).await {
        Edited::Saved => visit.lead_on(&path),
        Edited::Shown(editor) => shown(&desk, visit.at(path).with_found("diff"), name, Some(editor)).await,
        Edited::Refused(error, editor) => {
            shown(&desk, visit.again(path, Fields::default(), &error), name, Some(editor)).await
        }
    }
}

async fn delete(State(desk): State<Desk>, Named(name): Named<TopicName>, form: Form) -> Response {
    let Form { fields, visit, .. } = form;
    let done = match confirmed(&fields, &visit, name.as_str()) {
        Ok(()) => {
            desk.broker.delete_topic(name.clone(), true, Expected::Anything).await.map_err(FormError::from)
        }
        Err(error) => Err(error),
    };
    let error = match done {
        Ok(()) => return visit.lead_on("/topics"),
        Err(error) => error,
    };
    shown(&desk, visit.again(page_of(&name), Fields::default(), &error), name, None).await
}
