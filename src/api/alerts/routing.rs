//! Routes and inhibitions: one object, because their order matters.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use super::super::condition;
use super::super::extract::{Answer, Call, json, read_json};
use super::super::json_out::Json;
use super::super::options::Api;
use super::super::topics::refused_setting;
use super::write_fields;
use crate::machine::Placed;
use crate::model::alert::{Origin, Routing};

/// `GET /v1/alerts/routing`
pub(super) async fn show(State(api): State<Api>, call: Call) -> Answer {
    call.query.finish()?;
    Ok(routing_json(&api, StatusCode::OK))
}

/// `PUT /v1/alerts/routing`
pub(super) async fn put(State(api): State<Api>, call: Call, headers: HeaderMap, body: Body) -> Answer {
    call.query.finish()?;
    let expected = condition::expected(&headers)?;
    let routing: Routing = read_json(&api, body).await?;
    routing.check().map_err(refused_setting)?;
    api.broker.put_routing(routing, Origin::Api, expected).await?;
    Ok(routing_json(&api, StatusCode::OK))
}

fn routing_json(api: &Api, status: StatusCode) -> axum::response::Response {
    let alerting = api.broker.alerting();
    let placed =
        alerting.routing().cloned().unwrap_or(Placed { value: Arc::default(), origin: Origin::BuiltIn });
    let mut out = Json::with_capacity(512);
    out.open();
    out.key("origin");
    out.value(&placed.origin);
    write_fields(&mut out, &*placed.value);
    out.close();
    let mut response = json(status, out);
    if alerting.routing().is_some() {
        condition::tag(&mut response, placed.version());
    }
    response
}
