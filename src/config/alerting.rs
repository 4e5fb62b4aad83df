//! The table `[alerting]` of the configuration file: rules, receivers and routes that live in the file, nowhere else.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::broker::AlertingFromFile;
use crate::model::alert::{AlertRule, Receiver, Routing};
use crate::model::{AlertName, SettingsError};

/// Its name in the file.
pub(super) const KEY: &str = "alerting";

/// As it stands in the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Table {
    rules: BTreeMap<String, AlertRule>,
    receivers: BTreeMap<String, Receiver>,
    routing: Option<Routing>,
}

/// Reads the table.
///
/// # Errors
/// Names what is wrong, and where.
pub(super) fn read(table: toml::Value) -> Result<AlertingFromFile, String> {
    // By way of JSON, so that numbers are read exactly as the interface reads them.
    let json = serde_json::to_value(table).map_err(|error| error.to_string())?;
    let Table { rules, receivers, routing } =
        serde_json::from_value(json).map_err(|error| error.to_string())?;
    let routing = routing.map(|routing| checked("routing", routing, Routing::check)).transpose()?;
    let told = |name: &str| receivers.contains_key(name);
    let lost = routing.iter().flat_map(|routing| &routing.routes).find(|route| !told(&route.receiver));
    if let Some(route) = lost {
        return Err(format!("routing: no receiver '{}' stands in this file", route.receiver));
    }
    Ok(AlertingFromFile {
        rules: named("rules", rules, AlertRule::check)?,
        receivers: named("receivers", receivers, Receiver::check)?,
        routing,
    })
}

fn named<T>(
    what: &str,
    given: BTreeMap<String, T>,
    check: impl Fn(&T) -> Result<(), SettingsError>,
) -> Result<BTreeMap<AlertName, T>, String> {
    let one = |(name, value): (String, T)| {
        let place = format!("{what}.{name}");
        let name: AlertName = name.parse().map_err(|error| format!("{place}: {error}"))?;
        Ok((name, checked(&place, value, &check)?))
    };
    given.into_iter().map(one).collect()
}

fn checked<T>(place: &str, value: T, check: impl Fn(&T) -> Result<(), SettingsError>) -> Result<T, String> {
    check(&value).map_err(|error| format!("{place}.{error}"))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<AlertingFromFile, String> {
        read(toml::Value::Table(text.parse().unwrap()))
    }

    #[test]
    fn the_table_reads_as_the_interface_does() {
        let found = read_text(
            r#"
            rules.OrdersLag = { metric = "lag_seconds", threshold = 2.5, for_ms = 60000 }
            receivers.ops = { kind = "webhook", url = "https://hooks.example.com/x" }
            routing.routes = [{ receiver = "ops" }]
            "#,
        )
        .unwrap();
        let rule = &found.rules[&"OrdersLag".parse().unwrap()];
        assert_eq!((rule.threshold.to_string(), rule.for_ms), ("2.5".to_owned(), 60_000));
        assert_eq!((found.receivers.len(), found.routing.unwrap().routes.len()), (1, 1));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, word) in [
            ("rule = {}", "rule"),
            (r#"rules.A = { metric = "lag_seconds" }"#, "threshold"),
            (r#"rules.A = { metric = "lag_seconds", threshold = 1, window_ms = 1 }"#, "rules.A.window_ms"),
            (r#"rules."-" = { metric = "lag_seconds", threshold = 1 }"#, "rules.-"),
            (r#"receivers.a = { kind = "webhook", url = "ftp://a/" }"#, "receivers.a.url"),
            (r#"routing.routes = [{ receiver = "nobody" }]"#, "nobody"),
        ] {
            let error = read_text(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
