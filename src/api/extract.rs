//! Path, query and body of a request, read strictly before a handler sees them.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::str::FromStr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use hyper::body::Body as _;
use serde::de::DeserializeOwned;

use super::json_in;
use super::json_out::Json;
use super::options::Api;
use super::problem::{Code, Place, Problem};
use super::query::{Query, cursor_at};
use crate::broker::Page;
use crate::model::{CLIENT_BYTES_MAX, JSON_BYTES_MAX};

/// What a handler answers.
pub(super) type Answer = Result<Response, Problem>;

/// Where a request came from. Set by the accept loop.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Address and port of the other end, as text.
    pub(crate) peer: Arc<str>,
}

/// Path and query of a request whose `Mq-` headers are known to be only `Mq-Client`.
#[derive(Debug)]
pub(super) struct Call {
    path: RawPathParams,
    /// The query parameters; the handler takes what it knows and then calls `finish`.
    pub(super) query: Query,
}

impl<S: Send + Sync> FromRequestParts<S> for Call {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Call, Problem> {
        for name in parts.headers.keys().map(|name| name.as_str()) {
            if name.starts_with("mq-") && name != "mq-client" {
                return Err(Problem::header(name, "is not a header of this call"));
            }
        }
        check_client(&parts.headers)?;
        FreeCall::from_request_parts(parts, state).await.map(|FreeCall(call)| call)
    }
}

/// A [`Call`] whose headers the handler reads itself.
#[derive(Debug)]
pub(super) struct FreeCall(pub(super) Call);

impl<S: Send + Sync> FromRequestParts<S> for FreeCall {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<FreeCall, Problem> {
        let path = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|error| undecodable(&error.body_text()))?;
        Ok(FreeCall(Call { path, query: Query::parse(parts.uri.query())? }))
    }
}

/// A path of which a segment is not UTF-8 once decoded; `text` holds the segment's name between backticks.
fn undecodable(text: &str) -> Problem {
    const SEGMENTS: [&str; 9] =
        ["topic", "group", "queue", "id", "receipt", "code", "rule", "receiver", "delivery"];
    let named = text.split('`').nth(1);
    match SEGMENTS.into_iter().find(|segment| Some(*segment) == named) {
        Some(segment) => Problem::at(Code::InvalidRequest, Place::Path(segment), "is not UTF-8"),
        None => Problem::new(Code::InvalidRequest, "the path is not UTF-8"),
    }
}

impl Call {
    /// Reads a segment of the path.
    ///
    /// # Errors
    /// 400 naming the segment.
    pub(super) fn path<T: FromStr>(&self, name: &'static str) -> Result<T, Problem>
    where
        T::Err: std::fmt::Display,
    {
        self.text(name)
            .parse()
            .map_err(|error: T::Err| Problem::at(Code::InvalidRequest, Place::Path(name), error.to_string()))
    }

    /// A segment of the path as it is.
    pub(super) fn text(&self, name: &str) -> &str {
        self.path.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }
}

/// The address of the other end.
pub(super) fn peer(caller: Option<&Caller>) -> Arc<str> {
    caller.map_or_else(|| Arc::from("unknown"), |caller| Arc::clone(&caller.peer))
}

/// The member's name: `Mq-Client`, else the peer's address.
///
/// # Errors
/// Names the header when it is empty, too long or not text.
pub(super) fn client_name(headers: &HeaderMap, caller: Option<&Caller>) -> Result<Arc<str>, Problem> {
    let mut values = headers.get_all("mq-client").iter();
    let Some(value) = values.next() else {
        return Ok(peer(caller));
    };
    if values.next().is_some() {
        return Err(Problem::header("mq-client", "is given twice"));
    }
    let text = super::message_in::text_of("mq-client", value.as_bytes())?;
    if text.is_empty() || text.len() > CLIENT_BYTES_MAX || text.contains(char::is_control) {
        let text = format!("must have 1 to {CLIENT_BYTES_MAX} bytes and no control characters");
        return Err(Problem::header("mq-client", text));
    }
    Ok(Arc::from(text))
}

/// Refuses a malformed `Mq-Client` in a call that does not need the name.
pub(super) fn check_client(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key("mq-client") { client_name(headers, None).map(|_| ()) } else { Ok(()) }
}

/// A body up to this size is copied out of the connection's read buffer, which is larger (8 KiB and up). Shared, it
/// would hold the buffer for as long as the message waits, and the connection would need a new one for each request.
const COPIED_BYTES_MAX: usize = 4 << 10;

/// Reads a whole body of at most `limit` bytes. A large one that came in one piece is handed on without a copy.
///
/// # Errors
/// 413 with the limit, 408 when it takes longer than `Options::transfer_timeout`, 400 when it breaks off.
pub(super) async fn read_body(api: &Api, body: Body, limit: usize) -> Result<Bytes, Problem> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(Problem::too_large("bytes of body", limit));
    }
    let mut gathering = pin!(gather(body, limit));
    // Most bodies came with their heads: no timer for those.
    let at_once = poll_fn(|context| Poll::Ready(gathering.as_mut().poll(context))).await;
    if let Poll::Ready(read) = at_once {
        return read;
    }
    let timeout: Duration = api.options.transfer_timeout;
    match tokio::time::timeout(timeout, gathering).await {
        Ok(read) => read,
        Err(_) => {
            let text = format!("the body did not arrive within {} s", timeout.as_secs());
            Err(Problem::new(Code::RequestTimeout, text))
        }
    }
}

async fn gather(mut body: Body, limit: usize) -> Result<Bytes, Problem> {
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|_| Problem::new(Code::InvalidRequest, "the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + more.len() + data.len() > limit {
            return Err(Problem::too_large("bytes of body", limit));
        }
        if first.is_empty() && more.is_empty() {
            first = data;
        } else {
            if more.is_empty() {
                let rest = usize::try_from(body.size_hint().lower()).unwrap_or(0);
                more.reserve((first.len() + data.len() + rest).min(limit));
                more.extend_from_slice(&first);
                first = Bytes::new();
            }
            more.extend_from_slice(&data);
        }
    }
    Ok(match (more.is_empty(), first.len() <= COPIED_BYTES_MAX) {
        (true, true) => Bytes::copy_from_slice(&first),
        (true, false) => first,
        (false, _) => more.freeze(),
    })
}

/// Reads a JSON body, whatever its Content-Type says; an empty one is `{}`.
///
/// # Errors
/// As [`read_body`], and 400 with the place of the mistake.
pub(super) async fn read_json<T: DeserializeOwned>(api: &Api, body: Body) -> Result<T, Problem> {
    json_in::parse(&read_body(api, body, JSON_BYTES_MAX).await?)
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, json: Json) -> Response {
    let mut response = Body::from(json.finish_line()).into_response();
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Writes `{"<plural>":[…],"next_cursor":…}`, the shape of every list. The cursor is one of the kind `plural`.
pub(super) fn list<T>(plural: &str, page: &Page<T>, mut write: impl FnMut(&mut Json, &T)) -> Response {
    let mut out = Json::with_capacity(256 * (page.rows.len() + 1));
    out.open();
    out.key(plural);
    out.open_list();
    for row in &page.rows {
        write(&mut out, row);
    }
    out.close_list();
    out.key("next_cursor");
    out.maybe_text(page.next_cursor.as_ref().map(|place| cursor_at(plural, place)).as_deref());
    out.close();
    json(StatusCode::OK, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_without_a_name_is_called_by_its_address() {
        let caller = Caller { peer: Arc::from("127.0.0.1:4711") };
        let mut headers = HeaderMap::new();
        assert_eq!(&*client_name(&headers, Some(&caller)).unwrap(), "127.0.0.1:4711");
        headers.insert("mq-client", HeaderValue::from_static("worker%201"));
        assert_eq!(&*client_name(&headers, Some(&caller)).unwrap(), "worker 1");
        headers.insert("mq-client", HeaderValue::from_static("%0a"));
        assert!(client_name(&headers, Some(&caller)).is_err());
        let mut twice = HeaderMap::new();
        twice.append("mq-client", HeaderValue::from_static("a"));
        twice.append("mq-client", HeaderValue::from_static("b"));
        assert!(client_name(&twice, Some(&caller)).is_err());
    }
}
