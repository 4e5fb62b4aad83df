//! A rule as fields of a form, for people who do not want to write JSON.

use crate::dashboard::fields::{FieldError, Fields};
use crate::dashboard::visit::FormError;
use crate::model::alert::{
    AlertMetric, AlertRule, Comparison, NamePattern, NoData, Quantity, Selector, Severity,
};
use crate::model::write_duration;

/// The annotation that has a field; the others keep what they are.
const SUMMARY: &str = "summary";

/// A rule, as the fields show it. Labels and annotations other than the summary have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RuleFields {
    pub(super) metric: String,
    pub(super) topic: String,
    pub(super) group: String,
    pub(super) op: String,
    pub(super) threshold: String,
    pub(super) window: String,
    pub(super) waits: String,
    pub(super) keeps: String,
    pub(super) severity: String,
    pub(super) no_data: String,
    pub(super) summary: String,
    pub(super) enabled: bool,
}

/// What can be chosen, each by its name in JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choices {
    pub(super) metrics: [AlertMetric; 14],
    pub(super) ops: [&'static str; 4],
    pub(super) severities: [&'static str; 3],
    pub(super) no_data: [&'static str; 3],
}

const OPS: [(&str, Comparison); 4] = [
    (">", Comparison::Above),
    (">=", Comparison::AtLeast),
    ("<", Comparison::Below),
    ("<=", Comparison::AtMost),
];

const SEVERITIES: [(&str, Severity); 3] =
    [("info", Severity::Info), ("warning", Severity::Warning), ("critical", Severity::Critical)];

const NO_DATA: [(&str, NoData); 3] = [("keep", NoData::Keep), ("ok", NoData::Ok), ("alert", NoData::Alert)];

pub(super) const CHOICES: Choices = Choices {
    metrics: AlertMetric::ALL,
    ops: [OPS[0].0, OPS[1].0, OPS[2].0, OPS[3].0],
    severities: [SEVERITIES[0].0, SEVERITIES[1].0, SEVERITIES[2].0],
    no_data: [NO_DATA[0].0, NO_DATA[1].0, NO_DATA[2].0],
};

impl RuleFields {
    /// A rule as it stands.
    pub(super) fn of(rule: &AlertRule) -> RuleFields {
        let pattern =
            |pattern: &Option<NamePattern>| pattern.as_ref().map(NamePattern::to_string).unwrap_or_default();
        RuleFields {
            metric: rule.metric.as_str().to_owned(),
            topic: pattern(&rule.selector.topic),
            group: pattern(&rule.selector.group),
            op: name_of(&OPS, &rule.op),
            threshold: rule.threshold.to_string(),
            window: write_duration(rule.window_ms),
            waits: write_duration(rule.for_ms),
            keeps: write_duration(rule.keep_firing_for_ms),
            severity: name_of(&SEVERITIES, &rule.severity),
            no_data: name_of(&NO_DATA, &rule.no_data),
            summary: rule.annotations.get(SUMMARY).cloned().unwrap_or_default(),
            enabled: rule.enabled,
        }
    }

    /// As it was filled in.
    pub(super) fn sent(fields: &Fields) -> RuleFields {
        let kept = |name| fields.kept(name).to_owned();
        RuleFields {
            metric: kept("metric"),
            topic: kept("topic"),
            group: kept("group"),
            op: kept("op"),
            threshold: kept("threshold"),
            window: kept("window"),
            waits: kept("for"),
            keeps: kept("keep_firing_for"),
            severity: kept("severity"),
            no_data: kept("no_data"),
            summary: kept(SUMMARY),
            enabled: fields.one("enabled").is_some(),
        }
    }
}

/// Whether the form that was sent is the one with fields.
pub(super) fn is_sent(fields: &Fields) -> bool {
    fields.raw("metric").is_some()
}

/// The rule that the fields ask for; what they say nothing of is as in `base`.
///
/// # Errors
/// Names the first field that cannot be read.
pub(super) fn read(fields: &Fields, base: &AlertRule) -> Result<AlertRule, FormError> {
    let metric = AlertMetric::ALL.into_iter().find(|metric| fields.one("metric") == Some(metric.as_str()));
    let mut annotations = base.annotations.clone();
    match fields.one(SUMMARY) {
        Some(summary) => annotations.insert(SUMMARY.to_owned(), summary.to_owned()),
        None => annotations.remove(SUMMARY),
    };
    Ok(AlertRule {
        metric: metric.ok_or_else(|| FieldError::missing("metric"))?,
        selector: Selector { topic: fields.parsed("topic")?, group: fields.parsed("group")? },
        op: chosen(fields, "op", &OPS)?,
        threshold: fields.needed::<Quantity>("threshold")?,
        window_ms: fields.span("window")?.unwrap_or(base.window_ms),
        for_ms: fields.span("for")?.unwrap_or(0),
        keep_firing_for_ms: fields.span("keep_firing_for")?.unwrap_or(0),
        severity: chosen(fields, "severity", &SEVERITIES)?,
        no_data: chosen(fields, "no_data", &NO_DATA)?,
        labels: base.labels.clone(),
        annotations,
        enabled: fields.one("enabled").is_some(),
    })
}

fn name_of<T: PartialEq>(known: &[(&'static str, T)], wanted: &T) -> String {
    known.iter().find(|(_, value)| value == wanted).map(|(name, _)| (*name).to_owned()).unwrap_or_default()
}

fn chosen<T: Copy>(
    fields: &Fields,
    name: &'static str,
    known: &[(&'static str, T)],
) -> Result<T, FieldError> {
    let found = known.iter().find(|(known, _)| fields.one(name) == Some(known)).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        FieldError::new(name, format!("must be one of {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::fields::address;

    fn typed(shown: &RuleFields) -> Fields {
        let pairs = [
            ("metric", &shown.metric),
            ("topic", &shown.topic),
            ("group", &shown.group),
            ("op", &shown.op),
            ("threshold", &shown.threshold),
            ("window", &shown.window),
            ("for", &shown.waits),
            ("keep_firing_for", &shown.keeps),
            ("severity", &shown.severity),
            ("no_data", &shown.no_data),
            ("summary", &shown.summary),
        ];
        let pairs = pairs.into_iter().map(|(name, value)| (name, Some(value.as_str())));
        let on = shown.enabled.then_some(("enabled", Some("yes")));
        Fields::parse(address("", pairs.chain(on)).trim_start_matches('?')).unwrap()
    }

    #[test]
    fn a_rule_reads_back_as_it_is_shown_with_what_has_no_field() {
        let rule: AlertRule = serde_json::from_str(
            r#"{"metric":"failure_ratio","selector":{"group":"billing.*"},"op":">=","threshold":0.25,
                "window_ms":600000,"for_ms":90000,"keep_firing_for_ms":0,"severity":"critical","no_data":"ok",
                "labels":{"team":"money"},"annotations":{"summary":"{{ group }}","runbook_url":"https://a/b"},
                "enabled":false}"#,
        )
        .unwrap();
        let shown = RuleFields::of(&rule);
        assert_eq!(
            (shown.threshold.as_str(), shown.window.as_str(), shown.waits.as_str()),
            ("0.25", "10m", "1m30s")
        );
        assert_eq!(RuleFields::sent(&typed(&shown)), shown);
        assert_eq!(read(&typed(&shown), &rule).unwrap(), rule);
        let bare = RuleFields { summary: String::new(), enabled: true, ..shown };
        let changed = read(&typed(&bare), &rule).unwrap();
        assert!(
            changed.enabled && !changed.annotations.contains_key(SUMMARY) && changed.annotations.len() == 1
        );
    }

    #[test]
    fn what_cannot_be_read_names_its_field() {
        let base = AlertRule::new(AlertMetric::LagSeconds, Quantity::whole(1));
        let good = RuleFields::of(&base);
        let bad = [
            ("metric", RuleFields { metric: "lag".to_owned(), ..good.clone() }),
            ("threshold", RuleFields { threshold: "a lot".to_owned(), ..good.clone() }),
            ("for", RuleFields { waits: "5".to_owned(), ..good.clone() }),
            ("group", RuleFields { group: "a b".to_owned(), ..good.clone() }),
            ("op", RuleFields { op: "==".to_owned(), ..good.clone() }),
        ];
        for (field, shown) in bad {
            let error = read(&typed(&shown), &base).unwrap_err();
            assert!(error.text.starts_with(&format!("{field}: ")), "{}", error.text);
        }
        assert!(!is_sent(&Fields::default()) && is_sent(&typed(&good)));
    }
}
