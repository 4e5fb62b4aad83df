use std::fmt;
use std::time::Duration;

use serde::Deserialize;

/// An RFC 9457 problem as the broker sends it. Unknown fields are ignored: answers may grow.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// HTTP status; 0 inside a batch result that names none.
    pub status: u16,
    /// Short name of the kind of problem.
    pub title: String,
    /// What happened in this very case.
    pub detail: String,
    /// Stable machine-readable name, such as `queue_full`.
    pub code: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// Names this request in the broker's own log.
    pub request_id: String,
    /// Which fields or headers are wrong.
    pub errors: Vec<FieldProblem>,
    /// How long the broker asks to wait before the next try (the `Retry-After` header).
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

/// One wrong field of a request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct FieldProblem {
    /// JSON pointer of the field.
    pub pointer: String,
    /// Name of the header.
    pub header: String,
    /// What is wrong with it.
    #[serde(alias = "text", alias = "message")]
    pub detail: String,
}

impl Problem {
    /// Reads the body of an answer that is not a success. A body that is no problem object (a proxy's page, say)
    /// becomes a problem with its first line as the detail.
    #[must_use]
    pub fn read(status: u16, body: &[u8]) -> Problem {
        let mut problem = serde_json::from_slice::<Problem>(body).unwrap_or_else(|_| {
            let text = String::from_utf8_lossy(body);
            let first_line = text.lines().next().unwrap_or_default();
            Problem { detail: first_line.chars().take(200).collect(), ..Problem::default() }
        });
        problem.status = status;
        problem
    }

    /// What a person can do about it, when there is something.
    fn advice(&self) -> Option<&'static str> {
        let advice = match (self.code.as_str(), self.status) {
            ("outcome_unknown", _) | (_, 504) => {
                "It may or may not have been stored. Look before sending again: a second time may store it twice."
            }
            ("topic_not_found", _) => {
                "See what there is with: whimbrel topic list. Make it with: whimbrel topic create NAME"
            }
            ("group_not_found", _) => {
                "See what there is with: whimbrel group list. Make it with: whimbrel group create GROUP --topic TOPIC"
            }
            ("dead_letter_not_found", _) => "See what there is with: whimbrel dlq list GROUP",
            ("not_subscribed", _) => {
                "The group exists with other subscriptions (whimbrel group show GROUP). Name another group, or give \
                 it all its settings again: whimbrel group create GROUP --replace --topic TOPIC --topic OTHER"
            }
            ("confirm_needed", _) => "If that is meant: say it again with --force",
            ("exists", _) => "Leave it as it is with --if-missing, or give it these settings with --replace",
            (_, 413) => "Send it in smaller pieces, or put it elsewhere and send its address.",
            (_, 429 | 503) => "It was not stored. Try again in a moment.",
            (_, 507) => "The broker's disk is full. Consume or delete something, or give it more space.",
            _ if self.retryable => "It can be tried again.",
            _ => return None,
        };
        Some(advice)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = [&self.detail, &self.title].into_iter().find(|text| !text.is_empty());
        match said {
            Some(text) => write!(out, "{text}")?,
            None => write!(out, "the broker answered {} without saying why", self.status)?,
        }
        match (self.code.is_empty(), self.status) {
            (true, 0) => {}
            (true, status) => write!(out, " [{status}]")?,
            (false, 0) => write!(out, " [{}]", self.code)?,
            (false, status) => write!(out, " [{status} {}]", self.code)?,
        }
        for field in &self.errors {
            let name = if field.pointer.is_empty() { &field.header } else { &field.pointer };
            write!(out, "\n  {name}: {}", field.detail)?;
        }
        if let Some(advice) = self.advice() {
            write!(out, "\n  {advice}")?;
        }
        if !self.request_id.is_empty() {
            write!(out, "\n  request {}", self.request_id)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_where_and_what_to_do() {
        let body = br#"{"type":"/problems/disk_full","title":"Disk full","status":507,"detail":"12 MiB are free.",
            "code":"disk_full","retryable":true,"request_id":"r-1","errors":[{"header":"Mq-Delay","detail":"too long"}]}"#;
        assert_eq!(
            Problem::read(507, body).to_string(),
            "12 MiB are free. [507 disk_full]\n  Mq-Delay: too long\n  \
             The broker's disk is full. Consume or delete something, or give it more space.\n  request r-1"
        );
    }

    #[test]
    fn an_answer_that_is_no_problem_object_is_still_readable() {
        assert_eq!(Problem::read(502, b"<html>\nbad gateway").to_string(), "<html> [502]");
        assert_eq!(Problem::read(500, b"").to_string(), "the broker answered 500 without saying why [500]");
        assert_eq!(Problem::read(500, b"[1]").status, 500);
    }
}
