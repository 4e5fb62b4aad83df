//! `PATCH` of settings as a JSON merge patch (RFC 7396): a field that is given replaces, `null` takes the default back,
//! what is not named stays. The patch is made against settings that were read, and put in their place only while they
//! are still the same, so that two patches at once both take effect.

use axum::body::Body;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::extract::read_body;
use super::json_in;
use super::options::Api;
use super::problem::{Code, Problem};
use crate::broker::BrokerError;
use crate::machine::Refusal;
use crate::model::JSON_BYTES_MAX;

/// How often a patch is made anew because somebody else was faster.
pub(super) const TRIES: usize = 32;

/// A merge patch of an object.
#[derive(Debug)]
pub(super) struct Patch(Map<String, Value>);

impl Patch {
    /// Reads a patch, whatever its Content-Type says.
    ///
    /// # Errors
    /// 400 when it is no JSON object, 413 when it is too large.
    pub(super) async fn read(api: &Api, body: Body) -> Result<Patch, Problem> {
        json_in::parse(&read_body(api, body, JSON_BYTES_MAX).await?).map(Patch::of)
    }

    /// A patch of these fields.
    pub(super) fn of(fields: Map<String, Value>) -> Patch {
        Patch(fields)
    }

    /// The settings as JSON with the patch merged into them.
    ///
    /// # Errors
    /// 400 for a field that `T` does not have.
    pub(super) fn merge<T: Serialize + DeserializeOwned>(&self, settings: &T) -> Result<Vec<u8>, Problem> {
        for (name, _) in self.0.iter().filter(|(_, value)| value.is_null()) {
            check_known::<T>(name)?;
        }
        let mut merged = serde_json::to_value(settings).unwrap_or_default();
        merge(&mut merged, &Value::Object(self.0.clone()));
        Ok(serde_json::to_vec(&merged).unwrap_or_default())
    }
}

/// `null` takes a field away, so reading the result would not notice one that was never there.
fn check_known<T: DeserializeOwned>(name: &str) -> Result<(), Problem> {
    let alone: Map<String, Value> = [(name.to_owned(), Value::Null)].into_iter().collect();
    let read = serde_json::from_value::<T>(Value::Object(alone));
    match read.err().map(|error| error.to_string()) {
        Some(text) if text.starts_with("unknown field") => Err(Problem::at(
            Code::InvalidJson,
            super::problem::Place::Pointer(format!("/{}", name.replace('~', "~0").replace('/', "~1"))),
            text,
        )),
        _ => Ok(()),
    }
}

/// RFC 7396, section 2.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Reads merged settings. Their places are the patch's places; their lines are nobody's.
///
/// # Errors
/// As [`json_in::parse`].
pub(super) fn read_merged<T: DeserializeOwned>(merged: &[u8]) -> Result<T, Problem> {
    json_in::parse(merged).map_err(|mut problem| {
        let cut = |text: &mut String| {
            if let Some(at) = text.rfind(" at line ") {
                text.truncate(at);
            }
        };
        cut(&mut problem.detail);
        problem.errors.iter_mut().for_each(|error| cut(&mut error.text));
        problem
    })
}

/// Whether somebody else changed the settings in between.
pub(super) fn was_overtaken(error: &BrokerError) -> bool {
    matches!(error, BrokerError::Refused(Refusal::Stale { .. } | Refusal::Absent(_)))
}

/// Somebody else was faster every time.
pub(super) fn overtaken() -> Problem {
    Problem::new(Code::Conflict, "others changed the settings again and again; try again")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{GroupSettings, TopicSettings};

    /// The examples of RFC 7396, appendix A, whose patch is an object.
    #[test]
    fn merging_is_what_the_rfc_says() {
        for (original, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["c"]), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut target = original;
            merge(&mut target, &patch);
            assert_eq!(target, result, "{patch}");
        }
    }

    #[test]
    fn null_is_the_default_and_what_is_unknown_is_named() {
        let patch = |value: Value| Patch(value.as_object().unwrap().clone());
        let settings = TopicSettings { queues: 9, max_age_ms: 5_000, ..TopicSettings::default() };
        let merged = patch(json!({"queues": null})).merge(&settings).unwrap();
        let patched: TopicSettings = read_merged(&merged).unwrap();
        assert_eq!(patched, TopicSettings { queues: 4, max_age_ms: 5_000, ..TopicSettings::default() });
        let problem = patch(json!({"colour": null})).merge(&settings).unwrap_err();
        assert!(problem.detail.starts_with("/colour: unknown field"), "{}", problem.detail);
        let merged = patch(json!({"queues": "x"})).merge(&settings).unwrap();
        let problem = read_merged::<TopicSettings>(&merged).unwrap_err();
        assert!(problem.detail.starts_with("/queues: found string") && !problem.detail.contains("line"));
        // A part of a policy is merged into the policy that is there.
        let settings = GroupSettings {
            retry: serde_json::from_value(json!({"kind": "exponential", "initial_ms": 500})).unwrap(),
            ..GroupSettings::default()
        };
        let merged = patch(json!({"retry": {"max_ms": 1_000}})).merge(&settings).unwrap();
        let patched: GroupSettings = read_merged(&merged).unwrap();
        let retry = serde_json::to_value(patched.retry).unwrap();
        assert_eq!((&retry["initial_ms"], &retry["max_ms"]), (&json!(500), &json!(1_000)));
    }
}
