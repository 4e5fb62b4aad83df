//! The words of a notification, for receivers that show text to people.

use crate::model::alert::{Labels, NotifiedAlert};

use super::Notice;

/// Most alerts that are written out; a chat is no table.
const ALERTS_MAX: usize = 10;

/// Most characters of one text of a rule. It may be longer, but not on a telephone.
const WORDS_MAX: usize = 600;

/// How a kind of text marks things.
pub(super) struct Style {
    /// What may have a meaning in this kind of text is made harmless.
    pub(super) escape: fn(&str) -> String,
    /// Stands around what is shown in bold letters.
    pub(super) bold: &'static str,
    /// Writes a link: address and words.
    pub(super) link: fn(&str, &str) -> String,
    /// Ends a line.
    pub(super) newline: &'static str,
}

/// `[FIRING:2] GroupLag (topic=orders)`: status, how many, and what the alerts have in common.
pub(super) fn title(notice: &Notice<'_>) -> String {
    let firing = notice.notification.alerts.iter().filter(|alert| alert.is_firing()).count();
    let count = if firing > 0 { format!("FIRING:{firing}") } else { "RESOLVED".to_owned() };
    let mut common = notice.common(|alert| &alert.labels);
    common.remove("severity");
    let name =
        common.remove("alertname").unwrap_or_else(|| format!("{} alerts", notice.notification.alerts.len()));
    let labels = pairs(&common);
    let about = if labels.is_empty() { String::new() } else { format!(" ({labels})") };
    cut(&format!("[{count}] {name}{about}"), WORDS_MAX)
}

/// A paragraph for each alert, the firing ones first.
pub(super) fn paragraphs(notice: &Notice<'_>, style: &Style) -> Vec<String> {
    let (firing, resolved): (Vec<_>, Vec<_>) =
        notice.notification.alerts.iter().partition(|alert| alert.is_firing());
    let mut written: Vec<String> =
        firing.iter().chain(&resolved).take(ALERTS_MAX).map(|alert| paragraph(alert, style)).collect();
    let unwritten =
        u64::try_from(notice.notification.alerts.len().saturating_sub(ALERTS_MAX)).unwrap_or(u64::MAX);
    let left = unwritten.saturating_add(notice.notification.truncated);
    if left > 0 {
        written.push(format!("… and {left} more"));
    }
    if !notice.external_url.is_empty() {
        written.push((style.link)(&format!("{}/alerts", notice.external_url), "Open the alerts"));
    }
    written
}

fn paragraph(alert: &NotifiedAlert, style: &Style) -> String {
    let Style { escape, bold, link, newline } = style;
    let status = if alert.is_firing() { "FIRING" } else { "RESOLVED" };
    let (name, severity) = (escape(alert.label("alertname")), escape(alert.label("severity")));
    let mut lines = vec![format!("{bold}{status} {name}{bold} {severity}").trim_end().to_owned()];
    let mut labels = alert.labels.clone();
    labels.retain(|name, _| name != "alertname" && name != "severity");
    let texts = [pairs(&labels), alert.annotation("summary").into(), alert.annotation("description").into()];
    lines.extend(texts.iter().filter(|text| !text.is_empty()).map(|text| escape(&cut(text, WORDS_MAX))));
    lines.push(match alert.ends_at {
        None => format!("since {}", alert.starts_at),
        Some(end) => format!("from {} to {end}", alert.starts_at),
    });
    let runbook = alert.annotation("runbook_url");
    if runbook.starts_with("https://") || runbook.starts_with("http://") {
        lines.push(link(runbook, "Runbook"));
    }
    lines.join(newline)
}

/// `topic=orders, group=billing`
fn pairs(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join(", ")
}

/// At most `most` characters, with a sign that there were more.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most.saturating_sub(1)) {
        Some((at, last)) if at + last.len_utf8() < text.len() => {
            format!("{}…", text.get(..at).unwrap_or_default())
        }
        _ => text.to_owned(),
    }
}

/// Paragraphs with `gap` between them, as many as fit into `most` bytes; whole paragraphs only, except for the first.
pub(super) fn fit(paragraphs: &[String], gap: &str, most: usize) -> String {
    let mut text = String::new();
    for paragraph in paragraphs {
        let sign = "…";
        let between = if text.is_empty() { "" } else { gap };
        if text.len() + between.len() + paragraph.len() + gap.len() + sign.len() > most {
            if text.is_empty() {
                return cut(paragraph, most / 4);
            }
            return text + gap + sign;
        }
        text += between;
        text += paragraph;
    }
    text
}

/// Makes signs that Markdown gives a meaning harmless, for the robots, none of which has a rule of escaping:
/// look-alikes take their places.
pub(super) fn without_markdown(text: &str) -> String {
    let look_alike = |sign| match sign {
        '<' => '‹',
        '>' => '›',
        '[' => '［',
        ']' => '］',
        '*' => '∗',
        '`' => '´',
        '#' => '＃',
        '@' => '＠',
        '\r' | '\n' => ' ',
        other => other,
    };
    text.chars().map(look_alike).collect()
}

/// A link in Markdown. An address with a bracket or space in it would end early, so it is shown as it is.
pub(super) fn markdown_link(url: &str, words: &str) -> String {
    if url.contains(['(', ')', '<', '>', ' ', '\n']) {
        return without_markdown(url);
    }
    format!("[{words}]({url})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_ends_with_a_sign() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
        assert_eq!(cut("", 3), "");
        let paragraphs = ["a".repeat(40), "b".repeat(40), "c".repeat(40)];
        let text = fit(&paragraphs, "\n\n", 100);
        assert!(text.ends_with("b\n\n…") && text.len() <= 100, "{text}");
        assert!(fit(&["ä".repeat(400)], "\n", 100).len() <= 100);
    }
}
