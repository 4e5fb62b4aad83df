//! Decimal numbers compared exactly, by their digits: no float, no overflow, no allocation for what a message carries.

use std::cmp::Ordering;
use std::fmt;

use crate::model::limits::{FILTER_NUMBER_BYTES_MAX, FILTER_NUMBER_DIGITS_MAX};

/// A number as it stands in some text: 0.d₁d₂d₃… × 10^`exponent`, where d₁ is not 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decimal<'a> {
    negative: bool,
    exponent: i64,
    /// From the first digit that is not 0 on; may hold one point. Empty for zero.
    digits: &'a str,
}

impl<'a> Decimal<'a> {
    /// Reads `[+-] digits [. digits] [e [+-] digits]`; digits are needed before or after the point. None for anything
    /// else, also for spaces around a number, `NaN`, exponents beyond 32 bits, and more than 128 bytes.
    pub(super) fn parse(text: &'a str) -> Option<Decimal<'a>> {
        if text.len() > FILTER_NUMBER_BYTES_MAX {
            return None;
        }
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, shift) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, shift)) => (mantissa, i64::from(shift.parse::<i32>().ok()?)),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
        let above_point = mantissa.trim_start_matches('0');
        if !above_point.is_empty() && !above_point.starts_with('.') {
            let zeros = length(mantissa) - length(above_point);
            return Some(Decimal { negative, exponent: shift + length(whole) - zeros, digits: above_point });
        }
        let digits = fraction.trim_start_matches('0');
        Some(Decimal { negative, exponent: shift - (length(fraction) - length(digits)), digits })
    }

    fn sign(&self) -> i8 {
        match (self.digits.is_empty(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }

    /// Which of the two is the larger number.
    pub(super) fn compare(&self, other: &Decimal<'_>) -> Ordering {
        let sign = self.sign();
        if sign != other.sign() || sign == 0 {
            return sign.cmp(&other.sign());
        }
        let size = self.exponent.cmp(&other.exponent).then_with(|| compare_digits(self.digits, other.digits));
        if self.negative { size.reverse() } else { size }
    }
}

/// Compares the digits behind the point of 0.d₁d₂d₃….
fn compare_digits(left: &str, right: &str) -> Ordering {
    let mut left = left.bytes().filter(|byte| *byte != b'.');
    let mut right = right.bytes().filter(|byte| *byte != b'.');
    loop {
        match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (one, other) => match one.unwrap_or(b'0').cmp(&other.unwrap_or(b'0')) {
                Ordering::Equal => {}
                different => return different,
            },
        }
    }
}

/// A number of an expression. Equal numbers are equal values: `1`, `1.0` and `10e-1` are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Number {
    negative: bool,
    exponent: i64,
    /// Without point, and without zeros at either end.
    digits: Box<str>,
}

impl Number {
    /// Reads what [`Decimal::parse`] reads, with at most 40 digits, so that the canonical form can be read as well.
    pub(super) fn parse(text: &str) -> Option<Number> {
        let decimal = Decimal::parse(text)?;
        let digits: String = decimal.digits.chars().filter(|digit| *digit != '.').collect();
        let digits = digits.trim_end_matches('0');
        if digits.len() > FILTER_NUMBER_DIGITS_MAX {
            return None;
        }
        if digits.is_empty() {
            return Some(Number { negative: false, exponent: 0, digits: Box::default() });
        }
        Some(Number { negative: decimal.negative, exponent: decimal.exponent, digits: digits.into() })
    }

    /// The number with the other sign.
    pub(super) fn negated(self) -> Number {
        Number { negative: !self.negative && !self.digits.is_empty(), ..self }
    }

    /// For comparing.
    pub(super) fn decimal(&self) -> Decimal<'_> {
        Decimal { negative: self.negative, exponent: self.exponent, digits: &self.digits }
    }
}

/// Most zeros that are written before or behind the digits; beyond that an exponent is shorter.
const ZEROS_MAX: usize = 20;

impl fmt::Display for Number {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Number { negative, exponent, digits } = self;
        if digits.is_empty() {
            return out.write_str("0");
        }
        if *negative {
            out.write_str("-")?;
        }
        let above_point = usize::try_from(*exponent).unwrap_or(0);
        let zeros_before = usize::try_from(-*exponent).unwrap_or(0);
        if let Some((whole, fraction)) = digits.split_at_checked(above_point).filter(|_| *exponent > 0) {
            out.write_str(whole)?;
            return if fraction.is_empty() { Ok(()) } else { write!(out, ".{fraction}") };
        }
        if *exponent > 0 && above_point - digits.len() <= ZEROS_MAX {
            return write!(out, "{digits}{:0<width$}", "", width = above_point - digits.len());
        }
        if *exponent <= 0 && zeros_before <= ZEROS_MAX {
            return write!(out, "0.{:0<zeros_before$}{digits}", "");
        }
        let (first, rest) = digits.split_at_checked(1).unwrap_or((digits, ""));
        out.write_str(first)?;
        if !rest.is_empty() {
            write!(out, ".{rest}")?;
        }
        write!(out, "e{}", exponent - 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read_as_programs_write_them() {
        for (text, canonical) in [
            ("0", "0"),
            ("-0.00", "0"),
            ("007", "7"),
            ("+7", "7"),
            ("5.", "5"),
            (".5", "0.5"),
            ("-1.50", "-1.5"),
            ("100", "100"),
            ("0.001", "0.001"),
            ("1e3", "1000"),
            ("12.5E-1", "1.25"),
            ("1e30", "1e30"),
            ("-1.25e-30", "-1.25e-30"),
            ("1e2147483647", "1e2147483647"),
            ("123456789012345678901234567890.5", "123456789012345678901234567890.5"),
        ] {
            let number = Number::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(number.to_string(), canonical, "{text}");
            assert_eq!(Number::parse(canonical), Some(number), "{text}");
        }
        for text in [
            "",
            "-",
            ".",
            "e5",
            "1e",
            " 1",
            "1 ",
            "1,5",
            "1.2.3",
            "--1",
            "0x10",
            "NaN",
            "inf",
            "1e99999999999",
            "١",
        ] {
            assert!(Decimal::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_longest_number_reads_back_from_its_canonical_form() {
        let digits = "9".repeat(FILTER_NUMBER_DIGITS_MAX);
        for text in [
            digits.clone(),
            format!(".{}{digits}", "0".repeat(ZEROS_MAX)),
            format!("{digits}{}", "0".repeat(ZEROS_MAX)),
            format!("{digits}e-2147483647"),
            format!("{}{digits}", "0".repeat(FILTER_NUMBER_BYTES_MAX - FILTER_NUMBER_DIGITS_MAX)),
        ] {
            let number = Number::parse(&text).unwrap();
            assert_eq!(Number::parse(&number.to_string()), Some(number), "{text}");
        }
        assert!(Number::parse(&format!("{digits}9")).is_none());
        assert!(Decimal::parse(&"1".repeat(FILTER_NUMBER_BYTES_MAX)).is_some());
        assert!(Decimal::parse(&"1".repeat(FILTER_NUMBER_BYTES_MAX + 1)).is_none());
    }

    #[test]
    fn comparing_is_exact_where_floats_are_not() {
        let compare =
            |left: &str, right: &str| Decimal::parse(left).unwrap().compare(&Decimal::parse(right).unwrap());
        assert_eq!(compare("9007199254740993", "9007199254740992"), Ordering::Greater);
        assert_eq!(compare("0.1", "0.10000000000000000001"), Ordering::Less);
        assert_eq!(compare("1e400", "9e399"), Ordering::Greater);
        assert_eq!(compare("-2", "-10"), Ordering::Greater);
        assert_eq!(compare("-0", "0.000"), Ordering::Equal);
        assert_eq!(compare("0", "-1e-9"), Ordering::Greater);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

        #[test]
        fn numbers_compare_like_integers_of_thousandths(
            left in -2_000_000i64..2_000_000,
            right in -2_000_000i64..2_000_000,
            near in any::<bool>(),
            zeros in 0usize..3,
        ) {
            let right = if near { left + right % 3 } else { right };
            let text = |thousandths: i64| {
                let sign = if thousandths < 0 { "-" } else { "" };
                let size = thousandths.abs();
                format!("{sign}{}.{:03}{}", size / 1_000, size % 1_000, "0".repeat(zeros))
            };
            let (one, other) = (text(left), text(right));
            let number = Number::parse(&other).unwrap();
            prop_assert_eq!(Decimal::parse(&one).unwrap().compare(&number.decimal()), left.cmp(&right));
            prop_assert_eq!(&Number::parse(&number.to_string()), &Some(number.clone()));
            let shifted = format!("{right}e-3");
            prop_assert_eq!(Number::parse(&shifted), Some(number));
        }
    }
}
