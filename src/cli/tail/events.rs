use crate::cli::CliError;

/// Most bytes of one event: a message of 4 MiB in the worst encoding, and its attributes.
const EVENT_BYTES_MAX: usize = 64 << 20;

/// One server-sent event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// `message` when the stream does not say.
    pub(super) name: String,
    /// The lines of its data, joined.
    pub(super) data: String,
}

/// Reads server-sent events (WHATWG HTML, section 9.2.6) out of a stream that comes in parts.
#[derive(Debug, Default)]
pub(super) struct Events {
    buffer: Vec<u8>,
    /// How much of the buffer is known to hold no line end.
    seen: usize,
    event: Event,
    has_data: bool,
    id: Option<String>,
    /// The id of the last block that was whole.
    pub(super) last_id: Option<String>,
}

impl Events {
    /// Takes in what came.
    ///
    /// # Errors
    /// [`CliError::Failed`] for an event without end.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() + self.event.data.len() > EVENT_BYTES_MAX {
            return Err(CliError::odd("an event without end"));
        }
        Ok(())
    }

    /// A connection began: what was not whole of the one before is forgotten.
    pub(super) fn begin_again(&mut self) {
        *self = Events { last_id: self.last_id.take(), ..Events::default() };
    }

    /// The next event that is whole.
    pub(super) fn next(&mut self) -> Option<Event> {
        while let Some(line) = self.line() {
            if line.is_empty() {
                if let Some(id) = self.id.take() {
                    self.last_id = Some(id);
                }
                let mut event = std::mem::take(&mut self.event);
                if std::mem::take(&mut self.has_data) {
                    if event.name.is_empty() {
                        event.name.push_str("message");
                    }
                    return Some(event);
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut self.event.name),
                "id" => self.id = Some(value.to_owned()),
                "data" => {
                    if std::mem::replace(&mut self.has_data, true) {
                        self.event.data.push('\n');
                    }
                    self.event.data.push_str(value);
                }
                // `retry` is for browsers, an empty field is a comment, and what else may come is for others.
                _ => {}
            }
        }
        None
    }

    fn line(&mut self) -> Option<String> {
        let rest = self.buffer.get(self.seen..).unwrap_or_default();
        let Some(at) = memchr::memchr(b'\n', rest).map(|at| self.seen + at) else {
            self.seen = self.buffer.len();
            return None;
        };
        let line: Vec<u8> = self.buffer.drain(..=at).collect();
        self.seen = 0;
        let text = String::from_utf8_lossy(&line);
        Some(text.trim_end_matches(['\n', '\r']).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"retry: 1000\nid: a\n\nid: b\ndata: {\"x\":\ndata: 1}\n\n:\n\n\
        event: end\r\nid: c\r\ndata: {}\r\n\r\nid: d\ndata: cut";

    #[test]
    fn events_are_read_however_the_stream_is_cut() {
        for step in 1..STREAM.len() {
            let mut events = Events::default();
            let mut found = Vec::new();
            for part in STREAM.chunks(step) {
                events.push(part).unwrap();
                while let Some(event) = events.next() {
                    found.push((event.name, event.data, events.last_id.clone().unwrap()));
                }
            }
            let expected = [("message", "{\"x\":\n1}", "b"), ("end", "{}", "c")];
            let expected = expected.map(|(name, data, id)| (name.to_owned(), data.to_owned(), id.to_owned()));
            assert_eq!(found, expected, "in parts of {step}");
            events.begin_again();
            assert_eq!(events.last_id.as_deref(), Some("c"), "an event that was cut off did not count");
        }
    }

    #[test]
    fn the_id_before_the_first_event_counts() {
        let mut events = Events::default();
        events.push(b"id: a\n\n").unwrap();
        assert_eq!((events.next(), events.last_id.as_deref()), (None, Some("a")));
    }
}
