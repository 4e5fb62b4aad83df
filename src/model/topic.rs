//! Topic settings.

use serde::{Deserialize, Serialize};

use super::group::SettingsError;
use super::limits::{
    IDEMPOTENCY_WINDOW_MS_MAX, IDEMPOTENCY_WINDOW_MS_MIN, MAX_AGE_MS_MAX, MAX_AGE_MS_MIN, QUEUES_MAX,
    QueueCount,
};
use super::time::Millis;

/// What a topic is set to. Also its JSON form in the API and in the log; unknown fields are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TopicSettings {
    /// Ordered partitions, 1 to 256. May only grow.
    pub queues: QueueCount,
    /// How long a message is kept at least after it was accepted, acked or not.
    pub max_age_ms: Millis,
    /// How long an idempotency key is remembered at least after the request it came with. Left out of the log when it
    /// is 5 minutes, which is therefore what its absence there means for ever.
    #[serde(skip_serializing_if = "is_usual_window")]
    pub idempotency_window_ms: Millis,
}

/// What topics were set to before they could be set to anything.
const USUAL_WINDOW_MS: Millis = 300_000;

fn is_usual_window(window_ms: &Millis) -> bool {
    *window_ms == USUAL_WINDOW_MS
}

impl Default for TopicSettings {
    fn default() -> TopicSettings {
        TopicSettings { queues: 4, max_age_ms: 259_200_000, idempotency_window_ms: USUAL_WINDOW_MS }
    }
}

impl TopicSettings {
    /// Checks every field against its limits.
    ///
    /// # Errors
    /// Names the first field that is out of range, and its range.
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.queues == 0 || self.queues > QUEUES_MAX {
            return Err(SettingsError::new("queues", format!("must be 1 to {QUEUES_MAX}")));
        }
        if !(MAX_AGE_MS_MIN..=MAX_AGE_MS_MAX).contains(&self.max_age_ms) {
            return Err(SettingsError::new(
                "max_age_ms",
                format!("must be {MAX_AGE_MS_MIN} to {MAX_AGE_MS_MAX}"),
            ));
        }
        if !(IDEMPOTENCY_WINDOW_MS_MIN..=IDEMPOTENCY_WINDOW_MS_MAX).contains(&self.idempotency_window_ms) {
            return Err(SettingsError::new(
                "idempotency_window_ms",
                format!("must be {IDEMPOTENCY_WINDOW_MS_MIN} to {IDEMPOTENCY_WINDOW_MS_MAX}"),
            ));
        }
        Ok(())
    }
}
