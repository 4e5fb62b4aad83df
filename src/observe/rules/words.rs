//! What an alert says: its labels, and its annotations with the blanks filled in.

use crate::model::alert::{AlertKey, AlertMetric, AlertRule, Labels};

use super::condition::from_quantity;

/// The labels of an alert of `rule`: its own, `alertname` and `severity`, and what it is about.
#[must_use]
pub fn labels(key: &AlertKey, rule: &AlertRule) -> Labels {
    let mut labels = rule.labels.clone();
    let about = [("topic", &key.topic), ("group", &key.group), ("receiver", &key.receiver)];
    for (name, value) in about {
        if let Some(value) = value {
            labels.insert(name.to_owned(), value.clone());
        }
    }
    labels.insert("alertname".to_owned(), key.rule.clone());
    labels.insert("severity".to_owned(), rule.severity.as_str().to_owned());
    labels
}

/// The annotations of an alert: `{{ value }}`, `{{ threshold }}` and `{{ name of a label }}` are filled in. What is not
/// known is `–`; a blank that names nothing stays as it is, so that its writer sees it.
#[must_use]
pub fn annotations(rule: &AlertRule, labels: &Labels, value: Option<f64>) -> Labels {
    let blank = |name: &str| match name {
        "value" => Some(value.map_or_else(|| "–".to_owned(), |value| shown(rule.metric, value))),
        "threshold" => Some(shown(rule.metric, from_quantity(rule.threshold))),
        _ => labels.get(name).cloned(),
    };
    let filled = |(name, text): (&String, &String)| (name.clone(), fill(text, blank));
    rule.annotations.iter().map(filled).collect()
}

/// Fills the blanks `{{ name }}` of a text.
fn fill(text: &str, blank: impl Fn(&str) -> Option<String>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, opened)) = rest.split_once("{{") {
        filled.push_str(before);
        let Some((name, after)) = opened.split_once("}}") else {
            filled.push_str("{{");
            rest = opened;
            continue;
        };
        match blank(name.trim()) {
            Some(word) => filled.push_str(&word),
            None => {
                filled.push_str("{{");
                filled.push_str(name);
                filled.push_str("}}");
            }
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// A value for people, in the unit of its metric: `1h 5m`, `12.5 %`, `0.25/s`, `1200`.
#[must_use]
pub fn shown(metric: AlertMetric, value: f64) -> String {
    let name = metric.as_str();
    if name.ends_with("_per_second") {
        format!("{}/s", number(value))
    } else if name.ends_with("_seconds") {
        duration(value)
    } else if name.ends_with("_ratio") {
        format!("{} %", number(value * 100.0))
    } else {
        number(value)
    }
}

/// At most three digits behind the point, and no needless zeros.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The two largest units; below ten seconds with milliseconds.
fn duration(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{}s", number(seconds));
    }
    let mut rest = format!("{seconds:.0}").parse::<u64>().unwrap_or(0);
    let mut words: Vec<String> = Vec::new();
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        if rest >= length && words.len() < 2 {
            words.push(format!("{}{unit}", rest / length));
            rest %= length;
        } else if !words.is_empty() {
            break;
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_in_the_unit_of_their_metric() {
        for (metric, value, text) in [
            (AlertMetric::LagMessages, 1_200.0, "1200"),
            (AlertMetric::LagSeconds, 0.25, "0.25s"),
            (AlertMetric::LagSeconds, 75.4, "1m 15s"),
            (AlertMetric::LagSeconds, 3_600.0, "1h"),
            (AlertMetric::LagSeconds, 3_605.0, "1h"),
            (AlertMetric::LagSeconds, 3_960.0, "1h 6m"),
            (AlertMetric::LagSeconds, 200_000.0, "2d 7h"),
            (AlertMetric::FailureRatio, 0.125, "12.5 %"),
            (AlertMetric::FailuresPerSecond, 0.333_333, "0.333/s"),
            (AlertMetric::DiskUsedRatio, 0.9, "90 %"),
        ] {
            assert_eq!(shown(metric, value), text, "{value}");
        }
    }

    #[test]
    fn blanks_are_filled_and_what_names_nothing_is_seen() {
        let rule: AlertRule = serde_json::from_str(
            r#"{"metric":"lag_seconds","threshold":300,"severity":"critical","labels":{"team":"ops"},"annotations":
            {"summary":"{{ group }} of {{team}} is {{ value }} behind {{topic}} (over {{ threshold }}) {{ what }} {{ {"}}"#,
        )
        .unwrap();
        let key = AlertKey {
            rule: "Lag".into(),
            topic: Some("orders".into()),
            group: Some("billing".into()),
            receiver: None,
        };
        let labels = labels(&key, &rule);
        let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            pairs,
            ["alertname=Lag", "group=billing", "severity=critical", "team=ops", "topic=orders"]
        );
        let summary = |value| annotations(&rule, &labels, value)["summary"].clone();
        assert_eq!(summary(Some(360.0)), "billing of ops is 6m behind orders (over 5m) {{ what }} {{ {");
        assert!(summary(None).contains("is – behind"));
    }
}
