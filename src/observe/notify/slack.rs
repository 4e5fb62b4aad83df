//! An incoming webhook of Slack: `text` for the notification on a telephone, `blocks` for the channel
//! (<https://docs.slack.dev/messaging/formatting-message-text>).

use serde_json::{Value, json as value};

use super::text::{self, Style, cut, paragraphs, title};
use super::{Notice, json};

/// Slack's limits, in characters: of a header, and of the text of a section.
const HEADER_MAX: usize = 150;
const SECTION_MAX: usize = 3_000;

const STYLE: Style = Style {
    escape,
    bold: "*",
    link: |url, words| {
        let harmless = !url.contains(['|', '>', '<', ' ', '\n']);
        if harmless { format!("<{url}|{words}>") } else { escape(url) }
    },
    newline: "\n",
};

/// Slack's three signs, and those that would format: names of alerts are not for that.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '*' => escaped.push('∗'),
            '`' => escaped.push('´'),
            other => escaped.push(other),
        }
    }
    escaped
}

pub(super) fn body(notice: &Notice<'_>) -> Vec<u8> {
    let title = title(notice);
    let header = value!({"type": "header", "text": {"type": "plain_text", "text": cut(&title, HEADER_MAX)}});
    let section = |text: String| {
        let text = text::fit(&[text], "", SECTION_MAX);
        value!({"type": "section", "text": {"type": "mrkdwn", "text": text}})
    };
    let sections = paragraphs(notice, &STYLE).into_iter().map(section);
    let blocks: Vec<Value> = std::iter::once(header).chain(sections).collect();
    json(&value!({"text": escape(&title), "blocks": blocks}))
}
