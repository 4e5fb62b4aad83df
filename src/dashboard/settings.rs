//! Settings in a form: all of them as JSON, what would change before it is saved, and no saving over somebody else's
//! change.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::broker::BrokerError;
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
    /// The version that was edited; empty for what is not there yet.
    pub(in crate::dashboard) version: String,
    /// What would change, once somebody has asked.
    pub(in crate::dashboard) diff: Option<Vec<Difference>>,
    /// What the difference was made for ([`mark`]): nothing else is saved.
    pub(in crate::dashboard) seen: String,
    /// Whether it was edited after a difference was shown, and is shown again instead of saved.
    pub(in crate::dashboard) is_edited: bool,
}

impl SettingsForm {
    /// What stands now.
    pub(in crate::dashboard) fn of(settings: &impl Serialize, version: Version) -> SettingsForm {
        SettingsForm { version: version.to_string(), ..SettingsForm::new(settings) }
    }

    /// What something begins as that is not there yet.
    pub(in crate::dashboard) fn new(settings: &impl Serialize) -> SettingsForm {
        SettingsForm { text: written(settings), ..SettingsForm::default() }
    }

    /// The form as it was sent.
    pub(in crate::dashboard) fn sent(fields: &Fields) -> SettingsForm {
        let kept = |name| fields.kept(name).to_owned();
        SettingsForm { text: kept("settings"), version: kept("version"), ..SettingsForm::default() }
    }

    /// What was read, compared with what stands: whoever saves it has seen what that changes.
    fn compared<T: Serialize>(
        (wanted, text): (&T, String),
        present: Option<&T>,
        version: String,
    ) -> SettingsForm {
        let diff = Some(difference(present, wanted));
        SettingsForm { text, version, diff, seen: mark(wanted), is_edited: false }
    }
}

/// Settings as JSON for people.
pub(in crate::dashboard) fn written(settings: &impl Serialize) -> String {
    serde_json::to_string_pretty(settings).unwrap_or_default()
}

/// A short mark of what was shown, which the form carries: what is sent with another mark was not seen. Not a secret,
/// and no protection from anybody: forms are protected by their token.
pub(in crate::dashboard) fn mark(shown: &impl Serialize) -> String {
    format!("{:08x}", crc32c::crc32c(&serde_json::to_vec(shown).unwrap_or_default()))
}

/// What became of a form that was sent.
pub(in crate::dashboard) enum Submitted<T> {
    /// Nothing was changed: what would change is to be looked at first.
    Shown(T, SettingsForm),
    Saved,
    /// Why not, the form to go on with, and what it asks for when that could be read.
    Refused(FormError, SettingsForm, Option<T>),
}

/// Settings out of the text area.
///
/// # Errors
/// What is no JSON, or no such settings.
pub(in crate::dashboard) fn read<T: DeserializeOwned>(
    fields: &Fields,
    check: impl Fn(&T) -> Result<(), SettingsError>,
) -> Result<(T, String), FormError> {
    let text = fields.kept("settings").to_owned();
    let settings: T = serde_json::from_str(&text).map_err(|error| FormError::new(error.to_string()))?;
    check(&settings)?;
    Ok((settings, text))
}

/// Shows or saves settings that were `read`, with how they are written as JSON. `present` is what stands, none when it
/// is not there yet; `put` stores them. What was not shown before is shown, never saved; what somebody else has changed
/// meanwhile is compared anew.
pub(in crate::dashboard) async fn submit<T: Serialize + Clone, R, F>(
    fields: &Fields,
    read: Result<(T, String), FormError>,
    present: impl Fn() -> Option<(T, Version)>,
    put: impl FnOnce(T, Expected) -> F,
) -> Submitted<T>
where
    F: Future<Output = Result<R, BrokerError>>,
{
    let read = read.and_then(|read| Ok((read, fields.parsed::<Version>("version")?)));
    let ((wanted, text), version) = match read {
        Ok(read) => read,
        Err(error) => return Submitted::Refused(error, SettingsForm::sent(fields), None),
    };
    let saves = fields.one("do") == Some("save");
    if !saves || fields.kept("seen") != mark(&wanted) {
        let present = present().map(|(present, _)| present);
        let form =
            SettingsForm::compared((&wanted, text), present.as_ref(), fields.kept("version").to_owned());
        return Submitted::Shown(wanted, SettingsForm { is_edited: saves, ..form });
    }
    let expected = version.map_or(Expected::Missing, |version| Expected::OneOf(vec![version]));
    let Err(error) = put(wanted.clone(), expected).await else { return Submitted::Saved };
    let (present, version) = present().unzip();
    let version = version.map(|version| version.to_string()).unwrap_or_default();
    let form = SettingsForm::compared((&wanted, text), present.as_ref(), version);
    Submitted::Refused(error.into(), form, Some(wanted))
}

/// The fields in which two settings differ: name, before, after. All of them when there was nothing before.
fn difference<T: Serialize>(before: Option<&T>, after: &T) -> Vec<Difference> {
    let (before, after) = (before.map(object).unwrap_or_default(), object(after));
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

    /// Sends the form; `stands` is what is there, and `meets` what the write then finds.
    async fn sent(
        text: &str,
        stands: Option<&(TopicSettings, Version)>,
        meets: Result<(), BrokerError>,
    ) -> (Submitted<TopicSettings>, Option<Expected>) {
        let fields = Fields::parse(text).unwrap();
        let read = read(&fields, TopicSettings::check);
        let mut asked = None;
        let put = |_, expected| {
            asked = Some(expected);
            std::future::ready(meets)
        };
        let submitted = submit(&fields, read, || stands.cloned(), put).await;
        (submitted, asked)
    }

    fn stands(queues: u16, version: &str) -> (TopicSettings, Version) {
        (TopicSettings { queues, ..TopicSettings::default() }, version.parse().unwrap())
    }

    const EIGHT: &str = "settings=%7B%22queues%22%3A8%7D";

    #[tokio::test]
    async fn what_would_change_is_told_before_it_is_saved() {
        let now = stands(4, "00000000000000ff");
        let looked = format!("{EIGHT}&version=00000000000000ff");
        let (Submitted::Shown(_, form), None) = sent(&looked, Some(&now), Ok(())).await else {
            panic!("it is only looked at")
        };
        assert_eq!(form.diff.unwrap(), [("queues".to_owned(), "4".to_owned(), "8".to_owned())]);
        let saved = format!("{looked}&do=save&seen={}", form.seen);
        let (submitted, expected) = sent(&saved, Some(&now), Ok(())).await;
        assert!(matches!(submitted, Submitted::Saved), "what was seen is saved");
        assert!(matches!(expected, Some(Expected::OneOf(versions)) if versions == [now.1]));
        // Edited after it was shown, or never shown.
        for unseen in [saved.replace("%3A8", "%3A9"), format!("{looked}&do=save")] {
            let (Submitted::Shown(_, form), None) = sent(&unseen, Some(&now), Ok(())).await else {
                panic!("nobody has seen {unseen}")
            };
            assert!(form.is_edited && form.diff.unwrap()[0].1 == "4");
        }
    }

    #[tokio::test]
    async fn what_somebody_else_has_changed_is_compared_anew() {
        let mine = stands(8, "00000000000000ff").0;
        let now = stands(6, "00000000000000aa");
        let saved = format!("{EIGHT}&version=00000000000000ff&do=save&seen={}", mark(&mine));
        let meets = Err(BrokerError::NotFound("whatever".to_owned()));
        let (Submitted::Refused(_, form, Some(wanted)), Some(_)) = sent(&saved, Some(&now), meets).await
        else {
            panic!("it was refused")
        };
        assert_eq!((wanted.queues, form.version.as_str()), (8, "00000000000000aa"));
        assert_eq!(form.diff.unwrap(), [("queues".to_owned(), "6".to_owned(), "8".to_owned())]);
        assert_eq!(form.seen, mark(&mine), "and may be saved next");
    }

    #[tokio::test]
    async fn what_is_new_is_compared_with_nothing_and_never_overwrites() {
        let (Submitted::Shown(_, form), None) = sent("settings=%7B%7D&version=", None, Ok(())).await else {
            panic!("it is only looked at")
        };
        let diff = form.diff.unwrap();
        assert!(diff.contains(&("queues".to_owned(), "–".to_owned(), "4".to_owned())), "{diff:?}");
        let saved = format!("settings=%7B%7D&version=&do=save&seen={}", form.seen);
        let (_, expected) = sent(&saved, None, Ok(())).await;
        assert!(matches!(expected, Some(Expected::Missing)));
    }

    #[tokio::test]
    async fn what_cannot_be_read_stays_in_the_form() {
        for bad in [
            "settings=%7B",
            "settings=%7B%22queues%22%3A0%7D",
            "settings=%7B%22colour%22%3A1%7D",
            "settings=%7B%7D&version=x",
        ] {
            let (Submitted::Refused(_, form, None), None) = sent(bad, None, Ok(())).await else {
                panic!("{bad} is no settings")
            };
            assert!(bad.contains(&crate::dashboard::fields::encoded(&form.text)) && form.diff.is_none());
        }
    }
}
