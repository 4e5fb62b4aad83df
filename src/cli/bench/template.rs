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
/// Digits of a delay in milliseconds; 40 days have ten.
const DELAY_DIGITS: usize = 10;
/// What stands before a delay in JSON.
const DELAY_FIELD: &str = "\"delay_ms\":";
/// At most so many bytes of a request stand around one body.
pub(super) const AROUND_BODY_BYTES: usize = 64;

/// What every message of a run looks like.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// The body, with a mark when there is room.
    pub(super) body: String,
    /// Whether it is scheduled; [`Template::set_delay`] says how far ahead.
    pub(super) delayed: bool,
}

impl Sample {
    /// A message object of the interface, in which bodies of a run need no escapes; `fields` come first.
    fn json(&self, fields: &str) -> String {
        let delay = if self.delayed { format!("{DELAY_FIELD}{:>DELAY_DIGITS$},", 0) } else { String::new() };
        format!("{{{fields}{delay}\"body\":\"{}\"}}", self.body)
    }
}

/// The ready-made bytes of one request and where its changing digits are.
#[derive(Clone, Debug)]
pub(super) struct Template {
    bytes: Vec<u8>,
    times: Vec<usize>,
    id: Option<usize>,
    delays: Vec<usize>,
    /// What fills a delay up from the left: a JSON number begins with no zero, a header value has no blank inside.
    delay_fill: u8,
}

impl Template {
    /// `POST` of one body as it is.
    pub(super) fn single(host: &str, topic: &str, sample: &Sample) -> Template {
        let path = format!("/v1/topics/{topic}/messages");
        let template = Template::find(post(host, &path, "text/plain", &sample.body), sample);
        if !sample.delayed {
            return template;
        }
        let (name, value) = ("Mq-Delay: ", format!("{:0DELAY_DIGITS$}ms", 0));
        let (template, at) = template.with_header(name, &value);
        Template { delays: at.into_iter().collect(), delay_fill: b'0', ..template }
    }

    /// `POST` of `count` messages as NDJSON.
    pub(super) fn batch(host: &str, topic: &str, sample: &Sample, count: usize) -> Template {
        let lines = format!("{}\n", sample.json("")).repeat(count);
        let path = format!("/v1/topics/{topic}/messages/batch");
        Template::find(post(host, &path, "application/x-ndjson", &lines), sample)
    }

    /// The same request with an idempotency key: `name`, and the number that [`Template::set_id`] writes.
    pub(super) fn keyed(self, name: &str) -> Template {
        let (template, at) = self.with_header("Idempotency-Key: ", &format!("{name}-{ID_HOLE}"));
        Template { id: at.map(|at| at + name.len() + 1), ..template }
    }

    /// The same request with one header more, and where its value starts.
    fn with_header(mut self, name: &str, value: &str) -> (Template, Option<usize>) {
        let line = format!("{name}{value}\r\n");
        let Some(at) = frame::find(&self.bytes, b"Content-Length:") else { return (self, None) };
        self.bytes.splice(at..at, line.bytes());
        let behind = self.times.iter_mut().chain(&mut self.delays).chain(&mut self.id);
        behind.filter(|place| **place >= at).for_each(|place| *place += line.len());
        (self, Some(at + name.len()))
    }

    /// A `publish` frame.
    pub(super) fn publish(topic: &str, sample: &Sample) -> Template {
        let head = "{\"type\":\"publish\",\"id\":\"";
        let fields = head.strip_prefix('{').unwrap_or(head);
        let text = sample.json(&format!("{fields}{ID_HOLE}\",\"topic\":\"{topic}\","));
        let mut bytes = Vec::new();
        frame::write_text(&mut bytes, text.as_bytes());
        let id = bytes.len() - text.len() + head.len();
        Template { id: Some(id), ..Template::find(bytes, sample) }
    }

    /// Notes where each body and each delay in JSON starts; a body too short for a mark has none.
    fn find(bytes: Vec<u8>, sample: &Sample) -> Template {
        let body = sample.body.as_bytes();
        let times = if body.len() >= MARK_BYTES { places(&bytes, body) } else { Vec::new() };
        let times = times.into_iter().map(|at| at + RUN_DIGITS).collect();
        let field = DELAY_FIELD.as_bytes();
        let delays = places(&bytes, field).into_iter().map(|at| at + field.len()).collect();
        Template { bytes, times, id: None, delays, delay_fill: b' ' }
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

    /// Writes how far ahead every message is scheduled.
    pub(super) fn set_delay(&mut self, millis: u64) {
        for at in &self.delays {
            write_digits(&mut self.bytes, *at, DELAY_DIGITS, millis);
            let digits = self.bytes.get_mut(*at..*at + DELAY_DIGITS - 1).unwrap_or_default();
            digits.iter_mut().take_while(|digit| **digit == b'0').for_each(|digit| *digit = self.delay_fill);
        }
    }

    /// Writes the id of a frame, or the number in the key of a request.
    pub(super) fn set_id(&mut self, id: u64) {
        if let Some(at) = self.id {
            write_digits(&mut self.bytes, at, ID_DIGITS, id);
        }
    }
}

/// Where `needle` stands in `bytes`, without overlaps.
fn places(bytes: &[u8], needle: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = bytes.get(from..).and_then(|rest| frame::find(rest, needle)) {
        found.push(from + at);
        from += at + needle.len();
    }
    found
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

    fn sample(body: String) -> Sample {
        Sample { body, delayed: false }
    }

    #[test]
    fn every_body_of_a_request_carries_the_time() {
        let body = body(7, 64);
        assert_eq!(body.len(), 64);
        let mut template = Template::batch("h:1", "t", &sample(body), 3);
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
        let mut template = Template::publish("t", &sample(body(1, 200)));
        template.set_id(42);
        template.set_time(5);
        let payload = &template.bytes()[8..];
        let message: serde_json::Value = serde_json::from_slice(payload).unwrap();
        assert_eq!(message["id"], "000000000042");
        assert_eq!(sent_nanos(1, message["body"].as_str().unwrap()), Some(5));
    }

    #[test]
    fn a_keyed_request_has_a_new_key_each_time() {
        let mut template = Template::single("h:1", "t", &sample(body(3, 50))).keyed("run");
        template.set_id(41);
        template.set_time(6);
        let text = String::from_utf8(template.bytes().to_vec()).unwrap();
        let (head, sent) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("\r\nIdempotency-Key: run-000000000041\r\nContent-Length: 50"), "{head}");
        assert_eq!((sent.len(), sent_nanos(3, sent)), (50, Some(6)));
    }

    #[test]
    fn a_delay_is_a_number_in_json_and_a_duration_in_a_header() {
        let sample = Sample { body: body(3, 50), delayed: true };
        let mut batch = Template::batch("h:1", "t", &sample, 2);
        let mut frame = Template::publish("t", &sample);
        let mut single = Template::single("h:1", "t", &sample).keyed("run");
        for millis in [0, 7, 1_000, 3_456_000_000, 5] {
            batch.set_delay(millis);
            let text = String::from_utf8(batch.bytes().to_vec()).unwrap();
            let (head, lines) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.ends_with(&format!("Content-Length: {}", lines.len())), "{head}");
            for line in lines.lines() {
                let message: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(message["delay_ms"], millis);
            }
            frame.set_delay(millis);
            let message: serde_json::Value = serde_json::from_slice(&frame.bytes()[6..])
                .or_else(|_| serde_json::from_slice(&frame.bytes()[8..]))
                .unwrap();
            assert_eq!((&message["delay_ms"], &message["topic"]), (&millis.into(), &"t".into()));
            single.set_delay(millis);
            single.set_id(millis);
            single.set_time(millis);
            let text = String::from_utf8(single.bytes().to_vec()).unwrap();
            let value = text.split("Mq-Delay: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap();
            assert_eq!(crate::model::parse_duration(value), Ok(millis));
            assert!(text.contains(&format!("Idempotency-Key: run-{millis:012}\r\n")));
            assert_eq!(sent_nanos(3, text.split("\r\n\r\n").nth(1).unwrap()), Some(millis));
        }
    }

    #[test]
    fn a_body_too_short_for_a_mark_is_sent_as_it_is() {
        let mut template = Template::single("h:1", "t", &sample(body(1, 3)));
        let before = template.bytes().to_vec();
        template.set_time(9);
        assert_eq!(template.bytes(), before);
    }
}
