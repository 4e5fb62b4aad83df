//! RFC 9457 problems. [`codes`] is the table of what each code means; here they become answers.

mod codes;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

pub(crate) use codes::Code;
pub use codes::Row;

use super::json_out::Json;
use super::terms;
use crate::broker::BrokerError;
use crate::machine::Refusal;
use crate::model::{FilterError, MessageError};

/// Which part of the request is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A JSON pointer (RFC 6901) into the body.
    Pointer(String),
    /// A header.
    Header(String),
    /// A query parameter.
    Parameter(String),
    /// A segment of the path, by its name in openapi.yaml.
    Path(&'static str),
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldError {
    /// Where.
    pub(crate) place: Place,
    /// What is wrong.
    pub(crate) text: String,
    /// Where in the value, in characters from 1.
    pub(crate) column: Option<usize>,
}

/// A failed request: becomes an `application/problem+json` answer.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    /// The kind.
    pub(crate) code: Code,
    /// This occurrence, for a person.
    pub(crate) detail: String,
    /// The places, when there are any.
    pub(crate) errors: Vec<FieldError>,
    /// The limit that was passed.
    pub(crate) limit: Option<u64>,
}

impl Problem {
    /// A problem with its words.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Problem {
        Problem { code, detail: detail.into(), errors: Vec::new(), limit: None }
    }

    /// A problem at one place.
    pub(crate) fn at(code: Code, place: Place, text: impl Into<String>) -> Problem {
        let text = text.into();
        let detail = match &place {
            Place::Pointer(pointer) if pointer.is_empty() => text.clone(),
            Place::Pointer(pointer) => format!("{pointer}: {text}"),
            Place::Header(name) => format!("header {name}: {text}"),
            Place::Parameter(name) => format!("query parameter {name}: {text}"),
            Place::Path(name) => format!("{name}: {text}"),
        };
        Problem { code, detail, errors: vec![FieldError { place, text, column: None }], limit: None }
    }

    /// A well-formed filter that is refused.
    pub(crate) fn filter(place: Place, error: &FilterError) -> Problem {
        let mut problem = Problem::at(Code::InvalidFilter, place, error.to_string());
        problem.errors.iter_mut().for_each(|field| field.column = error.column);
        problem
    }

    /// A malformed header.
    pub(crate) fn header(name: &str, text: impl Into<String>) -> Problem {
        Problem::at(Code::InvalidRequest, Place::Header(name.to_owned()), text)
    }

    /// A malformed query parameter.
    pub(crate) fn parameter(name: &str, text: impl Into<String>) -> Problem {
        Problem::at(Code::InvalidRequest, Place::Parameter(name.to_owned()), text)
    }

    /// A malformed JSON field.
    pub(crate) fn pointer(pointer: impl Into<String>, text: impl Into<String>) -> Problem {
        Problem::at(Code::InvalidRequest, Place::Pointer(pointer.into()), text)
    }

    /// A message that was refused when it was its turn, naming the field where one is to blame; `place` says where the
    /// caller wrote that field.
    pub(crate) fn of_message(refusal: &Refusal, place: impl Fn(&'static str) -> Place) -> Problem {
        let mut problem = Problem::from(refusal);
        let field = match refusal {
            Refusal::QueueNotFound { .. } | Refusal::QueueAndOrderingKey => "queue",
            Refusal::DelayTooLong { field } => field,
            _ => return problem,
        };
        problem.errors.push(FieldError { place: place(field), text: problem.detail.clone(), column: None });
        problem
    }

    /// More than `limit` of `what`.
    pub(crate) fn too_large(what: &str, limit: usize) -> Problem {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        let mut problem = Problem::new(Code::TooLarge, format!("at most {limit} {what} are accepted"));
        problem.limit = Some(limit);
        problem
    }

    /// The same problem inside a larger body: pointers get `prefix` in front.
    pub(crate) fn within(mut self, prefix: &str) -> Problem {
        for error in &mut self.errors {
            if let Place::Pointer(pointer) = &mut error.place {
                pointer.insert_str(0, prefix);
            }
        }
        let between = if self.detail.starts_with('/') { "" } else { ": " };
        self.detail = format!("{prefix}{between}{}", self.detail);
        self
    }

    /// Writes the problem object.
    pub(crate) fn write(&self, json: &mut Json, request_id: Option<&str>) {
        json.open();
        json.key("type");
        json.plain(format_args!("/problems/{}", self.code.row().name));
        self.write_members(json, request_id);
        json.close();
    }

    /// Writes all members but `type`, which means something else in a frame.
    pub(crate) fn write_members(&self, json: &mut Json, request_id: Option<&str>) {
        let row = self.code.row();
        json.text_field("title", row.title);
        json.number_field("status", row.status.into());
        json.text_field("detail", &self.detail);
        json.text_field("code", row.name);
        json.key("retryable");
        json.truth(row.retryable);
        if let Some(id) = request_id {
            json.text_field("request_id", id);
        }
        if let Some(limit) = self.limit {
            json.number_field("limit", limit);
        }
        if !self.errors.is_empty() {
            json.key("errors");
            json.open_list();
            for error in &self.errors {
                json.open();
                match &error.place {
                    Place::Pointer(pointer) => json.text_field("pointer", pointer),
                    Place::Header(name) => json.text_field("header", name),
                    Place::Parameter(name) => json.text_field("parameter", name),
                    Place::Path(name) => json.text_field("path", name),
                }
                json.text_field("text", &error.text);
                if let Some(column) = error.column {
                    json.number_field("column", u64::try_from(column).unwrap_or(u64::MAX));
                }
                json.close();
            }
            json.close_list();
        }
    }

    /// The body of the answer.
    pub(crate) fn body(&self, request_id: Option<&str>) -> Bytes {
        let mut json = Json::with_capacity(512);
        self.write(&mut json, request_id);
        json.finish_line()
    }
}

/// The answer carries the problem itself; [`super::edge`] writes the body, because only it knows the request id.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.code.row().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.code.row().retryable {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Problem {
        let code = match refusal {
            Refusal::TopicNotFound(_) | Refusal::SubscribedTopicNotFound(_) => Code::TopicNotFound,
            Refusal::GroupNotFound(_) => Code::GroupNotFound,
            Refusal::NotSubscribed { .. } => Code::NotSubscribed,
            Refusal::QueueNotFound { .. } => Code::QueueNotFound,
            Refusal::QueueAndOrderingKey | Refusal::DelayTooLong { .. } => Code::InvalidRequest,
            Refusal::QueuesShrink(_) | Refusal::QueuesOrdered(_) | Refusal::GroupBusy => Code::Conflict,
            Refusal::ConfirmNeeded { .. } => Code::ConfirmNeeded,
            Refusal::Exists(_) => Code::Exists,
            Refusal::Stale { .. } | Refusal::Absent(_) => Code::Stale,
            Refusal::TooManyTopics(_)
            | Refusal::TooManyGroups(_)
            | Refusal::TooManyJobs(_)
            | Refusal::TooManyOf { .. } => Code::LimitReached,
            Refusal::JobNotFound(_) => Code::JobNotFound,
            Refusal::NoAlertObject { .. } => Code::AlertObjectNotFound,
            Refusal::FromFile(_)
            | Refusal::BuiltIn(_)
            | Refusal::SilenceOver(_)
            | Refusal::ReceiverInUse(_) => Code::Conflict,
            Refusal::JobRunning { .. } | Refusal::JobEnded(_) => Code::Conflict,
            Refusal::TooManyHeld(_) => Code::Overloaded,
            Refusal::NotScheduled => Code::NotScheduled,
            Refusal::DeadLetterNotFound => Code::DeadLetterNotFound,
            Refusal::TopicGone(_) => Code::TopicGone,
            Refusal::IdempotencyMismatch => Code::IdempotencyMismatch,
            Refusal::IdempotencyFull(_) => Code::IdempotencyFull,
            Refusal::NoneStored { named, count, of } => {
                let placed = terms::placed(named, |at| format!("/messages/{at}"));
                return terms::none_stored(placed, (*count, *of));
            }
        };
        Problem::new(code, refusal.to_string())
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        Problem::from(&refusal)
    }
}

impl From<BrokerError> for Problem {
    fn from(error: BrokerError) -> Problem {
        let code = match &error {
            BrokerError::Refused(refusal) => return Problem::from(refusal),
            BrokerError::NotReady(_) => Code::NotReady,
            BrokerError::Overloaded(_) => Code::Overloaded,
            BrokerError::OutcomeUnknown => Code::OutcomeUnknown,
            BrokerError::DiskFull(_) => Code::DiskFull,
            BrokerError::NotFound(_) => Code::MessageNotFound,
            BrokerError::Gone(_) => Code::Gone,
            BrokerError::BackupRunning => Code::BackupRunning,
            BrokerError::Damaged(_) | BrokerError::Fault(_) => Code::Fault,
        };
        Problem::new(code, error.to_string())
    }
}

/// A message over a limit; the field as a JSON pointer.
impl From<MessageError> for Problem {
    fn from(error: MessageError) -> Problem {
        let code = if error.too_large { Code::TooLarge } else { Code::InvalidRequest };
        let mut problem = Problem::at(code, Place::Pointer(format!("/{}", error.field)), error.text);
        if error.too_large {
            problem.limit = u64::try_from(crate::model::BODY_BYTES_MAX).ok();
        }
        problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_everything_rfc_9457_asks_for() {
        let problem = Problem::pointer("/tag", "is empty").within("/messages/3");
        let body: serde_json::Value = serde_json::from_slice(&problem.body(Some("r-1"))).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "type": "/problems/invalid_request",
                "title": "A name, header, parameter or value is malformed",
                "status": 400,
                "detail": "/messages/3/tag: is empty",
                "code": "invalid_request",
                "retryable": false,
                "request_id": "r-1",
                "errors": [{"pointer": "/messages/3/tag", "text": "is empty"}],
            })
        );
    }

    #[test]
    fn what_may_be_tried_again_says_when() {
        for (error, status, code) in [
            (BrokerError::Overloaded("full".into()), 503, "overloaded"),
            (BrokerError::NotReady("starting".into()), 503, "not_ready"),
            (BrokerError::OutcomeUnknown, 504, "outcome_unknown"),
            (BrokerError::DiskFull("full".into()), 507, "disk_full"),
            (BrokerError::Refused(Refusal::TooManyHeld(7)), 503, "overloaded"),
        ] {
            let problem = Problem::from(error);
            assert_eq!(problem.code.row().name, code);
            let response = problem.into_response();
            assert_eq!(
                (response.status().as_u16(), &response.headers()["retry-after"]),
                (status, &HeaderValue::from_static("1"))
            );
        }
        let response = Problem::from(BrokerError::Gone("gone".into())).into_response();
        assert_eq!((response.status().as_u16(), response.headers().get("retry-after")), (410, None));
    }
}
