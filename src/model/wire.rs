//! The fields that our own formats are made of, and the only code that reads them.
//!
//! | field | bytes |
//! | --- | --- |
//! | number | 1-10: seven bits a byte, low bits first, the top bit set on all but the last (LEB128) |
//! | delta | a number: the difference to a base that both sides know, zigzag (0, -1, 1, -2 … become 0, 1, 2, 3 …), wrapping at 64 bits |
//! | fixed | 8, little-endian; for hashes and nonces, which have no small values |
//! | text | number of bytes, then UTF-8 |
//! | count | a number; each item that follows takes at least one byte, so a count never exceeds the bytes left |
//!
//! Reading is total: any bytes give a value or an error, never a panic, and nothing is allocated before the bytes that
//! fill it are known to be there.

use bytes::BufMut;

/// Bytes that are not what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct DecodeError {
    /// Where, counted from the start of what was being read.
    pub at: usize,
    /// What was found or missed there.
    pub what: &'static str,
}

/// Appends a number.
pub fn put_number(out: &mut impl BufMut, number: impl Into<u64>) {
    let mut rest: u64 = number.into();
    while rest >= 0x80 {
        out.put_u8((rest & 0x7F) as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8((rest & 0x7F) as u8);
}

/// Appends `value` as its difference to `base`.
pub fn put_delta(out: &mut impl BufMut, value: u64, base: u64) {
    let difference = value.wrapping_sub(base).cast_signed();
    put_number(out, ((difference << 1) ^ (difference >> 63)).cast_unsigned());
}

/// Appends 8 bytes.
pub fn put_fixed(out: &mut impl BufMut, value: u64) {
    out.put_u64_le(value);
}

/// Appends a count. `usize` has at most 64 bits on every supported machine.
pub fn put_count(out: &mut impl BufMut, count: usize) {
    put_number(out, count as u64);
}

/// Appends a text.
pub fn put_text(out: &mut impl BufMut, text: &str) {
    put_count(out, text.len());
    out.put_slice(text.as_bytes());
}

/// Reads fields off the front of bytes.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub fn new(all: &'a [u8]) -> Reader<'a> {
        Reader { all, at: 0 }
    }

    /// How many bytes were read.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// The bytes not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.all.get(self.at..).unwrap_or_default()
    }

    /// An error at the present place.
    #[must_use]
    pub fn error(&self, what: &'static str) -> DecodeError {
        DecodeError { at: self.at, what }
    }

    /// Makes sure that nothing is left.
    ///
    /// # Errors
    /// When there is.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.rest().is_empty() { Ok(()) } else { Err(self.error("bytes left over")) }
    }

    /// One byte.
    ///
    /// # Errors
    /// When there is none.
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        let byte = self.all.get(self.at).copied().ok_or(self.error("a missing byte"))?;
        self.at += 1;
        Ok(byte)
    }

    /// A number.
    ///
    /// # Errors
    /// When it has no end, or more than 64 bits.
    pub fn number(&mut self) -> Result<u64, DecodeError> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(first.into());
        }
        let mut value = u64::from(first & 0x7F);
        for shift in (7..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.error("a number of more than 64 bits"))
    }

    /// A number that fits the type asked for.
    ///
    /// # Errors
    /// When it does not, or is no number.
    pub fn small<T: TryFrom<u64>>(&mut self) -> Result<T, DecodeError> {
        let number = self.number()?;
        T::try_from(number).map_err(|_| self.error("a number out of range"))
    }

    /// A number given as its difference to `base`.
    ///
    /// # Errors
    /// When it is no number.
    pub fn delta(&mut self, base: u64) -> Result<u64, DecodeError> {
        let folded = self.number()?;
        let difference = (folded >> 1) ^ (folded & 1).wrapping_neg();
        Ok(base.wrapping_add(difference))
    }

    /// 8 bytes.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn fixed(&mut self) -> Result<u64, DecodeError> {
        let bytes = self.rest().first_chunk::<8>().ok_or(self.error("fewer than 8 bytes"))?;
        self.at += 8;
        Ok(u64::from_le_bytes(*bytes))
    }

    /// A count of items that take at least `item_bytes` bytes each.
    ///
    /// # Errors
    /// When the bytes left cannot hold as many.
    pub fn count(&mut self, item_bytes: usize) -> Result<usize, DecodeError> {
        let count: usize = self.small()?;
        if count > self.rest().len() / item_bytes.max(1) {
            return Err(self.error("a count of more items than there are bytes for"));
        }
        Ok(count)
    }

    /// As many bytes as asked for.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let bytes = self.rest().get(..count).ok_or(self.error("fewer bytes than announced"))?;
        self.at += count;
        Ok(bytes)
    }

    /// A text.
    ///
    /// # Errors
    /// When bytes are missing or are not UTF-8.
    pub fn text(&mut self) -> Result<&'a str, DecodeError> {
        let count = self.count(1)?;
        let at = self.at;
        std::str::from_utf8(self.bytes(count)?)
            .map_err(|_| DecodeError { at, what: "a text that is not UTF-8" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_deltas_read_back_at_every_width() {
        let edges = (0..64).flat_map(|bit| {
            let power = 1u64 << bit;
            [power - 1, power, power.wrapping_add(1)]
        });
        for value in edges.chain([u64::MAX]) {
            for base in [0, 1, value, u64::MAX, 1 << 40] {
                let mut out = Vec::new();
                put_number(&mut out, value);
                put_delta(&mut out, value, base);
                let mut reader = Reader::new(&out);
                assert_eq!(reader.number(), Ok(value));
                assert_eq!(reader.delta(base), Ok(value));
                assert_eq!(reader.finish(), Ok(()));
            }
        }
    }

    #[test]
    fn neighbours_are_one_byte() {
        for (value, base) in [(7, 7), (8, 7), (6, 7), (0, u64::MAX)] {
            let mut out = Vec::new();
            put_delta(&mut out, value, base);
            assert_eq!(out.len(), 1, "{value} {base}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(Reader::new(&[0x80]).number().is_err());
        assert!(Reader::new(&[0xFF; 11]).number().is_err());
        assert!(Reader::new(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2]).number().is_err());
        assert!(Reader::new(&[0x80, 0x02]).small::<u8>().is_err());
        assert!(Reader::new(&[3, 1, 1]).count(1).is_err());
        assert!(Reader::new(&[2, 0xC3, 0x28]).text().is_err());
        assert!(Reader::new(&[1; 7]).fixed().is_err());
        assert!(Reader::new(&[1]).finish().is_err());
    }
}
