//! What a produce request asks for besides its messages: `Idempotency-Key`, and `?atomic`.
//!
//! The key is a string as structured fields have it (RFC 9651, section 3.3.3: `"8e03978e"`), which is what
//! draft-ietf-httpapi-idempotency-key-header asks for, or the same without quotes. What tells two requests apart is the
//! topic, the body, the content type and the `Mq-` headers that describe the message; not who sends it (`Mq-Client`)
//! nor `traceparent`, which differ from one try to the next.

use axum::http::{HeaderMap, HeaderValue, header::HeaderName};

use super::problem::{FieldError, Place, Problem};
use crate::machine::{Delay, NewMessage, Refusal};
use crate::model::{Attributes, Fingerprint, IDEMPOTENCY_KEY_BYTES_MAX, KeyHash, RequestKey, TopicName};

/// Marks an answer that was given before.
pub(super) const REPLAYED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("idempotency-replayed"), HeaderValue::from_static("true"));

/// Nobody has a name yet, so all keys of a topic are everybody's.
const NOBODY: &str = "";

/// Reads `Idempotency-Key`.
///
/// # Errors
/// 400 naming the header.
pub(super) fn key_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let refuse = |text: String| Problem::header("Idempotency-Key", text);
    if values.next().is_some() {
        return Err(refuse("is given twice".to_owned()));
    }
    let key = value.to_str().ok().and_then(|text| unquoted(text.trim()));
    match key {
        Some(key) if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) && !key.contains('\t') => {
            Ok(Some(key))
        }
        _ => Err(refuse(format!(
            "must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII characters, in double quotes or without any"
        ))),
    }
}

fn unquoted(text: &str) -> Option<String> {
    let Some(quoted) = text.strip_prefix('"') else {
        return (!text.contains('"')).then(|| text.to_owned());
    };
    let mut key = String::new();
    let mut rest = quoted.chars();
    loop {
        match rest.next()? {
            '"' => return rest.as_str().is_empty().then_some(key),
            '\\' => key.push(rest.next().filter(|next| matches!(next, '"' | '\\'))?),
            plain => key.push(plain),
        }
    }
}

/// The key of a request for one message.
pub(super) fn of_one(key: &str, topic: &TopicName, new: &NewMessage) -> RequestKey {
    let Attributes {
        content_type,
        content_encoding: _,
        tag,
        ordering_key,
        keys,
        properties,
        traceparent: _,
        tracestate: _,
    } = &new.message.attributes;
    let mut print = Fingerprint::new("one").with(topic.as_str().as_bytes());
    for text in [content_type, tag, ordering_key] {
        print = print.maybe(text.as_deref().map(str::as_bytes));
    }
    for number in [new.queue, new.ttl_ms] {
        print = print.maybe(number.map(u64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
    }
    let (kind, when) = match new.delay {
        Delay::None => (0u8, 0),
        Delay::For(millis) => (1, millis),
        Delay::At(time) => (2, time.0),
    };
    print = print.with(&[kind]).with(&when.to_be_bytes()).with(&keys.len().to_be_bytes());
    for key in keys {
        print = print.with(key.as_bytes());
    }
    for (name, value) in properties {
        print = print.with(name.as_bytes()).with(value.as_bytes());
    }
    let fingerprint = print.with(&new.message.body).finish();
    RequestKey { key: KeyHash::of(NOBODY, topic, key), fingerprint }
}

/// The key of a request for many messages: the whole request counts. `form` says how its body is to be read.
pub(super) fn of_batch(
    key: &str,
    topic: &TopicName,
    (form, atomic): (&str, bool),
    body: &[u8],
) -> RequestKey {
    let print = Fingerprint::new("batch").with(topic.as_str().as_bytes()).with(form.as_bytes());
    let fingerprint = print.with(&[atomic.into()]).with(body).finish();
    RequestKey { key: KeyHash::of(NOBODY, topic, key), fingerprint }
}

/// Most messages that the problem of an atomic request names.
const NAMED_MAX: usize = 20;

/// An atomic request failed: the problem of its first bad message, naming the next ones too.
pub(super) fn none_stored(problems: Vec<Problem>, (count, of): (usize, usize)) -> Problem {
    let mut problems = problems.into_iter();
    let Some(mut problem) = problems.next() else {
        return Problem::new(super::problem::Code::Fault, "no message is bad");
    };
    let text = format!("nothing was stored: {count} of {of} messages are refused, the first of them: ");
    problem.detail.insert_str(0, &text);
    problem.errors.extend(problems.flat_map(|problem| problem.errors));
    problem.errors.truncate(NAMED_MAX);
    problem
}

/// The problems of messages that the rules refuse; `place` says where each stands in the body.
pub(super) fn placed(named: &[(usize, Refusal)], place: impl Fn(usize) -> String) -> Vec<Problem> {
    let one = |(at, refusal): &(usize, Refusal)| {
        let place = place(*at);
        let mut problem = Problem::of_message(refusal, |field| Place::Pointer(format!("{place}/{field}")));
        if problem.errors.is_empty() {
            problem.errors.push(FieldError {
                place: Place::Pointer(place),
                text: problem.detail.clone(),
                column: None,
            });
        }
        problem
    };
    named.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::api::message_in::from_headers;
    use crate::model::Timestamp;

    fn key(values: &[&str]) -> Result<Option<String>, Place> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("idempotency-key", HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        key_of(&headers).map_err(|problem| problem.errors[0].place.clone())
    }

    #[test]
    fn a_key_comes_with_quotes_or_without() {
        assert_eq!(key(&[]), Ok(None));
        for (text, meant) in [
            ("8e03978e-40d5", "8e03978e-40d5"),
            ("\"8e03978e-40d5\"", "8e03978e-40d5"),
            (" a b ", "a b"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
        ] {
            assert_eq!(key(&[text]), Ok(Some(meant.to_owned())), "{text}");
        }
        assert_eq!(key(&[&"k".repeat(255)]).unwrap().unwrap().len(), 255);
        let long = "k".repeat(256);
        for bad in ["", "\"\"", "\"a", "a\"", "\"a\"b", "\"a\";p=1", r#""\a""#, "ä", "a\tb", &long] {
            assert_eq!(key(&[bad]), Err(Place::Header("Idempotency-Key".to_owned())), "{bad}");
        }
        assert!(key(&["a", "a"]).is_err());
    }

    #[test]
    fn what_describes_the_message_tells_two_requests_apart_and_nothing_else_does() {
        let topic: TopicName = "t".parse().unwrap();
        let print = |pairs: &[(&'static str, &'static str)], body: &'static str| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, HeaderValue::from_static(value));
            }
            of_one("k", &topic, &from_headers(&headers, body.into()).unwrap()).fingerprint
        };
        let plain = print(&[], "b");
        for same in [&[("mq-client", "me")][..], &[("traceparent", "00-1")], &[("mq-delay", "0s")]] {
            assert_eq!(print(same, "b"), plain, "{same:?}");
        }
        let mut prints: Vec<u64> = [
            &[][..],
            &[("content-type", "a")],
            &[("mq-tag", "a")],
            &[("mq-ordering-key", "a")],
            &[("mq-keys", "a")],
            &[("mq-keys", "a,b")],
            &[("mq-prop-a", "b")],
            &[("mq-queue", "1")],
            &[("mq-ttl", "1ms")],
            &[("mq-delay", "1ms")],
            &[("mq-deliver-at", "1970-01-01T00:00:00.001Z")],
        ]
        .into_iter()
        .map(|pairs| print(pairs, "b"))
        .chain([print(&[], ""), print(&[], "c")])
        .collect();
        prints.sort_unstable();
        prints.dedup();
        assert_eq!(prints.len(), 13);
        let two = [
            print(&[("mq-tag", "a"), ("mq-ttl", "1s")], "b"),
            print(&[("mq-ttl", "1s"), ("mq-tag", "a")], "b"),
        ];
        assert_eq!(two[0], two[1], "the order of headers means nothing");
        let at =
            NewMessage { delay: Delay::At(Timestamp(1)), message: Arc::default(), ..NewMessage::default() };
        assert_ne!(of_one("k", &topic, &at), of_one("k", &"u".parse().unwrap(), &at));
    }

    #[test]
    fn the_whole_batch_counts() {
        let topic: TopicName = "t".parse().unwrap();
        let print = |form: &str, atomic, body: &[u8]| of_batch("k", &topic, (form, atomic), body).fingerprint;
        let first = print("json", false, b"{}");
        assert_eq!(print("json", false, b"{}"), first);
        for other in [print("lines", false, b"{}"), print("json", true, b"{}"), print("json", false, b"{ }")]
        {
            assert_ne!(other, first);
        }
    }
}
