//! Settings to edit: a field for each of them, and all of them as JSON for what is easier pasted than filled in.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fields::{FieldError, Fields};
use super::settings::{self, SettingsForm, Submitted};
use super::visit::FormError;
use super::words::Lang;
use crate::broker::BrokerError;
use crate::machine::{Expected, Version};
use crate::model::{SettingsError, Timestamp};

/// A field of settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Input {
    /// Its name in the form, which is the one in JSON.
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) value: InputValue,
    /// What is accepted.
    pub(super) about: &'static str,
}

/// What stands in a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum InputValue {
    Line(String),
    Lines(String),
    Choice(bool),
}

/// Settings that have fields: whatever is filled in there goes through the fields and back.
pub(super) trait Editable: Serialize + DeserializeOwned + Clone + Default {
    /// The fields, filled in; none when a field would change what they hold, and only JSON does not.
    fn inputs(&self, lang: Lang) -> Vec<Input>;

    /// What the fields ask for, `now` for a time that is told by how long ago it is. Limits are not judged yet.
    ///
    /// # Errors
    /// The first field that cannot be read.
    fn read(fields: &Fields, now: Timestamp) -> Result<Self, FieldError>;

    /// Judges the limits.
    ///
    /// # Errors
    /// The first field that is out of range.
    fn check(&self) -> Result<(), SettingsError>;
}

/// Both forms as a page shows them.
#[derive(Clone, Debug, Default)]
pub(super) struct Editor {
    pub(super) inputs: Vec<Input>,
    /// What belongs to the form with fields, besides these.
    pub(super) fields: SettingsForm,
    pub(super) json: SettingsForm,
    /// Whether it is the form with JSON that somebody is at.
    pub(super) is_json: bool,
}

/// What became of a form that was sent.
pub(super) enum Edited {
    Saved,
    /// Nothing was changed: what would change is to be looked at first.
    Shown(Editor),
    Refused(FormError, Editor),
}

impl Editor {
    /// What stands now.
    pub(super) fn of<T: Editable>(settings: &T, version: Version, lang: Lang) -> Editor {
        let form = SettingsForm::of(settings, version);
        Editor { inputs: settings.inputs(lang), fields: form.clone(), json: form, is_json: false }
    }

    /// A form that was sent, and in the other one what `settings` are.
    fn sent<T: Editable>(settings: &T, (form, is_json): (SettingsForm, bool), lang: Lang) -> Editor {
        let other = SettingsForm { version: form.version.clone(), ..SettingsForm::new(settings) };
        let (fields, json) = if is_json { (other, form) } else { (form, other) };
        Editor { inputs: settings.inputs(lang), fields, json, is_json }
    }
}

/// Shows or saves what was sent, as [`settings::submit`] does.
pub(super) async fn submit<T: Editable, R, F>(
    fields: &Fields,
    (lang, now): (Lang, Timestamp),
    present: impl Fn() -> Option<(T, Version)>,
    put: impl FnOnce(T, Expected) -> F,
) -> Edited
where
    F: Future<Output = Result<R, BrokerError>>,
{
    let is_json = fields.raw("settings").is_some();
    let read = if is_json { settings::read(fields, T::check) } else { read(fields, now) };
    let unread = match settings::submit(fields, read, &present, put).await {
        Submitted::Saved => return Edited::Saved,
        Submitted::Shown(wanted, form) => return Edited::Shown(Editor::sent(&wanted, (form, is_json), lang)),
        Submitted::Refused(error, form, Some(wanted)) => {
            return Edited::Refused(error, Editor::sent(&wanted, (form, is_json), lang));
        }
        Submitted::Refused(error, form, None) => (error, form),
    };
    let (error, form) = unread;
    let stands = present().map(|(settings, _)| settings).unwrap_or_default();
    let mut editor = Editor::sent(&stands, (form, is_json), lang);
    if !is_json {
        editor.inputs.iter_mut().for_each(|input| input.fill_in(fields));
    }
    Edited::Refused(error, editor)
}

fn read<T: Editable>(fields: &Fields, now: Timestamp) -> Result<(T, String), FormError> {
    let settings = T::read(fields, now)?;
    settings.check()?;
    let text = settings::written(&settings);
    Ok((settings, text))
}

impl Input {
    /// The same as it was sent.
    fn fill_in(&mut self, fields: &Fields) {
        match &mut self.value {
            InputValue::Line(text) | InputValue::Lines(text) => fields.kept(self.name).clone_into(text),
            InputValue::Choice(is_chosen) => *is_chosen = fields.one(self.name).is_some(),
        }
    }

    pub(super) fn line(
        (name, label): (&'static str, &'static str),
        value: impl Into<String>,
        about: &'static str,
    ) -> Input {
        Input { name, label, value: InputValue::Line(value.into()), about }
    }

    pub(super) fn lines(
        (name, label): (&'static str, &'static str),
        value: String,
        about: &'static str,
    ) -> Input {
        Input { name, label, value: InputValue::Lines(value), about }
    }

    pub(super) fn choice((name, label): (&'static str, &'static str), value: bool) -> Input {
        Input { name, label, value: InputValue::Choice(value), about: "" }
    }
}

/// What a browser sends of fields that nobody changed.
#[cfg(test)]
pub(super) fn as_sent(inputs: &[Input]) -> Fields {
    let sent = inputs.iter().filter_map(|input| match &input.value {
        InputValue::Line(text) => Some((input.name, text.clone())),
        InputValue::Lines(text) => Some((input.name, text.replace('\n', "\r\n"))),
        InputValue::Choice(is_chosen) => is_chosen.then(|| (input.name, "yes".to_owned())),
    });
    let pairs: Vec<String> =
        sent.map(|(name, value)| format!("{name}={}", super::fields::encoded(&value))).collect();
    Fields::parse(&pairs.join("&")).unwrap()
}
