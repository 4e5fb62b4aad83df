//! Crockford base32 with a check character: how ids and receipts look to clients.

use std::fmt;

/// The text is not an id that this broker wrote (wrong length, character, check character or shard).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id written by this broker")]
pub struct ParseIdError;

/// The longest beginning of `text` with at most `most` bytes, never in the middle of a character.
#[must_use]
pub fn beginning(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rfind(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

/// Reads the number of something that is counted from 1: digits, the first of them no zero, at most 15.
pub(super) fn counted(text: &str) -> Option<u64> {
    let digits = (1..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits && !text.starts_with('0'))
}

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

fn value(character: u8) -> Option<u8> {
    let upper = match character.to_ascii_uppercase() {
        b'O' => b'0',
        b'I' | b'L' => b'1',
        other => other,
    };
    ALPHABET.iter().position(|known| *known == upper).and_then(|at| u8::try_from(at).ok())
}

/// The character for the low five bits of `five`.
fn character(five: u8) -> u8 {
    ALPHABET.get(usize::from(five & 31)).copied().unwrap_or(b'0')
}

/// Folds one base-32 digit into the check value. Doubling in GF(32) (polynomial x^5 + x^2 + 1) before adding makes
/// every single wrong digit and every swap of neighbours change the result.
fn fold(check: u8, digit: u8) -> u8 {
    let doubled = check << 1;
    let reduced = if doubled & 32 == 0 { doubled } else { doubled ^ 0b10_0101 };
    reduced ^ digit
}

/// Most characters of an id or receipt.
const TEXT_MAX: usize = 128;

/// Writes `bytes` (at most 79) as base32 (big end first, zero bits behind) followed by one check character. Gathered
/// first and written in one go: every answer holds an id, and a call a character is what costs.
pub(super) fn write_checked(out: &mut impl fmt::Write, bytes: &[u8]) -> fmt::Result {
    let mut text = [0; TEXT_MAX];
    let mut free = text.iter_mut();
    let mut check = 0;
    let mut held: u32 = 0;
    let mut held_bits = 0u32;
    let mut emit = |five: u8| {
        check = fold(check, five);
        free.next().map(|place| *place = character(five)).ok_or(fmt::Error)
    };
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        held_bits += 8;
        while held_bits >= 5 {
            held_bits -= 5;
            emit(((held >> held_bits) & 31) as u8)?;
        }
    }
    if held_bits > 0 {
        emit(((held << (5 - held_bits)) & 31) as u8)?;
    }
    *free.next().ok_or(fmt::Error)? = character(check);
    let unused = free.len();
    let written = text.get(..TEXT_MAX - unused).unwrap_or_default();
    out.write_str(std::str::from_utf8(written).map_err(|_| fmt::Error)?)
}

/// Reads what [`write_checked`] wrote for exactly `expected_bytes` bytes.
pub(super) fn read_checked(text: &str, expected_bytes: usize) -> Result<Vec<u8>, ParseIdError> {
    let digits = (expected_bytes * 8).div_ceil(5);
    if text.len() != digits + 1 {
        return Err(ParseIdError);
    }
    let mut check = 0;
    let mut held: u32 = 0;
    let mut held_bits = 0;
    let mut bytes = Vec::with_capacity(expected_bytes);
    for (at, character) in text.bytes().enumerate() {
        let five = value(character).ok_or(ParseIdError)?;
        if at == digits {
            return if five == check && held & ((1 << held_bits) - 1) == 0 {
                Ok(bytes)
            } else {
                Err(ParseIdError)
            };
        }
        check = fold(check, five);
        held = (held << 5) | u32::from(five);
        held_bits += 5;
        if held_bits >= 8 {
            held_bits -= 8;
            bytes.push(((held >> held_bits) & 0xff) as u8);
            held &= (1 << held_bits) - 1;
        }
    }
    Err(ParseIdError)
}

/// Takes fixed-size fields off the front of decoded bytes.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Fields<'a> {
        Fields(bytes)
    }

    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], ParseIdError> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(ParseIdError)?;
        self.0 = rest;
        Ok(*field)
    }
}
