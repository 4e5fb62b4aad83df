//! Forms that change something: read with bounds, and taken only from our own pages.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;

use super::desk::Desk;
use super::fields::Fields;
use super::format;
use super::visit::{FormError, Visit};
use super::words::Common;

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
    /// Who asks, for the answer.
    pub(super) visit: Visit,
}

/// Whether the name was typed of what is to be destroyed; else what is wrong.
pub(super) fn confirmed(fields: &Fields, visit: &Visit, name: &str) -> Result<(), FormError> {
    if fields.one("confirm").map(str::trim) == Some(name) {
        return Ok(());
    }
    Err(FormError::new(format::with(visit.common().confirm_wrong, &[&name])))
}

impl FromRequest<Desk> for Form {
    type Rejection = Response;

    async fn from_request(request: Request, desk: &Desk) -> Result<Form, Response> {
        let (parts, body) = request.into_parts();
        let visit = Visit::of(&parts, desk);
        match read(desk, &parts.headers, body, visit.common()).await {
            Ok(fields) => Ok(Form { fields, headers: parts.headers, visit }),
            Err(error) => Err(visit.oops(desk, error.status, &error.text)),
        }
    }
}

async fn read(desk: &Desk, headers: &HeaderMap, body: Body, words: &Common) -> Result<Fields, FormError> {
    let refused = |status, text: &str| FormError { status, text: text.to_owned() };
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, words.form_kind));
    }
    let late = |_| refused(StatusCode::REQUEST_TIMEOUT, words.form_late);
    let read = tokio::time::timeout(ARRIVAL, axum::body::to_bytes(body, FORM_BYTES_MAX));
    let large = |_| refused(StatusCode::PAYLOAD_TOO_LARGE, words.form_large);
    let bytes = read.await.map_err(late)?.map_err(large)?;
    let odd = || refused(StatusCode::BAD_REQUEST, words.form_odd);
    let fields = std::str::from_utf8(&bytes).ok().and_then(Fields::parse).ok_or_else(odd)?;
    if desk.csrf.admits(headers, &fields) {
        Ok(fields)
    } else {
        Err(refused(StatusCode::FORBIDDEN, words.form_foreign))
    }
}
