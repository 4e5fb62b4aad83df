//! The settings of a group as fields.

use crate::dashboard::editor::{Editable, Input};
use crate::dashboard::fields::{FieldError, Fields};
use crate::dashboard::words::{Common, Lang, Objects};
use crate::model::{
    Filter, GroupSettings, RetryPolicy, SettingsError, Start, Subscription, Timestamp, parse_duration,
    write_duration,
};

/// The word before the filter of a subscription, as in JSON.
const TAG: &str = "tag:";
const SQL: &str = "sql:";
/// The word before a policy of growing delays.
const GROWING: &str = "exponential";

impl Editable for GroupSettings {
    fn inputs(&self, lang: Lang) -> Vec<Input> {
        let (words, common) = (Objects::of(lang), Common::of(lang));
        let subscriptions: Vec<String> = self.subscriptions.iter().map(written).collect();
        // A text of an expression may hold line ends, and a text area has its own way with them.
        if subscriptions.iter().any(|line| line.contains(char::is_control)) {
            return Vec::new();
        }
        let retry = self.retry.as_ref().map(delays).unwrap_or_default();
        vec![
            Input::lines(
                ("subscriptions", words.subscriptions),
                subscriptions.join("\n"),
                words.subscriptions_hint,
            ),
            Input::line(("lease_ms", words.lease), write_duration(self.lease_ms), words.lease_hint),
            Input::line(
                ("max_attempts", words.max_attempts),
                self.max_attempts.to_string(),
                words.max_attempts_hint,
            ),
            Input::line(("retry", words.retry), retry, words.retry_hint),
            Input::line(
                ("max_in_flight", words.max_in_flight),
                self.max_in_flight.to_string(),
                words.max_in_flight_hint,
            ),
            Input::line(
                ("dead_letters_max", words.dead_letters_max),
                self.dead_letters_max.to_string(),
                words.dead_letters_max_hint,
            ),
            Input::line(("start", words.start), start_text(self.start), words.start_hint),
            Input::line(("lane_batch", words.lane_batch), self.lane_batch.to_string(), words.lane_batch_hint),
            Input::choice(("ordered", common.ordered), self.ordered),
            Input::choice(("dead_letter_expired", words.dead_letter_expired), self.dead_letter_expired),
        ]
    }

    fn read(fields: &Fields, now: Timestamp) -> Result<GroupSettings, FieldError> {
        let lines = fields.kept("subscriptions").lines().map(str::trim).filter(|line| !line.is_empty());
        Ok(GroupSettings {
            subscriptions: lines.map(subscription).collect::<Result<_, _>>()?,
            ordered: fields.one("ordered").is_some(),
            lane_batch: fields.needed("lane_batch")?,
            lease_ms: fields.span("lease_ms")?.ok_or_else(|| FieldError::missing("lease_ms"))?,
            max_attempts: fields.needed("max_attempts")?,
            max_in_flight: fields.needed("max_in_flight")?,
            retry: policy(fields.kept("retry"))?,
            start: match fields.kept("start").trim() {
                "earliest" => Start::Earliest,
                "latest" => Start::Latest,
                _ => Start::Time(fields.time("start", now)?.ok_or_else(|| FieldError::missing("start"))?),
            },
            dead_letters_max: fields.needed("dead_letters_max")?,
            dead_letter_expired: fields.one("dead_letter_expired").is_some(),
        })
    }

    fn check(&self) -> Result<(), SettingsError> {
        self.check()
    }
}

/// `orders`, `orders tag: eu || us`, or `orders sql: amount > 5`.
fn written(subscription: &Subscription) -> String {
    let topic = &subscription.topic;
    match &subscription.filter {
        Filter::All => topic.to_string(),
        Filter::Tags(tags) => format!("{topic} {TAG} {}", tags.join(" || ")),
        Filter::Sql(sql) => format!("{topic} {SQL} {sql}"),
    }
}

/// A line as [`written`] writes it.
fn subscription(line: &str) -> Result<Subscription, FieldError> {
    let refused = |text: String| FieldError::new("subscriptions", text);
    let (topic, filter) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let filter = match filter.trim() {
        "" => Filter::All,
        filter => match (filter.strip_prefix(TAG), filter.strip_prefix(SQL)) {
            (Some(tags), _) => Filter::parse_tags(tags).map_err(|error| refused(error.to_string()))?,
            (_, Some(sql)) => Filter::parse_sql(sql.trim()).map_err(|error| refused(error.to_string()))?,
            _ => {
                let text =
                    "must be one topic a line, alone or with 'tag: a || b' or 'sql: amount > 5' behind it";
                return Err(refused(text.to_owned()));
            }
        },
    };
    let topic = topic.parse().map_err(|error| refused(format!("{error}")))?;
    Ok(Subscription { topic, filter })
}

/// `10s 30s 1m`, or `exponential 10s 2 2h`: the first delay, what each is multiplied by, the longest.
fn delays(policy: &RetryPolicy) -> String {
    match policy {
        RetryPolicy::Table { steps_ms } => {
            steps_ms.iter().map(|step| write_duration(*step)).collect::<Vec<_>>().join(" ")
        }
        RetryPolicy::Exponential { initial_ms, multiplier, max_ms } => {
            let multiplier = serde_json::to_string(multiplier).unwrap_or_default();
            format!("{GROWING} {} {multiplier} {}", write_duration(*initial_ms), write_duration(*max_ms))
        }
    }
}

/// What [`delays`] writes; none when it is empty.
fn policy(text: &str) -> Result<Option<RetryPolicy>, FieldError> {
    let refused = || {
        let text = "must be delays such as 10s 30s 1m, or exponential 10s 2 2h: the first, by what each is multiplied \
                    (1 to 10), the longest";
        FieldError::new("retry", text)
    };
    let span = |text: &str| parse_duration(text).map_err(|_| refused());
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        [] => Ok(None),
        [GROWING, initial, multiplier, longest] => Ok(Some(RetryPolicy::Exponential {
            initial_ms: span(initial)?,
            multiplier: serde_json::from_str(multiplier).map_err(|_| refused())?,
            max_ms: span(longest)?,
        })),
        [GROWING, ..] => Err(refused()),
        steps => {
            let steps_ms = steps.iter().map(|step| span(step)).collect::<Result<_, _>>()?;
            Ok(Some(RetryPolicy::Table { steps_ms }))
        }
    }
}

fn start_text(start: Start) -> String {
    match start {
        Start::Earliest => "earliest".to_owned(),
        Start::Latest => "latest".to_owned(),
        Start::Time(time) => time.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::editor::as_sent;

    fn read(settings: &GroupSettings) -> Result<GroupSettings, FieldError> {
        GroupSettings::read(&as_sent(&settings.inputs(Lang::En)), Timestamp(0))
    }

    #[test]
    fn what_goes_into_the_fields_comes_out_of_them() {
        let usual = GroupSettings::default();
        assert_eq!(read(&usual), Ok(usual));
        let subscription = |topic: &str, filter| Subscription { topic: topic.parse().unwrap(), filter };
        let odd = GroupSettings {
            subscriptions: vec![
                subscription("plain", Filter::All),
                subscription("tags", Filter::parse_tags("b||a sql: c").unwrap()),
                subscription("sql", Filter::parse_sql("a > 5 AND b LIKE 'x %'").unwrap()),
            ],
            ordered: true,
            lane_batch: 7,
            lease_ms: 61_001,
            max_attempts: 3,
            max_in_flight: 4,
            retry: Some(RetryPolicy::Table { steps_ms: vec![10_000, 90_000] }),
            start: Start::Time(Timestamp(1_700_000_000_123)),
            dead_letters_max: 5,
            dead_letter_expired: true,
        };
        assert_eq!(read(&odd), Ok(odd.clone()));
        let multiplier = serde_json::from_str("1.5").unwrap();
        let retry = Some(RetryPolicy::Exponential { initial_ms: 1_000, multiplier, max_ms: 7_200_000 });
        let growing = GroupSettings { retry, start: Start::Latest, ..odd };
        assert_eq!(read(&growing), Ok(growing));
    }

    #[test]
    fn a_field_that_cannot_be_read_is_named() {
        assert_eq!(subscription("orders eu").unwrap_err().field, "subscriptions");
        assert!(subscription("orders sql: a >").unwrap_err().text.contains("column"));
        assert!(subscription("-").is_err());
        assert_eq!(policy("soon").unwrap_err().field, "retry");
        assert!(policy("exponential 10s 99 2h").unwrap_err().text.contains("1 to 10"));
        for odd in ["exponential 10s", "exponential 10s two 2h", "exponential 10s 1,5 2h"] {
            assert!(policy(odd).unwrap_err().text.starts_with("must be delays"), "{odd}");
        }
        let filter = Filter::parse_sql("note = 'a\nb'").unwrap();
        let subscriptions = vec![Subscription { topic: "orders".parse().unwrap(), filter }];
        let lines = GroupSettings { subscriptions, ..GroupSettings::default() };
        assert_eq!(lines.inputs(Lang::En), [], "only JSON keeps it as it is");
    }
}
