use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::api::message_out::BodyEncoding;
use crate::broker::{DeliveredMessage, ProducedMessage};
use crate::machine::{Leased, Refusal, SettleStatus, SettledAs};
use crate::model::{Attributes, GroupId, Message, MessageId, Place, Position, Timestamp, TopicId};

fn good(text: &str) -> (Re, Frame) {
    read(text).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

/// `re` and detail of a non-fatal refusal.
fn refused(text: &str) -> (Re, String) {
    match read(text) {
        Err(FrameError::Refused { re, problem, .. }) => (re, problem.detail),
        other => panic!("{text}: {other:?}"),
    }
}

fn parsed(frame: &Bytes) -> Value {
    serde_json::from_slice(frame).unwrap()
}

fn receipt() -> Receipt {
    Receipt {
        group: GroupId(3),
        topic: TopicId(1),
        queue: 2,
        place: Place::at(41),
        position: Position { index: 9, slot: 1 },
        round: 1,
        attempt: 1,
        nonce: 77,
    }
}

#[test]
fn publishes_read_like_messages_over_http() {
    let (re, frame) = good(
        r#"{"type":"publish","id":7,"topic":"orders","body":"a\nb","tag":"new","keys":["k"],"ordering_key":"o","delay_ms":5,"properties":{"A":"1"}}"#,
    );
    assert_eq!(re.as_deref(), Some("7"));
    let Frame::Publish(Publish { topic, body: PublishedBody::One(new) }) = frame else { panic!("{frame:?}") };
    assert_eq!(topic.as_str(), "orders");
    assert_eq!(new.message.body, "a\nb");
    let attributes = &new.message.attributes;
    assert_eq!((attributes.tag.as_deref(), attributes.ordering_key.as_deref()), (Some("new"), Some("o")));
    assert_eq!(attributes.properties["a"].as_ref(), "1");
    for (body, bytes) in [
        (r#""aGk=","encoding":"base64""#, &b"hi"[..]),
        (r#"{"a": 1}"#, br#"{"a": 1}"#),
        ("null", b"null"),
        (r#""hi","encoding":"json""#, br#""hi""#),
        (r#""""#, b""),
    ] {
        let (re, frame) = good(&format!(r#"{{"body":{body},"type":"publish","topic":"t"}}"#));
        assert_eq!(re, None);
        let Frame::Publish(Publish { body: PublishedBody::One(new), .. }) = frame else { panic!("{body}") };
        assert_eq!(new.message.body, bytes, "{body}");
    }
}

#[test]
fn one_bad_message_of_many_does_not_hold_up_the_others() {
    let (_, frame) =
        good(r#"{"type":"publish","topic":"t","messages":[{"body":"a"},{"body":"b","tag":""},{"body":3}]}"#);
    let Frame::Publish(Publish { body: PublishedBody::Many(messages), .. }) = frame else {
        panic!("{frame:?}")
    };
    assert_eq!(messages.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    let problem = messages[1].as_ref().unwrap_err();
    assert!(problem.detail.contains("/messages/1"), "{}", problem.detail);
    for bad in [
        r#"{"type":"publish","topic":"t","messages":[]}"#,
        r#"{"type":"publish","topic":"t","messages":3}"#,
        r#"{"type":"publish","topic":"t","messages":[{"body":"a","colour":1}]}"#,
        r#"{"type":"publish","topic":"t","messages":[{"body":"a"}],"body":"b"}"#,
        r#"{"type":"publish","topic":"t","messages":[{"body":"a"}],"tag":"b"}"#,
    ] {
        refused(bad);
    }
    let many = vec![r#"{"body":""}"#; 1_001].join(",");
    assert!(refused(&format!(r#"{{"type":"publish","topic":"t","messages":[{many}]}}"#)).1.contains("1000"));
}

#[test]
fn the_other_frames_read() {
    let (re, frame) = good(r#"{"type":"subscribe","id":"a","sub":"s","group":"g"}"#);
    assert_eq!(re.as_deref(), Some("\"a\""));
    let Frame::Subscribe(wish) = frame else { panic!("{frame:?}") };
    assert_eq!(wish.mode, CreditMode::Prefetch(100));
    let (_, frame) = good(
        r#"{"type":"subscribe","sub":"s","group":"g","topic":"t","filter":{"tag":"b||a"},"mode":"credit","lease_ms":1000,"client":"me"}"#,
    );
    let Frame::Subscribe(wish) = frame else { panic!("{frame:?}") };
    assert_eq!(
        (wish.mode, wish.lease_ms, wish.client.as_deref()),
        (CreditMode::Credit, Some(1_000), Some("me"))
    );
    assert_eq!(wish.filter.unwrap().expression(), "a || b");
    let by_sql = r#"{"type":"subscribe","sub":"s","group":"g","filter":{"sql":"a>1 or b='x'"}}"#;
    let (_, Frame::Subscribe(wish)) = good(by_sql) else { panic!("{by_sql}") };
    assert_eq!(wish.filter.unwrap().expression(), "a > 1 OR b = 'x'");
    let (_, frame) = good(r#"{"type":"credit","sub":"s","messages":10000,"bytes":5}"#);
    let Frame::Credit { sub, messages, bytes } = frame else { panic!("{frame:?}") };
    assert_eq!((&*sub, messages, bytes), ("s", 10_000, Some(5)));
    let ack = format!(r#"{{"type":"ack","receipts":["{}","rubbish"]}}"#, receipt());
    let (_, Frame::Settle(settle)) = good(&ack) else { panic!("{ack}") };
    assert_eq!(settle.op, SettleOp::Ack);
    assert_eq!(settle.receipts, [NamedReceipt::Good(receipt()), NamedReceipt::Bad("rubbish".into())]);
    let (_, frame) = good(r#"{"type":"nack","receipts":[],"delay_ms":0,"reason":"no"}"#);
    let Frame::Settle(settle) = frame else { panic!("{frame:?}") };
    assert_eq!(settle.op, SettleOp::Nack { delay_ms: Some(0), reason: Some("no".into()) });
    assert!(matches!(good(r#"{"type":"pause","sub":"s"}"#).1, Frame::Pause { paused: true, .. }));
    assert!(matches!(good(r#"{"type":"resume","sub":"s"}"#).1, Frame::Pause { paused: false, .. }));
    assert!(matches!(good(r#"{"type":"unsubscribe","sub":"s"}"#).1, Frame::Unsubscribe { .. }));
    for kind in ["extend", "dead_letter"] {
        assert!(matches!(good(&format!(r#"{{"type":"{kind}","receipts":[]}}"#)).1, Frame::Settle(_)));
    }
}

#[test]
fn what_is_refused_names_the_field_and_comes_back_to_its_sender() {
    for (text, named) in [
        (r#"{"type":"dance","id":"x"}"#, "dance"),
        (r#"{"id":"x"}"#, "/type"),
        (r#"{"type":"resolve","id":"x"}"#, "resolve"),
        (r#"{"type":"ack","id":"x","receipts":[],"delay_ms":3}"#, "/delay_ms"),
        (r#"{"type":"ack","id":"x","receipts":[],"colour":3}"#, "/colour"),
        (r#"{"type":"ack","id":"x"}"#, "/receipts"),
        (r#"{"type":"ack","id":"x","receipts":[5]}"#, "/receipts"),
        (r#"{"type":"nack","id":"x","receipts":[],"delay_ms":43200001}"#, "/delay_ms"),
        (r#"{"type":"extend","id":"x","receipts":[],"lease_ms":999}"#, "/lease_ms"),
        (r#"{"type":"publish","id":"x","topic":"t"}"#, "/body"),
        (r#"{"type":"publish","id":"x","body":""}"#, "/topic"),
        (r#"{"type":"publish","id":"x","topic":"a b","body":""}"#, "/topic"),
        (r#"{"type":"publish","id":"x","topic":"t","body":"","ttl_ms":0}"#, "/ttl_ms"),
        (r#"{"type":"publish","id":"x","topic":"t","body":"","queue":-1}"#, "/queue"),
        (r#"{"type":"subscribe","id":"x","group":"g"}"#, "/sub"),
        (r#"{"type":"subscribe","id":"x","sub":"","group":"g"}"#, "/sub"),
        (r#"{"type":"subscribe","id":"x","sub":"s"}"#, "/group"),
        (r#"{"type":"subscribe","id":"x","sub":"s","group":"g","mode":"push"}"#, "/mode"),
        (r#"{"type":"subscribe","id":"x","sub":"s","group":"g","prefetch":0}"#, "/prefetch"),
        (r#"{"type":"subscribe","id":"x","sub":"s","group":"g","mode":"credit","prefetch":1}"#, "/prefetch"),
        (r#"{"type":"subscribe","id":"x","sub":"s","group":"g","filter":{"sql":"a"}}"#, "/filter"),
        (r#"{"type":"subscribe","id":"x","sub":"s","group":"g","filter":{"tag":"a||"}}"#, "/filter"),
        (r#"{"type":"subscribe","id":"x","sub":"s","group":"g","client":""}"#, "/client"),
        (r#"{"type":"credit","id":"x","sub":"s","messages":10001}"#, "/messages"),
        (r#"{"type":"credit","id":"x","sub":"s"}"#, "/messages"),
    ] {
        let (re, detail) = refused(text);
        assert_eq!(re.as_deref(), Some("\"x\""), "{text}");
        assert!(detail.contains(named), "{text}: {detail}");
    }
    for id in ["[1]", "{}", "true", &format!("\"{}\"", "x".repeat(200))] {
        assert!(refused(&format!(r#"{{"type":"ack","receipts":[],"id":{id}}}"#)).1.contains("/id"), "{id}");
    }
    refused(r#"{"type":"ack","type":"ack","receipts":[]}"#);
    let Err(FrameError::Refused { publish, .. }) = read(r#"{"type":"publish","topic":7}"#) else { panic!() };
    assert!(publish);
}

#[test]
fn what_is_not_a_json_object_is_fatal() {
    for text in ["", "{", "[]", "3", "\"publish\"", "null", r#"{"type":"ack"} x"#, r#"{"type":}"#, "{'a':1}"]
    {
        assert!(matches!(read(text), Err(FrameError::NotJson(_))), "{text}");
    }
    let deep = format!(r#"{{"type":"publish","topic":"t","body":{}"#, "[".repeat(100_000));
    assert!(matches!(read(&deep), Err(FrameError::NotJson(_))));
}

#[test]
fn rubbish_never_panics() {
    let seeds = [
        r#"{"type":"publish","id":1,"topic":"t","body":"a\u00e9","properties":{"a":"b"}}"#,
        r#"{"type":"subscribe","id":"x","sub":"s","group":"g","filter":{"tag":"a || b"}}"#,
        r#"{"type":"nack","receipts":["0123","é"],"delay_ms":3}"#,
    ];
    let mut state: u64 = 0x5EED;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let alphabet: Vec<char> = "{}[]\",:\\0a-tn eé\u{0}".chars().collect();
    for round in 0..30_000 {
        let mut text: Vec<char> = seeds[round % seeds.len()].chars().collect();
        for _ in 0..=next(4) {
            let at = next(text.len());
            match next(3) {
                0 => text[at] = alphabet[next(alphabet.len())],
                1 => text.insert(at, alphabet[next(alphabet.len())]),
                _ => text.truncate(at.max(1)),
            }
        }
        let _ = read(&text.into_iter().collect::<String>());
    }
}

#[test]
fn answers_are_what_the_interface_says() {
    let id = MessageId::new(Position { index: 9, slot: 1 });
    let produced = ProducedMessage { id, queue: 2, offset: Some(41), due: None };
    assert_eq!(
        parsed(&published(Some("7"), &produced)),
        json!({"type": "published", "re": 7, "id": id.to_string(), "queue": 2, "offset": 41, "state": "ready"})
    );
    let due = Some(Timestamp(1_700_000_000_000));
    assert_eq!(
        parsed(&published(None, &ProducedMessage { offset: None, due, ..produced })),
        json!({"type": "published", "id": id.to_string(), "queue": 2, "offset": null, "state": "scheduled",
            "deliver_at": "2023-11-14T22:13:20.000Z"})
    );
    let topic: TopicName = "t".parse().unwrap();
    let answers = [Ok(produced), Err(Refusal::QueueAndOrderingKey)];
    let problem = Problem::pointer("/tag", "is empty");
    let many = parsed(&published_many(
        Some("\"x\""),
        &topic,
        [Ok(&answers[0]), Err(&problem), Ok(&answers[1])].into_iter(),
    ));
    assert_eq!((&many["re"], &many["failed"]), (&json!("x"), &json!(2)));
    assert_eq!(many["results"][0]["offset"], 41);
    assert_eq!(many["results"][1]["type"], "/problems/invalid_request");
    assert_eq!(many["results"][2]["status"], 400);
    let error = parsed(&error(Some("1"), Some("s\""), &problem, true));
    assert_eq!(
        (&error["type"], &error["re"], &error["sub"], &error["fatal"], &error["status"], &error["code"]),
        (&json!("error"), &json!(1), &json!("s\""), &json!(true), &json!(400), &json!("invalid_request"))
    );
    assert_eq!(parsed(&draining(9_000)), json!({"type": "draining", "deadline_ms": 9_000}));
    assert_eq!(parsed(&subscribed(None, "s")), json!({"type": "subscribed", "sub": "s"}));
    let welcome = parsed(&welcome(20_000, |json| {
        json.open();
        json.close();
    }));
    assert_eq!(welcome, json!({"type": "welcome", "heartbeat_ms": 20_000, "limits": {}}));
}

#[test]
fn settled_says_what_became_of_each() {
    let until = Timestamp(1_700_000_000_000);
    let entries = [
        (NamedReceipt::Good(receipt()), SettleStatus::Ok(SettledAs::Leased { until })),
        (NamedReceipt::Bad("\"rub\"".into()), SettleStatus::Invalid),
    ];
    let entries = entries.map(|(receipt, status)| SettledEntry { receipt, status });
    assert_eq!(
        parsed(&settled(Some("5"), OpName::Extend, &entries)),
        json!({"type": "settled", "re": 5, "results": [
            {"receipt": receipt().to_string(), "op": "extend", "status": "ok", "state": "leased",
                "lease_expires_at": "2023-11-14T22:13:20.000Z"},
            {"receipt": "\"rub\"", "op": "extend", "status": "invalid"},
        ]})
    );
}

fn delivered(body: Vec<u8>) -> DeliveredMessage {
    let position = Position { index: 9, slot: 1 };
    DeliveredMessage {
        id: MessageId::new(position),
        leased: Leased {
            position,
            topic: TopicId(1),
            topic_name: "orders".parse().unwrap(),
            queue: 2,
            place: Place::at(41),
            offset: 41,
            round: 1,
            attempt: 2,
            max_attempts: 16,
            until: Timestamp(1_700_000_060_000),
            nonce: 77,
            body_bytes: 0,
            ready_at: Timestamp(1_700_000_000_000),
        },
        receipt: receipt(),
        accepted_at: Timestamp(1_700_000_000_000),
        message: Message { body: body.into(), attributes: Attributes::default() },
    }
}

#[test]
fn deliveries_are_split_into_frames_of_about_a_mebibyte() {
    let mut frames = Vec::new();
    let all: Vec<_> = (0..10).map(|_| delivered(vec![b'x'; 300 << 10])).collect();
    messages("s", BodyEncoding::Auto, &all, |frame| frames.push(frame));
    let counts: Vec<_> =
        frames.iter().map(|frame| parsed(frame)["messages"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [3, 3, 3, 1]);
    assert!(frames.iter().all(|frame| frame.len() <= 1 << 20));
    frames.clear();
    // One that is larger alone still goes out, and only alone.
    let all = [delivered(vec![0; 2 << 20]), delivered(Vec::new()), delivered(vec![0xFF])];
    messages("s", BodyEncoding::Auto, &all, |frame| frames.push(frame));
    let counts: Vec<_> =
        frames.iter().map(|frame| parsed(frame)["messages"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [1, 2]);
    let frame = parsed(&frames[1]);
    assert_eq!((&frame["type"], &frame["sub"]), (&json!("messages"), &json!("s")));
    assert_eq!(frame["messages"][0]["receipt"], receipt().to_string());
    assert_eq!(frame["messages"][1]["encoding"], "base64");
    messages("s", BodyEncoding::Auto, &[], |frame| panic!("{frame:?}"));
}
