//! A DingTalk robot (<https://open.dingtalk.com/document/robots/custom-robot-access>): Markdown; signed in the query
//! when the robot has a secret.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json as value;

use crate::model::Timestamp;

use super::signature::hmac_base64;
use super::text::{Style, cut, fit, markdown_link, paragraphs, title, without_markdown};
use super::{Notice, Verdict, json, robot_code};

/// DingTalk's limit of a message is 20,000 bytes with everything around it.
const TEXT_BYTES_MAX: usize = 16_000;
const TITLE_MAX: usize = 64;

/// Too many messages in a minute.
const BUSY: [i64; 2] = [130_101, 130_102];

pub(super) const STYLE: Style =
    Style { escape: without_markdown, bold: "**", link: markdown_link, newline: "  \n" };

/// The address with `timestamp` (milliseconds, good for an hour) and `sign`: the HMAC of `timestamp\nsecret`.
pub(super) fn signed(url: &str, secret: Option<&str>, now: Timestamp) -> String {
    let Some(secret) = secret else { return url.to_owned() };
    let text = format!("{}\n{secret}", now.0);
    let sign = hmac_base64(secret.as_bytes(), &[text.as_bytes()]);
    let sign = utf8_percent_encode(&sign, NON_ALPHANUMERIC);
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}timestamp={}&sign={sign}", now.0)
}

pub(super) fn body(notice: &Notice<'_>) -> Vec<u8> {
    let title = without_markdown(&title(notice));
    let heading = format!("#### {title}");
    let all: Vec<String> = std::iter::once(heading).chain(paragraphs(notice, &STYLE)).collect();
    let text = fit(&all, "\n\n", TEXT_BYTES_MAX);
    json(&value!({"msgtype": "markdown", "markdown": {"title": cut(&title, TITLE_MAX), "text": text}}))
}

pub(super) fn judge(body: &str) -> Verdict {
    robot_code(body, "errcode", &BUSY)
}
