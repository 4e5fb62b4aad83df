//! Messages: one as JSON, one as headers and a body, many in a batch.

use bytes::Bytes;
use serde_json::{Value, json};

use super::fuzz::{JSON, headers_of, refused};
use crate::api::json_in;
use crate::api::message_in::{MessageForm, from_headers};
use crate::api::produce::{from_events, from_json, from_lines};
use crate::machine::{Delay, NewMessage};
use crate::model::tests::fuzz::{Target, same};
use crate::model::*;

/// The message as JSON again, with the body in base64.
fn as_json(new: &NewMessage) -> String {
    let attributes = &new.message.attributes;
    let text = |text: &Option<Box<str>>| text.as_deref().map(Value::from);
    let fields = [
        (
            "body",
            Some(
                base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &new.message.body).into(),
            ),
        ),
        ("encoding", Some("base64".into())),
        ("content_type", text(&attributes.content_type)),
        ("tag", text(&attributes.tag)),
        ("ordering_key", text(&attributes.ordering_key)),
        ("keys", Some(attributes.keys.iter().map(|key| Value::from(&**key)).collect())),
        ("properties", Some(json!(attributes.properties))),
        ("traceparent", text(&attributes.traceparent)),
        ("tracestate", text(&attributes.tracestate)),
        ("queue", new.queue.map(Value::from)),
        ("ttl_ms", new.ttl_ms.map(Value::from)),
        ("delay_ms", if let Delay::For(millis) = new.delay { Some(millis.into()) } else { None }),
        ("deliver_at", if let Delay::At(time) = new.delay { Some(time.to_string().into()) } else { None }),
    ];
    let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(fields.collect()).to_string()
}

/// Whatever form a message came in, it is within its limits, and the same message as JSON is the same message.
fn check(new: &NewMessage) {
    new.message.check().unwrap();
    let text = as_json(new);
    let form: MessageForm<'_> = json_in::parse_borrowed(text.as_bytes()).unwrap();
    let again = form.build().unwrap();
    let without_coding = |new: &NewMessage| Message {
        body: new.message.body.clone(),
        attributes: Attributes { content_encoding: None, ..new.message.attributes.clone() },
    };
    same(&without_coding(new), &without_coding(&again));
    assert_eq!((new.queue, new.ttl_ms, &new.delay), (again.queue, again.ttl_ms, &again.delay));
}

const MESSAGES: [&str; 4] = [
    r#"{"body":"hi","tag":"a","keys":["k","l"],"ordering_key":"o","properties":{"X":"1","y":""},"ttl_ms":5}"#,
    r#"{"body":"aGk=","encoding":"base64","content_type":"text/plain","queue":3,"delay_ms":1000}"#,
    r#"{"body":{"a":[1,2.50,"x"]},"encoding":"json","deliver_at":"2026-01-31T23:59:59Z","tracestate":"v=1"}"#,
    r#"{"body":"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\",\"rank\":-5}",
        "content_type":"application/cloudevents+json","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}"#,
];

#[test]
fn fuzz_message() {
    Target {
        name: "message",
        seeds: MESSAGES.map(|text| text.as_bytes().to_vec()).to_vec(),
        words: JSON,
        repair: None,
        check: |input| {
            let form: MessageForm<'_> =
                json_in::parse_borrowed(input).map_err(|problem| refused(problem, input))?;
            check(&form.build().map_err(|problem| refused(problem, input))?);
            Ok(())
        },
    }
    .run();
}

#[test]
fn fuzz_message_headers() {
    let seeds = [
        "mq-tag: a%7Cb\nmq-keys: k, l,m\nmq-ordering-key: o\nmq-queue: 3\nmq-ttl: 5m\n\nbody",
        "mq-delay: 1h30m\nmq-prop-x: %C3%BC\nmq-prop-Y-z: 1\ncontent-type: text/plain\ncontent-encoding: gzip\n\n\x01\x02",
        "mq-deliver-at: 2026-01-31T23:59:59Z\nmq-client: me\n\n",
        "ce-id: 1\nce-source: /s\nce-type: t\nce-specversion: 1.0\ncontent-type: application/json\n\n{}",
        "content-type: application/cloudevents+json\n\n{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/\",\"type\":\"t\"}",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\ntracestate: a=1\ntracestate: b=2\n\nx",
    ];
    Target {
        name: "message_headers",
        seeds: seeds.map(|text| text.as_bytes().to_vec()).to_vec(),
        words: &[
            "\n",
            ": ",
            "mq-tag: ",
            "mq-prop-",
            "ce-",
            "mq-keys: ",
            ",",
            "%",
            "%00",
            "%ff",
            "mq-delay: 0",
            "ms",
            "\n\n",
            "1d",
        ],
        repair: None,
        check: |input| {
            let end = input.windows(2).position(|pair| pair == b"\n\n").unwrap_or(input.len());
            let body = Bytes::copy_from_slice(input.get(end + 2..).unwrap_or_default());
            let new =
                from_headers(&headers_of(&input[..end]), body).map_err(|problem| refused(problem, input))?;
            check(&new);
            Ok(())
        },
    }
    .run();
}

#[test]
fn fuzz_batch_forms() {
    let list = format!("{{\"messages\":[{}]}}", MESSAGES.join(","));
    let lines = MESSAGES.map(|text| text.replace('\n', "")).join("\n");
    let events = r#"[{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"x":[1]}}, {}, 7]"#;
    Target {
        name: "batch_forms",
        seeds: vec![list.into_bytes(), lines.into_bytes(), events.as_bytes().to_vec()],
        words: JSON,
        repair: None,
        check: |input| {
            let body = Bytes::copy_from_slice(input);
            let mut refusal = None;
            let mut read = 0;
            for form in [from_json, from_lines, from_events] {
                match form(&body) {
                    Ok(built) => {
                        read += 1;
                        assert!(built.windows(2).all(|pair| pair[0].at < pair[1].at), "in input order");
                        built.iter().flat_map(|built| &built.message).for_each(check);
                    }
                    Err(problem) => refusal = Some(refused(problem, input)),
                }
            }
            if read > 0 { Ok(()) } else { Err(refusal.unwrap_or_default()) }
        },
    }
    .run();
}
