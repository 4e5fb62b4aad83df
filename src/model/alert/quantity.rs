//! Numbers without floats.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value or threshold in the unit of its metric, in millionths. In JSON it is a plain number; what is finer than a
/// millionth is refused, and what is larger than about 9 trillion too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(i64);

const ONE: i64 = 1_000_000;

impl Quantity {
    /// So many millionths.
    #[must_use]
    pub const fn from_millionths(millionths: i64) -> Quantity {
        Quantity(millionths)
    }

    /// A whole number.
    #[must_use]
    pub const fn whole(number: i32) -> Quantity {
        Quantity(number as i64 * ONE)
    }

    /// In millionths.
    #[must_use]
    pub const fn millionths(self) -> i64 {
        self.0
    }
}

/// Without needless zeros: `5`, `0.25`, `-1.5`.
impl fmt::Display for Quantity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let millionths = self.0.unsigned_abs();
        let (whole, part) = (millionths / ONE.unsigned_abs(), millionths % ONE.unsigned_abs());
        if part == 0 {
            return write!(out, "{sign}{whole}");
        }
        let digits = format!("{part:06}");
        write!(out, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// Digits, a point, at most six more digits. An exponent is read as JSON writes it.
impl FromStr for Quantity {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Quantity, &'static str> {
        let refuse = "must be a number with at most six decimals, below 9 trillion";
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| refuse)?),
            None => (rest, 0),
        };
        let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() + part.len() > 40 || !is_digits(whole) || !is_digits(part) {
            return Err(refuse);
        }
        let digits: i128 = format!("{whole}{part}").parse().map_err(|_| refuse)?;
        // Six places of the millionths, less those behind the point.
        let places = i32::try_from(part.len()).map_err(|_| refuse)?;
        let shift = exponent.saturating_add(6).saturating_sub(places);
        let power = 10i128.checked_pow(shift.unsigned_abs().min(40)).ok_or(refuse)?;
        let millionths = match (digits, shift >= 0) {
            (0, _) => 0,
            (digits, true) => digits.checked_mul(power).ok_or(refuse)?,
            (digits, false) if digits % power == 0 => digits / power,
            (_, false) => return Err(refuse),
        };
        let signed = if negative { -millionths } else { millionths };
        i64::try_from(signed).map(Quantity).map_err(|_| refuse)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % ONE == 0 {
            return serializer.serialize_i64(self.0 / ONE);
        }
        // A raw number: a float on the way would not write every value as it is.
        let text = self.to_string();
        let raw = serde_json::value::RawValue::from_string(text).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Quantity, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        number.to_string().parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_and_write_as_they_are() {
        for (text, millionths) in [
            ("0", 0),
            ("5", 5_000_000),
            ("-1.5", -1_500_000),
            ("0.000001", 1),
            ("1e3", 1_000_000_000),
            ("2.5E-3", 2_500),
            ("1.500000000", 1_500_000),
            ("9223372036854.775807", i64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(Quantity(millionths)), "{text}");
            let shown = Quantity(millionths).to_string();
            assert_eq!(shown.parse(), Ok(Quantity(millionths)), "{shown}");
        }
        for bad in
            ["", "-", "a", "1e", "0.0000001", "1e99", "9223372036854.775808", ".5", "1.2.3", "+1", "NaN"]
        {
            assert!(bad.parse::<Quantity>().is_err(), "{bad}");
        }
    }

    #[test]
    fn in_json_it_is_a_number() {
        let read = |text: &str| serde_json::from_str::<Quantity>(text);
        assert_eq!(read("0.05").unwrap(), Quantity(50_000));
        assert_eq!(read("1e2").unwrap(), Quantity::whole(100));
        assert!(read("\"5\"").is_err() && read("1e-9").is_err() && read("1e60").is_err());
        assert_eq!(serde_json::to_string(&Quantity(50_000)).unwrap(), "0.05");
        assert_eq!(serde_json::to_string(&Quantity::whole(-3)).unwrap(), "-3");
    }
}
