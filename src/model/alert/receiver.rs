//! Receivers.

use std::net::Ipv6Addr;

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
        check_url(&self.url).map_err(|text| SettingsError::new("url", text))?;
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

/// Refuses an address that could not be posted to, and says why. Only for what comes in: a log may hold one that was
/// taken before this was asked.
fn check_url(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let rest = rest.filter(|rest| !rest.is_empty() && !rest.starts_with(['/', '?', '#', ':']));
    let is_plain = url.len() <= ALERT_TEXT_BYTES_MAX && url.bytes().all(|byte| byte.is_ascii_graphic());
    let Some(rest) = rest.filter(|_| is_plain) else {
        return Err(format!(
            "must be http:// or https://, a host, and a path, at most {ALERT_TEXT_BYTES_MAX} visible characters"
        ));
    };
    let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        let text = "must not hold a name and password, which would not be sent: 'secret' signs what a webhook gets, \
                    and a token may stand in the path or query, which are never shown";
        return Err(text.to_owned());
    }
    let (host, port) = match authority.rfind(']') {
        Some(end) => authority.split_at(end + 1),
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    if !is_host(host) {
        return Err(
            "must name its host by letters, digits, '-', '_' and '.', or by an IPv6 address in [ ]".into()
        );
    }
    let is_port = match port.strip_prefix(':') {
        None => port.is_empty(),
        // Nothing behind the colon is the usual port (RFC 3986, section 3.2.3).
        Some("") => true,
        Some(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_digit())
                && digits.parse::<u16>().is_ok_and(|port| port > 0)
        }
    };
    if !is_port {
        return Err("must have a port from 1 to 65535, or none".to_owned());
    }
    // What stands behind '#' is not sent, whatever it is.
    let sent = behind.split('#').next().unwrap_or_default();
    let (path, query) = sent.split_at(sent.find('?').unwrap_or(sent.len()));
    let lost = path.chars().find(|letter| LOST_IN_A_PATH.contains(*letter));
    match lost.or_else(|| query.chars().find(|letter| LOST_IN_A_QUERY.contains(*letter))) {
        Some(letter) => Err(format!("must have '{letter}' written as %{:02X}", u32::from(letter))),
        None => Ok(()),
    }
}

/// What the transport does not send in a path, and in a query. It sends more than a URL may have as it is (RFC 3986,
/// appendix A), and an address that is delivered to is not refused: a file that names it would keep a node from
/// starting.
const LOST_IN_A_PATH: &str = "<>`";
const LOST_IN_A_QUERY: &str = "\"<>";

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)),
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
    fn an_address_that_could_not_be_posted_to_is_refused_with_the_way_out() {
        let refused = |url| receiver(ReceiverKind::Webhook, url, None).check().unwrap_err().text;
        for (url, words) in [
            ("https://ann:pw@hooks.example.com/", "name and password"),
            ("https://ann@hooks.example.com", "'secret' signs"),
            ("https://hooks.example.com:65536/", "port from 1 to 65535"),
            ("https://hooks.example.com:0/", "port from 1 to 65535"),
            ("https://hooks.example.com:+80/", "port from 1 to 65535"),
            ("https://a:80:90/", "port from 1 to 65535"),
            ("https://[::1]80]/", "IPv6"),
            ("https://[::1]80/", "port from 1 to 65535"),
            ("https://[::1", "letters, digits"),
            ("https://a%41/", "letters, digits"),
            ("https://a/<b", "'<' written as %3C"),
            ("https://a/`b", "'`' written as %60"),
            ("https://a?to=\"b\"", "'\"' written as %22"),
        ] {
            let text = refused(url);
            assert!(text.contains(words) && !text.contains("pw"), "{url}: {text}");
        }
        for url in [
            "https://hooks.example.com:65535/a@b:99999",
            "https://hooks.example.com?to=ann@example.com",
            "http://[fd00::1]:9093/",
            "http://[::1]",
            "http://under_score.example.:/",
            "https://a/\"{b}\"?c=`d`",
            "https://a/b?c#<d>",
        ] {
            assert!(receiver(ReceiverKind::Webhook, url, None).check().is_ok(), "{url}");
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
