//! Alerts, and who is told of them: rules, receivers, routes, silences, deliveries.

mod deliveries;
mod receivers;
mod routing;
mod rules;
mod silences;
mod standing;
mod trial;

use axum::Router;
use axum::routing::{get, post};

use super::json_out::Json;
use super::options::Api;
use super::problem::Problem;
use crate::machine::Refusal;

/// The fields of an object that is shown as it is kept.
fn write_fields(out: &mut Json, value: &impl serde::Serialize) {
    if let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(value) {
        for (name, value) in &fields {
            out.key(name);
            out.value(value);
        }
    }
}

fn missing(what: &'static str, name: impl std::fmt::Display) -> Problem {
    Problem::from(Refusal::NoAlertObject { what, name: name.to_string() })
}

/// The paths of alerting.
pub(super) fn table() -> Router<Api> {
    Router::new()
        .route("/v1/alerts", get(standing::index))
        .route("/v1/alerts/rules", get(rules::index))
        .route("/v1/alerts/rules/{rule}", get(rules::show).put(rules::put).delete(rules::delete))
        .route("/v1/alerts/receivers", get(receivers::index))
        .route(
            "/v1/alerts/receivers/{receiver}",
            get(receivers::show).put(receivers::put).delete(receivers::delete),
        )
        .route("/v1/alerts/receivers/{receiver}/test", post(trial::receiver))
        .route("/v1/alerts/preview", post(trial::rule))
        .route("/v1/alerts/routing", get(routing::show).put(routing::put))
        .route("/v1/alerts/silences", get(silences::index).post(silences::make))
        .route("/v1/alerts/silences/{id}", get(silences::show).delete(silences::end))
        .route("/v1/alerts/deliveries", get(deliveries::index))
        .route("/v1/alerts/deliveries/{delivery}", get(deliveries::show))
        .route("/v1/alerts/deliveries/{delivery}/redeliver", post(deliveries::redeliver))
}
