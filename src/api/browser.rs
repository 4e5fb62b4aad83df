//! What browsers may do: a page of a foreign origin cannot change anything, and a foreign name cannot reach loopback.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};

use super::options::Options;
use super::problem::{Code, Problem};

/// How a request may go on.
#[derive(Debug)]
pub(super) enum Verdict {
    /// No page is involved, or one of ours.
    Plain,
    /// A page of an allowed origin asks: the answer carries CORS headers for it.
    Allowed(HeaderValue),
    /// An allowed page asks what it may do; this is the answer.
    Preflight(Response<Body>),
}

/// Judges Host, Origin and Sec-Fetch-Site. A client that is no browser sends none of the last two.
///
/// # Errors
/// 421 for a foreign Host on loopback, 403 for a foreign page.
pub(super) fn judge(options: &Options, request: &Request<Body>) -> Result<Verdict, Problem> {
    let headers = request.headers();
    let host = host_of(request)?;
    if options.loopback && host.is_some_and(|host| !is_loopback_name(host) && !is_allowed_host(options, host))
    {
        let detail = "this broker listens on loopback: call it as localhost or 127.0.0.1";
        return Err(Problem::new(Code::ForeignHost, detail));
    }
    let origin = headers.get(header::ORIGIN);
    let site = headers.get("sec-fetch-site");
    if origin.is_none() && site.is_none() {
        return Ok(Verdict::Plain);
    }
    let allowed = origin
        .filter(|origin| options.allowed_origins.iter().any(|known| known.as_bytes() == origin.as_bytes()));
    if request.method() == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        return match allowed {
            Some(origin) => Ok(Verdict::Preflight(preflight(origin, headers))),
            None => Err(foreign()),
        };
    }
    if let Some(origin) = allowed {
        return Ok(Verdict::Allowed(origin.clone()));
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let upgrades = headers.contains_key(header::UPGRADE);
    if !changes && !upgrades {
        return Ok(Verdict::Plain);
    }
    let cross_site = site.is_some_and(|site| site.as_bytes() == b"cross-site");
    let foreign_origin = origin.is_some_and(|origin| !is_own(origin.as_bytes(), host));
    if cross_site || foreign_origin { Err(foreign()) } else { Ok(Verdict::Plain) }
}

/// The host a request is for. One and only one must be named (RFC 9112, section 3.2): of two, a proxy in front might
/// judge by the other.
fn host_of(request: &Request<Body>) -> Result<Option<&str>, Problem> {
    let mut named = request.headers().get_all(header::HOST).iter();
    let host = named.next();
    if named.next().is_some() {
        return Err(Problem::header("Host", "is given twice"));
    }
    if host.is_none() && request.version() == Version::HTTP_11 {
        return Err(Problem::header("Host", "is missing; HTTP/1.1 needs it"));
    }
    match (request.uri().authority(), host.map(HeaderValue::to_str)) {
        (Some(authority), _) => Ok(Some(authority.as_str())),
        (None, None) => Ok(None),
        (None, Some(Ok(host))) => Ok(Some(host)),
        (None, Some(Err(_))) => Err(Problem::header("Host", "is not ASCII")),
    }
}

fn foreign() -> Problem {
    Problem::new(Code::ForeignOrigin, "start the broker with --allowed-origin to let pages of this origin in")
}

/// Whether the page came from the very host it calls (the Fetch standard: an origin is scheme, host and port).
fn is_own(origin: &[u8], host: Option<&str>) -> bool {
    let rest = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
    matches!((rest, host), (Some(rest), Some(host)) if rest.eq_ignore_ascii_case(host.as_bytes()))
}

/// `localhost`, `127.0.0.0/8` or `[::1]`, with or without a port.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name == "127.0.0.1"
        || name.eq_ignore_ascii_case("localhost")
        || name == "[::1]"
        || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// An allowed origin may also be our own name behind a proxy on the same machine.
fn is_allowed_host(options: &Options, host: &str) -> bool {
    options.allowed_origins.iter().any(|origin| is_own(origin.as_bytes(), Some(host)))
}

fn preflight(origin: &HeaderValue, asked: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE"),
    );
    if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    mark_allowed(headers, origin.clone());
    response
}

/// The CORS headers of every answer to an allowed origin.
pub(super) fn mark_allowed(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("ETag, Location, Retry-After, X-Request-Id, Idempotency-Replayed"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(allowed: &[&str]) -> Options {
        let allowed_origins = allowed.iter().map(ToString::to_string).collect();
        Options { allowed_origins, ..Options::default() }
    }

    fn judged(options: &Options, method: Method, headers: &[(&str, &str)]) -> Result<Verdict, u16> {
        let mut request = Request::builder().method(method).uri("/v1/topics/a");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        judge(options, &request.body(Body::empty()).unwrap()).map_err(|problem| problem.code.row().status)
    }

    #[test]
    fn loopback_answers_only_to_its_own_names() {
        let options = options(&[]);
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.9.9.9", "[::1]:8080", "[::1]"] {
            assert!(judged(&options, Method::GET, &[("host", host)]).is_ok(), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "10.0.0.1", ""] {
            assert_eq!(judged(&options, Method::GET, &[("host", host)]).unwrap_err(), 421, "{host}");
        }
        assert_eq!(judged(&options, Method::GET, &[]).unwrap_err(), 400, "no Host");
        let twice = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(judged(&options, Method::GET, &twice).unwrap_err(), 400);
        let open = Options { loopback: false, ..options };
        assert!(judged(&open, Method::GET, &[("host", "broker.example")]).is_ok());
    }

    #[test]
    fn foreign_pages_change_nothing() {
        let options = options(&["https://app.example"]);
        let host = ("host", "localhost:8080");
        let ok =
            |method: Method, headers: &[(&str, &str)]| judged(&options, method, &[&[host], headers].concat());
        assert!(matches!(ok(Method::POST, &[]), Ok(Verdict::Plain)));
        assert!(matches!(ok(Method::POST, &[("origin", "http://localhost:8080")]), Ok(Verdict::Plain)));
        assert!(matches!(ok(Method::POST, &[("origin", "https://app.example")]), Ok(Verdict::Allowed(_))));
        assert!(matches!(ok(Method::GET, &[("origin", "http://evil.example")]), Ok(Verdict::Plain)));
        for headers in [
            &[("origin", "http://evil.example")][..],
            &[("origin", "null")],
            &[("origin", "http://localhost:9090")],
            &[("sec-fetch-site", "cross-site")],
        ] {
            assert_eq!(ok(Method::POST, headers).unwrap_err(), 403, "{headers:?}");
        }
        let upgrade = [("origin", "http://evil.example"), ("upgrade", "websocket")];
        assert_eq!(ok(Method::GET, &upgrade).unwrap_err(), 403);
        let asks = ("access-control-request-method", "PUT");
        assert!(matches!(
            ok(Method::OPTIONS, &[asks, ("origin", "https://app.example")]),
            Ok(Verdict::Preflight(_))
        ));
        assert_eq!(ok(Method::OPTIONS, &[asks, ("origin", "http://evil.example")]).unwrap_err(), 403);
    }
}
