//! Rules.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;

use super::super::condition;
use super::super::extract::{Answer, Call, json, list, read_json};
use super::super::json_out::Json;
use super::super::options::Api;
use super::super::topics::{put_status, refused_setting};
use super::{missing, write_fields};
use crate::broker::Page;
use crate::machine::Placed;
use crate::model::AlertName;
use crate::model::alert::{AlertRule, Origin};

/// `GET /v1/alerts/rules`
pub(super) async fn index(State(api): State<Api>, mut call: Call) -> Answer {
    let limit = call.query.limit()?;
    let after = call.query.cursor::<AlertName>("rules")?;
    call.query.finish()?;
    let alerting = api.broker.alerting();
    let rows = alerting.rules().filter(|(name, _)| after.as_ref().is_none_or(|after| *name > after));
    let rows = Page::of(rows, limit, |(name, _)| name.to_string(), |row| row);
    Ok(list("rules", &rows, |out, (name, placed)| write_rule(out, name, placed)))
}

/// `GET /v1/alerts/rules/{rule}`
pub(super) async fn show(State(api): State<Api>, call: Call) -> Answer {
    let name: AlertName = call.path("rule")?;
    call.query.finish()?;
    rule_json(&api, &name, StatusCode::OK)
}

/// `PUT /v1/alerts/rules/{rule}`
pub(super) async fn put(State(api): State<Api>, call: Call, headers: HeaderMap, body: Body) -> Answer {
    let name: AlertName = call.path("rule")?;
    call.query.finish()?;
    let expected = condition::expected(&headers)?;
    let rule: AlertRule = read_json(&api, body).await?;
    rule.check().map_err(refused_setting)?;
    let done = api.broker.put_alert_rule(name.clone(), rule, Origin::Api, expected).await?;
    rule_json(&api, &name, put_status(done))
}

/// `DELETE /v1/alerts/rules/{rule}`
pub(super) async fn delete(State(api): State<Api>, call: Call, headers: HeaderMap) -> Answer {
    let name: AlertName = call.path("rule")?;
    call.query.finish()?;
    api.broker.delete_alert_rule(name, Origin::Api, condition::expected(&headers)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn rule_json(api: &Api, name: &AlertName, status: StatusCode) -> Answer {
    let placed = api.broker.alerting().rule(name).ok_or_else(|| missing("rule", name))?;
    let mut out = Json::with_capacity(1_024);
    write_rule(&mut out, name, &placed);
    let mut response = json(status, out);
    condition::tag(&mut response, placed.version());
    Ok(response)
}

fn write_rule(out: &mut Json, name: &AlertName, placed: &Placed<AlertRule>) {
    out.open();
    out.key("name");
    out.plain(name);
    out.key("origin");
    out.value(&placed.origin);
    write_fields(out, &*placed.value);
    out.close();
}
