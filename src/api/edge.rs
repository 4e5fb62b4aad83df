//! The one layer around all routes: Host and Origin, request id, problem bodies, `nosniff`. Hand-written, because it
//! runs for every request: no task, box or lock. A handler that panics is caught, and when somebody listens, requests
//! are told to the log ([`TraceLayer`]).

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use futures_util::FutureExt;
use tower_http::trace::TraceLayer;
use tracing::{Level, Span};

use std::sync::Arc;

use super::browser::{self, Verdict};
use super::extract::Caller;
use super::options::Options;
use super::problem::{Code, Problem};
use super::router::Routes;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// All routes behind the layer.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    routes: Routes,
    /// Whether requests are told to the log.
    traced: bool,
    options: Arc<Options>,
    ids: RequestIds,
}

impl Edge {
    /// Puts the layer around `routes`.
    pub(super) fn new(routes: Routes, options: Arc<Options>) -> Edge {
        let traced = tracing::enabled!(target: "whimbrel::http", Level::DEBUG);
        let routes = if traced { routes.layered(traced_router) } else { routes };
        Edge { routes, traced, options, ids: RequestIds::new() }
    }

    /// Answers one request of `caller`.
    pub(super) async fn answer(&self, mut request: Request<Body>, caller: &Caller) -> Response<Body> {
        let id = self.ids.of(request.headers());
        if self.traced {
            request.headers_mut().insert(REQUEST_ID, id.clone());
        }
        let mut allowed = None;
        let mut response = match browser::judge(&self.options, &request) {
            Ok(Verdict::Preflight(response)) => response,
            Err(problem) => problem.into_response(),
            Ok(verdict) => {
                if let Verdict::Allowed(origin) = verdict {
                    allowed = Some(origin);
                }
                // Nothing is shared with the handler but the broker, whose parts outlive a panic or stop the node.
                let answering = AssertUnwindSafe(self.routes.answer(request, caller));
                answering.catch_unwind().await.unwrap_or_else(|_| panicked().into_response())
            }
        };
        if let Some(problem) = response.extensions_mut().remove::<Problem>() {
            if matches!(problem.code, Code::Fault | Code::Internal) {
                let (id, code) = (id.to_str().unwrap_or_default(), problem.code.row().name);
                tracing::error!(target: "whimbrel::http", id, code, detail = problem.detail, "a request failed");
            }
            let body = problem.body(id.to_str().ok());
            *response.body_mut() = Body::from(body);
            response.headers_mut().remove(header::CONTENT_LENGTH);
        }
        let headers = response.headers_mut();
        if let Some(origin) = allowed {
            browser::mark_allowed(headers, origin);
        }
        headers.insert(REQUEST_ID, id);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        response
    }
}

/// Tells every request to the log, under the target `whimbrel::http`.
fn traced_router(router: Router) -> Router {
    let span = |request: &Request<Body>| {
        let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
        let (method, uri) = (request.method(), request.uri());
        let span = tracing::debug_span!(target: "whimbrel::http", "request", %method, %uri, id, otel.kind = "server");
        #[cfg(feature = "otlp")]
        adopt(&span, request.headers());
        span
    };
    let answered = |response: &Response<Body>, took: Duration, _: &Span| {
        tracing::debug!(target: "whimbrel::http", status = response.status().as_u16(), ?took, "answered");
    };
    router.layer(
        TraceLayer::new_for_http().make_span_with(span).on_request(()).on_response(answered).on_failure(()),
    )
}

/// Makes the span part of the trace that the caller names (W3C `traceparent`), if it does.
#[cfg(feature = "otlp")]
fn adopt(span: &Span, headers: &HeaderMap) {
    use tracing_opentelemetry::OpenTelemetrySpanExt;
    let caller = opentelemetry_http::HeaderExtractor(headers);
    let parent = opentelemetry::global::get_text_map_propagator(|propagator| propagator.extract(&caller));
    // Refused only when nobody gathers spans.
    let _ = span.set_parent(parent);
}

/// The answer of a handler that panicked. The panic itself is in the log already.
fn panicked() -> Problem {
    Problem::new(Code::Internal, "handling this request failed; the broker's log says where")
}

/// Request ids: the caller's own when it is sane, else a UUID of version 7 (RFC 9562).
#[derive(Clone, Debug)]
struct RequestIds {
    /// Wall clock when the process started, in milliseconds; later times follow from the monotonic clock.
    base_ms: u64,
    started: Instant,
}

impl RequestIds {
    fn new() -> RequestIds {
        let (seconds, nanos) = uuid::Uuid::now_v7().get_timestamp().map_or((0, 0), |time| time.to_unix());
        RequestIds { base_ms: seconds * 1_000 + u64::from(nanos / 1_000_000), started: Instant::now() }
    }

    fn of(&self, headers: &HeaderMap) -> HeaderValue {
        match headers.get(REQUEST_ID) {
            Some(given) if is_sane(given.as_bytes()) => given.clone(),
            _ => self.make(),
        }
    }

    fn make(&self) -> HeaderValue {
        let since = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(0);
        let random: [u8; 10] = rand::random();
        let uuid = uuid::Builder::from_unix_timestamp_millis(self.base_ms + since, &random).into_uuid();
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        uuid.hyphenated().encode_lower(&mut text);
        HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&text)).unwrap_or(HeaderValue::from_static("-"))
    }
}

/// 1 to 128 visible ASCII characters.
fn is_sane(id: &[u8]) -> bool {
    (1..=128).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_handler_that_panics_is_a_problem_of_its_request_alone() {
        let broken = async || -> &'static str { panic!("a test of panics") };
        let router = Router::new().route("/", axum::routing::get(broken));
        let caller = Caller { peer: Arc::from("somebody") };
        for router in [router.clone(), traced_router(router)] {
            let edge = Edge::new(router.into(), Arc::new(Options::default()));
            let request = Request::get("/").header("host", "localhost").body(Body::empty()).unwrap();
            let answer = edge.answer(request, &caller).await;
            assert_eq!(answer.status(), 500);
            let id = answer.headers()[REQUEST_ID].to_str().unwrap().to_owned();
            let body = axum::body::to_bytes(answer.into_body(), 10_000).await.unwrap();
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((&problem["code"], &problem["request_id"]), (&"internal".into(), &id.into()));
        }
    }

    #[test]
    fn sane_request_ids_are_kept_and_others_replaced() {
        let ids = RequestIds::new();
        let of = |id: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(id).unwrap());
            ids.of(&headers)
        };
        assert_eq!(of(b"abc-1"), "abc-1");
        for bad in [&b""[..], b"a b", &[b'x'; 129], b"\xff"] {
            let made = of(bad);
            let uuid: uuid::Uuid = made.to_str().unwrap().parse().unwrap();
            assert_eq!(uuid.get_version_num(), 7);
        }
        assert_ne!(ids.make(), ids.make());
    }
}
