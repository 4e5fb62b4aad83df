//! Consumer groups: make, change, show, list, delete, pause, resume, seek.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use serde::Deserialize;

use super::condition;
use super::extract::{Answer, Call, json, list, read_body, read_json};
use super::json_in;
use super::json_out::Json;
use super::options::Api;
use super::patch::{self, Patch};
use super::problem::{Place, Problem};
use super::topics::{confirmed, put_status, refused_setting};
use crate::broker::GroupView;
use crate::machine::{Expected, SeekTo};
use crate::model::{Filter, GroupName, GroupSettings, JSON_BYTES_MAX, QueueNo, TopicName};

/// `GET /v1/groups`
pub(super) async fn index(State(api): State<Api>, mut call: Call) -> Answer {
    let limit = call.query.limit()?;
    let cursor = call.query.cursor::<GroupName>("groups")?;
    call.query.finish()?;
    let look = move |broker: &crate::broker::Broker| {
        Ok(broker.groups(cursor.as_ref().map(GroupName::as_str), limit))
    };
    let page = api.broker.look(look).await?;
    Ok(list("groups", &page, write_group))
}

/// `GET /v1/groups/{group}`
pub(super) async fn show(State(api): State<Api>, call: Call) -> Answer {
    let name: GroupName = call.path("group")?;
    call.query.finish()?;
    group_json(&api, name, StatusCode::OK).await
}

/// `GET /v1/groups/{group}/explain`: why nothing arrives.
pub(super) async fn explain(State(api): State<Api>, call: Call) -> Answer {
    let name: GroupName = call.path("group")?;
    call.query.finish()?;
    let explanation = api.broker.look(move |broker| broker.explain(&name)).await?;
    let mut out = Json::with_capacity(2_048);
    out.value(&explanation);
    Ok(json(StatusCode::OK, out))
}

/// `PUT /v1/groups/{group}`: replaces all settings; missing ones take their defaults. Missing topics are made
/// unless `auto_create=false`.
pub(super) async fn put(State(api): State<Api>, mut call: Call, headers: HeaderMap, body: Body) -> Answer {
    let name: GroupName = call.path("group")?;
    let auto_create = call.query.truth("auto_create")?.unwrap_or(true) && api.options.auto_create_topics;
    call.query.finish()?;
    let expected = condition::expected(&headers)?;
    let settings = settings_of(&read_body(&api, body, JSON_BYTES_MAX).await?, json_in::parse)?;
    let done = api.broker.put_group(name.clone(), settings, expected, auto_create).await?;
    group_json(&api, name, put_status(done)).await
}

/// `PATCH /v1/groups/{group}`: replaces the settings that are named.
pub(super) async fn patch(State(api): State<Api>, mut call: Call, headers: HeaderMap, body: Body) -> Answer {
    let name: GroupName = call.path("group")?;
    let auto_create = call.query.truth("auto_create")?.unwrap_or(true) && api.options.auto_create_topics;
    call.query.finish()?;
    let expected = condition::expected(&headers)?;
    let patch = Patch::read(&api, body).await?;
    for _ in 0..patch::TRIES {
        let (settings, version) = api.broker.group_settings(&name)?;
        expected.check(name.as_str(), Some(version))?;
        let patched = settings_of(&patch.merge(&*settings)?, patch::read_merged)?;
        let seen = Expected::OneOf(vec![version]);
        match api.broker.put_group(name.clone(), patched, seen, auto_create).await {
            Err(error) if patch::was_overtaken(&error) => {}
            done => return group_json(&api, name, put_status(done?)).await,
        }
    }
    Err(patch::overtaken())
}

/// Reads and checks the settings of a group.
pub(super) fn settings_of(
    body: &[u8],
    parse: impl FnOnce(&[u8]) -> Result<GroupSettings, Problem>,
) -> Result<GroupSettings, Problem> {
    check_filters(body)?;
    let settings = parse(body)?;
    settings.check().map_err(refused_setting)?;
    Ok(settings)
}

/// `DELETE /v1/groups/{group}`
pub(super) async fn delete(State(api): State<Api>, mut call: Call, headers: HeaderMap) -> Answer {
    let name: GroupName = call.path("group")?;
    let confirmed = confirmed(&mut call, name.as_str())?;
    api.broker.delete_group(name, confirmed, condition::expected(&headers)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /v1/groups/{group}/pause`
pub(super) async fn pause(State(api): State<Api>, call: Call, body: Body) -> Answer {
    set_paused(&api, call, body, true).await
}

/// `POST /v1/groups/{group}/resume`
pub(super) async fn resume(State(api): State<Api>, call: Call, body: Body) -> Answer {
    set_paused(&api, call, body, false).await
}

/// A body without fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

async fn set_paused(api: &Api, call: Call, body: Body, paused: bool) -> Answer {
    let name: GroupName = call.path("group")?;
    call.query.finish()?;
    let Nothing {} = read_json(api, body).await?;
    api.broker.pause_group(name.clone(), paused).await?;
    group_json(api, name, StatusCode::OK).await
}

async fn group_json(api: &Api, name: GroupName, status: StatusCode) -> Answer {
    let view = api.broker.look(move |broker| broker.group(&name)).await?;
    let mut out = Json::with_capacity(1_024);
    write_group(&mut out, &view);
    let mut response = json(status, out);
    condition::tag(&mut response, view.version);
    Ok(response)
}

fn write_group(out: &mut Json, view: &GroupView) {
    let settings = &view.settings;
    out.open();
    out.key("name");
    out.plain(&view.name);
    out.key("subscriptions");
    out.value(&settings.subscriptions);
    out.key("ordered");
    out.truth(settings.ordered);
    out.number_field("lane_batch", settings.lane_batch.into());
    out.number_field("lease_ms", settings.lease_ms);
    out.number_field("max_attempts", settings.max_attempts.into());
    out.number_field("max_in_flight", settings.max_in_flight.into());
    out.key("retry");
    out.value(&settings.retry());
    out.key("start");
    out.value(&settings.start);
    out.number_field("dead_letters_max", settings.dead_letters_max);
    out.key("dead_letter_expired");
    out.truth(settings.dead_letter_expired);
    out.key("paused");
    out.truth(view.paused);
    out.number_field("dead_letters", view.dead_letters);
    out.number_field("in_flight", view.in_flight);
    out.number_field("members", view.members);
    out.key("made_at");
    out.plain(view.made_at);
    out.key("topics");
    out.value(&view.topics);
    out.close();
}

/// A well-formed filter that is refused is 422, not 400, so filters are looked at before the typed reading.
fn check_filters(body: &[u8]) -> Result<(), Problem> {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else { return Ok(()) };
    let subscriptions = value.get("subscriptions").and_then(|value| value.as_array());
    for (at, subscription) in subscriptions.into_iter().flatten().enumerate() {
        if let Some(filter) = subscription.get("filter") {
            filter_of(filter, &format!("/subscriptions/{at}/filter"))?;
        }
    }
    Ok(())
}

/// Reads `{"tag": "a || b"}` or `{"sql": "a > 1"}`. A wrong shape is 400, a refused expression is 422.
pub(super) fn filter_of(value: &serde_json::Value, pointer: &str) -> Result<Filter, Problem> {
    let fields = value.as_object().filter(|fields| fields.len() == 1);
    let only = fields.and_then(|fields| fields.iter().next());
    let parsed = match only.and_then(|(name, text)| Some((name.as_str(), text.as_str()?))) {
        Some((name @ "tag", text)) => Filter::parse_tags(text).map_err(|error| (name, error)),
        Some((name @ "sql", text)) => Filter::parse_sql(text).map_err(|error| (name, error)),
        _ => return Err(Problem::pointer(pointer, "must be {\"tag\": \"a || b\"} or {\"sql\": \"a > 1\"}")),
    };
    parsed.map_err(|(name, error)| Problem::filter(Place::Pointer(format!("{pointer}/{name}")), &error))
}

/// Where to seek.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SeekForm {
    topic: TopicName,
    pub(super) to: serde_json::Value,
    #[serde(default)]
    dry_run: bool,
}

/// `POST /v1/groups/{group}/seek`
pub(super) async fn seek(State(api): State<Api>, call: Call, body: Body) -> Answer {
    let group: GroupName = call.path("group")?;
    call.query.finish()?;
    let form: SeekForm = read_json(&api, body).await?;
    let to = seek_target(&form.to)?;
    let counts = api.broker.seek(group, form.topic, to, form.dry_run).await?;
    let mut out = Json::with_capacity(96);
    out.value(&counts);
    Ok(json(StatusCode::OK, out))
}

/// `"earliest"`, `"latest"`, a time, or `{queue, offset}`.
pub(super) fn seek_target(to: &serde_json::Value) -> Result<SeekTo, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct AtOffset {
        queue: QueueNo,
        offset: u64,
    }
    let refuse = || {
        Problem::pointer(
            "/to",
            "must be \"earliest\", \"latest\", an RFC 3339 time or {\"queue\", \"offset\"}",
        )
    };
    match to.as_str() {
        Some("earliest") => Ok(SeekTo::Earliest),
        Some("latest") => Ok(SeekTo::Latest),
        Some(time) => time.parse().map(SeekTo::Time).map_err(|_| refuse()),
        None if to.is_object() => {
            let AtOffset { queue, offset } = AtOffset::deserialize(to).map_err(|_| refuse())?;
            Ok(SeekTo::Offset { queue, offset })
        }
        None => Err(refuse()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::problem::Code;
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn filters_are_refused_with_the_right_status() {
        let code = |value: serde_json::Value| filter_of(&value, "/filter").map_err(|problem| problem.code);
        assert_eq!(code(json!({"tag": "*"})), Ok(Filter::All));
        assert_eq!(code(json!({"sql": "a > 1"})), Ok(Filter::parse_sql("a>1").unwrap()));
        assert_eq!(code(json!({"sql": "a > "})), Err(Code::InvalidFilter));
        assert_eq!(code(json!({"tag": "a ||"})), Err(Code::InvalidFilter));
        let shapes =
            [json!("a"), json!({}), json!({"tag": 1}), json!({"tag": "a", "x": 1}), json!({"x": "a"})];
        for shape in shapes.into_iter().chain([json!({"tag": "a", "sql": "a > 1"}), json!({"sql": null})]) {
            assert_eq!(code(shape), Err(Code::InvalidRequest));
        }
        let body = br#"{"subscriptions":[{"topic":"a"},{"topic":"b","filter":{"sql":"x"}}]}"#;
        let problem = check_filters(body).unwrap_err();
        assert_eq!(problem.errors[0].place, Place::Pointer("/subscriptions/1/filter/sql".into()));
        assert_eq!(problem.errors[0].column, Some(2));
        assert!(problem.detail.starts_with("/subscriptions/1/filter/sql: column 2: expected"));
    }

    #[test]
    fn seek_targets_are_read() {
        assert_eq!(seek_target(&json!("earliest")).unwrap(), SeekTo::Earliest);
        assert_eq!(seek_target(&json!("latest")).unwrap(), SeekTo::Latest);
        let time = SeekTo::Time(Timestamp(1_893_456_000_000));
        assert_eq!(seek_target(&json!("2030-01-01T00:00:00Z")).unwrap(), time);
        let place = SeekTo::Offset { queue: 1, offset: 7 };
        assert_eq!(seek_target(&json!({"queue": 1, "offset": 7})).unwrap(), place);
        for bad in
            [json!("soon"), json!(5), json!(null), json!({"queue": 1}), json!({"queue": 1, "offset": -1})]
        {
            assert!(seek_target(&bad).is_err(), "{bad}");
        }
    }
}
