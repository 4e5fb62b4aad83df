//! Numbers as people read them. A number that is not known is "–", never 0.

use crate::model::Timestamp;

/// What stands where a number is not known.
const UNKNOWN: &str = "–";

/// A count with thin groups of three: `1 234 567` (ISO 80000-1 separates with a space, not a comma or point).
pub(super) fn count(number: Option<u64>) -> String {
    let Some(number) = number else { return UNKNOWN.to_owned() };
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push('\u{202f}'); // narrow no-break space
        }
        grouped.push(digit);
    }
    grouped
}

/// A length of time by its two largest units: `3 d 4 h`, `12 min 5 s`, `250 ms`.
pub(super) fn duration(millis: Option<u64>) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    let Some(millis) = millis else { return UNKNOWN.to_owned() };
    let Some(at) = UNITS.iter().position(|(unit_ms, _)| millis >= *unit_ms) else {
        return format!("{millis} ms");
    };
    let mut rest = millis;
    let mut parts = Vec::new();
    for (unit_ms, name) in UNITS.iter().skip(at).take(2) {
        let whole = rest / unit_ms;
        rest %= unit_ms;
        if whole > 0 {
            parts.push(format!("{whole} {name}"));
        }
    }
    parts.join(" ")
}

/// Bytes in binary units with one decimal, cut and not rounded up: `1.5 GiB`, `512 B`.
pub(super) fn bytes(bytes: Option<u64>) -> String {
    const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let Some(bytes) = bytes else { return UNKNOWN.to_owned() };
    UNITS.iter().find(|(shift, _)| bytes >> shift > 0).map_or_else(
        || format!("{bytes} B"),
        |(shift, name)| {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        },
    )
}

/// A time to the second, in words a person reads at a glance: `2023-11-14 22:13:20 UTC`. Its full text is in the
/// attribute beside it.
pub(super) fn moment(time: &Timestamp) -> String {
    let full = time.to_string();
    let seconds = full.split('.').next().unwrap_or_default();
    format!("{} UTC", seconds.replace('T', " "))
}

/// A text with its places filled in: `{0}` by the first of `parts`, `{1}` by the second.
pub(super) fn with(text: &str, parts: &[&dyn std::fmt::Display]) -> String {
    let mut pieces = text.split('{');
    let mut filled = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (place, rest) = piece.split_once('}').unwrap_or((piece, ""));
        match place.parse::<usize>().ok().and_then(|at| parts.get(at)) {
            Some(part) => filled.push_str(&part.to_string()),
            None => filled.push_str(UNKNOWN),
        }
        filled.push_str(rest);
    }
    filled
}

/// The same, as filters that the templates can name.
pub(super) mod filters {
    use std::fmt::Display;

    use crate::dashboard::words::{self, Lang};
    use crate::model::Timestamp;

    type Filtered = Result<String, askama::Error>;

    pub(in crate::dashboard) fn count(number: &Option<u64>, _: &dyn askama::Values) -> Filtered {
        Ok(super::count(*number))
    }

    /// A text of a stranger, with what hides in it written out.
    pub(in crate::dashboard) fn visible(text: &str, _: &dyn askama::Values) -> Filtered {
        Ok(crate::dashboard::visible::visible(text).into_owned())
    }

    /// A word of the interface as people write it: `max_attempts` is "max attempts".
    pub(in crate::dashboard) fn plain(word: &str, _: &dyn askama::Values, lang: &Lang) -> Filtered {
        Ok(words::word(*lang, word).into_owned())
    }

    /// The same, of a value that the interface writes as a word.
    pub(in crate::dashboard) fn word(
        value: &impl serde::Serialize,
        values: &dyn askama::Values,
        lang: &Lang,
    ) -> Filtered {
        let value = serde_json::to_value(value).unwrap_or_default();
        plain(value.as_str().unwrap_or(super::UNKNOWN), values, lang)
    }

    /// A sentence of the broker for people.
    pub(in crate::dashboard) fn told(sentence: &str, _: &dyn askama::Values, lang: &Lang) -> Filtered {
        Ok(words::told(*lang, sentence).into_owned())
    }

    /// How a state looks, as a class of the style sheet.
    pub(in crate::dashboard) fn tone(state: &str, _: &dyn askama::Values) -> Filtered {
        Ok(words::tone(state).to_owned())
    }

    /// Bytes that are always known.
    pub(in crate::dashboard) fn size(bytes: &u64, _: &dyn askama::Values) -> Filtered {
        Ok(super::bytes(Some(*bytes)))
    }

    /// A count that is always known.
    pub(in crate::dashboard) fn number(number: &u64, _: &dyn askama::Values) -> Filtered {
        Ok(super::count(Some(*number)))
    }

    pub(in crate::dashboard) fn duration(millis: &Option<u64>, _: &dyn askama::Values) -> Filtered {
        Ok(super::duration(*millis))
    }

    /// A length of time that is always known.
    pub(in crate::dashboard) fn span(millis: &u64, _: &dyn askama::Values) -> Filtered {
        Ok(super::duration(Some(*millis)))
    }

    pub(in crate::dashboard) fn bytes(bytes: &Option<u64>, _: &dyn askama::Values) -> Filtered {
        Ok(super::bytes(*bytes))
    }

    pub(in crate::dashboard) fn moment(time: &Timestamp, _: &dyn askama::Values) -> Filtered {
        Ok(super::moment(time))
    }

    pub(in crate::dashboard) fn with(text: &str, _: &dyn askama::Values, part: impl Display) -> Filtered {
        Ok(super::with(text, &[&part]))
    }

    pub(in crate::dashboard) fn with2(
        text: &str,
        _: &dyn askama::Values,
        first: impl Display,
        second: impl Display,
    ) -> Filtered {
        Ok(super::with(text, &[&first, &second]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_never_zero() {
        for text in [count(None), duration(None), bytes(None)] {
            assert_eq!(text, "–");
        }
        assert_eq!(count(Some(0)), "0");
        assert_eq!(duration(Some(0)), "0 ms");
        assert_eq!(bytes(Some(0)), "0 B");
    }

    #[test]
    fn places_are_filled_once() {
        assert_eq!(with("{0} of {1}: {0}", &[&"{1}", &2]), "{1} of 2: {1}");
        assert_eq!((with("plain", &[]), with("{0} {7}", &[&1])), ("plain".to_owned(), "1 –".to_owned()));
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(Some(999)), "999");
        assert_eq!(count(Some(1_000)), "1\u{202f}000");
        assert_eq!(count(Some(12_345_678)), "12\u{202f}345\u{202f}678");
        assert_eq!(duration(Some(999)), "999 ms");
        assert_eq!(duration(Some(61_500)), "1 min 1 s");
        assert_eq!(duration(Some(3_600_000)), "1 h");
        assert_eq!(duration(Some(86_400_000 * 3 + 3_600_000 * 4 + 60_000)), "3 d 4 h");
        assert_eq!(moment(&Timestamp(1_700_000_000_123)), "2023-11-14 22:13:20 UTC");
        assert_eq!(bytes(Some(1_023)), "1023 B");
        assert_eq!(bytes(Some(1_536)), "1.5 KiB");
        assert_eq!(bytes(Some(u64::MAX)), "16777215.9 TiB");
    }
}
