use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::error::CliError;
use super::problem::Problem;

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
}

impl Call {
    /// A `POST` with a body and no further header.
    #[must_use]
    pub fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Call {
        let (path, body) = (path.into(), body.into());
        Call { method: Method::POST, path, headers: HeaderMap::new(), body, wait: Duration::ZERO }
    }

    /// The same call with one header more.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Call {
        self.headers.append(name, value);
        self
    }
}

/// A successful answer (2xx).
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// [`CliError::Failed`] when it is not JSON of this shape.
    pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, CliError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| CliError::Failed(format!("the answer is not what a broker gives: {error}")))
    }
}

/// One kept-alive connection to one broker; connects when first used and again after the broker closed it.
#[derive(Debug)]
pub struct Client {
    url: BaseUrl,
    timeout: Duration,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// A client that has not connected yet. `timeout` bounds connecting and every answer.
    #[must_use]
    pub fn new(url: BaseUrl, timeout: Duration) -> Client {
        Client { url, timeout, sender: None }
    }

    /// Sends one request and reads its whole answer. Never sends a request twice.
    ///
    /// # Errors
    /// [`CliError::Unreachable`] when nothing was sent; [`CliError::Refused`] for an answer that is not 2xx;
    /// [`CliError::TimedOut`] and [`CliError::Failed`] when the outcome is not known.
    pub async fn send(&mut self, call: Call) -> Result<Answer, CliError> {
        let what = format!("{} {}", call.method, call.path);
        let limit = self.timeout.saturating_add(call.wait);
        let mut sender = self.connection().await?;
        let request = self.request(call)?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|error| broken(&what, &error))?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body =
                body.map_err(|error| CliError::Failed(format!("reading the answer to {what}: {error}")))?;
            Ok::<_, CliError>((status, body.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(limit, exchange)
            .await
            .map_err(|_| CliError::TimedOut { what: what.clone(), waited: limit })??;
        // Only a connection whose last answer was read to its end is used again.
        self.sender = Some(sender);
        if (200..300).contains(&status) {
            return Ok(Answer { status, body });
        }
        Err(CliError::Refused(Box::new(Problem::read(status, &body))))
    }

    fn request(&self, call: Call) -> Result<Request<Full<Bytes>>, CliError> {
        let unusable =
            |error: &dyn fmt::Display| CliError::Usage(format!("cannot make a request of this: {error}"));
        let host = HeaderValue::from_str(self.url.authority()).map_err(|error| unusable(&error))?;
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
        let unreachable = |reason: String| CliError::Unreachable { url: self.url.to_string(), reason };
        let connecting = async {
            let stream = TcpStream::connect(self.url.authority()).await.map_err(|error| error.to_string())?;
            stream.set_nodelay(true).map_err(|error| error.to_string())?;
            handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())
        };
        let (sender, connection) = tokio::time::timeout(self.timeout, connecting)
            .await
            .map_err(|_| unreachable("connecting took too long".to_owned()))?
            .map_err(unreachable)?;
        // The task ends with the connection; its error also reaches the request that is under way.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(sender)
    }
}

fn broken(what: &str, error: &hyper::Error) -> CliError {
    CliError::Failed(format!("the connection broke during {what}: {error}; it may or may not have been done"))
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
    fn local_is_known_by_the_address() {
        let local = |text: &str| text.parse::<BaseUrl>().unwrap().is_local();
        assert!(local("http://127.0.0.1:1") && local("http://localhost:1") && local("http://[::1]:1"));
        assert!(!local("http://10.0.0.1:1") && !local("http://example.org"));
    }
}
