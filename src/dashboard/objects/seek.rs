//! The form that moves a group to another place.

use crate::dashboard::fields::{FieldError, Fields};
use crate::dashboard::settings::mark;
use crate::machine::{SeekCounts, SeekTo};
use crate::model::{QueueNo, Timestamp, TopicName};

/// The form as a page shows it.
#[derive(Clone, Debug, Default)]
pub(super) struct SeekForm {
    pub(super) topic: String,
    pub(super) to: String,
    pub(super) at: String,
    /// What it would do, once somebody has asked.
    pub(super) counts: Option<SeekCounts>,
    /// What that was counted for: nothing else is done.
    pub(super) seen: String,
    /// Whether it was edited after that, and is counted again instead of done.
    pub(super) is_edited: bool,
}

impl SeekForm {
    pub(super) fn of(fields: &Fields) -> SeekForm {
        let kept = |name| fields.kept(name).to_owned();
        let is_edited = fields.one("do") == Some("seek");
        SeekForm { topic: kept("topic"), to: kept("to"), at: kept("at"), is_edited, ..SeekForm::default() }
    }

    /// The same with what it would do. A time that was told by how long ago it is becomes the one that was counted for:
    /// done a minute later, it would be another.
    pub(super) fn with_counts(self, to: SeekTo, counts: SeekCounts) -> SeekForm {
        let at = if let SeekTo::Time(time) = to { time.to_string() } else { self.at };
        SeekForm { seen: mark_of(&self.topic, &self.to, &at), at, counts: Some(counts), ..self }
    }
}

fn mark_of(topic: &str, to: &str, at: &str) -> String {
    mark(&[topic, to, at])
}

/// What was sent.
pub(super) struct Wish {
    pub(super) topic: TopicName,
    pub(super) to: SeekTo,
    /// Only look what it would do.
    pub(super) is_trial: bool,
}

/// Reads the form, `now` for a time that is told by how long ago it is.
///
/// # Errors
/// The first field that cannot be read.
pub(super) fn read(fields: &Fields, now: Timestamp) -> Result<Wish, FieldError> {
    let topic = fields.needed::<TopicName>("topic")?;
    let to = match fields.kept("to") {
        "latest" => SeekTo::Latest,
        "time" => SeekTo::Time(fields.time("at", now)?.ok_or_else(|| FieldError::missing("at"))?),
        "offset" => {
            let at = fields.kept("at").trim();
            let parts = at.split_once(':').unwrap_or(("", ""));
            let (queue, offset) = (parts.0.parse::<QueueNo>(), parts.1.parse::<u64>());
            match (queue, offset) {
                (Ok(queue), Ok(offset)) => SeekTo::Offset { queue, offset },
                _ => return Err(FieldError::new("at", "must be QUEUE:OFFSET, such as 0:1200")),
            }
        }
        _ => SeekTo::Earliest,
    };
    let asked = mark_of(fields.kept("topic"), fields.kept("to"), fields.kept("at"));
    let is_trial = fields.one("do") != Some("seek") || fields.kept("seen") != asked;
    Ok(Wish { topic, to, is_trial })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_what_was_counted_for_also_a_minute_later() {
        let fields = Fields::parse("topic=a&to=time&at=1h&do=look").unwrap();
        let wish = read(&fields, Timestamp(1_800_000_000_000)).unwrap();
        let form = SeekForm::of(&fields).with_counts(wish.to, SeekCounts::default());
        assert_eq!(form.at, "2027-01-15T07:00:00.000Z");
        let sent = format!("topic=a&to=time&at={}&do=seek&seen={}", form.at, form.seen);
        let done = read(&Fields::parse(&sent).unwrap(), Timestamp(1_800_000_060_000)).unwrap();
        assert_eq!((done.to, done.is_trial), (wish.to, false));
    }

    #[test]
    fn a_place_is_a_word_a_time_or_an_offset() {
        let now = Timestamp(1_800_000_000_000);
        let read = |text: &str| read(&Fields::parse(text).unwrap(), now).map(|wish| (wish.to, wish.is_trial));
        assert!(matches!(read("topic=a&to=earliest"), Ok((SeekTo::Earliest, true))));
        let seen = mark_of("a", "latest", "");
        assert!(matches!(
            read(&format!("topic=a&to=latest&do=seek&seen={seen}")),
            Ok((SeekTo::Latest, false))
        ));
        // What nobody has looked at is only counted.
        assert!(matches!(
            read(&format!("topic=a&to=earliest&do=seek&seen={seen}")),
            Ok((SeekTo::Earliest, true))
        ));
        assert!(matches!(read("topic=a&to=latest&do=seek"), Ok((SeekTo::Latest, true))));
        assert!(matches!(
            read("topic=a&to=offset&at=3:12"),
            Ok((SeekTo::Offset { queue: 3, offset: 12 }, true))
        ));
        for at in ["2026-01-31T12:00:00Z", "2026-01-31%2012:00:00%20UTC", "1h"] {
            assert!(matches!(read(&format!("topic=a&to=time&at={at}")), Ok((SeekTo::Time(_), true))), "{at}");
        }
        for bad in ["to=latest", "topic=a&to=time", "topic=a&to=time&at=noon", "topic=a&to=offset&at=3"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
