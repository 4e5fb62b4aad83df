//! `/messages`: searching a topic. All of the search stands in the address, so that it can be kept and shared.

use crate::broker::{Broker, BrokerError, Search, SearchFound, SearchPlace, Standing, StoredMessage};
use crate::dashboard::fields::{FieldError, Fields, address};
use crate::dashboard::visible::visible;
use crate::model::{
    CONTAINS_BYTES_MAX, Filter, KEY_BYTES_MAX, MessageId, Millis, SEARCH_MS_MAX, Timestamp, TopicName,
};

use super::payload::preview;

/// Messages of one page.
const ROWS: usize = 50;
/// How long the first look takes at most: a page is there at once, and says how far it looked.
const FIRST_LOOK_MS: Millis = 60;
/// Topics that are suggested.
pub(super) const SUGGESTED_MAX: usize = 200;

/// The fields of a search, as they were filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SearchForm {
    pub(super) topic: String,
    pub(super) key: String,
    pub(super) tag: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) contains: String,
}

/// What a search found, ready to be shown.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) rows: Vec<MessageRow>,
    /// Entries that were looked at.
    pub(super) scanned: u64,
    /// Whether it stopped at one of its bounds.
    pub(super) bounded: bool,
    /// Whether the index held every message.
    pub(super) index_complete: bool,
    /// Messages that may fit, and cannot be read.
    pub(super) damaged: Vec<MessageId>,
    /// Where the search goes on; none at the end.
    pub(super) next: Option<String>,
}

/// One message in a table.
#[derive(Clone, Debug)]
pub(in crate::dashboard) struct MessageRow {
    pub(in crate::dashboard) id: MessageId,
    pub(in crate::dashboard) at: Timestamp,
    /// When it is due, while it is scheduled.
    pub(in crate::dashboard) due: Option<Timestamp>,
    pub(in crate::dashboard) keys: Vec<String>,
    pub(in crate::dashboard) tag: Option<String>,
    pub(in crate::dashboard) bytes: u64,
    /// The beginning of its payload; none when it is no text.
    pub(in crate::dashboard) preview: Option<String>,
}

impl SearchForm {
    pub(super) fn of(fields: &Fields) -> SearchForm {
        let text = |name| fields.one(name).unwrap_or_default().to_owned();
        SearchForm {
            topic: text("topic").trim().to_owned(),
            key: text("key"),
            tag: text("tag"),
            from: text("from").trim().to_owned(),
            to: text("to").trim().to_owned(),
            contains: text("contains"),
        }
    }

    /// The address of this search, from `cursor` on.
    pub(super) fn address(&self, cursor: Option<&str>) -> String {
        let pairs = [
            ("topic", &self.topic),
            ("key", &self.key),
            ("tag", &self.tag),
            ("from", &self.from),
            ("to", &self.to),
            ("contains", &self.contains),
        ];
        let pairs = pairs.into_iter().map(|(name, value)| (name, Some(value.as_str())));
        address("/messages", pairs.chain([("cursor", cursor)]))
    }

    /// What is asked for; none when no topic is named.
    fn read(&self, fields: &Fields, now: Timestamp) -> Result<Option<(TopicName, Search)>, FieldError> {
        let Some(topic) = fields.parsed::<TopicName>("topic")? else { return Ok(None) };
        let tag = match self.tag.as_str() {
            "" => Filter::All,
            text => Filter::parse_tags(text).map_err(|error| FieldError::new("tag", error.to_string()))?,
        };
        let (from, to) = (fields.time("from", now)?, fields.time("to", now)?);
        if from.zip(to).is_some_and(|(from, to)| from > to) {
            return Err(FieldError::new("to", "is before the beginning"));
        }
        let search = Search {
            key: bounded("key", &self.key, KEY_BYTES_MAX)?,
            tag,
            from,
            to,
            contains: bounded("contains", &self.contains, CONTAINS_BYTES_MAX)?,
            after: fields.parsed::<SearchPlace>("cursor")?,
            limit: ROWS,
        };
        Ok(Some((topic, search)))
    }
}

/// Searches as the fields ask for; nothing when they name no topic.
///
/// # Errors
/// A field that cannot be read, or what the broker says.
pub(super) fn search(
    broker: &Broker,
    form: &SearchForm,
    fields: &Fields,
) -> Result<Option<Found>, SearchError> {
    let Some((topic, search)) = form.read(fields, broker.now())? else { return Ok(None) };
    // Somebody who goes on has seen that there is much, and wants to get through it.
    let within_ms = if search.after.is_some() { SEARCH_MS_MAX } else { FIRST_LOOK_MS };
    let found = broker.search_within(&topic, &search, within_ms)?;
    Ok(Some(shown(form, &found)))
}

/// Why a search shows nothing.
#[derive(Clone, Debug)]
pub(super) enum SearchError {
    Field(FieldError),
    Broker(BrokerError),
}

impl From<FieldError> for SearchError {
    fn from(error: FieldError) -> SearchError {
        SearchError::Field(error)
    }
}

impl From<BrokerError> for SearchError {
    fn from(error: BrokerError) -> SearchError {
        SearchError::Broker(error)
    }
}

fn shown(form: &SearchForm, found: &SearchFound) -> Found {
    Found {
        rows: found.messages.iter().map(MessageRow::of).collect(),
        scanned: found.scanned,
        bounded: found.bounded,
        index_complete: found.index_complete,
        damaged: found.damaged.clone(),
        next: found.next.as_ref().map(|place| form.address(Some(&place.to_string()))),
    }
}

impl MessageRow {
    pub(in crate::dashboard) fn of(stored: &StoredMessage) -> MessageRow {
        let attributes = &stored.message.attributes;
        MessageRow {
            id: stored.id,
            at: stored.accepted_at,
            due: stored.due.filter(|_| stored.standing == Standing::Scheduled),
            keys: attributes.keys.iter().map(|key| visible(key).into_owned()).collect(),
            tag: attributes.tag.as_deref().map(|tag| visible(tag).into_owned()),
            bytes: stored.message.body.len() as u64,
            preview: preview(&stored.message.body),
        }
    }
}

fn bounded(field: &'static str, text: &str, bytes_max: usize) -> Result<Option<String>, FieldError> {
    if text.len() > bytes_max {
        return Err(FieldError::new(field, format!("must have at most {bytes_max} bytes")));
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_search_is_the_search() {
        let fields =
            Fields::parse("topic=orders&key=a+b%26&from=15m&contains=%3Cb%3E&to=&unknown=1").unwrap();
        let form = SearchForm::of(&fields);
        let address = form.address(None);
        assert_eq!(address, "/messages?topic=orders&key=a%20b%26&from=15m&contains=%3Cb%3E");
        let again = SearchForm::of(&Fields::parse(address.split_once('?').unwrap().1).unwrap());
        assert_eq!(again, form);
        let (topic, search) = form.read(&fields, Timestamp(1_700_000_000_000)).unwrap().unwrap();
        assert_eq!(
            (topic.as_str(), search.key.as_deref(), search.contains.as_deref()),
            ("orders", Some("a b&"), Some("<b>"))
        );
        assert_eq!(search.from, Some(Timestamp(1_700_000_000_000 - 900_000)));
    }

    #[test]
    fn a_search_names_the_field_that_cannot_be_read() {
        let refused = |text: &str| {
            let fields = Fields::parse(text).unwrap();
            SearchForm::of(&fields).read(&fields, Timestamp(1)).unwrap_err().field
        };
        for (text, field) in [
            ("topic=-", "topic"),
            ("topic=t&tag=%7C", "tag"),
            ("topic=t&from=soon", "from"),
            ("topic=t&from=2023-11-14T21:58:20Z&to=2023-11-14T21:58:19Z", "to"),
            ("topic=t&cursor=x", "cursor"),
        ] {
            assert_eq!(refused(text), field, "{text}");
        }
        let long = format!("topic=t&key={}", "x".repeat(KEY_BYTES_MAX + 1));
        assert_eq!(refused(&long), "key");
    }
}
