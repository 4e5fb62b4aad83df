//! What producers write, read.

use axum::http::{HeaderName, HeaderValue};

use super::*;
use crate::api::json_in;

fn form(json: &str) -> Result<NewMessage, Problem> {
    json_in::parse_borrowed::<MessageForm<'_>>(json.as_bytes()).and_then(MessageForm::build)
}

fn body(json: &str) -> Vec<u8> {
    form(json).unwrap().message.body.to_vec()
}

fn place(problem: &Problem) -> &Place {
    &problem.errors[0].place
}

fn headers(pairs: &[(&str, &[u8])]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value).unwrap());
    }
    map
}

#[test]
fn bodies_are_read_by_their_encoding() {
    assert_eq!(body(r#"{"body":"h\u00e9\n"}"#), "hé\n".as_bytes());
    assert_eq!(body(r#"{"body":{"a": [1, 2.50]}}"#), br#"{"a": [1, 2.50]}"#);
    assert_eq!(body(r#"{"body":null}"#), b"null");
    assert_eq!(body(r#"{"body":12345678901234567890123}"#), b"12345678901234567890123");
    assert_eq!(body(r#"{"body":"AP8=","encoding":"base64"}"#), [0, 255]);
    assert_eq!(body(r#"{"body":"x","encoding":"json"}"#), br#""x""#);
    assert_eq!(body(r#"{"body":""}"#), b"");
    for bad in [
        r#"{"body":1,"encoding":"utf8"}"#,
        r#"{"body":"?","encoding":"base64"}"#,
        r#"{"body":"\ud800"}"#,
        "{\"body\":\"a\tb\"}",
        r#"{"body":"x","encoding":"rot13"}"#,
        r#"{}"#,
    ] {
        assert!(form(bad).is_err(), "{bad}");
    }
}

#[test]
fn every_field_of_the_json_form_arrives() {
    let new = form(
        r#"{"body":"b","content_type":"text/plain","tag":"t","keys":["k1","k\"2"],"ordering_key":"o","queue":null,
            "delay_ms":1500,"ttl_ms":60000,"properties":{"Colour":"red","größe":"1"}}"#,
    )
    .unwrap();
    let attributes = &new.message.attributes;
    assert_eq!(attributes.content_type.as_deref(), Some("text/plain"));
    assert_eq!(attributes.tag.as_deref(), Some("t"));
    assert_eq!(attributes.keys, [Box::from("k1"), Box::from("k\"2")]);
    assert_eq!(attributes.ordering_key.as_deref(), Some("o"));
    assert_eq!(attributes.properties["colour"].as_ref(), "red");
    assert_eq!(attributes.properties["größe"].as_ref(), "1");
    assert_eq!(new.delay, Delay::For(1_500));
    assert_eq!(new.ttl_ms, Some(60_000));
    let new = form(r#"{"body":"b","deliver_at":"2030-01-01T00:00:00Z","queue":3}"#).unwrap();
    assert_eq!(new.delay, Delay::At(Timestamp(1_893_456_000_000)));
    assert_eq!(new.queue, Some(3));
}

#[test]
fn json_mistakes_are_named_by_pointer() {
    for (json, pointer) in [
        (r#"{"body":"","colour":1}"#, "/colour"),
        (r#"{"body":"","tag":"a|b"}"#, "/tag"),
        (r#"{"body":"","keys":["a",""]}"#, "/keys/1"),
        (r#"{"body":"","keys":["a",7]}"#, "/keys/1"),
        (r#"{"body":"","delay_ms":1,"deliver_at":"2030-01-01T00:00:00Z"}"#, "/deliver_at"),
        (r#"{"body":"","deliver_at":"tomorrow"}"#, "/deliver_at"),
        (r#"{"body":"","delay_ms":3456000001}"#, "/delay_ms"),
        (r#"{"body":"","delay_ms":-1}"#, "/delay_ms"),
        (r#"{"body":"","ttl_ms":0}"#, "/ttl_ms"),
        (r#"{"body":"","properties":{"a":1}}"#, "/properties/a"),
        (r#"{"body":"","properties":{"a":"1","A":"2"}}"#, "/properties/A"),
        (r#"{"body":"","tag":"a","tag":"b"}"#, "/tag"),
    ] {
        assert_eq!(*place(&form(json).unwrap_err()), Place::Pointer(pointer.into()), "{json}");
    }
}

#[test]
fn headers_make_a_message() {
    let new = from_headers(
        &headers(&[
            ("Mq-Tag", b"caf%C3%A9"),
            ("Mq-Keys", b"a, b%2Cc ,d"),
            ("Mq-Ordering-Key", "schlüssel".as_bytes()),
            ("Mq-Delay", b"1h30m"),
            ("Mq-Ttl", b"2d"),
            ("Mq-Prop-Colour", b"red%25"),
            ("Mq-Client", b"me"),
            ("Content-Type", b"application/octet-stream"),
            ("Content-Encoding", b"gzip"),
            ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("tracestate", b"a=b"),
            ("User-Agent", b"x"),
        ]),
        Bytes::from_static(b"payload"),
    )
    .unwrap();
    let attributes = &new.message.attributes;
    assert_eq!(attributes.tag.as_deref(), Some("café"));
    assert_eq!(attributes.keys, [Box::from("a"), Box::from("b,c"), Box::from("d")]);
    assert_eq!(attributes.ordering_key.as_deref(), Some("schlüssel"));
    assert_eq!(attributes.properties["colour"].as_ref(), "red%");
    assert_eq!(attributes.content_type.as_deref(), Some("application/octet-stream"));
    assert_eq!(attributes.content_encoding.as_deref(), Some("gzip"));
    assert!(attributes.traceparent.is_some() && attributes.tracestate.is_some());
    assert_eq!(new.delay, Delay::For(5_400_000));
    assert_eq!(new.ttl_ms, Some(172_800_000));
    assert_eq!(&new.message.body[..], b"payload");
}

#[test]
fn header_mistakes_are_named() {
    for (pairs, name) in [
        (&[("mq-colour", &b"x"[..])][..], "mq-colour"),
        (&[("mq-tag", b"a"), ("mq-tag", b"b")], "mq-tag"),
        (&[("mq-tag", b"a|b")], "Mq-Tag"),
        (&[("mq-tag", b"")], "Mq-Tag"),
        (&[("mq-tag", b"%ff")], "mq-tag"),
        (&[("mq-tag", b"\xff")], "mq-tag"),
        (&[("mq-queue", b"-1")], "mq-queue"),
        (&[("mq-delay", b"soon")], "mq-delay"),
        (&[("mq-delay", b"41d")], "mq-delay"),
        (&[("mq-delay", b"1s"), ("mq-deliver-at", b"2030-01-01T00:00:00Z")], "mq-deliver-at"),
        (&[("mq-ttl", b"0s")], "mq-ttl"),
        (&[("mq-prop-a", b"1"), ("Mq-Prop-A", b"2")], "mq-prop-a"),
        (&[("ce-id", b"1"), ("ce-id", b"2")], "ce-id"),
        (&[("mq-prop-ce_id", b"1"), ("ce-id", b"2")], "ce-id"),
        (&[("ce-subject", b"%ff")], "ce-subject"),
        (&[("content-type", b"a"), ("content-type", b"b")], "content-type"),
        (&[("mq-keys", b"a,,b")], "Mq-Keys"),
    ] {
        let problem = from_headers(&headers(pairs), Bytes::new()).unwrap_err();
        assert_eq!(*place(&problem), Place::Header(name.into()), "{pairs:?}");
        assert_eq!(problem.code.row().status, 400);
    }
}

#[test]
fn events_are_recognised_in_every_mode_and_stored_as_they_came() {
    let binary = [("ce-id", &b"1"[..]), ("CE-Type", b"order%20made"), ("content-type", b"text/plain")];
    let new = from_headers(&headers(&binary), Bytes::from_static(b"hi")).unwrap();
    let properties = &new.message.attributes.properties;
    assert_eq!((&*properties["ce_id"], &*properties["ce_type"]), ("1", "order made"));
    let event = br#"{"specversion":"1.0", "id":"7","source":"/s","type":"t","data":{"id":"no"}}"#;
    let structured = [("content-type", &b"application/cloudevents+json; charset=utf-8"[..])];
    let new = from_headers(&headers(&structured), Bytes::from_static(event)).unwrap();
    assert_eq!(&*new.message.attributes.properties["ce_id"], "7");
    assert_eq!(&new.message.body[..], event);
    let new = form(
        r#"{"content_type":"application/cloudevents+json","body":{"specversion":"1.0","id":"8","source":"/s","type":"t"}}"#,
    );
    assert_eq!(&*new.unwrap().message.attributes.properties["ce_id"], "8");
    let odd = from_headers(&headers(&structured), Bytes::from_static(b"no event")).unwrap();
    assert!(odd.message.attributes.properties.is_empty());
}

#[test]
fn trace_context_is_said_in_json_too() {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let new = form(&format!(r#"{{"body":"x","traceparent":"{parent}","tracestate":"a=b"}}"#)).unwrap();
    let attributes = &new.message.attributes;
    assert_eq!(
        (attributes.traceparent.as_deref(), attributes.tracestate.as_deref()),
        (Some(parent), Some("a=b"))
    );
    for (json, pointer) in [
        (r#"{"body":"x","traceparent":"rubbish"}"#, "/traceparent"),
        (r#"{"body":"x","tracestate":"\u0000"}"#, "/tracestate"),
    ] {
        assert_eq!(*place(&form(json).unwrap_err()), Place::Pointer(pointer.into()), "{json}");
    }
}
