//! Pages that say why there is nothing to see.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::assets::{ASSETS, Assets};
use super::page;
use crate::broker::BrokerError;
use crate::machine::Refusal;

#[derive(Template)]
#[template(path = "oops.html")]
struct OopsTemplate<'a> {
    assets: &'a Assets,
    title: &'a str,
    text: &'a str,
}

/// A page with one sentence about what went wrong.
pub(super) fn refused(status: StatusCode, text: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Something went wrong");
    let page = page::respond(page::render(&OopsTemplate { assets: &ASSETS, title, text }));
    if page.status().is_success() { (status, page).into_response() } else { page }
}

/// The page for what the broker says instead of doing it.
pub(super) fn failed(error: &BrokerError) -> Response {
    refused(status_of(error), &error.to_string())
}

/// The status that fits.
pub(super) fn status_of(error: &BrokerError) -> StatusCode {
    match error {
        BrokerError::NotFound(_) => StatusCode::NOT_FOUND,
        BrokerError::Refused(refusal) => match refusal {
            Refusal::TopicNotFound(_)
            | Refusal::GroupNotFound(_)
            | Refusal::DeadLetterNotFound
            | Refusal::JobNotFound(_) => StatusCode::NOT_FOUND,
            _ => StatusCode::CONFLICT,
        },
        BrokerError::Gone(_) => StatusCode::GONE,
        BrokerError::NotReady(_) | BrokerError::Overloaded(_) | BrokerError::BackupRunning => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        BrokerError::OutcomeUnknown => StatusCode::GATEWAY_TIMEOUT,
        BrokerError::DiskFull(_) => StatusCode::INSUFFICIENT_STORAGE,
        BrokerError::Fault(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
