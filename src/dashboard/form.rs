//! Forms that change something: read with bounds, and taken only from our own pages.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;

use super::desk::Desk;
use super::fields::Fields;
use super::oops;

/// Largest form, in bytes: a body that may be edited, with every byte of it written as three.
const FORM_BYTES_MAX: usize = 1 << 20;
/// Longest time for a form to arrive.
const ARRIVAL: Duration = Duration::from_secs(30);

/// A form that was sent from a page of ours.
#[derive(Debug)]
pub(super) struct Form {
    /// What was filled in.
    pub(super) fields: Fields,
    /// The headers it came with.
    pub(super) headers: HeaderMap,
}

impl FromRequest<Desk> for Form {
    type Rejection = Response;

    async fn from_request(request: Request, desk: &Desk) -> Result<Form, Response> {
        let (parts, body) = request.into_parts();
        let headers = parts.headers;
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(oops::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "This address takes forms."));
        }
        let fields = read(body).await?;
        if !desk.csrf.admits(&headers, &fields) {
            return Err(oops::refused(
                StatusCode::FORBIDDEN,
                "This form was not sent from a page of this broker, or the broker was started again since. Go back, reload \
                 the page and send it once more.",
            ));
        }
        Ok(Form { fields, headers })
    }
}

async fn read(body: Body) -> Result<Fields, Response> {
    let late = |_| oops::refused(StatusCode::REQUEST_TIMEOUT, "The form did not arrive in time.");
    let read =
        tokio::time::timeout(ARRIVAL, axum::body::to_bytes(body, FORM_BYTES_MAX)).await.map_err(late)?;
    let large =
        |_| oops::refused(StatusCode::PAYLOAD_TOO_LARGE, "The form is too large: at most 1 MiB is taken.");
    let bytes = read.map_err(large)?;
    let odd = || oops::refused(StatusCode::BAD_REQUEST, "The form has too many fields, or is not UTF-8.");
    std::str::from_utf8(&bytes).ok().and_then(Fields::parse).ok_or_else(odd)
}
