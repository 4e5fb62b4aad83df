//! Topics: make, change, show, list, delete.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;

use super::condition;
use super::extract::{Answer, Call, json, list, read_json};
use super::json_out::Json;
use super::options::Api;
use super::patch::{self, Patch};
use super::problem::{Code, Place, Problem};
use crate::broker::TopicView;
use crate::machine::{Expected, PutDone};
use crate::model::{SettingsError, TopicName, TopicSettings};

/// `GET /v1/topics`
pub(super) async fn index(State(api): State<Api>, mut call: Call) -> Answer {
    let limit = call.query.limit()?;
    let cursor = call.query.cursor::<TopicName>("topics")?;
    call.query.finish()?;
    let page = api.broker.topics(cursor.as_ref().map(TopicName::as_str), limit);
    Ok(list("topics", &page, write_topic))
}

/// `GET /v1/topics/{topic}`
pub(super) async fn show(State(api): State<Api>, call: Call) -> Answer {
    let name: TopicName = call.path("topic")?;
    call.query.finish()?;
    topic_json(&api, &name, StatusCode::OK)
}

/// `PUT /v1/topics/{topic}`: replaces all settings; missing ones take their defaults.
pub(super) async fn put(State(api): State<Api>, call: Call, headers: HeaderMap, body: Body) -> Answer {
    let name: TopicName = call.path("topic")?;
    call.query.finish()?;
    let expected = condition::expected(&headers)?;
    let settings: TopicSettings = read_json(&api, body).await?;
    settings.check().map_err(refused_setting)?;
    let done = api.broker.put_topic(name.clone(), settings, expected).await?;
    topic_json(&api, &name, put_status(done))
}

/// `PATCH /v1/topics/{topic}`: replaces the settings that are named.
pub(super) async fn patch(State(api): State<Api>, call: Call, headers: HeaderMap, body: Body) -> Answer {
    let name: TopicName = call.path("topic")?;
    call.query.finish()?;
    let expected = condition::expected(&headers)?;
    let patch = Patch::read(&api, body).await?;
    for _ in 0..patch::TRIES {
        let (settings, version) = api.broker.topic_settings(&name)?;
        expected.check(name.as_str(), Some(version))?;
        let patched: TopicSettings = patch::read_merged(&patch.merge(&settings)?)?;
        patched.check().map_err(refused_setting)?;
        let seen = Expected::OneOf(vec![version]);
        match api.broker.put_topic(name.clone(), patched, seen).await {
            Err(error) if patch::was_overtaken(&error) => {}
            done => return topic_json(&api, &name, put_status(done?)),
        }
    }
    Err(patch::overtaken())
}

/// `DELETE /v1/topics/{topic}`
pub(super) async fn delete(State(api): State<Api>, mut call: Call, headers: HeaderMap) -> Answer {
    let name: TopicName = call.path("topic")?;
    let confirmed = confirmed(&mut call, name.as_str())?;
    api.broker.delete_topic(name, confirmed, condition::expected(&headers)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn topic_json(api: &Api, name: &TopicName, status: StatusCode) -> Answer {
    let view = api.broker.topic(name)?;
    let mut out = Json::with_capacity(256);
    write_topic(&mut out, &view);
    let mut response = json(status, out);
    condition::tag(&mut response, view.version);
    Ok(response)
}

fn write_topic(out: &mut Json, view: &TopicView) {
    out.open();
    out.key("name");
    out.plain(&view.name);
    out.number_field("queues", view.settings.queues.into());
    out.number_field("max_age_ms", view.settings.max_age_ms);
    out.number_field("idempotency_window_ms", view.settings.idempotency_window_ms);
    out.key("made_at");
    out.plain(view.made_at);
    out.number_field("scheduled", view.scheduled);
    out.key("offsets");
    out.value(&view.queues);
    out.key("groups");
    out.value(&view.groups);
    out.close();
}

/// 201 when it is new.
pub(super) fn put_status(done: PutDone) -> StatusCode {
    match done {
        PutDone::Created => StatusCode::CREATED,
        PutDone::Changed | PutDone::Unchanged => StatusCode::OK,
    }
}

/// Takes `confirm`, the last parameter: it must be the name itself.
pub(super) fn confirmed(call: &mut Call, name: &str) -> Result<bool, Problem> {
    let confirm = call.query.text("confirm");
    std::mem::take(&mut call.query).finish()?;
    match confirm {
        None => Ok(false),
        Some(confirm) if confirm == name => Ok(true),
        Some(_) => Err(Problem::parameter("confirm", format!("must be '{name}'"))),
    }
}

/// A setting out of range.
pub(super) fn refused_setting(error: SettingsError) -> Problem {
    Problem::at(Code::InvalidSettings, Place::Pointer(format!("/{}", error.field)), error.text)
}
