//! The dead letters of one group: what they died of, those that fit a filter, and what can be done with them.

use crate::broker::{Broker, BrokerError, DeadLetterView, DeathKind, LettersFound};
use crate::dashboard::fields::{FieldError, Fields, address};
use crate::dashboard::visible::visible;
use crate::model::{
    DeadLetterFilter, DeadReason, GroupName, MessageId, REDRIVE_RATE_MAX, Timestamp, TopicName,
};

/// Dead letters of one page.
pub(super) const ROWS: usize = 100;
/// Reasons, as they stand in a form.
pub(super) const REASONS: [DeadReason; 3] =
    [DeadReason::MaxAttempts, DeadReason::Rejected, DeadReason::Expired];

/// The fields of the filter, as they were filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FilterForm {
    pub(super) reason: String,
    pub(super) topic: String,
    pub(super) tag: String,
    pub(super) key: String,
    pub(super) words: String,
    pub(super) from: String,
    pub(super) to: String,
}

impl FilterForm {
    pub(super) fn of(fields: &Fields) -> FilterForm {
        let text = |name| fields.one(name).unwrap_or_default().to_owned();
        FilterForm {
            reason: text("reason"),
            topic: text("topic").trim().to_owned(),
            tag: text("tag"),
            key: text("key"),
            words: text("words"),
            from: text("from").trim().to_owned(),
            to: text("to").trim().to_owned(),
        }
    }

    /// The same with the times that the filter came to: told by how long ago they are, they would be others by the time
    /// that somebody redrives what they saw.
    fn with_times_of(self, filter: &DeadLetterFilter) -> FilterForm {
        let (from, to) = (filter.from.map(|time| time.to_string()), filter.to.map(|time| time.to_string()));
        FilterForm { from: from.unwrap_or(self.from), to: to.unwrap_or(self.to), ..self }
    }

    /// Its fields by name.
    pub(super) fn pairs(&self) -> [(&'static str, &str); 7] {
        [
            ("reason", &self.reason),
            ("topic", &self.topic),
            ("tag", &self.tag),
            ("key", &self.key),
            ("words", &self.words),
            ("from", &self.from),
            ("to", &self.to),
        ]
    }

    /// Whether it takes every dead letter.
    pub(super) fn is_empty(&self) -> bool {
        self.pairs().iter().all(|(_, value)| value.is_empty())
    }

    /// The address of the dead letters that fit it, with `more` parameters.
    pub(super) fn address<'a>(
        &'a self,
        group: &GroupName,
        more: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> String {
        let pairs = self.pairs().into_iter().map(|(name, value)| (name, Some(value)));
        address(&format!("/dead-letters/{group}"), pairs.chain(more))
    }

    /// What it asks for, `now` for a time that is told by how long ago it is.
    ///
    /// # Errors
    /// The first field that cannot be read.
    pub(super) fn read(fields: &Fields, now: Timestamp) -> Result<DeadLetterFilter, FieldError> {
        let text = |name| fields.one(name).map(Box::from);
        let reason = match fields.one("reason") {
            None => None,
            Some(name) => Some(
                REASONS
                    .into_iter()
                    .find(|reason| reason.as_str() == name)
                    .ok_or_else(|| FieldError::new("reason", "must be max_attempts, rejected or expired"))?,
            ),
        };
        let filter = DeadLetterFilter {
            reason,
            topic: fields.parsed("topic")?,
            tag: text("tag"),
            key: text("key"),
            failure_contains: text("words"),
            from: fields.time("from", now)?,
            to: fields.time("to", now)?,
        };
        filter.check().map_err(|(field, text)| {
            FieldError::new(if field == "failure_contains" { "words" } else { field }, text)
        })?;
        Ok(filter)
    }
}

/// A kind of death in the table of kinds.
#[derive(Clone, Debug)]
pub(super) struct KindRow {
    pub(super) reason: DeadReason,
    pub(super) topic: TopicName,
    pub(super) words: Option<String>,
    pub(super) count: u64,
    pub(super) newest: Timestamp,
    /// The dead letters of this kind.
    pub(super) address: String,
}

/// A dead letter in the table.
#[derive(Clone, Debug)]
pub(super) struct LetterRow {
    pub(super) id: MessageId,
    pub(super) topic: TopicName,
    pub(super) reason: DeadReason,
    pub(super) dead_at: Timestamp,
    pub(super) attempts: u32,
    /// Above 1 it died before and was redriven.
    pub(super) round: u32,
    pub(super) cause: Option<&'static str>,
    pub(super) words: Option<String>,
}

/// The dead letters of a group, ready to be shown.
#[derive(Clone, Debug)]
pub(super) struct Letters {
    pub(super) group: GroupName,
    pub(super) total: u64,
    pub(super) kinds: Vec<KindRow>,
    /// Of further kinds.
    pub(super) others: u64,
    /// Dead letters that the kinds were counted from.
    pub(super) counted: u64,
    pub(super) filter: FilterForm,
    pub(super) rows: Vec<LetterRow>,
    pub(super) looked: u64,
    pub(super) bounded: bool,
    pub(super) next: Option<String>,
    /// Where these rows begin.
    pub(super) cursor: Option<MessageId>,
    /// What to do with them, as it was filled in.
    pub(super) wish: WishForm,
    /// Whether somebody was about to throw all of them away.
    pub(super) purging: bool,
}

/// The fields of the redrive, as they were filled in: whoever counted first, or was refused, goes on from there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WishForm {
    pub(super) ids: Vec<String>,
    /// All that fit the filter, and not those chosen.
    pub(super) all: bool,
    /// On to the target, and not back to the group.
    pub(super) on: bool,
    /// Filled in with the topic that all rows came from when there is one.
    pub(super) target: String,
    pub(super) rate: String,
}

impl WishForm {
    fn of(fields: &Fields) -> WishForm {
        WishForm {
            ids: fields.all("id").map(str::to_owned).collect(),
            all: fields.one("which") == Some("all"),
            on: fields.one("where") == Some("on"),
            target: fields.kept("target").to_owned(),
            rate: fields.kept("rate").to_owned(),
        }
    }
}

impl Letters {
    /// Gathers them; the rows are those that fit the filter, from the cursor on. The fields are what was filled in.
    ///
    /// # Errors
    /// A group that is not there, or a fault.
    pub(super) fn gather(
        broker: &Broker,
        group: GroupName,
        (filter, cursor): (&DeadLetterFilter, Option<MessageId>),
        fields: &Fields,
    ) -> Result<Letters, BrokerError> {
        let (form, mut wish) = (FilterForm::of(fields).with_times_of(filter), WishForm::of(fields));
        let deaths = broker.deaths(&group)?;
        let found = broker.find_dead_letters(&group, filter, cursor, ROWS)?;
        let LettersFound { letters, next, looked, bounded } = found;
        let mut topics = letters.iter().map(|letter| &letter.topic);
        let first = topics.next().cloned();
        let only = first.filter(|first| topics.all(|topic| topic == first));
        if let Some(only) = only.filter(|_| fields.raw("target").is_none()) {
            wish.target = only.to_string();
        }
        Ok(Letters {
            kinds: deaths.kinds.iter().map(|kind| KindRow::of(&group, kind)).collect(),
            others: deaths.others,
            counted: deaths.looked,
            total: deaths.total,
            rows: letters.iter().map(LetterRow::of).collect(),
            looked,
            bounded,
            next: next.map(|id| form.address(&group, [("cursor", Some(id.to_string().as_str()))])),
            cursor,
            wish,
            purging: fields.raw("confirm").is_some(),
            filter: form,
            group,
        })
    }

    /// Whether this one was chosen before.
    pub(super) fn is_chosen(&self, row: &LetterRow) -> bool {
        let id = row.id.to_string();
        self.wish.ids.contains(&id)
    }
}

impl KindRow {
    fn of(group: &GroupName, kind: &DeathKind) -> KindRow {
        let form = FilterForm {
            reason: kind.reason.as_str().to_owned(),
            topic: kind.topic.to_string(),
            words: kind.words.as_deref().map(line_of).unwrap_or_default().to_owned(),
            ..FilterForm::default()
        };
        KindRow {
            reason: kind.reason,
            topic: kind.topic.clone(),
            words: kind.words.as_deref().map(|words| visible(words).into_owned()),
            count: kind.count,
            newest: kind.newest,
            address: form.address(group, []),
        }
    }
}

/// The first line of words that has any: a form sends the end of a line as two characters (WHATWG HTML, 4.10.22.4), and
/// an input in one line drops it, so words that span lines would find nothing.
fn line_of(words: &str) -> &str {
    words.split(['\r', '\n']).map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
}

impl LetterRow {
    fn of(view: &DeadLetterView) -> LetterRow {
        let last = view.failures.last();
        LetterRow {
            id: view.id,
            topic: view.topic.clone(),
            reason: view.reason,
            dead_at: view.dead_at,
            attempts: view.attempts,
            round: view.round,
            cause: last.map(|failure| failure.cause),
            words: last
                .and_then(|failure| failure.reason.as_deref())
                .map(|words| visible(words).into_owned()),
        }
    }
}

/// Where redriven letters go, and how fast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Redriving {
    /// Another topic; none: back to the group.
    pub(super) to: Option<TopicName>,
    pub(super) rate_per_s: Option<u32>,
    pub(super) dry_run: bool,
    /// Those chosen; none: all that fit the filter.
    pub(super) ids: Option<Vec<MessageId>>,
}

impl Redriving {
    /// What the form asks for.
    ///
    /// # Errors
    /// The first field that cannot be read.
    pub(super) fn read(fields: &Fields) -> Result<Redriving, FieldError> {
        let to = match fields.one("where") {
            Some("on") => match fields.parsed("target")? {
                None => return Err(FieldError::new("target", "must name the topic that they go on to")),
                some => some,
            },
            _ => None,
        };
        let rate_per_s: Option<u32> = fields.parsed("rate")?;
        if rate_per_s.is_some_and(|rate| !(1..=REDRIVE_RATE_MAX).contains(&rate)) {
            return Err(FieldError::new("rate", format!("must be 1 to {REDRIVE_RATE_MAX}")));
        }
        let ids = match fields.one("which") {
            Some("all") => None,
            _ => {
                let ids = fields.all("id").map(|id| id.parse::<MessageId>());
                let ids: Vec<MessageId> = ids
                    .collect::<Result<_, _>>()
                    .map_err(|error| FieldError::new("id", error.to_string()))?;
                if ids.is_empty() {
                    return Err(FieldError::new("id", "choose at least one dead letter"));
                }
                Some(ids)
            }
        };
        Ok(Redriving { to, rate_per_s, dry_run: fields.one("do") == Some("dry_run"), ids })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_reads_back_from_its_own_address() {
        let form = FilterForm { reason: "rejected".into(), words: "a&b <c>".into(), ..FilterForm::default() };
        let address = form.address(&"g".parse().unwrap(), []);
        assert_eq!(address, "/dead-letters/g?reason=rejected&words=a%26b%20%3Cc%3E");
        let fields = Fields::parse(address.split_once('?').unwrap().1).unwrap();
        assert_eq!(FilterForm::of(&fields), form);
        let read = |text: &str| FilterForm::read(&Fields::parse(text).unwrap(), Timestamp(120_000));
        let filter = FilterForm::read(&fields, Timestamp(0)).unwrap();
        assert_eq!(
            (filter.reason, filter.failure_contains.as_deref()),
            (Some(DeadReason::Rejected), Some("a&b <c>"))
        );
        for (text, field) in [("reason=odd", "reason"), ("topic=-", "topic"), ("from=soon", "from")] {
            assert_eq!(read(text).unwrap_err().field, field);
        }
        let filter = read("from=1m").unwrap();
        assert_eq!(filter.from, Some(Timestamp(60_000)));
        let form = FilterForm::of(&Fields::parse("from=1m&to=").unwrap()).with_times_of(&filter);
        assert_eq!((form.from.as_str(), form.to.as_str()), ("1970-01-01T00:01:00.000Z", ""));
    }

    #[test]
    fn words_over_several_lines_are_looked_for_by_their_first() {
        for (words, line) in [
            ("db down", "db down"),
            ("\r\n  Traceback:\r\n  line 1", "Traceback:"),
            ("a\rb", "a"),
            ("\n", ""),
        ] {
            assert_eq!(line_of(words), line);
            assert!(words.contains(line));
        }
    }

    #[test]
    fn a_redrive_takes_what_was_chosen_and_never_everything_by_mistake() {
        let read = |text: &str| Redriving::read(&Fields::parse(text).unwrap());
        assert_eq!(read("").unwrap_err().field, "id", "nothing chosen is not all");
        assert_eq!(read("which=selected").unwrap_err().field, "id");
        assert_eq!(read("id=x").unwrap_err().field, "id");
        let all = read("which=all&rate=5&do=dry_run&target=t").unwrap();
        assert_eq!(all, Redriving { to: None, rate_per_s: Some(5), dry_run: true, ids: None });
        let on = read("which=all&where=on&target=t").unwrap();
        assert_eq!((on.to.unwrap().as_str(), on.dry_run), ("t", false));
        assert_eq!(read("which=all&where=on").unwrap_err().field, "target");
        assert_eq!(read("which=all&rate=0").unwrap_err().field, "rate");
    }
}
