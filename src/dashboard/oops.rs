//! Pages that say why there is nothing to see.

use askama::Template;
use axum::http::StatusCode;

use super::format::filters;
use super::frame::Frame;
use crate::broker::BrokerError;
use crate::machine::Refusal;

/// A page with one sentence about what went wrong.
#[derive(Template)]
#[template(path = "oops.html")]
pub(super) struct Oops<'a> {
    pub(super) frame: Frame,
    pub(super) text: &'a str,
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
