//! RFC 9457 problems: one table says what each code means, what status it has, and whether trying again helps.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::json_out::Json;
use crate::broker::BrokerError;
use crate::machine::Refusal;
use crate::model::MessageError;

/// What a client may rely on: the stable name of a kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    InvalidJson,
    InvalidRequest,
    NotSupported,
    ForeignOrigin,
    NotFound,
    TopicNotFound,
    GroupNotFound,
    QueueNotFound,
    MessageNotFound,
    DeadLetterNotFound,
    ReceiptNotFound,
    MethodNotAllowed,
    RequestTimeout,
    NotSubscribed,
    FilterDiffers,
    Conflict,
    ConfirmNeeded,
    LimitReached,
    TopicGone,
    Gone,
    LeaseExpired,
    Exists,
    TooLarge,
    UnsupportedMediaType,
    ForeignHost,
    InvalidSettings,
    InvalidFilter,
    Fault,
    NotReady,
    Overloaded,
    OutcomeUnknown,
    DiskFull,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// The code on the wire, and the last part of `type`.
    pub(crate) name: &'static str,
    /// The HTTP status.
    pub(crate) status: u16,
    /// Whether the same request may succeed later without a change.
    pub(crate) retryable: bool,
    /// A short sentence, the same for every occurrence.
    pub(crate) title: &'static str,
    /// What it means and what to do, for `/problems/{code}`.
    pub(crate) explanation: &'static str,
}

const fn row(
    name: &'static str,
    status: u16,
    retryable: bool,
    title: &'static str,
    explanation: &'static str,
) -> Row {
    Row { name, status, retryable, title, explanation }
}

impl Code {
    /// Every code, for the pages and the tests.
    pub(crate) const ALL: [Code; 32] = [
        Code::InvalidJson,
        Code::InvalidRequest,
        Code::NotSupported,
        Code::ForeignOrigin,
        Code::NotFound,
        Code::TopicNotFound,
        Code::GroupNotFound,
        Code::QueueNotFound,
        Code::MessageNotFound,
        Code::DeadLetterNotFound,
        Code::ReceiptNotFound,
        Code::MethodNotAllowed,
        Code::RequestTimeout,
        Code::NotSubscribed,
        Code::FilterDiffers,
        Code::Conflict,
        Code::ConfirmNeeded,
        Code::LimitReached,
        Code::TopicGone,
        Code::Gone,
        Code::LeaseExpired,
        Code::Exists,
        Code::TooLarge,
        Code::UnsupportedMediaType,
        Code::ForeignHost,
        Code::InvalidSettings,
        Code::InvalidFilter,
        Code::Fault,
        Code::NotReady,
        Code::Overloaded,
        Code::OutcomeUnknown,
        Code::DiskFull,
    ];

    /// What the table says about it.
    #[rustfmt::skip]
    pub(crate) const fn row(self) -> Row {
        match self {
            Code::InvalidJson => row("invalid_json", 400, false, "The body is not the JSON this call expects",
                "errors[] points at the place: a JSON pointer, with line and column in the text. Unknown fields \
                 are refused, never ignored."),
            Code::InvalidRequest => row("invalid_request", 400, false, "A name, header, parameter or value is \
                 malformed",
                "errors[] names the header, query parameter, path segment or field, and what is accepted."),
            Code::NotSupported => row("not_supported", 400, false, "This is not supported yet",
                "The feature is described but does not work in this version. It is refused, because ignoring it \
                 would break a promise."),
            Code::ForeignOrigin => row("foreign_origin", 403, false, "A page of another origin may not do this",
                "A browser sent a state-changing request or a WebSocket upgrade from a foreign origin. Start the \
                 broker with --allowed-origin to let that origin in."),
            Code::NotFound => row("not_found", 404, false, "There is nothing at this path",
                "See /openapi.yaml for every path."),
            Code::TopicNotFound => row("topic_not_found", 404, false, "There is no such topic",
                "Make it with PUT /v1/topics/{topic}, or let a produce make it (auto_create)."),
            Code::GroupNotFound => row("group_not_found", 404, false, "There is no such group",
                "Name a topic in the receive (?topic=) to make it with defaults, or PUT /v1/groups/{group}."),
            Code::QueueNotFound => row("queue_not_found", 404, false, "The topic has no such queue",
                "Queues are counted from 0; GET /v1/topics/{topic} shows how many there are."),
            Code::MessageNotFound => row("message_not_found", 404, false, "There is no such message",
                "The id is well-formed, but no message has it."),
            Code::DeadLetterNotFound => row("dead_letter_not_found", 404, false, "The group has no such dead letter",
                "It was never there, was redriven, or was purged."),
            Code::ReceiptNotFound => row("receipt_not_found", 404, false, "This is not a receipt of a lease",
                "A receipt comes with a received message and belongs to one group."),
            Code::MethodNotAllowed => row("method_not_allowed", 405, false, "This path does not take this method",
                "The Allow header lists the methods it takes."),
            Code::RequestTimeout => row("request_timeout", 408, true, "The request body came too slowly",
                "Nothing was stored. Send it again."),
            Code::NotSubscribed => row("not_subscribed", 409, false, "The group does not subscribe to this topic",
                "A receive never changes an existing group. Add the subscription with PUT /v1/groups/{group}."),
            Code::FilterDiffers => row("filter_differs", 409, false, "The filter is not the group's",
                "A filter given with a receive is only compared with the group's own. Change the group with PUT \
                 /v1/groups/{group}."),
            Code::Conflict => row("conflict", 409, false, "The present state does not allow this",
                "The detail says what stands in the way."),
            Code::ConfirmNeeded => row("confirm_needed", 409, false, "This would throw messages away",
                "Repeat the call with ?confirm= and the name of the thing to be deleted."),
            Code::LimitReached => row("limit_reached", 409, false, "The node holds as many as it can",
                "GET /v1/limits shows every limit. Delete what is not needed."),
            Code::TopicGone => row("topic_gone", 409, false, "The dead letter cannot go back to its topic",
                "The topic was deleted, or the group no longer subscribes to it."),
            Code::Gone => row("gone", 410, false, "It was there, and retention removed it",
                "Messages are kept for the topic's max_age_ms, and as long as a group has not settled them."),
            Code::LeaseExpired => row("lease_expired", 410, false, "The lease is over",
                "The message was leased again, settled, or moved; this receipt changes nothing any more."),
            Code::Exists => row("exists", 412, false, "It exists already",
                "If-None-Match: * only makes what is not there."),
            Code::TooLarge => row("too_large", 413, false, "The request is larger than accepted",
                "limit tells how much is accepted; GET /v1/limits shows every limit."),
            Code::UnsupportedMediaType => row("unsupported_media_type", 415, false, "This kind of body is not \
                 accepted here",
                "Send JSON, or one message object a line with Content-Type: application/x-ndjson."),
            Code::ForeignHost => row("foreign_host", 421, false, "The Host header names another host",
                "On a loopback address only localhost and loopback addresses are answered, against DNS rebinding."),
            Code::InvalidSettings => row("invalid_settings", 422, false, "The settings are refused",
                "The JSON is well-formed, but a value is out of its range; errors[] names it."),
            Code::InvalidFilter => row("invalid_filter", 422, false, "The filter is refused",
                "Write {\"tag\": \"*\"} or {\"tag\": \"a || b\"}. SQL filters are not supported yet."),
            Code::Fault => row("fault", 500, false, "The broker found damage or a failing disk",
                "Nothing false is served. The broker's log says which file."),
            Code::NotReady => row("not_ready", 503, true, "The broker does not take this now",
                "It starts, stops, or has no leader. Definitely not stored: try again after Retry-After."),
            Code::Overloaded => row("overloaded", 503, true, "Too much is waiting already",
                "Definitely not stored: try again after Retry-After."),
            Code::OutcomeUnknown => row("outcome_unknown", 504, true, "It may be stored or not",
                "The request was submitted, and its confirmation did not come in time. Sending it again may store \
                 it twice."),
            Code::DiskFull => row("disk_full", 507, true, "The disk is too full to take messages",
                "Definitely not stored. Receive and settle still work; free space or settle messages."),
        }
    }

    /// The code with this name.
    pub(crate) fn named(name: &str) -> Option<Code> {
        Code::ALL.into_iter().find(|code| code.row().name == name)
    }
}

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
        Problem { code, detail, errors: vec![FieldError { place, text }], limit: None }
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
        self.detail = format!("{prefix}: {}", self.detail);
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
                json.close();
            }
            json.close_list();
        }
    }

    /// The body of the answer.
    pub(crate) fn body(&self, request_id: &str) -> Bytes {
        let mut json = Json::with_capacity(512);
        self.write(&mut json, Some(request_id));
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
            Refusal::TooManyTopics(_) | Refusal::TooManyGroups(_) => Code::LimitReached,
            Refusal::TooManyHeld(_) => Code::Overloaded,
            Refusal::DeadLetterNotFound => Code::DeadLetterNotFound,
            Refusal::TopicGone(_) => Code::TopicGone,
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
            BrokerError::Fault(_) => Code::Fault,
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
    fn every_code_has_its_own_name_and_a_valid_status() {
        let mut names: Vec<&str> = Code::ALL.iter().map(|code| code.row().name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            let row = code.row();
            assert!((400..600).contains(&row.status), "{}", row.name);
            assert_eq!(Code::named(row.name), Some(code));
            assert!(row.title.len() < 80 && !row.explanation.is_empty());
        }
    }

    #[test]
    fn a_problem_says_everything_rfc_9457_asks_for() {
        let problem = Problem::pointer("/tag", "is empty").within("/messages/3");
        let body: serde_json::Value = serde_json::from_slice(&problem.body("r-1")).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "type": "/problems/invalid_request",
                "title": "A name, header, parameter or value is malformed",
                "status": 400,
                "detail": "/messages/3: /tag: is empty",
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
