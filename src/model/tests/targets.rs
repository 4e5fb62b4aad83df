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

#[test]
fn fuzz_sql_filter() {
    Target {
        name: "sql_filter",
        seeds: [
            "amount >= 1.5e3 AND (region IN ('eu', 'us') OR TAGS = 'vip')",
            "NOT a BETWEEN -1 AND b OR c IS NOT NULL",
            "name LIKE '%o_\\%' ESCAPE '\\' and name CONTAINS 'it''s'",
            "a NOT STARTSWITH 'x' AND a ENDSWITH 'y' AND b <> TRUE",
        ]
        .map(|text| text.as_bytes().to_vec())
        .to_vec(),
        words: &[
            " AND ",
            " OR ",
            "NOT ",
            "(",
            ")",
            "a",
            "b",
            "TAGS",
            "KEYS",
            "'x'",
            "''",
            "1.5",
            "-",
            "1e9",
            "=",
            "<>",
            "<=",
            " IN ",
            ",",
            " BETWEEN ",
            " LIKE ",
            "%",
            "_",
            " IS ",
            "NULL",
            " CONTAINS ",
            " STARTSWITH ",
            "true",
            "\u{fc}",
        ],
        repair: None,
        check: |input| {
            let text = text(input)?;
            let sql = Sql::parse(text).map_err(|error| {
                assert!(error.column.is_none_or(|column| (1..=text.chars().count() + 1).contains(&column)));
                // Which words are quoted differs from input to input; what was expected does not.
                error.text.split('\'').next().unwrap_or_default().to_owned()
            })?;
            // What is shown has to read back as the same filter, and to choose the same messages.
            let shown = sql.to_string();
            let again = Sql::parse(&shown).unwrap();
            same(&sql, &again);
            same(&shown, &again.to_string());
            for attributes in samples() {
                assert_eq!(sql.matches(&attributes), again.matches(&attributes));
            }
            Ok(())
        },
    }
    .run();
}

/// Messages that most filters over `a` and `b` tell apart.
fn samples() -> [Attributes; 3] {
    let with = |tag: Option<&str>, properties: &[(&str, &str)]| Attributes {
        tag: tag.map(Into::into),
        keys: vec!["k1".into(), "k2".into()],
        properties: properties.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        ..Attributes::default()
    };
    [
        Attributes::default(),
        with(Some("vip"), &[("a", "1500"), ("b", "x")]),
        with(None, &[("a", "-1.5e3"), ("b", "TRUE"), ("region", "eu"), ("name", "100% it's")]),
    ]
}

#[test]
fn fuzz_tail_place() {
    let place = |offsets: &[u64]| TailPlace { topic: TopicId(3), offsets: offsets.to_vec() };
    Target {
        name: "tail_place",
        seeds: [place(&[]), place(&[7, 8, 7, 6]), place(&[u64::MAX, 0, 1 << 40])]
            .map(|place| place.to_string().into_bytes())
            .to_vec(),
        words: &["A", "_", "-", "AQ", "gIl6"],
        // The last byte is a check of those before it, in text: every one of its 256 values is tried.
        repair: Some(|input| {
            use base64::Engine as _;
            let base64 = base64::engine::general_purpose::URL_SAFE_NO_PAD;
            let Ok(mut bytes) = base64.decode(&input[..]) else { return };
            let Some(last) = bytes.len().checked_sub(1) else { return };
            for check in 0..=u8::MAX {
                bytes[last] = check;
                let text = base64.encode(&bytes);
                if text.parse::<TailPlace>().is_ok() {
                    *input = text.into_bytes();
                    return;
                }
            }
        }),
        check: |input| {
            let place: TailPlace = text(input)?.parse().map_err(|error| format!("{error}"))?;
            assert!(place.offsets.len() <= usize::from(QUEUES_MAX));
            same(&place, &place.to_string().parse().unwrap());
            Ok(())
        },
    }
    .run();
}
