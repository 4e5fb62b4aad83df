//! Receivers.

use serde::{Deserialize, Serialize};

use super::super::group::SettingsError;
use super::super::limits::{ALERT_SECRET_BYTES_MAX, ALERT_TEXT_BYTES_MAX};

/// Which protocol a receiver speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReceiverKind {
    /// Alertmanager's webhook body, version 4.
    Webhook,
    /// Another Alertmanager: `POST /api/v2/alerts`.
    Alertmanager,
    /// An incoming webhook of Slack.
    Slack,
    /// PagerDuty's Events API v2.
    Pagerduty,
    /// A DingTalk robot.
    Dingtalk,
    /// A Feishu (Lark) robot.
    Feishu,
    /// A WeCom robot.
    Wecom,
}

impl ReceiverKind {
    /// Its name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ReceiverKind::Webhook => "webhook",
            ReceiverKind::Alertmanager => "alertmanager",
            ReceiverKind::Slack => "slack",
            ReceiverKind::Pagerduty => "pagerduty",
            ReceiverKind::Dingtalk => "dingtalk",
            ReceiverKind::Feishu => "feishu",
            ReceiverKind::Wecom => "wecom",
        }
    }
}

/// Who is told. The JSON form in the log; the interface takes it too, and shows neither secret nor what stands behind
/// the host of the URL, which with some receivers is the secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receiver {
    /// Its protocol.
    pub kind: ReceiverKind,
    /// Where notifications are posted to, `http://` or `https://`.
    pub url: String,
    /// What signs them, or the key they carry, depending on the kind. Never shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Whether it wants to hear of the end.
    #[serde(default = "yes")]
    pub send_resolved: bool,
}

fn yes() -> bool {
    true
}

/// Without secret and path.
impl std::fmt::Debug for Receiver {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Receiver")
            .field("kind", &self.kind)
            .field("url", &self.shown_url())
            .field("send_resolved", &self.send_resolved)
            .finish_non_exhaustive()
    }
}

impl Receiver {
    /// Scheme and host of the URL, and dots for what stands behind them.
    #[must_use]
    pub fn shown_url(&self) -> String {
        let Some((scheme, rest)) = self.url.split_once("://") else { return String::new() };
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        // A name and password before the host are a secret as well.
        let host = host.rsplit('@').next().unwrap_or_default();
        let more = if rest.split_once('/').is_some_and(|(_, path)| !path.is_empty()) { "/…" } else { "" };
        format!("{scheme}://{host}{more}")
    }

    /// This receiver, with the secret of the one `before` it when it was given without one: a secret is never shown, so
    /// nobody could give it again. It goes to no other address, so kind and URL have to be the same.
    #[must_use]
    pub fn keeping_secret_of(mut self, before: &Receiver) -> Receiver {
        if self.secret.is_none() && (self.kind, &self.url) == (before.kind, &before.url) {
            self.secret.clone_from(&before.secret);
        }
        self
    }

    /// Checks every field against its limits.
    ///
    /// # Errors
    /// Names the first that is wrong.
    pub fn check(&self) -> Result<(), SettingsError> {
        let rest = self.url.strip_prefix("https://").or_else(|| self.url.strip_prefix("http://"));
        let is_plain = self.url.bytes().all(|byte| byte.is_ascii_graphic());
        let has_host = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '?', '#', ':']));
        if !has_host || !is_plain || self.url.len() > ALERT_TEXT_BYTES_MAX {
            let text = format!(
                "must be http:// or https://, a host, and a path, at most {ALERT_TEXT_BYTES_MAX} visible characters"
            );
            return Err(SettingsError::new("url", text));
        }
        match &self.secret {
            Some(secret)
                if secret.is_empty()
                    || secret.len() > ALERT_SECRET_BYTES_MAX
                    || secret.contains(char::is_control) =>
            {
                let text = format!("must have 1 to {ALERT_SECRET_BYTES_MAX} bytes and no control characters");
                Err(SettingsError::new("secret", text))
            }
            None if self.kind == ReceiverKind::Pagerduty => {
                Err(SettingsError::new("secret", "must be the integration key of the service"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receiver(kind: ReceiverKind, url: &str, secret: Option<&str>) -> Receiver {
        Receiver { kind, url: url.into(), secret: secret.map(Into::into), send_resolved: true }
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        for (url, shown) in [
            ("https://hooks.slack.com/services/T0/B0/xyz", "https://hooks.slack.com/…"),
            ("http://ann:pw@10.0.0.1:9093/", "http://10.0.0.1:9093"),
            ("https://host?token=xyz", "https://host"),
        ] {
            let receiver = receiver(ReceiverKind::Webhook, url, Some("whsec_abc"));
            assert_eq!(receiver.shown_url(), shown);
            let debug = format!("{receiver:?}");
            assert!(!debug.contains("whsec") && !debug.contains("xyz") && !debug.contains("pw"), "{debug}");
        }
    }

    #[test]
    fn limits_name_their_field() {
        let refused = |kind, url, secret| receiver(kind, url, secret).check().unwrap_err().field;
        for url in ["", "ftp://a/", "https://", "http:///x", "https://a b/", "hooks.example.com"] {
            assert_eq!(refused(ReceiverKind::Webhook, url, None), "url", "{url}");
        }
        assert_eq!(refused(ReceiverKind::Webhook, "https://a/", Some("")), "secret");
        assert_eq!(refused(ReceiverKind::Pagerduty, "https://a/", None), "secret");
        assert!(receiver(ReceiverKind::Webhook, "http://a:1/x?y", None).check().is_ok());
    }
}
