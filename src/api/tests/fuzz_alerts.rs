//! The JSON of alerting: what is accepted is kept in the log as JSON, so it has to read back as the same.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fuzz::{JSON, refused};
use crate::api::json_in;
use crate::model::SettingsError;
use crate::model::alert::{AlertRule, Receiver, Routing, Silence};
use crate::model::tests::fuzz::{Target, same};

const SEEDS: [&str; 5] = [
    r#"{"metric":"lag_seconds","op":">=","threshold":2.5,"for_ms":60000,"selector":{"topic":"orders.*","group":"a"},
        "labels":{"team":"a"},"annotations":{"summary":"{{ group }}"},"no_data":"alert","severity":"info"}"#,
    r#"{"metric":"disk_used_ratio","threshold":9e-1,"window_ms":10000,"keep_firing_for_ms":1,"enabled":false}"#,
    r#"{"kind":"webhook","url":"https://a.example/x","secret":"whsec_MTIz","send_resolved":false}"#,
    r#"{"routes":[{"receiver":"ops","match":[{"name":"a","value":"b*","is_equal":false}],"continue":true,"group_by":["a"]}],
        "inhibitions":[{"source":[],"target":[{"name":"a","value":""}],"equal":["b"]}]}"#,
    r#"{"matchers":[{"name":"group","value":"a"}],"starts_at":"2026-01-01T00:00:00Z","ends_at":"2026-01-02T00:00:00Z",
        "created_by":"ann","comment":"why"}"#,
];

/// Whether it is accepted; then it is the same once it was written and read.
fn kept<T>(input: &[u8], check: impl Fn(&T) -> Result<(), SettingsError>) -> Result<(), String>
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let value: T = json_in::parse(input).map_err(|problem| refused(problem, input))?;
    check(&value).map_err(|error| error.to_string())?;
    let written = serde_json::to_vec(&value).unwrap();
    same(&value, &serde_json::from_slice(&written).unwrap());
    Ok(())
}

#[test]
fn fuzz_alerting() {
    Target {
        name: "alerting",
        seeds: SEEDS.iter().map(|text| text.as_bytes().to_vec()).collect(),
        words: JSON,
        repair: None,
        check: |input| {
            let found = [
                kept::<AlertRule>(input, AlertRule::check),
                kept::<Receiver>(input, Receiver::check),
                kept::<Routing>(input, Routing::check),
                kept::<Silence>(input, Silence::check),
            ];
            found.into_iter().reduce(Result::or).unwrap_or(Ok(()))
        },
    }
    .run();
}
