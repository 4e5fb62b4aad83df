//! The node about itself: alive, ready, limits, version, the contract, the pages behind problem types.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::extract::{Answer, Call, json};
use super::json_out::Json;
use super::options::{Api, Options};
use super::problem::{Code, Problem};
use crate::model;

/// `GET /livez`: the process answers. Never depends on disk or peers.
pub(super) async fn live(call: Call) -> Answer {
    call.query.finish()?;
    Ok(text("ok\n".to_owned()))
}

/// `GET /readyz`: whether work is taken; with `?verbose` every check.
pub(super) async fn ready(State(api): State<Api>, mut call: Call) -> Answer {
    let verbose = match call.query.text("verbose").as_deref() {
        None | Some("false") => false,
        Some("" | "true") => true,
        Some(_) => return Err(Problem::parameter("verbose", "takes no value")),
    };
    call.query.finish()?;
    let readiness = api.broker.readiness();
    let draining = api.options.draining.is_cancelled();
    let ready = readiness.ready && !draining;
    let mut out = Json::with_capacity(512);
    out.open();
    out.key("ready");
    out.truth(ready);
    if verbose {
        out.key("checks");
        out.open_list();
        for (name, passed, found) in &readiness.checks {
            // The broker below does not know that the interface takes no more requests.
            let drains = draining && *name == "serving";
            out.open();
            out.text_field("name", name);
            out.key("passed");
            out.truth(*passed && !drains);
            out.text_field("found", if drains { "draining" } else { found });
            out.close();
        }
        out.close_list();
        write_node(&mut out, &api);
    }
    out.close();
    let mut response = json(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, out);
    if !ready {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(response)
}

fn write_node(out: &mut Json, api: &Api) {
    let node = api.broker.node();
    out.key("node");
    out.open();
    out.number_field("node_id", node.node_id);
    out.text_field("cluster_id", &node.cluster_id);
    out.number_field("term", node.term);
    out.key("leader");
    out.truth(node.leader);
    out.number_field("applied", node.applied);
    out.number_field("last", node.last);
    out.number_field("indexed", node.indexed);
    out.number_field("log_bytes", node.log_bytes);
    out.key("log_time");
    out.plain(node.log_time);
    out.key("started_at");
    out.plain(node.started_at);
    out.close();
}

/// `GET /v1/version`
pub(super) async fn version(State(api): State<Api>, call: Call) -> Answer {
    call.query.finish()?;
    let node = api.broker.node();
    let mut out = Json::with_capacity(128);
    out.open();
    out.text_field("name", env!("CARGO_PKG_NAME"));
    out.text_field("version", env!("CARGO_PKG_VERSION"));
    out.number_field("node_id", node.node_id);
    out.text_field("cluster_id", &node.cluster_id);
    out.close();
    Ok(json(StatusCode::OK, out))
}

/// `GET /v1/limits`
pub(super) async fn limits(State(api): State<Api>, call: Call) -> Answer {
    call.query.finish()?;
    let mut out = Json::with_capacity(1_024);
    write_limits(&mut out, &api);
    Ok(json(StatusCode::OK, out))
}

/// The limits of looking at what is there, without changing it.
fn limits_of_looking(options: &Options) -> impl Iterator<Item = (&'static str, u64)> {
    let count = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    [
        ("trace_bytes_max", model::TRACE_BYTES_MAX),
        ("trace_ms_max", model::TRACE_MS_MAX),
        ("trace_groups_max", count(model::TRACE_GROUPS_MAX)),
        ("search_entries_max", model::SEARCH_ENTRIES_MAX),
        ("search_bytes_max", model::SEARCH_BYTES_MAX),
        ("search_ms_max", model::SEARCH_MS_MAX),
        ("search_damaged_max", count(model::SEARCH_DAMAGED_MAX)),
        ("contains_bytes_max", count(model::CONTAINS_BYTES_MAX)),
        ("tails_max", count(model::TAILS_MAX)),
        ("tail_for_ms_max", super::tail::longest_ms(options)),
        ("dry_run_reads_max", count(model::DRY_RUN_READS_MAX)),
        ("exports_max", count(model::EXPORTS_MAX)),
        ("alert_previews_max", count(model::ALERT_PREVIEWS_MAX)),
        ("metrics_topics_max", count(model::METRICS_TOPICS_MAX)),
        ("metrics_subscriptions_max", count(model::METRICS_SUBSCRIPTIONS_MAX)),
        ("metrics_groups_max", count(model::METRICS_GROUPS_MAX)),
        ("metrics_queue_samples_max", count(model::METRICS_QUEUE_SAMPLES_MAX)),
        ("history_topics_max", count(model::HISTORY_TOPICS_MAX)),
        ("history_groups_max", count(model::HISTORY_GROUPS_MAX)),
    ]
    .into_iter()
}

/// Writes every hard limit, named with its unit.
pub(crate) fn write_limits(out: &mut Json, api: &Api) {
    let count = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    let max_wait_ms = u64::try_from(api.options.max_wait.as_millis()).unwrap_or(u64::MAX);
    let limits = [
        ("name_bytes_max", count(model::NAME_BYTES_MAX)),
        ("body_bytes_max", count(model::BODY_BYTES_MAX)),
        ("batch_messages_max", count(model::BATCH_MESSAGES_MAX)),
        ("batch_bytes_max", count(model::BATCH_BYTES_MAX)),
        ("json_bytes_max", count(model::JSON_BYTES_MAX)),
        ("properties_max", count(model::PROPERTIES_MAX)),
        ("properties_bytes_max", count(model::PROPERTIES_BYTES_MAX)),
        ("tag_bytes_max", count(model::TAG_BYTES_MAX)),
        ("keys_max", count(model::KEYS_MAX)),
        ("key_bytes_max", count(model::KEY_BYTES_MAX)),
        ("ordering_key_bytes_max", count(model::ORDERING_KEY_BYTES_MAX)),
        ("idempotency_key_bytes_max", count(model::IDEMPOTENCY_KEY_BYTES_MAX)),
        ("idempotency_keys_max", count(api.options.idempotency_keys_max)),
        ("idempotency_window_ms_max", model::IDEMPOTENCY_WINDOW_MS_MAX),
        ("delay_ms_max", model::DELAY_MS_MAX),
        ("ttl_ms_max", model::TTL_MS_MAX),
        ("lease_ms_min", model::LEASE_MS_MIN),
        ("lease_ms_max", model::LEASE_MS_MAX),
        ("attempts_max", model::ATTEMPTS_MAX.into()),
        ("retry_ms_max", model::RETRY_MS_MAX),
        ("topics_max", count(model::TOPICS_MAX)),
        ("groups_max", count(model::GROUPS_MAX)),
        ("queues_max", model::QUEUES_MAX.into()),
        ("filter_bytes_max", count(model::FILTER_BYTES_MAX)),
        ("filter_tags_max", count(model::FILTER_TAGS_MAX)),
        ("filter_terms_max", count(model::FILTER_TERMS_MAX)),
        ("filter_depth_max", count(model::FILTER_DEPTH_MAX)),
        ("filter_list_max", count(model::FILTER_LIST_MAX)),
        ("in_flight_max", model::IN_FLIGHT_MAX.into()),
        ("receive_messages_max", model::RECEIVE_MESSAGES_MAX.into()),
        ("receive_bytes_max", model::RECEIVE_BYTES_MAX),
        ("wait_ms_max", model::WAIT_MS_MAX.min(max_wait_ms)),
        ("settle_max", count(model::SETTLE_MAX)),
        ("reason_bytes_max", count(model::REASON_BYTES_MAX)),
        ("clients_max", count(model::CLIENTS_MAX)),
        ("waiters_max", count(model::WAITERS_MAX)),
        ("sockets_max", count(api.options.max_sockets)),
        ("held_max", count(model::HELD_MAX)),
        ("jobs_max", count(model::JOBS_MAX)),
        ("jobs_running_max", count(model::JOBS_RUNNING_MAX)),
        ("redrive_rate_max", model::REDRIVE_RATE_MAX.into()),
    ];
    out.open();
    for (name, value) in limits.into_iter().chain(limits_of_looking(&api.options)) {
        out.number_field(name, value);
    }
    out.number_field("connections_max", count(api.options.max_connections));
    out.close();
}

/// `GET /openapi.yaml`: the contract, word for word.
pub(super) async fn contract(call: Call) -> Answer {
    call.query.finish()?;
    let mut response = include_str!("../../openapi.yaml").into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/yaml"));
    Ok(response)
}

/// `GET /problems/{code}`: what the link in a problem's `type` leads to; a page in a browser, else plain text.
pub(super) async fn problem_page(State(api): State<Api>, call: Call, headers: HeaderMap) -> Answer {
    let code = Code::named(call.text("code"));
    call.query.finish()?;
    let Some(code) = code else {
        return Err(Problem::new(Code::NotFound, "there is no problem of this name"));
    };
    let row = code.row();
    let mut response =
        if wants_html(&headers) { (api.options.pages.problem)(&row) } else { text(row.text()) };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

/// `GET /docs`: the contract as a page.
pub(super) async fn docs(State(api): State<Api>, call: Call) -> Answer {
    call.query.finish()?;
    Ok((api.options.pages.docs)())
}

/// Browsers name HTML; clients of the interface name nothing, anything or JSON.
fn wants_html(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(header::ACCEPT).iter();
    let mut ranges = accept.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    ranges.any(|range| {
        let media_type = range.split(|byte| *byte == b';').next().unwrap_or_default();
        media_type.trim_ascii().eq_ignore_ascii_case(b"text/html")
    })
}

fn text(body: String) -> Response {
    body.into_response()
}
