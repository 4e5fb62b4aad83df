use super::fuzz::{Target, same, text};
use crate::model::*;

/// Corrects the check character behind whatever stands before it, so that what it protects is read.
fn correct_check(input: &mut Vec<u8>) {
    const ALPHABET: &[u8] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let Some(last) = input.len().checked_sub(1) else { return };
    let candidates = ALPHABET.iter().map(|character| {
        let mut fixed = input.clone();
        fixed[last] = *character;
        fixed
    });
    let reads = |fixed: &Vec<u8>| {
        text(fixed).is_ok_and(|text| text.parse::<Receipt>().is_ok() || text.parse::<MessageId>().is_ok())
    };
    if let Some(fixed) = candidates.into_iter().find(reads) {
        *input = fixed;
    }
}

#[test]
fn fuzz_receipt() {
    let receipt = Receipt {
        group: GroupId(7),
        topic: TopicId(9),
        queue: 255,
        place: Place { offset: u64::MAX, turn: 3 },
        position: Position { index: 1 << 40, slot: 65_535 },
        round: 2,
        attempt: 1_000,
        nonce: 0xDEAD_BEEF_0123_4567,
    };
    Target {
        name: "receipt",
        seeds: vec![receipt.to_string().into_bytes(), receipt.to_string().to_lowercase().into_bytes()],
        words: &["0", "Z", "i", "o", "l", "L", "U"],
        repair: Some(correct_check),
        check: |input| {
            let receipt: Receipt = text(input)?.parse().map_err(|error| format!("{error}"))?;
            let written = receipt.to_string();
            assert_eq!(written.len(), 81);
            same(&receipt, &written.parse().unwrap());
            Ok(())
        },
    }
    .run();
}

#[test]
fn fuzz_message_id() {
    let id = |index, slot| MessageId::new(Position { index, slot }).to_string().into_bytes();
    Target {
        name: "message_id",
        seeds: vec![id(0, 0), id(123_456_789, 42), id(u64::MAX, u16::MAX)],
        words: &["0", "Z", "i", "o", "l", "L", "U"],
        repair: Some(correct_check),
        check: |input| {
            let id: MessageId = text(input)?.parse().map_err(|error| format!("{error}"))?;
            same(&id, &id.to_string().parse().unwrap());
            Ok(())
        },
    }
    .run();
}

#[test]
fn fuzz_names_and_times() {
    Target {
        name: "names_and_times",
        seeds: [
            "orders",
            "a.B_c-9",
            "1h30m",
            "250ms",
            "40d",
            "0",
            "2026-01-31T23:59:59.123Z",
            "1970-01-01T00:00:00Z",
        ]
        .map(|text| text.as_bytes().to_vec())
        .to_vec(),
        words: &["ms", "s", "m", "h", "d", "T", "Z", "+01:00", "-", ":", ".", "9999", "[Europe/Berlin]"],
        repair: None,
        check: |input| {
            let text = text(input)?;
            let (name, group) = (text.parse::<TopicName>(), text.parse::<GroupName>());
            assert_eq!(name.is_ok(), group.is_ok(), "one grammar");
            if let Ok(name) = &name {
                assert!(name.as_str() == text && text.len() <= NAME_BYTES_MAX);
            }
            let span = parse_duration(text);
            if let Ok(span) = &span {
                assert_eq!(parse_duration(&format!("{span}ms")), Ok(*span));
            }
            let time = text.parse::<Timestamp>();
            if let Ok(time) = &time {
                assert!(*time <= Timestamp::MAX_PRINTABLE);
                same(time, &time.to_string().parse().unwrap());
            }
            match (name, span, time) {
                (Err(name), Err(span), Err(time)) => Err(format!("{name} {span} {time}")),
                _ => Ok(()),
            }
        },
    }
    .run();
}

#[test]
fn fuzz_tag_filter() {
    Target {
        name: "tag_filter",
        seeds: ["*", "paid", "paid || sent", " b ||a|| b", "\u{fc}ber||x y"]
            .map(|text| text.as_bytes().to_vec())
            .to_vec(),
        words: &["||", "|", "*", " ", "a", "\u{fc}", "\t"],
        repair: None,
        check: |input| {
            let text = text(input)?;
            let filter = Filter::parse_tags(text).map_err(|error| error.to_string())?;
            let expression = filter.expression();
            assert!(expression.len() <= FILTER_BYTES_MAX);
            same(&filter, &Filter::parse_tags(&expression).unwrap());
            let json = serde_json::to_vec(&filter).unwrap();
            same(&filter, &serde_json::from_slice(&json).unwrap());
            let shown: Vec<&str> = expression.split(" || ").collect();
            assert!(shown.iter().all(|tag| filter.matches_tag(Some(tag))));
            Ok(())
        },
    }
    .run();
}
