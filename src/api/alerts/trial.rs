//! Trying things before they matter: a receiver with a test notification, a rule against the past.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;

use super::super::extract::{Answer, Call, json, read_json};
use super::super::json_out::Json;
use super::super::options::Api;
use super::super::problem::{Code, Problem};
use super::super::topics::refused_setting;
use crate::model::AlertName;
use crate::model::alert::AlertRule;

/// `POST /v1/alerts/receivers/{receiver}/test`
pub(super) async fn receiver(State(api): State<Api>, call: Call) -> Answer {
    let name: AlertName = call.path("receiver")?;
    call.query.finish()?;
    let tested = api.broker.test_receiver(&name).await?;
    let mut out = Json::with_capacity(256);
    out.open();
    out.key("is_delivered");
    out.truth(tested.is_delivered);
    out.key("status");
    out.maybe_number(tested.status.map(u64::from));
    out.text_field("excerpt", &tested.excerpt);
    out.number_field("took_ms", tested.took_ms);
    out.close();
    Ok(json(StatusCode::OK, out))
}

/// `POST /v1/alerts/preview`
pub(super) async fn rule(State(api): State<Api>, call: Call, body: Body) -> Answer {
    call.query.finish()?;
    let rule: AlertRule = read_json(&api, body).await?;
    rule.check().map_err(refused_setting)?;
    let broker = api.broker.clone();
    let previewing = tokio::task::spawn_blocking(move || broker.preview_rule(&rule)).await;
    let found = previewing.map_err(|error| Problem::new(Code::Internal, error.to_string()))??;
    let mut out = Json::with_capacity(1_024);
    out.open();
    out.key("from");
    out.maybe_text(found.from.map(|at| at.to_string()).as_deref());
    out.key("until");
    out.plain(found.until);
    out.key("times");
    out.maybe_number(found.times.map(|times| times as u64));
    out.number_field("down_ms", found.down_ms);
    out.number_field("objects", found.objects as u64);
    out.number_field("concerned", found.concerned as u64);
    out.key("fired");
    out.open_list();
    for object in &found.fired {
        out.open();
        out.key("group");
        out.maybe_text(object.group.as_deref());
        out.key("intervals");
        out.open_list();
        for interval in &object.intervals {
            out.open();
            out.key("from");
            out.plain(interval.from);
            out.key("until");
            out.maybe_text(interval.until.map(|at| at.to_string()).as_deref());
            out.close();
        }
        out.close_list();
        out.close();
    }
    out.close_list();
    out.key("caveats");
    out.value(&found.caveats);
    out.close();
    Ok(json(StatusCode::OK, out))
}
