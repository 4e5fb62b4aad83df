//! Routes: which alerts go to whom, in groups of what.

use serde::{Deserialize, Serialize};

use super::super::group::SettingsError;
use super::super::limits::{ALERT_GROUP_BY_MAX, ALERT_ROUTES_MAX, NAME_BYTES_MAX};
use super::super::objects;
use super::super::time::Millis;
use super::{Labels, Matcher, check_ms};

/// All routes and inhibitions: one object, because their order matters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Routing {
    /// Tried from the first on; an alert takes the first that takes it, and those behind it as long as they `continue`.
    /// With none, every alert goes to every receiver.
    #[serde(default, deserialize_with = "objects")]
    pub routes: Vec<Route>,
    /// Which alerts keep which others quiet.
    #[serde(default, deserialize_with = "objects")]
    pub inhibitions: Vec<Inhibition>,
}

/// One way that alerts take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Which alerts; all, when it is empty.
    #[serde(default, rename = "match", deserialize_with = "objects")]
    pub matchers: Vec<Matcher>,
    /// The name of who is told.
    pub receiver: String,
    /// Whether alerts that it takes go on to the routes behind it as well.
    #[serde(default, rename = "continue")]
    pub goes_on: bool,
    /// The labels by which alerts form groups, each of which is one notification.
    #[serde(default = "usual_group_by")]
    pub group_by: Vec<String>,
    /// From the first alert of a group to its first notification.
    #[serde(default = "usual_wait")]
    pub group_wait_ms: Millis,
    /// Between notifications of a group in which something is new.
    #[serde(default = "usual_interval")]
    pub group_interval_ms: Millis,
    /// Between notifications of a group in which nothing is.
    #[serde(default = "usual_repeat")]
    pub repeat_interval_ms: Millis,
}

fn usual_group_by() -> Vec<String> {
    vec!["alertname".to_owned()]
}

/// Alertmanager's defaults: 30 s, 5 min, 4 h.
fn usual_wait() -> Millis {
    30_000
}

fn usual_interval() -> Millis {
    300_000
}

fn usual_repeat() -> Millis {
    4 * 3_600_000
}

/// While an alert that `source` takes fires, those that `target` takes and that agree with it in all `equal` labels are
/// kept quiet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inhibition {
    /// Which alerts keep others quiet.
    #[serde(deserialize_with = "objects")]
    pub source: Vec<Matcher>,
    /// Which are kept quiet.
    #[serde(deserialize_with = "objects")]
    pub target: Vec<Matcher>,
    /// The labels that both must have in common.
    #[serde(default)]
    pub equal: Vec<String>,
}

impl Route {
    /// The way of every alert to one receiver, for when nobody said anything else.
    #[must_use]
    pub fn to(receiver: &str) -> Route {
        Route {
            matchers: Vec::new(),
            receiver: receiver.to_owned(),
            goes_on: true,
            group_by: usual_group_by(),
            group_wait_ms: usual_wait(),
            group_interval_ms: usual_interval(),
            repeat_interval_ms: usual_repeat(),
        }
    }

    /// Whether it takes an alert with these labels.
    #[must_use]
    pub fn takes(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.takes(labels))
    }
}

impl Routing {
    /// Checks every field against its limits.
    ///
    /// # Errors
    /// Names the first that is wrong.
    pub fn check(&self) -> Result<(), SettingsError> {
        for (field, count) in [("routes", self.routes.len()), ("inhibitions", self.inhibitions.len())] {
            if count > ALERT_ROUTES_MAX {
                return Err(SettingsError::new(field, format!("must be at most {ALERT_ROUTES_MAX}")));
            }
        }
        for (at, route) in self.routes.iter().enumerate() {
            let field = |name: &str| format!("routes/{at}/{name}");
            Matcher::check_all(&field("match"), &route.matchers)?;
            if route.receiver.is_empty() || route.receiver.len() > NAME_BYTES_MAX {
                return Err(SettingsError::new(field("receiver"), "must be the name of a receiver"));
            }
            check_names(field("group_by"), &route.group_by)?;
            check_ms(&field("group_wait_ms"), route.group_wait_ms, 0)?;
            check_ms(&field("group_interval_ms"), route.group_interval_ms, 1_000)?;
            check_ms(&field("repeat_interval_ms"), route.repeat_interval_ms, 1_000)?;
        }
        for (at, inhibition) in self.inhibitions.iter().enumerate() {
            let sides = [("source", &inhibition.source), ("target", &inhibition.target)];
            for (name, matchers) in sides {
                let field = format!("inhibitions/{at}/{name}");
                Matcher::check_all(&field, matchers)?;
                if matchers.is_empty() {
                    return Err(SettingsError::new(field, "must name at least one label"));
                }
            }
            check_names(format!("inhibitions/{at}/equal"), &inhibition.equal)?;
        }
        Ok(())
    }
}

/// Refuses names of labels that are too many or too long.
fn check_names(field: String, names: &[String]) -> Result<(), SettingsError> {
    if names.len() > ALERT_GROUP_BY_MAX || names.iter().any(|name| name.len() > NAME_BYTES_MAX) {
        let text =
            format!("must name at most {ALERT_GROUP_BY_MAX} labels, each of at most {NAME_BYTES_MAX} bytes");
        return Err(SettingsError::new(field, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_reads_with_alertmanagers_defaults() {
        let routing: Routing = serde_json::from_str(r#"{"routes":[{"receiver":"ops"}]}"#).unwrap();
        let usual = Route { goes_on: false, ..Route::to("ops") };
        assert_eq!(routing.routes, [usual]);
        assert!(routing.check().is_ok());
    }

    #[test]
    fn a_list_of_fields_is_no_object() {
        for bad in [r#"{"routes":[[[],"ops"]]}"#, r#"{"inhibitions":[[[],[]]]}"#] {
            assert!(serde_json::from_str::<Routing>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_name_their_field() {
        for (text, field) in [
            (r#"{"routes":[{"receiver":""}]}"#, "routes/0/receiver"),
            (r#"{"routes":[{"receiver":"a","group_interval_ms":1}]}"#, "routes/0/group_interval_ms"),
            (r#"{"inhibitions":[{"source":[],"target":[]}]}"#, "inhibitions/0/source"),
            (r#"{"routes":[{"receiver":"a","match":[{"name":"-","value":"x"}]}]}"#, "routes/0/match/0/name"),
        ] {
            let routing: Routing = serde_json::from_str(text).unwrap();
            assert_eq!(routing.check().unwrap_err().field, field);
        }
    }

    #[test]
    fn an_inhibition_compares_no_more_labels_than_a_route_groups_by() {
        let side = vec![Matcher { name: "severity".into(), value: "critical".into(), is_equal: true }];
        let comparing = |names: Vec<String>| {
            let inhibition = Inhibition { source: side.clone(), target: side.clone(), equal: names };
            Routing { routes: Vec::new(), inhibitions: vec![inhibition] }
        };
        let named = |count: usize, bytes: usize| comparing(vec!["l".repeat(bytes); count]);
        assert!(named(ALERT_GROUP_BY_MAX, NAME_BYTES_MAX).check().is_ok());
        for lost in [named(ALERT_GROUP_BY_MAX + 1, 1), named(1, NAME_BYTES_MAX + 1)] {
            assert_eq!(lost.check().unwrap_err().field, "inhibitions/0/equal");
            // What a log holds from before is read as ever.
            let text = serde_json::to_string(&lost).unwrap();
            assert_eq!(serde_json::from_str::<Routing>(&text).unwrap(), lost);
        }
    }
}
