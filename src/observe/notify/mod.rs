//! What a notification looks like on the wire: one file for each kind of receiver, and what they share.
//!
//! A [`Notice`] carries what happened; [`compose`] makes the request that carries it, and [`judge`] reads the answer
//! of the receiver. Nothing here opens a connection or reads a clock: `broker/alerting` does.
//!
//! What it does not do: templates. Who wants other words puts them into the annotations of the rule, or has a webhook
//! made of the plain JSON.

mod alertmanager;
mod backoff;
mod counts;
mod dingtalk;
mod feishu;
mod fingerprint;
mod guard;
mod pagerduty;
mod signature;
mod slack;
mod text;
mod webhook;
mod wecom;

#[cfg(test)]
mod tests;

use crate::model::Timestamp;
use crate::model::alert::{Labels, Notification, NotifiedAlert, ReceiverKind};

pub use alertmanager::{REFRESH_EVERY_MS, refresh};
pub use backoff::{GIVE_UP_AFTER_MS, next_try_ms};
pub use counts::{NotificationCounts, Outcome};
pub use fingerprint::fingerprint;
pub use guard::{AllowedNetworks, Network, Refused};
pub use signature::{SecretError, sign, signing_key};

/// A notification as it is written for its receiver.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// Its id, the same on every try, so that a receiver can tell a repeated one.
    pub id: &'a str,
    /// What it says; at least one alert.
    pub notification: &'a Notification,
    /// Where the broker's pages are; empty when it does not know its own address.
    pub external_url: &'a str,
}

impl Notice<'_> {
    /// Whether one of its alerts fires.
    #[must_use]
    pub fn is_firing(&self) -> bool {
        self.notification.alerts.iter().any(NotifiedAlert::is_firing)
    }

    /// `firing` as long as one alert fires, else `resolved`.
    #[must_use]
    pub fn status(&self) -> &'static str {
        if self.is_firing() { "firing" } else { "resolved" }
    }

    /// Those of `pick` that all alerts agree on.
    fn common(&self, pick: impl Fn(&NotifiedAlert) -> &Labels) -> Labels {
        let mut alerts = self.notification.alerts.iter().map(pick);
        let Some(mut common) = alerts.next().cloned() else { return Labels::new() };
        for labels in alerts {
            common.retain(|name, value| labels.get(name) == Some(value));
        }
        common
    }
}

/// Where the rule of an alert can be looked at; empty when the broker does not know its own address.
fn rule_url(external_url: &str, alert: &NotifiedAlert) -> String {
    if external_url.is_empty() {
        return String::new();
    }
    format!("{external_url}/alerts/rules/{}", alert.label("alertname"))
}

/// A request that carries a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Where it is posted to. Not for the log: with some receivers the address is the secret.
    pub url: String,
    /// Headers beyond `Host`, `Content-Type` and `Content-Length`.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: Vec<u8>,
}

/// How an answer is to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver took it.
    Delivered,
    /// Not now; trying again may help.
    Again(String),
    /// Trying again does not help.
    Never(String),
}

/// Makes the request for `notice` at `now`. `url` and `secret` are the receiver's.
///
/// # Errors
/// The secret is none that this kind of receiver can use.
pub fn compose(
    kind: ReceiverKind,
    (url, secret): (&str, Option<&str>),
    notice: &Notice<'_>,
    now: Timestamp,
) -> Result<Outgoing, SecretError> {
    let mut outgoing = match kind {
        ReceiverKind::Webhook => plain(url, webhook::body(notice)),
        ReceiverKind::Alertmanager => plain(
            &alertmanager::endpoint(url),
            alertmanager::body(&notice.notification.alerts, notice.external_url, now),
        ),
        ReceiverKind::Slack => plain(url, slack::body(notice)),
        ReceiverKind::Pagerduty => {
            return Ok(plain(url, pagerduty::body(notice, secret.unwrap_or_default())));
        }
        ReceiverKind::Dingtalk => {
            return Ok(plain(&dingtalk::signed(url, secret, now), dingtalk::body(notice)));
        }
        ReceiverKind::Feishu => return Ok(plain(url, feishu::body(notice, secret, now))),
        ReceiverKind::Wecom => return Ok(plain(url, wecom::body(notice))),
    };
    // The robots above have their own way of signing; everybody else may be one's own program.
    if let Some(secret) = secret.filter(|_| kind == ReceiverKind::Webhook) {
        outgoing.headers.extend(signature::headers(secret, notice.id, now, &outgoing.body)?);
    }
    Ok(outgoing)
}

fn plain(url: &str, body: Vec<u8>) -> Outgoing {
    Outgoing { url: url.to_owned(), headers: Vec::new(), body }
}

/// What an answer means: its status, and the first bytes of its body.
#[must_use]
pub fn judge(kind: ReceiverKind, status: u16, body: &str) -> Verdict {
    match status {
        200..=299 => judge_body(kind, body),
        300..=399 => Verdict::Never(format!(
            "it answered {status}: redirects are not followed, give the receiver the address it leads to"
        )),
        410 => Verdict::Never("it answered 410: it does not exist any more".to_owned()),
        // A load balancer in front of a receiver that is down may say 404; the others ask for patience.
        404 | 408 | 409 | 425 | 429 => Verdict::Again(format!("it answered {status}")),
        400..=499 => Verdict::Never(format!("it answered {status}: it does not take this notification")),
        _ => Verdict::Again(format!("it answered {status}")),
    }
}

/// The robots answer 200 and say in the body that they did not take it.
fn judge_body(kind: ReceiverKind, body: &str) -> Verdict {
    match kind {
        ReceiverKind::Dingtalk => dingtalk::judge(body),
        ReceiverKind::Feishu => feishu::judge(body),
        ReceiverKind::Wecom => wecom::judge(body),
        ReceiverKind::Webhook
        | ReceiverKind::Alertmanager
        | ReceiverKind::Slack
        | ReceiverKind::Pagerduty => Verdict::Delivered,
    }
}

/// JSON bytes of what has string keys only, so writing it cannot fail.
fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Reads the code that a robot puts into its answer, 0 for success. An answer without one is no answer of a robot.
fn robot_code(body: &str, name: &str, busy: &[i64]) -> Verdict {
    let answer: Option<serde_json::Value> = serde_json::from_str(body).ok();
    match answer.as_ref().and_then(|answer| answer.get(name)).and_then(serde_json::Value::as_i64) {
        Some(0) => Verdict::Delivered,
        Some(code) if busy.contains(&code) => Verdict::Again(format!("it answered {name} {code}: too many")),
        Some(code) => Verdict::Never(format!("it answered 200 with {name} {code}")),
        None => Verdict::Again(format!("it answered 200 without a {name}: is this the robot's address?")),
    }
}
