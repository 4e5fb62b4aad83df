//! The whole route table.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use tower::Service;
use tower_http::compression::CompressionLayer;

use super::extract::Caller;
use super::options::{Api, Options};
use super::problem::{Code, Problem};
use super::{
    alerts, backup, clients, config, dead_letters, export, groups, history, jobs, messages, metrics, node,
    produce, receive, redrive, scheduled, settle, stream, tail, topics,
};
use crate::broker::Broker;

/// Every path of the interface. HEAD works where GET does. [`super::serve`] puts the edge around it.
pub fn routes(broker: Broker, options: Arc<Options>) -> Routes {
    let counted = options.clone();
    broker.count_connections_with(move || [counted.door.open(), counted.open_sockets()]);
    let api = Api::new(broker, options);
    Routes { table: table(api.clone()), direct: Some(api) }
}

/// All routes, and the way past the table for the call that is made most: what the table costs (copies of services,
/// boxes, a map for the path) is a good part of what storing one small message costs (docs/PERFORMANCE.md).
#[derive(Clone, Debug)]
pub struct Routes {
    table: Router,
    /// For what is answered past the table; none when every request has to go through the table's layers.
    direct: Option<Api>,
}

impl Routes {
    /// Adds paths of another part.
    #[must_use]
    pub fn merge(self, other: Router) -> Routes {
        Routes { table: self.table.merge(other), ..self }
    }

    /// Puts a layer around every route.
    pub(super) fn layered(self, layer: impl FnOnce(Router) -> Router) -> Routes {
        Routes { table: layer(self.table), direct: None }
    }

    /// Answers one request of `caller`.
    pub(super) async fn answer(&self, mut request: Request<Body>, caller: &Caller) -> Response {
        if let Some(api) = &self.direct
            && let Some(topic) = produce::plainly_to(&request)
        {
            return produce::accept(api, topic, request).await.into_response();
        }
        request.extensions_mut().insert(caller.clone());
        // A router is always ready, and cloning it counts a reference.
        match self.table.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

#[cfg(test)]
impl From<Router> for Routes {
    fn from(table: Router) -> Routes {
        Routes { table, direct: None }
    }
}

fn table(api: Api) -> Router {
    Router::new()
        .route("/v1/topics", get(topics::index))
        .route(
            "/v1/topics/{topic}",
            get(topics::show).put(topics::put).patch(topics::patch).delete(topics::delete),
        )
        .route("/v1/topics/{topic}/messages", get(messages::search).post(produce::one))
        .route("/v1/topics/{topic}/messages/batch", post(produce::batch))
        .route("/v1/topics/{topic}/tail", get(tail::tail))
        .route("/v1/topics/{topic}/queues/{queue}/messages", get(messages::browse))
        .route("/v1/topics/{topic}/scheduled", get(scheduled::index))
        .route("/v1/messages/{id}", get(messages::show).delete(scheduled::cancel))
        .route("/v1/messages/{id}/trace", get(messages::trace))
        .route("/v1/groups", get(groups::index))
        .route(
            "/v1/groups/{group}",
            get(groups::show).put(groups::put).patch(groups::patch).delete(groups::delete),
        )
        .route("/v1/groups/{group}/pause", post(groups::pause))
        .route("/v1/groups/{group}/resume", post(groups::resume))
        .route("/v1/groups/{group}/explain", get(groups::explain))
        .route("/v1/groups/{group}/seek", post(groups::seek))
        .route("/v1/groups/{group}/receive", post(receive::receive))
        .route("/v1/groups/{group}/settle", post(settle::settle))
        .route("/v1/groups/{group}/ack", post(settle::ack))
        .route("/v1/groups/{group}/nack", post(settle::nack_all))
        .route("/v1/groups/{group}/extend", post(settle::extend_all))
        .route("/v1/groups/{group}/dead-letter", post(settle::dead_letter_all))
        .route("/v1/receipts/{receipt}", delete(settle::ack_receipt))
        .route("/v1/groups/{group}/dead-letters", get(dead_letters::index))
        .route("/v1/groups/{group}/dead-letters/redrive", post(redrive::redrive))
        .route("/v1/groups/{group}/dead-letters/purge", post(dead_letters::purge))
        .route("/v1/groups/{group}/dead-letters/export", get(export::export))
        .route("/v1/groups/{group}/dead-letters/{id}", get(dead_letters::show))
        .route("/v1/jobs", get(jobs::index))
        .route("/v1/jobs/{id}", get(jobs::show).delete(jobs::cancel))
        .route("/v1/ws", get(stream::upgrade))
        .route("/v1/clients", get(clients::index))
        .route("/v1/clients/{id}", delete(clients::disconnect))
        .route("/v1/config", get(config::index))
        .route("/v1/backup", post(backup::take))
        .route("/v1/history", get(history::show))
        .route("/v1/limits", get(node::limits))
        .route("/v1/version", get(node::version))
        .route("/livez", get(node::live))
        .route("/readyz", get(node::ready))
        .route("/metrics", get(metrics::node))
        .route("/metrics/per-object", get(metrics::per_object))
        .route("/openapi.yaml", get(node::contract).layer(CompressionLayer::new()))
        .route("/docs", get(node::docs).layer(CompressionLayer::new()))
        .route("/problems/{code}", get(node::problem_page))
        .merge(alerts::table())
        .fallback(async |uri: Uri| {
            let text = format!("nothing is served at '{}'; every path is in /openapi.yaml", uri.path());
            Problem::new(Code::NotFound, text)
        })
        .method_not_allowed_fallback(async || {
            Problem::new(Code::MethodNotAllowed, "see the Allow header for the methods of this path")
        })
        .with_state(api)
}
