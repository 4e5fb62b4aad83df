//! Sends one notification: resolves the receiver's name, asks the guard, connects to the very address that was checked,
//! posts, and reads a little of the answer.
//!
//! What it does not do: follow redirects, go through a proxy, or keep connections. Notifications are rare.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use crate::model::{Millis, NOTIFICATION_EXCERPT_BYTES_MAX, Timestamp};
use crate::observe::notify::{AllowedNetworks, Outgoing, Refused};

/// How long connecting to one address may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long everything may take, from the name to the answer.
const WHOLE: Duration = Duration::from_secs(15);

/// How long the body of an answer may take. What has come by then is what is shown: the status stands before it.
const BODY: Duration = Duration::from_secs(2);

/// How much of an answer is read.
const ANSWER_BYTES_MAX: usize = 4 << 10;

/// Most addresses of a name that are tried.
const ADDRESSES_MAX: usize = 4;

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// How long the receiver asks to be left alone.
    pub(super) retry_after_ms: Option<Millis>,
    /// The beginning of the body, as text.
    pub(super) excerpt: String,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// The address is none that can be posted to.
    #[error("the URL of this receiver is none that can be posted to; one is https://hooks.example.com/path")]
    Address,
    /// The name resolves to addresses that the guard refuses, and to no others.
    #[error(transparent)]
    Guarded(#[from] Refused),
    /// The name does not resolve.
    #[error("the name {0} cannot be resolved: {1}")]
    Name(String, String),
    /// Nobody listens there, or not in time.
    #[error("cannot connect to {0}: {1}")]
    Connect(SocketAddr, String),
    /// The certificate is not trusted, or something else about TLS.
    #[error("no secure connection to {0}: {1}")]
    Tls(String, std::io::Error),
    /// The connection broke, or what came back is no HTTP.
    #[error("the request failed: {0}")]
    Http(#[from] hyper::Error),
    /// It took too long.
    #[error("no answer within {} s", WHOLE.as_secs())]
    Slow,
}

/// Posts notifications.
pub(super) struct Transport {
    allowed: AllowedNetworks,
    tls: OnceLock<Arc<ClientConfig>>,
}

/// Where a request goes.
struct Target {
    is_secure: bool,
    host: String,
    port: u16,
    host_header: HeaderValue,
    path: Uri,
}

impl Transport {
    pub(super) fn new(allowed: AllowedNetworks) -> Transport {
        Transport { allowed, tls: OnceLock::new() }
    }

    /// Posts. `now` is for a `Retry-After` that names a time.
    pub(super) async fn post(&self, outgoing: Outgoing, now: Timestamp) -> Result<Answer, SendError> {
        timeout(WHOLE, self.post_in_time(outgoing, now)).await.map_err(|_| SendError::Slow)?
    }

    async fn post_in_time(&self, outgoing: Outgoing, now: Timestamp) -> Result<Answer, SendError> {
        let target = Target::read(&outgoing.url)?;
        let request = request(&target, outgoing)?;
        let stream = self.connect(&target).await?;
        if !target.is_secure {
            return exchange(stream, request, now).await;
        }
        let broken = |error| SendError::Tls(target.host.clone(), error);
        let name = ServerName::try_from(target.host.clone());
        let name = name.map_err(|error| broken(std::io::Error::other(error)))?;
        let connector = TlsConnector::from(self.tls().await.map_err(broken)?);
        let stream = connector.connect(name, stream).await.map_err(broken)?;
        exchange(stream, request, now).await
    }

    /// Resolves and connects. Nothing between the check and the connection asks for the name again.
    async fn connect(&self, target: &Target) -> Result<TcpStream, SendError> {
        let unresolved = |error: String| SendError::Name(target.host.clone(), error);
        let found = lookup_host((target.host.as_str(), target.port)).await;
        let found = found.map_err(|error| unresolved(error.to_string()))?;
        let mut failure = unresolved("it has no address".to_owned());
        let mut tried = 0;
        for address in found {
            if let Err(refused) = self.allowed.check(address.ip()) {
                if tried == 0 {
                    failure = refused.into();
                }
                continue;
            }
            if tried == ADDRESSES_MAX {
                break;
            }
            tried += 1;
            match timeout(CONNECT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = SendError::Connect(address, error.to_string()),
                Err(_) => {
                    failure =
                        SendError::Connect(address, format!("no answer within {} s", CONNECT.as_secs()));
                }
            }
        }
        Err(failure)
    }

    /// What is needed for TLS, made when it is needed first: it reads the certificates of the system.
    async fn tls(&self) -> Result<Arc<ClientConfig>, std::io::Error> {
        if let Some(made) = self.tls.get() {
            return Ok(Arc::clone(made));
        }
        let made =
            tokio::task::spawn_blocking(|| trusting(roots())).await.map_err(std::io::Error::other)??;
        Ok(Arc::clone(self.tls.get_or_init(|| made)))
    }
}

/// Those whom the system trusts; on a system without certificates (a small container) those of Mozilla.
fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>, std::io::Error> {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(std::io::Error::other)?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

impl Target {
    fn read(url: &str) -> Result<Target, SendError> {
        // Not the address itself: with some receivers it is the secret.
        let refuse = || SendError::Address;
        let uri: Uri = url.parse().map_err(|_| refuse())?;
        let is_secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(refuse()),
        };
        let authority =
            uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(refuse)?;
        let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
        let port = match port.strip_prefix(':').unwrap_or(port) {
            "" if is_secure => 443,
            "" => 80,
            // Not what the library makes of one that is too large: it would take it for none.
            named => named.parse().map_err(|_| refuse())?,
        };
        let bare = authority.host().trim_start_matches('[').trim_end_matches(']');
        // A literal IPv6 address stands in brackets only in a URL.
        let host = bare.parse::<IpAddr>().map_or_else(|_| bare.to_owned(), |address| address.to_string());
        let host_header = HeaderValue::from_str(authority.as_str()).map_err(|_| refuse())?;
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        // An empty path is sent as `/` (RFC 9112, section 3.2.1), also one before a query.
        let slash = if path.starts_with('/') { "" } else { "/" };
        let path = format!("{slash}{path}").parse().map_err(|_| refuse())?;
        Ok(Target { is_secure, host, port, host_header, path })
    }
}

fn request(target: &Target, outgoing: Outgoing) -> Result<Request<Full<Bytes>>, SendError> {
    let mut request = Request::new(Full::new(Bytes::from(outgoing.body)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.path.clone();
    let headers = request.headers_mut();
    headers.insert(HOST, target.host_header.clone());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let agent = concat!("whimbrel/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    for (name, value) in outgoing.headers {
        let value = HeaderValue::from_str(&value).map_err(|_| SendError::Address)?;
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(request)
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>, now: Timestamp) -> Result<Answer, SendError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Ends with the sender, when this function returns or is given up.
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let retry_after_ms = retry_after(response.headers(), now);
    let excerpt = excerpt(&read_some(response.into_body()).await);
    Ok(Answer { status, retry_after_ms, excerpt })
}

/// The beginning of a body. What breaks off or stalls in the middle of it is still an answer: its status has come.
async fn read_some(mut body: Incoming) -> Vec<u8> {
    let mut read = Vec::new();
    let until = Instant::now() + BODY;
    while read.len() < ANSWER_BYTES_MAX
        && let Ok(Some(Ok(frame))) = timeout_at(until, body.frame()).await
    {
        if let Some(data) = frame.data_ref() {
            let room = ANSWER_BYTES_MAX - read.len();
            read.extend_from_slice(data.get(..room.min(data.len())).unwrap_or_default());
        }
    }
    read
}

/// Text to show: what cannot be shown is replaced, and it ends with a whole character.
fn excerpt(body: &[u8]) -> String {
    let mut text = String::new();
    for sign in String::from_utf8_lossy(body).chars() {
        let shown = if sign.is_control() { ' ' } else { sign };
        if text.len() + shown.len_utf8() > NOTIFICATION_EXCERPT_BYTES_MAX {
            break;
        }
        text.push(shown);
    }
    text.trim().to_owned()
}

/// `Retry-After`: seconds, or a time (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Millis> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_millisecond();
    Some(u64::try_from(at).ok()?.saturating_sub(now.0))
}

#[cfg(test)]
mod tests;
