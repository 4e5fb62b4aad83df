//! A WeCom robot (<https://developer.work.weixin.qq.com/document/path/91770>): Markdown. It has no signature: the key
//! in its address is the secret.

use serde_json::json as value;

use super::dingtalk::STYLE;
use super::text::{fit, paragraphs, title, without_markdown};
use super::{Notice, Verdict, json, robot_code};

/// WeCom's limit of the text, in bytes.
const TEXT_BYTES_MAX: usize = 4_096;

/// Too many messages in a minute.
const BUSY: [i64; 1] = [45_009];

pub(super) fn body(notice: &Notice<'_>) -> Vec<u8> {
    let colour = if notice.is_firing() { "warning" } else { "info" };
    let heading = format!("<font color=\"{colour}\">{}</font>", without_markdown(&title(notice)));
    let all: Vec<String> = std::iter::once(heading).chain(paragraphs(notice, &STYLE)).collect();
    json(&value!({"msgtype": "markdown", "markdown": {"content": fit(&all, "\n", TEXT_BYTES_MAX)}}))
}

pub(super) fn judge(body: &str) -> Verdict {
    robot_code(body, "errcode", &BUSY)
}
