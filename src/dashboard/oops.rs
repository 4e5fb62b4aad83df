//! Pages that say why there is nothing to see.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::format::filters;
use super::frame::Frame;
use super::page;
use crate::broker::BrokerError;
use crate::machine::Refusal;

/// A page with one sentence about what went wrong.
#[derive(Template)]
#[template(path = "oops.html")]
pub(super) struct Oops<'a> {
    pub(super) frame: Frame,
    pub(super) text: &'a str,
}

/// The same for who is not asked in which language.
pub(super) fn refused(status: StatusCode, text: &str) -> Response {
    let page = page::respond(page::render(&Oops { frame: Frame::plain(), text }));
    if page.status().is_success() { (status, page).into_response() } else { page }
}

/// The same for what the broker says instead of doing it.
pub(super) fn failed(error: &BrokerError) -> Response {
    refused(status_of(error), &error.to_string())
}

/// The status that fits what the broker says instead of doing it.
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
        BrokerError::Damaged(_) | BrokerError::Fault(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
