use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::error::CliError;
use super::problem::Problem;

/// Answers of any length.
mod download;
/// Answers that go on and on.
mod stream;

pub(crate) use stream::Stream;

/// Largest answer that is read: a full receive of 16 MiB in base64 with its JSON around it.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// `http://host:port`, nothing more: no path, no user, no TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// Host as written (an IPv6 address keeps its brackets) and port; also the `Host` header.
    authority: String,
}

impl BaseUrl {
    /// Host and port, as `TcpStream::connect` and the `Host` header take them.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether the broker runs on this host, as far as the address tells.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let host = self.authority.rsplit_once(':').map_or(self.authority.as_str(), |(host, _)| host);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "http://{}", self.authority)
    }
}

impl FromStr for BaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<BaseUrl, String> {
        let refuse = |why: &str| format!("{why}; expected http://HOST:PORT such as http://127.0.0.1:8080");
        if text.starts_with("https://") {
            return Err(refuse("https is not spoken by this command"));
        }
        let rest = text.strip_prefix("http://").ok_or_else(|| refuse("no http:// in front"))?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        if authority.is_empty() || !authority.bytes().all(plain) {
            return Err(refuse("a host and a port are allowed, nothing else"));
        }
        let port_follows = authority.rsplit_once(':').is_some_and(|(host, port)| {
            let whole_host = host.ends_with(']') || !host.starts_with('[');
            whole_host && !host.is_empty() && port.parse::<u16>().is_ok()
        });
        let authority = if port_follows { authority.to_owned() } else { format!("{authority}:80") };
        Ok(BaseUrl { authority })
    }
}

/// The addresses of one broker, or of the nodes of one cluster, in the order they are tried. At least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrls(Vec<BaseUrl>);

impl BaseUrls {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[BaseUrl] {
        &self.0
    }
}

impl From<BaseUrl> for BaseUrls {
    fn from(url: BaseUrl) -> BaseUrls {
        BaseUrls(vec![url])
    }
}

/// Addresses with commas between them.
impl FromStr for BaseUrls {
    type Err = String;

    fn from_str(text: &str) -> Result<BaseUrls, String> {
        text.split(',').map(|url| url.trim().parse()).collect::<Result<_, _>>().map(BaseUrls)
    }
}

impl fmt::Display for BaseUrls {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        out.write_str(&texts.join(", "))
    }
}

/// One request. The path starts with `/` and is already escaped.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Headers beyond `Host` and `Content-Length`.
    pub headers: HeaderMap,
    /// The body, possibly empty.
    pub body: Bytes,
    /// How long the broker may hold the request on purpose (a long poll); added to the timeout.
    pub wait: Duration,
    /// Whether doing it twice is the same as doing it once, so that it may be sent again when its outcome is unknown.
    pub repeatable: bool,
}

impl Call {
    /// A `POST` with a body and no further header. Not repeatable unless the caller says so.
    #[must_use]
    pub fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Call {
        let (path, body) = (path.into(), body.into());
        let headers = HeaderMap::new();
        Call { method: Method::POST, path, headers, body, wait: Duration::ZERO, repeatable: false }
    }

    /// A `GET`.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Call {
        Call { method: Method::GET, repeatable: true, ..Call::post(path, "") }
    }

    /// A `PUT` of settings.
    #[must_use]
    pub fn put(path: impl Into<String>, body: impl Into<Bytes>) -> Call {
        Call { method: Method::PUT, ..Call::post(path, body) }
    }

    /// A `DELETE`.
    #[must_use]
    pub fn delete(path: impl Into<String>) -> Call {
        Call { method: Method::DELETE, ..Call::post(path, "") }
    }

    /// The same call, which may be sent again when its outcome is unknown.
    #[must_use]
    pub fn repeatable(mut self) -> Call {
        self.repeatable = true;
        self
    }

    /// The same call with one header more.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Call {
        self.headers.append(name, value);
        self
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    ///
    /// # Errors
    /// [`CliError::Failed`] when it is not UTF-8.
    pub fn text(&self) -> Result<&str, CliError> {
        std::str::from_utf8(&self.body).map_err(CliError::odd)
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`CliError::Failed`] when it is not JSON of this shape.
    pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, CliError> {
        serde_json::from_slice(&self.body).map_err(CliError::odd)
    }
}

/// Longest time to connect to one of several addresses: a dead one must not hide the next.
const CONNECT_ONE_OF_SEVERAL: Duration = Duration::from_secs(5);

/// One kept-alive connection to one broker; connects when first used and again after the broker closed it. Of several
/// addresses it keeps to the one that answered, and goes on to the next when that cannot be reached any more.
#[derive(Debug)]
pub struct Client {
    urls: Vec<BaseUrl>,
    timeout: Duration,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// A client that has not connected yet. `timeout` bounds connecting and every answer.
    #[must_use]
    pub fn new(urls: BaseUrls, timeout: Duration) -> Client {
        Client { urls: urls.0, timeout, sender: None }
    }

    /// Goes on to the next address, if there are several, with the next request.
    pub fn try_next_address(&mut self) {
        if self.urls.len() > 1 {
            self.sender = None;
            self.urls.rotate_left(1);
        }
    }

    /// Sends one request and reads its whole answer. Never sends a request twice; [`super::retry::send`] does that.
    ///
    /// # Errors
    /// [`CliError::Refused`] for an answer that is not 2xx; otherwise as [`Client::exchange`].
    pub async fn send(&mut self, call: Call) -> Result<Answer, CliError> {
        let answer = self.exchange(call).await?;
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        let mut problem = Problem::read(answer.status, &answer.body);
        problem.retry_after = retry_after(&answer.headers);
        Err(CliError::Refused(Box::new(problem)))
    }

    /// Sends one request and reads its whole answer, whatever its status.
    ///
    /// # Errors
    /// [`CliError::Unreachable`] when nothing was sent; [`CliError::TimedOut`] and [`CliError::Broken`] when the
    /// outcome is not known.
    pub async fn exchange(&mut self, call: Call) -> Result<Answer, CliError> {
        let what = format!("{} {}", call.method, call.path);
        let limit = self.timeout.saturating_add(call.wait);
        let mut sender = self.connection().await?;
        let request = self.request(call)?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|error| self.lost(&what, &error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body
                .map_err(|error| CliError::Broken { what: what.clone(), reason: error.to_string() })?
                .to_bytes();
            Ok::<_, CliError>(Answer { status: head.status.as_u16(), headers: head.headers, body })
        };
        let answer = tokio::time::timeout(limit, exchange)
            .await
            .map_err(|_| CliError::TimedOut { what: what.clone(), waited: limit })??;
        // Only a connection whose last answer was read to its end is used again.
        self.sender = Some(sender);
        Ok(answer)
    }

    /// Sends one request and hands its answer on piece by piece, however long it is. The timeout bounds each piece.
    ///
    /// # Errors
    /// As [`Client::send`], and what `take` says; what was handed on stays so.
    pub(crate) async fn stream(
        &mut self,
        call: Call,
        mut take: impl FnMut(&[u8]) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let what = format!("{} {}", call.method, call.path);
        let limit = self.timeout.saturating_add(call.wait);
        let late = || CliError::TimedOut { what: what.clone(), waited: limit };
        let mut sender = self.connection().await?;
        let request = self.request(call)?;
        let answered = tokio::time::timeout(limit, sender.send_request(request)).await;
        let response = answered.map_err(|_| late())?.map_err(|error| self.lost(&what, &error))?;
        let (head, mut body) = response.into_parts();
        let broken = |error: hyper::Error| CliError::Broken { what: what.clone(), reason: error.to_string() };
        let mut refusal = Vec::new();
        while let Some(frame) = tokio::time::timeout(limit, body.frame()).await.map_err(|_| late())? {
            let Ok(piece) = frame.map_err(broken)?.into_data() else { continue };
            if head.status.is_success() {
                take(&piece)?;
            } else if refusal.len() < ANSWER_BYTES_MAX {
                refusal.extend_from_slice(&piece);
            }
        }
        self.sender = Some(sender);
        if head.status.is_success() {
            return Ok(());
        }
        let mut problem = Problem::read(head.status.as_u16(), &Bytes::from(refusal));
        problem.retry_after = retry_after(&head.headers);
        Err(CliError::Refused(Box::new(problem)))
    }

    /// The address that the next request goes to first.
    fn url(&self) -> Option<&BaseUrl> {
        self.urls.first()
    }

    /// A connection that ended with a request on it. Whether the request had left is all that counts.
    fn lost(&self, what: &str, error: &hyper::Error) -> CliError {
        if error.is_canceled() {
            let url = self.url().map(ToString::to_string).unwrap_or_default();
            let reason = "the connection was closed before anything was sent".to_owned();
            return CliError::Unreachable { url, reason };
        }
        CliError::Broken { what: what.to_owned(), reason: error.to_string() }
    }

    fn request(&self, call: Call) -> Result<Request<Full<Bytes>>, CliError> {
        let unusable =
            |error: &dyn fmt::Display| CliError::Usage(format!("cannot make a request of this: {error}"));
        let authority = self.url().map_or("", BaseUrl::authority);
        let host = HeaderValue::from_str(authority).map_err(|error| unusable(&error))?;
        let mut request = Request::builder()
            .method(call.method)
            .uri(call.path)
            .body(Full::new(call.body))
            .map_err(|error| unusable(&error))?;
        *request.headers_mut() = call.headers;
        request.headers_mut().insert(HOST, host);
        Ok(request)
    }

    async fn connection(&mut self) -> Result<SendRequest<Full<Bytes>>, CliError> {
        if let Some(mut sender) = self.sender.take()
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let mut reasons: Vec<(String, String)> = Vec::new();
        for _ in 0..self.urls.len() {
            let Some(url) = self.url().cloned() else { break };
            match self.connect(&url).await {
                Ok(sender) => return Ok(sender),
                Err(reason) => reasons.push((url.to_string(), reason)),
            }
            self.try_next_address();
        }
        Err(unreachable(reasons))
    }

    async fn connect(&self, url: &BaseUrl) -> Result<SendRequest<Full<Bytes>>, String> {
        let several = self.urls.len() > 1;
        let limit = if several { self.timeout.min(CONNECT_ONE_OF_SEVERAL) } else { self.timeout };
        let connecting = async {
            let stream = TcpStream::connect(url.authority()).await.map_err(|error| error.to_string())?;
            stream.set_nodelay(true).map_err(|error| error.to_string())?;
            handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())
        };
        let (sender, connection) = tokio::time::timeout(limit, connecting)
            .await
            .map_err(|_| "connecting took too long".to_owned())??;
        // The task ends with the connection; its error also reaches the request that is under way.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(sender)
    }
}

/// One address: its reason alone. Several: each with its own.
fn unreachable(mut reasons: Vec<(String, String)>) -> CliError {
    if reasons.len() == 1
        && let Some((url, reason)) = reasons.pop()
    {
        return CliError::Unreachable { url, reason };
    }
    let urls: Vec<&str> = reasons.iter().map(|(url, _)| url.as_str()).collect();
    let url = urls.join(" or ");
    let reasons: Vec<String> = reasons.iter().map(|(url, reason)| format!("{url}: {reason}")).collect();
    CliError::Unreachable { url, reason: reasons.join("; ") }
}

/// `Retry-After` in its form of whole seconds (RFC 9110, section 10.2.3); the broker never sends a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_addresses_are_taken() {
        for (text, authority) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://127.0.0.1:8080/", "127.0.0.1:8080"),
            ("http://broker", "broker:80"),
            ("http://[::1]:9", "[::1]:9"),
            ("http://[::1]", "[::1]:80"),
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap().authority(), authority);
        }
        for text in ["", "127.0.0.1:8080", "https://a:1", "http://", "http://a/b", "http://u@a", "http://a b"]
        {
            assert!(text.parse::<BaseUrl>().unwrap_err().contains("http://HOST:PORT"), "{text}");
        }
    }

    #[test]
    fn several_addresses_are_read_and_one_bad_one_refuses_them_all() {
        let urls: BaseUrls = "http://a:1, http://b:2".parse().unwrap();
        assert_eq!(urls.to_string(), "http://a:1, http://b:2");
        assert!("http://a:1,".parse::<BaseUrls>().is_err());
    }

    #[test]
    fn local_is_known_by_the_address() {
        let local = |text: &str| text.parse::<BaseUrl>().unwrap().is_local();
        assert!(local("http://127.0.0.1:1") && local("http://localhost:1") && local("http://[::1]:1"));
        assert!(!local("http://10.0.0.1:1") && !local("http://example.org"));
    }
}
