//! The table `[alerting]` of the configuration file: rules, receivers and routes that live in the file, nowhere else.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::machine::AlertingFromFile;
use crate::model::alert::{AlertRule, Receiver, Routing};
use crate::model::{ALERT_RECEIVERS_MAX, ALERT_RULES_MAX, AlertName, BATCH_BYTES_MAX, SettingsError};

/// Its name in the file.
pub(super) const KEY: &str = "alerting";

/// As it stands in the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Table {
    rules: BTreeMap<String, Value>,
    receivers: BTreeMap<String, Value>,
    routing: Option<Routing>,
}

/// Reads the table.
///
/// # Errors
/// Names what is wrong, and where.
pub(super) fn read(table: toml::Value) -> Result<AlertingFromFile, String> {
    // By way of JSON, so that numbers are read exactly as the interface reads them.
    let json = serde_json::to_value(table).map_err(|error| error.to_string())?;
    // It becomes one entry of the log.
    let bytes = json.to_string().len();
    if bytes > BATCH_BYTES_MAX {
        return Err(format!("{bytes} bytes as JSON, at most {BATCH_BYTES_MAX}"));
    }
    let Table { rules, receivers, routing } =
        serde_json::from_value(json).map_err(|error| error.to_string())?;
    let routing = routing.map(|routing| checked("routing", routing, Routing::check)).transpose()?;
    let told = |name: &str| receivers.contains_key(name);
    let lost = routing.iter().flat_map(|routing| &routing.routes).find(|route| !told(&route.receiver));
    if let Some(route) = lost {
        return Err(format!("routing: no receiver '{}' stands in this file", route.receiver));
    }
    Ok(AlertingFromFile {
        rules: named(("rules", ALERT_RULES_MAX), rules, serde_json::Error::to_string, AlertRule::check)?,
        receivers: named(("receivers", ALERT_RECEIVERS_MAX), receivers, without_value, Receiver::check)?,
        routing: routing.map(Arc::new),
    })
}

/// Why something is no receiver. Where serde would show the value, which may be a secret, what is wanted stands
/// instead.
fn without_value(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("invalid") {
        return "kind, url and secret are texts, send_resolved is true or false".to_owned();
    }
    text
}

/// Reads each value by itself, so that what is wrong names its object; at most so many. `words` tells why one cannot be
/// read.
fn named<T: DeserializeOwned>(
    (what, most): (&str, usize),
    given: BTreeMap<String, Value>,
    words: impl Fn(&serde_json::Error) -> String,
    check: impl Fn(&T) -> Result<(), SettingsError>,
) -> Result<BTreeMap<AlertName, Arc<T>>, String> {
    if given.len() > most {
        return Err(format!("{what}: {} of them, at most {most}", given.len()));
    }
    let one = |(name, value): (String, Value)| {
        let place = format!("{what}.{name}");
        let name: AlertName = name.parse().map_err(|error| format!("{place}: {error}"))?;
        let value = serde_json::from_value(value).map_err(|error| format!("{place}: {}", words(&error)))?;
        Ok((name, Arc::new(checked(&place, value, &check)?)))
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
            (r#"rules.A = { metric = "lag_seconds" }"#, "rules.A: missing field `threshold`"),
            (r#"rules.A = { metric = "lag_seconds", threshold = 1, window_ms = 1 }"#, "rules.A.window_ms"),
            (r#"rules."-" = { metric = "lag_seconds", threshold = 1 }"#, "rules.-"),
            (r#"receivers.a = { kind = "webhook", url = "ftp://a/" }"#, "receivers.a.url"),
            (
                r#"receivers.a = { kind = "webhook", url = "http://ann:pw@a/" }"#,
                "receivers.a.url must not hold",
            ),
            (r#"routing.routes = [{ receiver = "nobody" }]"#, "nobody"),
        ] {
            let error = read_text(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn more_than_the_broker_holds_is_refused_when_the_file_is_read() {
        let many = (0..=ALERT_RECEIVERS_MAX).fold(String::new(), |text, number| {
            text + &format!("receivers.r{number} = {{ kind = \"webhook\", url = \"https://a.example/\" }}\n")
        });
        assert_eq!(read_text(&many).unwrap_err(), "receivers: 101 of them, at most 100");
    }

    #[test]
    fn what_is_wrong_with_a_receiver_does_not_show_what_may_be_secret() {
        for text in [
            r#"receivers.ops = "https://hooks.example.com/s3cret""#,
            r#"receivers.ops = { kind = "webhook", url = "https://hooks.example.com/", secret = ["s3cret"] }"#,
            r#"receivers.ops = { kind = "webhook", url = ["https://hooks.example.com/s3cret"] }"#,
        ] {
            let error = read_text(text).unwrap_err();
            assert!(error.contains("receivers.ops: ") && !error.contains("s3cret"), "{text}: {error}");
        }
    }
}
