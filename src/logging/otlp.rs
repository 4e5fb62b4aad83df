//! Spans of requests, sent to a collector: OTLP over HTTP, as protobuf.
//!
//! Switched on by the variables that OpenTelemetry specifies: `OTEL_EXPORTER_OTLP_ENDPOINT`, or the one for traces
//! alone. A collector is on the host or in the network that is trusted anyway: `http://` only. What it cannot take in
//! time is dropped, and never held up for: a queue of fixed length lies in between.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use opentelemetry::KeyValue;
use opentelemetry::global;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

/// The variables that switch it on.
const SWITCHES: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];

/// Most bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// How long a stop waits until what was gathered is sent.
const FAREWELL: Duration = Duration::from_secs(3);

/// Sends what is left when it is dropped.
pub(super) struct Sending(SdkTracerProvider);

impl Drop for Sending {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(FAREWELL) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// The layer that gathers spans, and what sends them; none when nobody said where to.
pub(super) fn layer<S>() -> Option<(impl Layer<S>, Sending)>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    if SWITCHES.iter().all(|name| std::env::var_os(name).is_none()) {
        return None;
    }
    let client = Client(Handle::try_current().ok()?);
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .build();
    let exporter = match exporter {
        Ok(exporter) => exporter,
        Err(error) => {
            eprintln!("whimbrel: spans are not sent: {error}");
            return None;
        }
    };
    let about = Resource::builder()
        .with_service_name("whimbrel")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(about).build();
    global::set_text_map_propagator(TraceContextPropagator::new());
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("whimbrel"));
    let wanted = Targets::new().with_target("whimbrel::http", Level::DEBUG);
    Some((spans.with_filter(wanted), Sending(provider)))
}

/// Sends one request on a connection of its own: a batch every few seconds needs no pool. The exporter has a thread of
/// its own, the connection belongs to the runtime.
#[derive(Debug)]
struct Client(Handle);

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.0.spawn(send(request)).await?
    }
}

async fn send(request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let (mut head, body) = request.into_parts();
    let host = head.uri.host().unwrap_or_default().to_owned();
    if head.uri.scheme_str() != Some("http") || host.is_empty() {
        return Err("the endpoint of a collector begins with http://".into());
    }
    let port = head.uri.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    head.headers.insert(header::HOST, format!("{host}:{port}").parse()?);
    head.uri = head.uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
    let answer = sender.send_request(Request::from_parts(head, Full::new(body))).await?;
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
    Ok(Response::from_parts(head, body))
}
