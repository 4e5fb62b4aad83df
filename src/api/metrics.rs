//! What Prometheus scrapes. The names are in `docs/METRICS.md`.

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::extract::{Answer, Call};
use super::options::{Api, Options};
use super::problem::Problem;
use crate::broker::BrokerError;
use crate::model::TopicName;
use crate::observe::{CONTENT_TYPE, Exposition, series};

/// `GET /metrics`: the node, its objects and its process.
pub(super) async fn node(State(api): State<Api>, call: Call) -> Answer {
    call.query.finish()?;
    let options = api.options.clone();
    let looked = api.broker.look(move |broker| {
        let mut out = broker.metrics();
        add_interface(&mut out, &options);
        written(out)
    });
    Ok(text(looked.await?))
}

/// `GET /metrics/per-object`: queues one by one, of one topic or of as many as there is room for.
pub(super) async fn per_object(State(api): State<Api>, mut call: Call) -> Answer {
    let topic = call.query.text("topic");
    call.query.finish()?;
    let topic = topic
        .map(|name| name.parse::<TopicName>())
        .transpose()
        .map_err(|error| Problem::parameter("topic", format!("{error}")))?;
    let looked = api.broker.look(move |broker| written(broker.queue_metrics(topic.as_ref())?));
    Ok(text(looked.await?))
}

/// Connections and WebSockets.
fn add_interface(out: &mut Exposition, options: &Options) {
    options.door.add(out);
    out.count(&series::SOCKETS, &[], options.open_sockets());
}

fn written(out: Exposition) -> Result<String, BrokerError> {
    out.text().map_err(|error| BrokerError::Fault(error.to_string()))
}

fn text(body: String) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    response
}
