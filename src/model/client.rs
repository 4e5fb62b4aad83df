//! What a client of a node is called while it is there.

use std::fmt;
use std::str::FromStr;

/// Names a client while it is known; another process gives other ids. Ids of one process sort by when they were given,
/// as numbers and as text: 12 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(u64);

const DIGITS: usize = 12;
const BITS: u64 = (1 << (4 * DIGITS)) - 1;

impl ClientId {
    /// The id with this number, of which the lowest 48 bits count.
    #[must_use]
    pub fn new(number: u64) -> ClientId {
        ClientId(number & BITS)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:0DIGITS$x}", self.0)
    }
}

impl FromStr for ClientId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<ClientId, &'static str> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let written = text.len() == DIGITS && text.bytes().all(is_digit);
        let number = u64::from_str_radix(text, 16).ok().filter(|_| written);
        number.map(ClientId).ok_or("is not the id of a client")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written_and_nothing_else_is() {
        for id in [0, 1, 0xab, BITS].map(ClientId::new) {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!(ClientId::new(BITS + 2), ClientId::new(1));
        for odd in ["", "1", "00000000000g", "+00000000001", "0000000000AB", "0000000000001", "ä0000000000"]
        {
            assert!(odd.parse::<ClientId>().is_err(), "{odd}");
        }
    }
}
