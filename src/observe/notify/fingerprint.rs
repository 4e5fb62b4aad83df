//! The name of an alert: 64 bits of its labels, the same that Prometheus and Alertmanager show for them.

use crate::model::alert::Labels;

/// FNV-1a, 64 bits: its start and its prime.
const START: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// Stands behind every name and value; no UTF-8 text holds it.
const SEPARATOR: u8 = 0xff;

/// The fingerprint of a label set (`LabelSet.Fingerprint` of prometheus/common): FNV-1a over the names in order, each
/// with its value, as 16 hexadecimal digits.
#[must_use]
pub fn fingerprint(labels: &Labels) -> String {
    let texts = labels.iter().flat_map(|(name, value)| [name, value]);
    let bytes = texts.flat_map(|text| text.bytes().chain([SEPARATOR]));
    let hash = bytes.fold(START, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_labels_are_the_start_and_their_order_is_none() {
        assert_eq!(fingerprint(&Labels::new()), "cbf29ce484222325");
        let one = Labels::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        let other = Labels::from([("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())]);
        assert_eq!(fingerprint(&one), fingerprint(&other));
        let shifted = Labels::from([("a".to_owned(), "1b".to_owned()), (String::new(), "2".to_owned())]);
        assert_ne!(fingerprint(&one), fingerprint(&shifted));
    }

    /// What the definition gives, worked out by hand.
    #[test]
    fn the_names_and_values_are_told_apart_by_a_byte_that_no_text_has() {
        let labels = Labels::from([("alertname".to_owned(), "x".to_owned())]);
        assert_eq!(fingerprint(&labels), "d240efc3896bf266");
    }
}
