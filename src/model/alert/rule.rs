//! Rules.

use serde::{Deserialize, Serialize};

use super::super::group::SettingsError;
use super::super::object;
use super::super::time::Millis;
use super::{AlertMetric, Labels, NamePattern, Quantity, check_labels, check_ms};

/// When people are to be told. Also its JSON form, but for the name, which is where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertRule {
    /// What is measured.
    pub metric: AlertMetric,
    /// Of which topics and groups.
    #[serde(default, deserialize_with = "object")]
    pub selector: Selector,
    /// How the value is compared.
    #[serde(default)]
    pub op: Comparison,
    /// With what, in the unit of the metric.
    pub threshold: Quantity,
    /// Over how long what is per second or a share is taken.
    #[serde(default = "usual_window")]
    pub window_ms: Millis,
    /// How long the comparison must hold before the alert fires.
    #[serde(default)]
    pub for_ms: Millis,
    /// How long it goes on firing once the comparison holds no more.
    #[serde(default)]
    pub keep_firing_for_ms: Millis,
    /// How bad it is.
    #[serde(default)]
    pub severity: Severity,
    /// What becomes of an alert whose value is not known.
    #[serde(default)]
    pub no_data: NoData,
    /// Labels that its alerts carry besides `alertname`, `severity` and what they are about.
    #[serde(default)]
    pub labels: Labels,
    /// What people are told. `{{ value }}`, `{{ threshold }}`, `{{ topic }}`, `{{ group }}` and other labels are
    /// filled in.
    #[serde(default)]
    pub annotations: Labels,
    /// Whether it is evaluated.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn usual_window() -> Millis {
    300_000
}

fn yes() -> bool {
    true
}

/// Which topics and groups a rule looks at; all, where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selector {
    /// The topic's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<NamePattern>,
    /// The group's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<NamePattern>,
}

impl Selector {
    /// Whether it takes what is about these; what an object does not have is not compared.
    #[must_use]
    pub fn takes(&self, topic: Option<&str>, group: Option<&str>) -> bool {
        let fits = |pattern: &Option<NamePattern>, name: Option<&str>| match (pattern, name) {
            (Some(pattern), Some(name)) => pattern.takes(name),
            _ => true,
        };
        fits(&self.topic, topic) && fits(&self.group, group)
    }
}

/// How a value is compared with the threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// Above it.
    #[default]
    #[serde(rename = ">")]
    Above,
    /// At it or above.
    #[serde(rename = ">=")]
    AtLeast,
    /// Below it.
    #[serde(rename = "<")]
    Below,
    /// At it or below.
    #[serde(rename = "<=")]
    AtMost,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// To be looked at in working hours.
    #[default]
    Warning,
    /// To be looked at now.
    Critical,
}

impl Severity {
    /// Its name in JSON and in the label `severity`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// What becomes of an alert whose value is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoData {
    /// All is well.
    Ok,
    /// It stays as it is.
    #[default]
    Keep,
    /// The comparison counts as true.
    Alert,
}

/// Where a rule or receiver comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// It comes with the broker.
    BuiltIn,
    /// Somebody put it there.
    Api,
    /// The configuration file of a node.
    File,
}

impl AlertRule {
    /// A rule with everything else as usual: a warning as soon as the metric is above the threshold.
    #[must_use]
    pub fn new(metric: AlertMetric, threshold: Quantity) -> AlertRule {
        AlertRule {
            metric,
            selector: Selector::default(),
            op: Comparison::default(),
            threshold,
            window_ms: usual_window(),
            for_ms: 0,
            keep_firing_for_ms: 0,
            severity: Severity::default(),
            no_data: NoData::default(),
            labels: Labels::new(),
            annotations: Labels::new(),
            enabled: true,
        }
    }

    /// Checks every field against its limits.
    ///
    /// # Errors
    /// Names the first field that is out of range, and its range.
    pub fn check(&self) -> Result<(), SettingsError> {
        check_ms("window_ms", self.window_ms, 10_000)?;
        check_ms("for_ms", self.for_ms, 0)?;
        check_ms("keep_firing_for_ms", self.keep_firing_for_ms, 0)?;
        check_labels("labels", &self.labels)?;
        check_labels("annotations", &self.annotations)?;
        let own = ["alertname", "severity", "topic", "group", "receiver"];
        match own.into_iter().find(|name| self.labels.contains_key(*name)) {
            Some(name) => {
                Err(SettingsError::new(format!("labels/{name}"), "is a label that every alert has by itself"))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_with_its_defaults_and_writes_as_it_reads() {
        let rule: AlertRule = serde_json::from_str(r#"{"metric":"lag_messages","threshold":1000}"#).unwrap();
        assert!(rule.enabled && rule.check().is_ok());
        assert_eq!(
            (rule.op, rule.severity, rule.no_data),
            (Comparison::Above, Severity::Warning, NoData::Keep)
        );
        assert_eq!(rule.window_ms, 300_000);
        let written = serde_json::to_string(&rule).unwrap();
        assert_eq!(serde_json::from_str::<AlertRule>(&written).unwrap(), rule);
        for bad in [
            r#"{"metric":"lag","threshold":1}"#,
            r#"{"metric":"lag_messages"}"#,
            r#"{"metric":"lag_messages","threshold":1,"selector":[null,null]}"#,
        ] {
            assert!(serde_json::from_str::<AlertRule>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_name_their_field() {
        let rule = |more: &str| -> AlertRule {
            serde_json::from_str(&format!(r#"{{"metric":"lag_messages","threshold":1,{more}}}"#)).unwrap()
        };
        for (more, field) in [
            (r#""window_ms":9999"#, "window_ms"),
            (r#""for_ms":604800001"#, "for_ms"),
            (r#""labels":{"topic":"x"}"#, "labels/topic"),
            (r#""annotations":{"a b":"x"}"#, "annotations"),
        ] {
            assert_eq!(rule(more).check().unwrap_err().field, field);
        }
    }

    #[test]
    fn a_selector_compares_what_there_is() {
        let selector: Selector = serde_json::from_str(r#"{"topic":"orders.*"}"#).unwrap();
        assert!(selector.takes(Some("orders.eu"), Some("any")) && selector.takes(None, None));
        assert!(!selector.takes(Some("payments"), None));
    }
}
