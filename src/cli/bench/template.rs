//! Requests built once; per message only a few digits are overwritten in place.

use super::frame;

/// Hexadecimal digits that name the run, at the start of a body.
const RUN_DIGITS: usize = 16;
/// Decimal digits of the sending time in nanoseconds since the start of the run.
const TIME_DIGITS: usize = 20;
/// Bytes at the start of a body that say which run it belongs to and when it was sent.
pub(super) const MARK_BYTES: usize = RUN_DIGITS + TIME_DIGITS;
/// Decimal digits of a WebSocket request id.
const ID_DIGITS: usize = 12;
/// Stands where the id goes, while the template is built.
const ID_HOLE: &str = "000000000000";

/// The ready-made bytes of one request and where its changing digits are.
#[derive(Clone, Debug)]
pub(super) struct Template {
    bytes: Vec<u8>,
    times: Vec<usize>,
    id: Option<usize>,
}

impl Template {
    /// `POST` of one body as it is.
    pub(super) fn single(host: &str, topic: &str, body: &str) -> Template {
        let path = format!("/v1/topics/{topic}/messages");
        Template::find(post(host, &path, "text/plain", body), body)
    }

    /// `POST` of `count` messages as NDJSON.
    pub(super) fn batch(host: &str, topic: &str, body: &str, count: usize) -> Template {
        let lines = format!("{{\"body\":\"{body}\"}}\n").repeat(count);
        let path = format!("/v1/topics/{topic}/messages/batch");
        Template::find(post(host, &path, "application/x-ndjson", &lines), body)
    }

    /// The same request with an idempotency key: `name`, and the number that [`Template::set_id`] writes.
    pub(super) fn keyed(mut self, name: &str) -> Template {
        let line = format!("Idempotency-Key: {name}-{ID_HOLE}\r\n");
        let Some(at) = frame::find(&self.bytes, b"Content-Length:") else { return self };
        self.bytes.splice(at..at, line.bytes());
        self.times.iter_mut().for_each(|time| *time += line.len());
        self.id = Some(at + line.len() - 2 - ID_DIGITS);
        self
    }

    /// A `publish` frame.
    pub(super) fn publish(topic: &str, body: &str) -> Template {
        let head = "{\"type\":\"publish\",\"id\":\"";
        let text = format!("{head}{ID_HOLE}\",\"topic\":\"{topic}\",\"body\":\"{body}\"}}");
        let mut bytes = Vec::new();
        frame::write_text(&mut bytes, text.as_bytes());
        let id = bytes.len() - text.len() + head.len();
        Template { id: Some(id), ..Template::find(bytes, body) }
    }

    /// Notes where each body starts; a body too short for a mark has none.
    fn find(bytes: Vec<u8>, body: &str) -> Template {
        let mut times = Vec::new();
        if body.len() >= MARK_BYTES {
            let mut from = 0;
            while let Some(at) = bytes.get(from..).and_then(|rest| frame::find(rest, body.as_bytes())) {
                times.push(from + at + RUN_DIGITS);
                from += at + body.len();
            }
        }
        Template { bytes, times, id: None }
    }

    /// The bytes to send.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes the sending time into every body.
    pub(super) fn set_time(&mut self, nanos: u64) {
        for at in &self.times {
            write_digits(&mut self.bytes, *at, TIME_DIGITS, nanos);
        }
    }

    /// Writes the id of a frame, or the number in the key of a request.
    pub(super) fn set_id(&mut self, id: u64) {
        if let Some(at) = self.id {
            write_digits(&mut self.bytes, at, ID_DIGITS, id);
        }
    }
}

fn post(host: &str, path: &str, content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A `POST` of JSON, built on the spot.
pub(super) fn post_json(host: &str, path: &str, body: &str) -> Vec<u8> {
    post(host, path, "application/json", body)
}

/// A body of `size` bytes: the mark when there is room, then filler.
pub(super) fn body(run: u64, size: usize) -> String {
    let mark = format!("{run:016x}{:020}", 0);
    mark.chars().chain(std::iter::repeat('w')).take(size).collect()
}

/// The sending time that a body of this run carries; `None` for a body of another run.
pub(super) fn sent_nanos(run: u64, body: &str) -> Option<u64> {
    let (name, rest) = body.split_at_checked(RUN_DIGITS)?;
    let (time, _) = rest.split_at_checked(TIME_DIGITS)?;
    if u64::from_str_radix(name, 16) != Ok(run) {
        return None;
    }
    time.parse().ok()
}

fn write_digits(bytes: &mut [u8], at: usize, digits: usize, mut number: u64) {
    let Some(place) = bytes.get_mut(at..at + digits) else { return };
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_of_a_request_carries_the_time() {
        let body = body(7, 64);
        assert_eq!(body.len(), 64);
        let mut template = Template::batch("h:1", "t", &body, 3);
        template.set_time(1_234_567);
        let text = String::from_utf8(template.bytes().to_vec()).unwrap();
        let (head, lines) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", lines.len())));
        assert_eq!(lines.lines().count(), 3);
        for line in lines.lines() {
            let message: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(sent_nanos(7, message["body"].as_str().unwrap()), Some(1_234_567));
        }
    }

    #[test]
    fn bodies_of_other_runs_are_told_apart() {
        assert_eq!(sent_nanos(8, &body(7, 64)), None);
        assert_eq!(sent_nanos(7, "short"), None);
        assert_eq!(sent_nanos(7, "üüüüüüüüüüüüüüüüüüüüüüüü"), None);
    }

    #[test]
    fn a_publish_frame_is_json_with_its_id() {
        let mut template = Template::publish("t", &body(1, 200));
        template.set_id(42);
        template.set_time(5);
        let payload = &template.bytes()[8..];
        let message: serde_json::Value = serde_json::from_slice(payload).unwrap();
        assert_eq!(message["id"], "000000000042");
        assert_eq!(sent_nanos(1, message["body"].as_str().unwrap()), Some(5));
    }

    #[test]
    fn a_keyed_request_has_a_new_key_each_time() {
        let mut template = Template::single("h:1", "t", &body(3, 50)).keyed("run");
        template.set_id(41);
        template.set_time(6);
        let text = String::from_utf8(template.bytes().to_vec()).unwrap();
        let (head, sent) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("\r\nIdempotency-Key: run-000000000041\r\nContent-Length: 50"), "{head}");
        assert_eq!((sent.len(), sent_nanos(3, sent)), (50, Some(6)));
    }

    #[test]
    fn a_body_too_short_for_a_mark_is_sent_as_it_is() {
        let mut template = Template::single("h:1", "t", &body(1, 3));
        let before = template.bytes().to_vec();
        template.set_time(9);
        assert_eq!(template.bytes(), before);
    }
}
