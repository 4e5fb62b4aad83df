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
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use crate::model::{Millis, NOTIFICATION_EXCERPT_BYTES_MAX, Timestamp};
use crate::observe::notify::{AllowedNetworks, Outgoing, Refused};

/// How long connecting to one address may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long everything may take, from the name to the answer.
const WHOLE: Duration = Duration::from_secs(15);

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
        let made = tokio::task::spawn_blocking(client_config).await.map_err(std::io::Error::other)??;
        Ok(Arc::clone(self.tls.get_or_init(|| made)))
    }
}

/// Trusts whom the system trusts; a system without certificates (a small container) those of Mozilla.
fn client_config() -> Result<Arc<ClientConfig>, std::io::Error> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
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
        let port = authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let bare = authority.host().trim_start_matches('[').trim_end_matches(']');
        // A literal IPv6 address stands in brackets only in a URL.
        let host = bare.parse::<IpAddr>().map_or_else(|_| bare.to_owned(), |address| address.to_string());
        let host_header = HeaderValue::from_str(authority.as_str()).map_err(|_| refuse())?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).parse().map_err(|_| refuse())?;
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

/// The beginning of a body. What breaks off in the middle of it is still an answer: its status has come.
async fn read_some(mut body: Incoming) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() < ANSWER_BYTES_MAX
        && let Some(Ok(frame)) = body.frame().await
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
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    fn allowing(networks: &[&str]) -> Transport {
        let networks: Vec<_> = networks.iter().map(|text| text.parse().unwrap()).collect();
        Transport::new(networks.into())
    }

    fn outgoing(url: String) -> Outgoing {
        Outgoing { url, headers: vec![("webhook-id", "n-1".to_owned())], body: b"{}".to_vec() }
    }

    /// A receiver that answers once, and hands back what it read.
    fn receiver(answer: &'static str) -> (u16, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut read = Vec::new();
            let mut buffer = [0; 1_024];
            while !read.ends_with(b"{}") {
                let count = stream.read(&mut buffer).unwrap();
                assert!(count > 0, "the request ends with its body");
                read.extend_from_slice(&buffer[..count]);
            }
            // Whoever asked may have read enough before this is all written.
            let _ = stream.write_all(answer.as_bytes());
            String::from_utf8(read).unwrap()
        });
        (port, thread)
    }

    #[tokio::test]
    async fn a_post_carries_what_it_is_told_and_brings_back_the_answer() {
        let answer = "HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nContent-Length: 8\r\n\r\nslow\ndo\u{7}";
        let (port, thread) = receiver(answer);
        let url = format!("http://127.0.0.1:{port}/hook?key=1");
        let found = allowing(&["127.0.0.1"]).post(outgoing(url), Timestamp(0)).await.unwrap();
        let expected = Answer { status: 429, retry_after_ms: Some(7_000), excerpt: "slow do".to_owned() };
        assert_eq!(found, expected);
        let request = thread.join().unwrap().to_ascii_lowercase();
        for line in [
            "post /hook?key=1 http/1.1\r\n",
            &format!("\r\nhost: 127.0.0.1:{port}\r\n"),
            "\r\ncontent-type: application/json\r\n",
            "\r\nwebhook-id: n-1\r\n",
            "\r\ncontent-length: 2\r\n",
        ] {
            assert!(request.contains(line), "{line:?} is not in {request}");
        }
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_is_not_followed() {
        let (port, thread) =
            receiver("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
        let url = format!("http://127.0.0.1:{port}/");
        assert_eq!(allowing(&["127.0.0.1"]).post(outgoing(url), Timestamp(0)).await.unwrap().status, 302);
        thread.join().unwrap();
    }

    #[tokio::test]
    async fn a_long_answer_is_not_read_to_its_end() {
        let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n{}", "ä".repeat(40_000));
        let (port, thread) = receiver(Box::leak(long.into_boxed_str()));
        let url = format!("http://127.0.0.1:{port}/");
        let found = allowing(&["127.0.0.0/8"]).post(outgoing(url), Timestamp(0)).await.unwrap();
        assert_eq!((found.status, found.excerpt), (200, "ä".repeat(NOTIFICATION_EXCERPT_BYTES_MAX / 2)));
        thread.join().unwrap();
    }

    /// Each is a way to write this host, some of them only understood by the system's resolver.
    #[tokio::test]
    async fn nothing_is_sent_to_this_host_however_it_is_written() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let guard = allowing(&["10.0.0.0/8"]);
        for host in [
            "127.0.0.1",
            "localhost",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "0.0.0.0",
            "127.1",
            "2130706433",
            "0x7f.1",
        ] {
            let url = format!("http://{host}:{port}/");
            match guard.post(outgoing(url), Timestamp(0)).await {
                Err(SendError::Guarded(refused)) => {
                    assert!(refused.to_string().contains("--webhook-allow"), "{host}");
                }
                // A resolver that does not know the spelling is as good.
                Err(SendError::Name(..)) if host.starts_with(['2', '0']) || host == "127.1" => {}
                other => panic!("{host}: {other:?}"),
            }
        }
        let nobody = listener.accept().map(|_| ()).unwrap_err();
        assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock, "nobody connected");
    }

    #[tokio::test]
    async fn what_cannot_be_posted_to_is_said_without_the_address() {
        let guard = allowing(&[]);
        for url in
            ["", "hooks.example.com", "ftp://a.example/", "https://", "http://user:geheim@1.1.1.1/", "/path"]
        {
            let error = guard.post(outgoing(url.to_owned()), Timestamp(0)).await.unwrap_err();
            assert!(matches!(error, SendError::Address), "{url}: {error}");
            assert!(!error.to_string().contains("geheim"));
        }
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = allowing(&["127.0.0.1"]).post(outgoing(format!("http://{closed}/")), Timestamp(0)).await;
        assert!(matches!(error, Err(SendError::Connect(to, _)) if to == closed), "{error:?}");
    }

    #[test]
    fn retry_after_is_seconds_or_a_time() {
        let read = |text: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
            retry_after(&headers, Timestamp(784_111_777_000 - 5_000))
        };
        assert_eq!(read("120"), Some(120_000));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(5_000));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:00 GMT"), Some(0), "long ago");
        assert_eq!((read("soon"), read("-1")), (None, None));
        assert_eq!(read("99999999999999999999"), None);
        assert_eq!(retry_after(&HeaderMap::new(), Timestamp(0)), None);
    }
}
