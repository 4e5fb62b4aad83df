//! Bodies, frames, headers and queries other than messages.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::api::frame::{self, Frame, FrameError, NamedReceipt, PublishedBody};
use crate::api::patch::{self, Patch};
use crate::api::problem::Problem;
use crate::api::query::{Query, cursor_at};
use crate::api::{condition, extract, groups, json_in, receive, settle, terms};
use crate::broker::SearchPlace;
use crate::machine::{Expected, SettleOp};
use crate::model::tests::fuzz::{Target, same, text};
use crate::model::*;

/// What JSON of the interface is made of.
pub(super) const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "null",
    "true",
    "\"\"",
    "{}",
    "[]",
    "\\u0000",
    "\\ud83d\\ude00",
    "\\ud800",
    " ",
    "\"topic\":\"orders\"",
    "\"filter\":{\"tag\":\"*||*\"}",
    "\"filter\":{\"sql\":\"a = 1\"}",
    "\"delay_ms\":",
    "\"receipts\":[\"x\"]",
    "\"reason\":",
    "\"lease_ms\":1000",
    "\"messages\":",
    "\"retry\":",
    "\"steps_ms\":[100]",
];

/// A problem as a client sees it, without what it quotes: no answer may grow without limit.
pub(super) fn refused(problem: Problem, input: &[u8]) -> String {
    assert!(problem.detail.len() <= 4 * input.len() + 1_000, "{}", problem.detail.len());
    problem.detail
}

fn seeds(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn fuzz_settle() {
    Target {
        name: "settle",
        seeds: seeds(&[
            r#"{"acks":[{"receipt":"a"},{"receipt":"b"}],"nacks":[{"receipt":"c","delay_ms":5000,"reason":"later"}]}"#,
            r#"{"extends":[{"receipt":"d","lease_ms":60000}],"dead_letters":[{"receipt":"e","reason":"broken"}]}"#,
            "{}",
        ]),
        words: JSON,
        repair: None,
        check: |input| {
            let form = json_in::parse(input).map_err(|problem| refused(problem, input))?;
            let wishes = settle::wishes_of(form).map_err(|problem| refused(problem, input))?;
            for wish in &wishes {
                let _ = wish.receipt.parse::<Receipt>();
                match &wish.op {
                    SettleOp::Nack { delay_ms, .. } => assert!(delay_ms.is_none_or(|delay| delay <= RETRY_MS_MAX)),
                    SettleOp::Extend { lease_ms } => {
                        assert!(lease_ms.is_none_or(|lease| (LEASE_MS_MIN..=LEASE_MS_MAX).contains(&lease)));
                    }
                    _ => {}
                }
            }
            Ok(())
        },
    }
    .run();
}

#[test]
fn fuzz_settings() {
    Target {
        name: "settings",
        seeds: seeds(&[
            r#"{"subscriptions":[{"topic":"orders","filter":{"tag":"a || b"}},{"topic":"refunds"}],"ordered":true}"#,
            r#"{"retry":{"kind":"table","steps_ms":[1000,5000]},"start":"latest","max_attempts":3,"lane_batch":2}"#,
            r#"{"retry":{"kind":"exponential","initial_ms":500,"multiplier":2,"max_ms":60000},"lease_ms":9000}"#,
            r#"{"start":"2026-01-31T00:00:00Z","dead_letters_max":10,"dead_letter_expired":true,"max_in_flight":7}"#,
            r#"{"queues":8,"max_age_ms":604800000,"idempotency_window_ms":3600000}"#,
        ]),
        words: JSON,
        repair: None,
        check: |input| {
            // What is accepted is kept in the log as JSON: it has to read back as the same settings.
            let topic = json_in::parse::<TopicSettings>(input);
            if let Ok(settings) = &topic
                && settings.check().is_ok()
            {
                let kept = serde_json::to_vec(settings).unwrap();
                same(settings, &serde_json::from_slice(&kept).unwrap());
            }
            let group = groups::settings_of(input, json_in::parse);
            if let Ok(settings) = &group {
                let kept = serde_json::to_vec(settings).unwrap();
                same(settings, &groups::settings_of(&kept, json_in::parse).unwrap());
            }
            match (topic, group) {
                (Err(_), Err(problem)) => Err(refused(problem, input)),
                _ => Ok(()),
            }
        },
    }
    .run();
}

#[test]
fn fuzz_patch() {
    Target {
        name: "patch",
        seeds: seeds(&[
            r#"{"ordered":true,"lease_ms":null,"retry":{"max_ms":1000}}"#,
            r#"{"subscriptions":[{"topic":"orders","filter":{"tag":"a"}}],"start":null}"#,
            r#"{"retry":null,"max_attempts":1000}"#,
        ]),
        words: JSON,
        repair: None,
        check: |input| {
            let patch: Patch =
                json_in::parse(input).map(Patch::of).map_err(|problem| refused(problem, input))?;
            let before = GroupSettings::default();
            let read =
                |settings: &GroupSettings| groups::settings_of(&patch.merge(settings)?, patch::read_merged);
            let after = read(&before).map_err(|problem| refused(problem, input))?;
            same(&after, &read(&after).unwrap());
            Ok(())
        },
    }
    .run();
}

#[test]
fn fuzz_frame() {
    Target {
        name: "frame",
        seeds: seeds(&[
            r#"{"type":"publish","id":1,"topic":"orders","body":"hi","tag":"a","keys":["k"],"properties":{"x":"1"}}"#,
            r#"{"type":"publish","id":"p","topic":"orders","messages":[{"body":"a"},{"body":{"b":1},"delay_ms":5}]}"#,
            r#"{"type":"subscribe","id":2,"sub":"s","group":"g","topic":"orders","mode":"credit","lease_ms":5000}"#,
            r#"{"type":"subscribe","sub":"s","group":"g","filter":{"tag":"a || b"},"prefetch":50,"client":"me"}"#,
            r#"{"type":"credit","sub":"s","messages":100,"bytes":1048576}"#,
            r#"{"type":"nack","id":null,"receipts":["a","b"],"delay_ms":1000,"reason":"no"}"#,
            r#"{"type":"extend","receipts":["a"],"lease_ms":1000}"#,
            r#"{"type":"pause","sub":"s"}"#,
        ]),
        words: &[
            "{", "}", "[", "]", ",", ":", "\"", "null", "\"type\":", "\"id\":", "\"ack\"", "\"dead_letter\"", "\"resume\"",
            "\"unsubscribe\"", "\"publish\"", "\"body\":null", "\"messages\":[]", "\"sub\":\"\"", "1e9", "\\u0000", "\\ud800",
            "\"filter\":{\"tag\":\"*||*\"}", "\"mode\":\"prefetch\"", "\"encoding\":\"base64\"",
        ],
        repair: None,
        check: |input| match frame::read(text(input)?) {
            Ok((re, frame)) => {
                // It goes back as it came: JSON, though maybe a number that no double holds.
                assert!(re.is_none_or(|re| serde_json::from_str::<serde::de::IgnoredAny>(&re).is_ok()));
                check_frame(&frame);
                Ok(())
            }
            Err(FrameError::NotJson(problem)) => Err(refused(problem, input)),
            Err(FrameError::Refused { re, problem, .. }) => {
                assert!(re.is_none_or(|re| serde_json::from_str::<serde::de::IgnoredAny>(&re).is_ok()));
                Err(refused(problem, input))
            }
        },
    }
    .run();
}

fn check_frame(frame: &Frame) {
    match frame {
        Frame::Publish(publish) => match &publish.body {
            PublishedBody::One(new) => new.message.check().unwrap(),
            PublishedBody::Many(many) => {
                assert!((1..=BATCH_MESSAGES_MAX).contains(&many.len()));
                many.iter().flatten().for_each(|new| new.message.check().unwrap());
            }
        },
        Frame::Subscribe(subscribe) => {
            assert!(!subscribe.sub.is_empty());
            if let Some(filter) = &subscribe.filter {
                let json = serde_json::to_string(filter).unwrap();
                same(filter, &serde_json::from_str(&json).unwrap());
            }
        }
        Frame::Credit { messages, .. } => assert!(*messages <= frame::CREDIT_MAX),
        Frame::Settle(settle) => {
            assert!(settle.receipts.len() <= SETTLE_MAX);
            let short = |receipt: &NamedReceipt| match receipt {
                NamedReceipt::Good(receipt) => receipt.to_string().len() == 81,
                NamedReceipt::Bad(text) => text.chars().count() <= 200,
            };
            assert!(settle.receipts.iter().all(short));
        }
        Frame::Pause { sub, .. } | Frame::Unsubscribe { sub } => assert!(!sub.is_empty()),
    }
}

#[test]
fn fuzz_receive_and_seek() {
    Target {
        name: "receive_and_seek",
        seeds: seeds(&[
            "max_messages=5&wait=1s&topic=orders\n{\"lease\":\"30s\",\"filter\":{\"tag\":\"a\"}}",
            "filter=a%20%7C%7C%20b&lease_ms=1000\n{\"wait_ms\":0,\"max_bytes\":1}",
            "\n{\"topic\":\"orders\",\"to\":{\"queue\":1,\"offset\":7}}",
            "\n{\"topic\":\"orders\",\"to\":\"2026-01-31T00:00:00Z\",\"dry_run\":true}",
        ]),
        words: &[
            "&",
            "=",
            "%",
            "%00",
            "+",
            "wait=",
            "lease=",
            "max_bytes=",
            "\n",
            "{}",
            "\"to\":\"latest\"",
            "\"wait\":\"1m\"",
        ],
        repair: None,
        check: |input| {
            let at = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
            let (query, body) = (text(&input[..at])?, input.get(at + 1..).unwrap_or_default());
            let seek =
                json_in::parse::<groups::SeekForm>(body).and_then(|form| groups::seek_target(&form.to));
            let query = Query::parse(Some(query)).map_err(|problem| refused(problem, input))?;
            let received = json_in::parse(body).and_then(|form| receive::merge(form, query));
            match (seek, received) {
                (Err(_), Err(problem)) => Err(refused(problem, input)),
                _ => Ok(()),
            }
        },
    }
    .run();
}

#[test]
fn fuzz_query_and_cursor() {
    let cursor = format!("cursor={}&limit=5", cursor_at("topics", "orders")).into_bytes();
    let id = cursor_at("dead_letters", MessageId::new(Position { index: 9, slot: 1 }));
    let place = SearchPlace::Entry { ready_at: Timestamp(1_700_000_000_000), queue: 3, offset: 12 };
    let place = cursor_at("search", place);
    Target {
        name: "query_and_cursor",
        seeds: vec![
            cursor,
            format!("cursor={id}").into_bytes(),
            format!("cursor={place}&limit=9").into_bytes(),
            b"a=x%20y+z&wait=1m&flag&auto_create=false".to_vec(),
        ],
        words: &[
            "&",
            "=",
            "%",
            "%ff",
            "+",
            "cursor=",
            "limit=",
            "wait=",
            "dG9waWNzIA",
            "ZGVhZF9sZXR0ZXJzIA",
            "-",
            "_",
        ],
        repair: None,
        check: |input| {
            let text = text(input)?;
            let read = |text: &str| Query::parse(Some(text)).map_err(|problem| refused(problem, input));
            let topic = read(text)?.cursor::<TopicName>("topics");
            if let Ok(Some(name)) = &topic {
                let again = format!("cursor={}", cursor_at("topics", name));
                same(name, &read(&again)?.cursor::<TopicName>("topics").unwrap().unwrap());
            }
            let letter = read(text)?.cursor::<MessageId>("dead_letters");
            if let Ok(Some(place)) = &read(text)?.cursor::<SearchPlace>("search") {
                let again = format!("cursor={}", cursor_at("search", place));
                same(place, &read(&again)?.cursor::<SearchPlace>("search").unwrap().unwrap());
            }
            let mut query = read(text)?;
            let (limit, wait, truth) = (query.limit(), query.duration("wait"), query.truth("auto_create"));
            assert!(limit.as_ref().is_ok_and(|limit| *limit <= LIST_LIMIT_MAX) || limit.is_err());
            topic
                .map_err(|problem| refused(problem, input))
                .or(letter.map(|_| None).map_err(|it| it.detail))?;
            limit
                .and(wait.map(|_| 0))
                .and(truth.map(|_| 0))
                .map(|_| ())
                .map_err(|problem| refused(problem, input))
        },
    }
    .run();
}

/// Header lines as `name: value`, as the server would hand them on; lines that it would refuse are passed over.
pub(super) fn headers_of(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(at) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (HeaderName::from_bytes(&line[..at]), line[at + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

#[test]
fn fuzz_request_headers() {
    Target {
        name: "request_headers",
        seeds: seeds(&[
            "if-match: \"00000000000000ab\", W/\"00000000000000cd\"\nidempotency-key: \"a\\\"b\"",
            "if-none-match: *\nmq-client: worker%201\nidempotency-key: order-1234",
            "if-match: *",
        ]),
        words: &[
            "\n",
            ":",
            "\"",
            "\\",
            "W/",
            "*",
            ",",
            "if-match: ",
            "idempotency-key: ",
            "mq-client: ",
            "%",
            "%zz",
            "\t",
        ],
        repair: None,
        check: |input| {
            let headers = headers_of(input);
            let refuse = |problem| refused(problem, input);
            if let Expected::OneOf(versions) = condition::expected(&headers).map_err(refuse)? {
                assert!(versions.len() <= input.len() / 18);
                let tags: Vec<String> = versions.iter().map(|version| format!("\"{version}\"")).collect();
                if !tags.is_empty() {
                    let again = headers_of(format!("if-match: {}", tags.join(",")).as_bytes());
                    same(&Expected::OneOf(versions), &condition::expected(&again).unwrap());
                }
            }
            let key = terms::key_of(&headers).map_err(refuse)?;
            assert!(key.is_none_or(|key| (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len())));
            let client = extract::client_name(&headers, None).map_err(refuse)?;
            assert!((1..=CLIENT_BYTES_MAX).contains(&client.len()));
            Ok(())
        },
    }
    .run();
}
