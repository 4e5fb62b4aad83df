//! Time as integers of milliseconds. The machine never reads a clock; times reach it inside facts.

use std::fmt;
use std::str::FromStr;

/// A length of time in milliseconds.
pub type Millis = u64;

/// A point in log time: milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The latest time there is; also "never" where a deadline is compared.
    pub const MAX: Timestamp = Timestamp(u64::MAX);
    /// The latest time that RFC 3339 can print (end of the year 9999).
    pub const MAX_PRINTABLE: Timestamp = Timestamp(253_402_300_799_999);

    /// This time plus `delay`, stopping at the end of time instead of wrapping.
    #[must_use]
    pub fn plus(self, delay: Millis) -> Timestamp {
        Timestamp(self.0.saturating_add(delay))
    }

    /// Milliseconds from `earlier` to this time; 0 when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Millis {
        self.0.saturating_sub(earlier.0)
    }
}

/// RFC 3339, UTC, always three decimals: `2026-01-31T23:59:59.000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = i64::try_from(self.0.min(Self::MAX_PRINTABLE.0)).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_millisecond(millis) {
            Ok(time) => write!(out, "{time:.3}"),
            Err(_) => out.write_str("9999-12-31T23:59:59.999Z"),
        }
    }
}

/// Accepts any RFC 3339 time from 1970 to 9999; finer digits than a millisecond are cut.
impl FromStr for Timestamp {
    type Err = String;

    fn from_str(text: &str) -> Result<Timestamp, String> {
        let time: jiff::Timestamp = text.parse().map_err(|_| {
            format!("'{}' is not an RFC 3339 time such as 2026-01-31T23:59:59Z", text.escape_debug())
        })?;
        u64::try_from(time.as_millisecond())
            .map(Timestamp)
            .map_err(|_| "a time before 1970 is not accepted".to_owned())
    }
}

/// In JSON a time is the text that it prints as.
impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Reads a human duration as headers and query parameters carry it: whole numbers with `ms`, `s`, `m`, `h`, `d`,
/// largest unit first, each at most once: `90s`, `3m`, `1h30m`, `250ms`, `0s`. A bare `0` is also a duration.
///
/// # Errors
/// Says what is expected, for the caller to name the field.
pub fn parse_duration(text: &str) -> Result<Millis, String> {
    let refuse = || format!("'{}' is not a duration such as 250ms, 90s, 3m or 1h30m", text.escape_debug());
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text;
    let mut total: Millis = 0;
    let mut last_unit = Millis::MAX;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let unit_len = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(unit_len);
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(refuse()),
        };
        if unit_ms >= last_unit {
            return Err(refuse());
        }
        last_unit = unit_ms;
        let number: u64 = number.parse().map_err(|_| refuse())?;
        total = number.checked_mul(unit_ms).and_then(|part| total.checked_add(part)).ok_or_else(refuse)?;
        rest = tail;
    }
    if text.is_empty() { Err(refuse()) } else { Ok(total) }
}

/// Writes a duration as [`parse_duration`] reads it: `90000` as `1m30s`, `0` as `0s`.
#[must_use]
pub fn write_duration(millis: Millis) -> String {
    const UNITS: [(&str, Millis); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let mut text = String::new();
    let mut rest = millis;
    for (unit, length) in UNITS {
        if rest >= length {
            text.push_str(&format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_they_are_read() {
        for (millis, text) in
            [(0, "0s"), (250, "250ms"), (90_000, "1m30s"), (300_000, "5m"), (93_784_005, "1d2h3m4s5ms")]
        {
            assert_eq!(write_duration(millis), text);
            assert_eq!(parse_duration(text), Ok(millis));
        }
    }

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, millis) in [
            ("90s", 90_000),
            ("3m", 180_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("0", 0),
            ("0s", 0),
            ("40d", 3_456_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(millis), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "1.5s",
            "-1s",
            "1m1h",
            "1s1s",
            "1 s",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_print_with_milliseconds_and_read_back() {
        let time = Timestamp(1_700_000_000_123);
        assert_eq!(time.to_string(), "2023-11-14T22:13:20.123Z");
        assert_eq!("2023-11-14T22:13:20.123Z".parse(), Ok(time));
        assert_eq!(Timestamp(1_700_000_000_000).to_string(), "2023-11-14T22:13:20.000Z");
        assert!("yesterday".parse::<Timestamp>().is_err());
        assert!("1969-12-31T23:59:59Z".parse::<Timestamp>().is_err());
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999Z");
    }
}
