//! Settings in a form: all of them as JSON, what would change before it is saved, and no saving over somebody else's
//! change.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::dashboard::fields::Fields;
use crate::dashboard::visit::FormError;
use crate::machine::{Expected, Version};
use crate::model::SettingsError;

/// What would change: the field, before, after.
pub(in crate::dashboard) type Difference = (String, String, String);

/// The form as a page shows it.
#[derive(Clone, Debug, Default)]
pub(in crate::dashboard) struct SettingsForm {
    /// The JSON in the text area.
    pub(in crate::dashboard) text: String,
    /// The version that was edited.
    pub(in crate::dashboard) version: String,
    /// What would change, once somebody has asked.
    pub(in crate::dashboard) diff: Option<Vec<Difference>>,
}

impl SettingsForm {
    /// What stands now.
    pub(in crate::dashboard) fn of(settings: &impl Serialize, version: Version) -> SettingsForm {
        let text = serde_json::to_string_pretty(settings).unwrap_or_default();
        SettingsForm { text, version: version.to_string(), diff: None }
    }

    /// What something begins as that is not there yet.
    pub(in crate::dashboard) fn new(settings: &impl Serialize) -> SettingsForm {
        let text = serde_json::to_string_pretty(settings).unwrap_or_default();
        SettingsForm { text, ..SettingsForm::default() }
    }

    /// The form as it was sent.
    pub(in crate::dashboard) fn sent(fields: &Fields) -> SettingsForm {
        let kept = |name| fields.kept(name).to_owned();
        SettingsForm { text: kept("settings"), version: kept("version"), diff: None }
    }

    /// What was filled in, after it could not be saved: compared with what stands `now`, so that whoever saves it all
    /// the same has seen what somebody else has changed meanwhile.
    pub(in crate::dashboard) fn against<T: Serialize>(
        self,
        wanted: &T,
        now: Option<(T, Version)>,
    ) -> SettingsForm {
        let Some((present, version)) = now else { return SettingsForm { diff: None, ..self } };
        let diff = Some(difference(&present, wanted));
        SettingsForm { version: version.to_string(), diff, ..self }
    }
}

/// What was sent: the new settings, and what they were made from.
pub(in crate::dashboard) struct Sent<T> {
    pub(in crate::dashboard) settings: T,
    pub(in crate::dashboard) expected: Expected,
    pub(in crate::dashboard) form: SettingsForm,
    /// Whether it is to be saved; else only looked at.
    pub(in crate::dashboard) is_final: bool,
}

/// Reads the form. `present` is what stands now, for the difference.
pub(in crate::dashboard) fn read<T: DeserializeOwned + Serialize>(
    fields: &Fields,
    present: &T,
    check: impl Fn(&T) -> Result<(), SettingsError>,
) -> Result<Sent<T>, FormError> {
    let text = fields.kept("settings").to_owned();
    let settings: T = serde_json::from_str(&text).map_err(|error| FormError::new(error.to_string()))?;
    taken(fields, present, (settings, text), check)
}

/// The same for settings that were read already, with how they are written as JSON.
pub(in crate::dashboard) fn taken<T: Serialize>(
    fields: &Fields,
    present: &T,
    (settings, text): (T, String),
    check: impl Fn(&T) -> Result<(), SettingsError>,
) -> Result<Sent<T>, FormError> {
    check(&settings).map_err(|error| FormError::new(error.to_string()))?;
    let version = fields.parsed::<Version>("version")?;
    let expected = version.map_or(Expected::Existing, |version| Expected::OneOf(vec![version]));
    let diff = Some(difference(present, &settings));
    let form = SettingsForm { text, version: fields.kept("version").to_owned(), diff };
    Ok(Sent { settings, expected, form, is_final: fields.one("do") == Some("save") })
}

/// The fields in which two settings differ: name, before, after.
fn difference<T: Serialize>(before: &T, after: &T) -> Vec<Difference> {
    let (before, after) = (object(before), object(after));
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let text = |value: Option<&Value>| value.map_or_else(|| "–".to_owned(), Value::to_string);
    let differing = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    differing.map(|name| (name.clone(), text(before.get(name)), text(after.get(name)))).collect()
}

fn object(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TopicSettings;

    #[test]
    fn what_would_change_is_told_before_it_is_saved() {
        let present = TopicSettings::default();
        let fields = |text: &str| Fields::parse(text).unwrap();
        let sent = read(
            &fields("settings=%7B%22queues%22%3A8%7D&version=00000000000000ff"),
            &present,
            TopicSettings::check,
        );
        let Ok(sent) = sent else { panic!("it is well formed") };
        assert_eq!(sent.form.diff.unwrap(), [("queues".to_owned(), "4".to_owned(), "8".to_owned())]);
        assert!(!sent.is_final && matches!(sent.expected, Expected::OneOf(_)));
        // Somebody was faster: what stands now is what it is compared with, and what is saved next.
        let now = (TopicSettings { queues: 6, ..present }, "00000000000000aa".parse().unwrap());
        let filled_in = SettingsForm::sent(&fields("settings=x&version=y"));
        let again = filled_in.against(&sent.settings, Some(now));
        assert_eq!(again.diff.unwrap(), [("queues".to_owned(), "6".to_owned(), "8".to_owned())]);
        assert_eq!((again.text.as_str(), again.version.as_str()), ("x", "00000000000000aa"));
        for bad in ["settings=%7B", "settings=%7B%22queues%22%3A0%7D", "settings=%7B%22colour%22%3A1%7D"] {
            assert!(read(&fields(bad), &present, TopicSettings::check).is_err(), "{bad}");
        }
        assert!(read(&fields("settings=%7B%7D&version=x"), &present, TopicSettings::check).is_err());
    }
}
