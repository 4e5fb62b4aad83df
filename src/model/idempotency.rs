//! Idempotency keys, as short as they can be kept: by them a request that is sent again is known again.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::name::TopicName;

/// An idempotency key together with whose it is: 128 bits of SHA-256. Two keys never share a hash by accident, and
/// making two that do is as hard as breaking the hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub u128);

impl KeyHash {
    /// The hash of `key` as `principal` uses it for `topic`. The principal is empty as long as nobody has a name.
    #[must_use]
    pub fn of(principal: &str, topic: &TopicName, key: &str) -> KeyHash {
        let mut hash = Sha256::new();
        for text in [principal, topic.as_str(), key] {
            take_in(&mut hash, text.as_bytes());
        }
        let bytes: [u8; 32] = hash.finalize().into();
        KeyHash(bytes.first_chunk().map_or(0, |first| u128::from_be_bytes(*first)))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

/// A request that is to be carried out once: its key, and by what it is told from another request with that key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// The key and whose it is.
    pub key: KeyHash,
    /// What [`Fingerprint::finish`] made of the request.
    pub fingerprint: u64,
}

/// Takes a request in, part by part, and makes 64 bits of SHA-256 of it. It guards against a key used twice by mistake:
/// nobody gains anything by two requests of his own that look the same.
#[derive(Clone, Debug)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// Begins with the kind of request, so that two kinds never look the same.
    #[must_use]
    pub fn new(kind: &str) -> Fingerprint {
        let mut hash = Sha256::new();
        take_in(&mut hash, kind.as_bytes());
        Fingerprint(hash)
    }

    /// Takes a part in; where it ends counts.
    #[must_use]
    pub fn with(mut self, part: &[u8]) -> Fingerprint {
        take_in(&mut self.0, part);
        self
    }

    /// Takes in a part that may be missing, which is not the same as empty.
    #[must_use]
    pub fn maybe(mut self, part: Option<&[u8]>) -> Fingerprint {
        match part {
            None => self.0.update([0]),
            Some(part) => {
                self.0.update([1]);
                take_in(&mut self.0, part);
            }
        }
        self
    }

    /// The fingerprint.
    #[must_use]
    pub fn finish(self) -> u64 {
        let bytes: [u8; 32] = self.0.finalize().into();
        bytes.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
    }
}

fn take_in(hash: &mut Sha256, part: &[u8]) {
    hash.update((part.len() as u64).to_be_bytes());
    hash.update(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the log: a node of a later version must know the keys that an earlier one took.
    #[test]
    fn the_hashes_are_frozen() {
        let key = KeyHash::of("", &"orders".parse().unwrap(), "k-1");
        assert_eq!(format!("{key:?}"), "fcce0214c1498e2c60a1862bdae6e49a");
        let print = Fingerprint::new("one").with(b"body").maybe(None).maybe(Some(b""));
        assert_eq!(format!("{:016x}", print.finish()), "5ee447a37910a305");
    }

    #[test]
    fn where_a_part_ends_counts() {
        let of = |principal, topic: &str, key| KeyHash::of(principal, &topic.parse().unwrap(), key);
        assert_ne!(of("a", "bc", "d"), of("ab", "c", "d"));
        assert_ne!(of("a", "b", "cd"), of("a", "bc", "d"));
        let print = |parts: [&[u8]; 2]| Fingerprint::new("x").with(parts[0]).with(parts[1]).finish();
        assert_ne!(print([b"ab", b"c"]), print([b"a", b"bc"]));
        assert_ne!(
            Fingerprint::new("x").maybe(None).finish(),
            Fingerprint::new("x").maybe(Some(b"")).finish()
        );
    }
}
