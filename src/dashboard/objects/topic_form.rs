//! The settings of a topic as fields.

use crate::dashboard::editor::{Editable, Input};
use crate::dashboard::fields::{FieldError, Fields};
use crate::dashboard::words::{Common, Lang, Objects};
use crate::model::{SettingsError, Timestamp, TopicSettings, write_duration};

impl Editable for TopicSettings {
    fn inputs(&self, lang: Lang) -> Vec<Input> {
        let (words, common) = (Objects::of(lang), Common::of(lang));
        vec![
            Input::line(("queues", common.queues), self.queues.to_string(), words.queues_hint),
            Input::line(("max_age_ms", words.max_age), write_duration(self.max_age_ms), words.max_age_hint),
            Input::line(
                ("idempotency_window_ms", words.keys_window),
                write_duration(self.idempotency_window_ms),
                words.keys_window_hint,
            ),
        ]
    }

    fn read(fields: &Fields, _: Timestamp) -> Result<TopicSettings, FieldError> {
        let span = |name| fields.span(name)?.ok_or_else(|| FieldError::missing(name));
        Ok(TopicSettings {
            queues: fields.needed("queues")?,
            max_age_ms: span("max_age_ms")?,
            idempotency_window_ms: span("idempotency_window_ms")?,
        })
    }

    fn check(&self) -> Result<(), SettingsError> {
        self.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::editor::as_sent;

    #[test]
    fn what_goes_into_the_fields_comes_out_of_them() {
        let settings = TopicSettings { queues: 7, max_age_ms: 90_061_001, idempotency_window_ms: 600_000 };
        let fields = as_sent(&settings.inputs(Lang::En));
        assert_eq!(TopicSettings::read(&fields, Timestamp(0)), Ok(settings));
        let missing = Fields::parse("queues=4&max_age_ms=1h").unwrap();
        assert_eq!(
            TopicSettings::read(&missing, Timestamp(0)).unwrap_err().field,
            "idempotency_window_ms",
            "what is left empty is not guessed"
        );
    }
}
