//! Consumer group settings: subscriptions, leases, retry.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::filter::Filter;
use super::limits::{
    ATTEMPTS_MAX, DEAD_LETTERS_MAX, IN_FLIGHT_MAX, LEASE_MS_MAX, LEASE_MS_MIN, RETRY_MS_MAX, RETRY_MS_MIN,
    RETRY_STEPS_MAX, SUBSCRIPTIONS_MAX,
};
use super::name::TopicName;
use super::object::{maybe_object, objects};
use super::time::{Millis, Timestamp};

/// A setting that is out of range: which one, and what is accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {text}")]
pub struct SettingsError {
    /// The field, as in the JSON (`retry.steps_ms`).
    pub field: String,
    /// What is wrong with it.
    pub text: String,
}

impl SettingsError {
    /// An error about `field`.
    pub fn new(field: impl Into<String>, text: impl Into<String>) -> SettingsError {
        SettingsError { field: field.into(), text: text.into() }
    }
}

/// What a consumer group is set to. Also its JSON form in the API and in the log; unknown fields are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupSettings {
    /// The topics it reads, each at most once.
    #[serde(deserialize_with = "objects")]
    pub subscriptions: Vec<Subscription>,
    /// Whether messages of one lane are handed out one after the other.
    pub ordered: bool,
    /// In an ordered group: how many consecutive messages of a lane one answer may hold.
    pub lane_batch: u32,
    /// How long a lease lasts when the receive does not say.
    pub lease_ms: Millis,
    /// Failed deliveries of one round after which a message is dead-lettered.
    pub max_attempts: u32,
    /// Most leases at once.
    pub max_in_flight: u32,
    /// The delay after a failed delivery. Missing: the default of ordered or unordered groups.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "maybe_object")]
    pub retry: Option<RetryPolicy>,
    /// Where a new subscription starts.
    pub start: Start,
    /// Most dead letters; when full, the queue of the next one waits.
    pub dead_letters_max: u64,
    /// Whether messages that outlive their TTL become dead letters.
    pub dead_letter_expired: bool,
}

impl Default for GroupSettings {
    fn default() -> GroupSettings {
        GroupSettings {
            subscriptions: Vec::new(),
            ordered: false,
            lane_batch: 1,
            lease_ms: 60_000,
            max_attempts: 16,
            max_in_flight: 20_000,
            retry: None,
            start: Start::Earliest,
            dead_letters_max: 1_000_000,
            dead_letter_expired: false,
        }
    }
}

impl GroupSettings {
    /// The retry policy in force: the one set, else the default of the group's kind.
    #[must_use]
    pub fn retry(&self) -> RetryPolicy {
        self.retry.clone().unwrap_or_else(|| RetryPolicy::default_for(self.ordered))
    }

    /// Whether one of its filters looks at more than tags.
    #[must_use]
    pub fn needs_attributes(&self) -> bool {
        self.subscriptions.iter().any(|subscription| subscription.filter.needs_attributes())
    }

    /// At most about how many bytes its JSON has.
    #[must_use]
    pub fn about_bytes(&self) -> usize {
        let one = |of: &Subscription| 48 + of.topic.as_str().len() + of.filter.about_bytes();
        512 + self.subscriptions.iter().map(one).sum::<usize>()
    }

    /// Checks every field against its limits.
    ///
    /// # Errors
    /// Names the first field that is out of range, and its range.
    pub fn check(&self) -> Result<(), SettingsError> {
        let within = |field: &str, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(SettingsError::new(field, format!("must be {low} to {high}")))
            }
        };
        if self.subscriptions.len() > SUBSCRIPTIONS_MAX {
            return Err(SettingsError::new(
                "subscriptions",
                format!("must name at most {SUBSCRIPTIONS_MAX} topics"),
            ));
        }
        for (at, subscription) in self.subscriptions.iter().enumerate() {
            if self.subscriptions.iter().take(at).any(|earlier| earlier.topic == subscription.topic) {
                let text = format!("names topic '{}' twice", subscription.topic);
                return Err(SettingsError::new(format!("subscriptions/{at}/topic"), text));
            }
        }
        within("lane_batch", self.lane_batch.into(), 1, 1_000)?;
        if self.lane_batch > 1 && !self.ordered {
            return Err(SettingsError::new("lane_batch", "above 1 needs an ordered group"));
        }
        within("lease_ms", self.lease_ms, LEASE_MS_MIN, LEASE_MS_MAX)?;
        within("max_attempts", self.max_attempts.into(), 1, ATTEMPTS_MAX.into())?;
        within("max_in_flight", self.max_in_flight.into(), 1, IN_FLIGHT_MAX.into())?;
        within("dead_letters_max", self.dead_letters_max, 1, DEAD_LETTERS_MAX)?;
        self.retry.as_ref().map_or(Ok(()), RetryPolicy::check)
    }
}

/// One topic a group reads, and which of its messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// The topic.
    pub topic: TopicName,
    /// Which messages; all when missing.
    #[serde(default, skip_serializing_if = "Filter::is_all")]
    pub filter: Filter,
}

/// Where a new subscription starts reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the first message the topic still keeps.
    #[default]
    Earliest,
    /// Behind the last message there is.
    Latest,
    /// At the first message that became ready at or after this time.
    Time(Timestamp),
}

impl Serialize for Start {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Start::Earliest => serializer.serialize_str("earliest"),
            Start::Latest => serializer.serialize_str("latest"),
            Start::Time(time) => serializer.collect_str(time),
        }
    }
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Start, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "earliest" => Ok(Start::Earliest),
            "latest" => Ok(Start::Latest),
            time => time.parse().map(Start::Time).map_err(|_| {
                serde::de::Error::custom("expected \"earliest\", \"latest\" or an RFC 3339 time")
            }),
        }
    }
}

/// How long a message waits after a failed delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum RetryPolicy {
    /// Step i after failure i; the last step repeats.
    Table {
        /// 1 to 64 delays of 100 ms to 12 h.
        steps_ms: Vec<Millis>,
    },
    /// `initial_ms * multiplier^(i-1)` after failure i, at most `max_ms`.
    Exponential {
        /// The first delay; at least 100 ms.
        #[serde(default = "default_initial_ms")]
        initial_ms: Millis,
        /// The factor from one delay to the next, 1 to 10.
        #[serde(default)]
        multiplier: Multiplier,
        /// No delay is longer.
        #[serde(default = "default_max_ms")]
        max_ms: Millis,
    },
}

fn default_initial_ms() -> Millis {
    10_000
}

fn default_max_ms() -> Millis {
    7_200_000
}

/// A factor kept in thousandths, so that the machine never computes with floats. Range 1 to 10, default 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multiplier {
    /// 1,000 to 10,000.
    pub thousandths: u32,
}

impl Default for Multiplier {
    fn default() -> Multiplier {
        Multiplier { thousandths: 2_000 }
    }
}

impl Serialize for Multiplier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.thousandths.is_multiple_of(1_000) {
            serializer.serialize_u32(self.thousandths / 1_000)
        } else {
            serializer.serialize_f64(f64::from(self.thousandths) / 1_000.0)
        }
    }
}

impl<'de> Deserialize<'de> for Multiplier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Multiplier, D::Error> {
        let factor = f64::deserialize(deserializer)?;
        if !(1.0..=10.0).contains(&factor) {
            return Err(serde::de::Error::custom("multiplier must be 1 to 10"));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1,000 to 10,000 fits")]
        let thousandths = (factor * 1_000.0).round() as u32;
        Ok(Multiplier { thousandths })
    }
}

impl RetryPolicy {
    /// RocketMQ's documented schedule for unordered groups, a fixed 3 s for ordered ones.
    #[must_use]
    pub fn default_for(ordered: bool) -> RetryPolicy {
        const SECOND: Millis = 1_000;
        const MINUTE: Millis = 60 * SECOND;
        let steps_ms = if ordered {
            vec![3 * SECOND]
        } else {
            let minutes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 60, 120].map(|minutes| minutes * MINUTE);
            [10 * SECOND, 30 * SECOND].into_iter().chain(minutes).collect()
        };
        RetryPolicy::Table { steps_ms }
    }

    /// The delay after failed delivery number `failures` (counted from 1) of a round.
    #[must_use]
    pub fn delay_ms(&self, failures: u32) -> Millis {
        let step = failures.saturating_sub(1);
        match self {
            RetryPolicy::Table { steps_ms } => {
                let at = usize::try_from(step).unwrap_or(usize::MAX);
                steps_ms.get(at).or(steps_ms.last()).copied().unwrap_or(RETRY_MS_MIN)
            }
            RetryPolicy::Exponential { initial_ms, multiplier, max_ms } => {
                let mut delay = *initial_ms;
                for _ in 0..step {
                    let next = delay.saturating_mul(multiplier.thousandths.into()) / 1_000;
                    if next == delay || delay >= *max_ms {
                        break;
                    }
                    delay = next;
                }
                delay.min(*max_ms)
            }
        }
    }

    fn check(&self) -> Result<(), SettingsError> {
        let in_range = |millis: &Millis| (RETRY_MS_MIN..=RETRY_MS_MAX).contains(millis);
        let range = format!("must be {RETRY_MS_MIN} to {RETRY_MS_MAX}");
        match self {
            RetryPolicy::Table { steps_ms } => {
                if steps_ms.is_empty() || steps_ms.len() > RETRY_STEPS_MAX {
                    return Err(SettingsError::new(
                        "retry/steps_ms",
                        format!("must hold 1 to {RETRY_STEPS_MAX} delays"),
                    ));
                }
                match steps_ms.iter().position(|step| !in_range(step)) {
                    Some(at) => Err(SettingsError::new(format!("retry/steps_ms/{at}"), range)),
                    None => Ok(()),
                }
            }
            RetryPolicy::Exponential { initial_ms, max_ms, .. } => {
                if !in_range(initial_ms) {
                    return Err(SettingsError::new("retry/initial_ms", range));
                }
                if !in_range(max_ms) || max_ms < initial_ms {
                    return Err(SettingsError::new(
                        "retry/max_ms",
                        format!("must be {RETRY_MS_MIN} to {RETRY_MS_MAX}, and not below initial_ms"),
                    ));
                }
                Ok(())
            }
        }
    }
}

/// Why a message became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// It failed as often as the group allows.
    MaxAttempts,
    /// A consumer asked for it.
    Rejected,
    /// It outlived its TTL and the group keeps such messages.
    Expired,
}

impl DeadReason {
    /// The word for it on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DeadReason::MaxAttempts => "max_attempts",
            DeadReason::Rejected => "rejected",
            DeadReason::Expired => "expired",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_table_is_rocketmqs() {
        let policy = RetryPolicy::default_for(false);
        let delays: Vec<_> = (1..=17).map(|failures| policy.delay_ms(failures) / 1_000).collect();
        assert_eq!(
            delays,
            [10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1_200, 1_800, 3_600, 7_200, 7_200]
        );
        assert_eq!(RetryPolicy::default_for(true).delay_ms(9), 3_000);
    }

    #[test]
    fn exponential_delays_grow_to_their_ceiling() {
        let policy: RetryPolicy =
            serde_json::from_str(r#"{"kind":"exponential","initial_ms":100,"multiplier":1.5,"max_ms":400}"#)
                .unwrap();
        assert_eq!(
            (1..=6).map(|failures| policy.delay_ms(failures)).collect::<Vec<_>>(),
            [100, 150, 225, 337, 400, 400]
        );
        assert_eq!(policy.delay_ms(u32::MAX), 400);
        let flat: RetryPolicy = serde_json::from_str(r#"{"kind":"exponential","multiplier":1}"#).unwrap();
        assert_eq!(flat.delay_ms(u32::MAX), 10_000);
    }

    #[test]
    fn settings_refuse_what_is_out_of_range_by_name() {
        let field =
            |json: &str| serde_json::from_str::<GroupSettings>(json).unwrap().check().unwrap_err().field;
        assert_eq!(field(r#"{"lease_ms":999}"#), "lease_ms");
        assert_eq!(field(r#"{"lane_batch":2}"#), "lane_batch");
        assert_eq!(field(r#"{"retry":{"kind":"table","steps_ms":[1000,1]}}"#), "retry/steps_ms/1");
        assert_eq!(field(r#"{"subscriptions":[{"topic":"a"},{"topic":"a"}]}"#), "subscriptions/1/topic");
        assert!(serde_json::from_str::<GroupSettings>(r#"{"colour":1}"#).is_err());
        assert_eq!(serde_json::from_str::<GroupSettings>("{}").unwrap(), GroupSettings::default());
    }
}
