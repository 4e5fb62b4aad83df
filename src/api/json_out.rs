//! Writes JSON straight into bytes. Answers are small and hot; building a tree first would cost more than the rest.

use std::fmt::Display;
use std::io::Write as _;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

/// A JSON text being written. Commas come by themselves.
#[derive(Debug, Default)]
pub(crate) struct Json {
    out: Vec<u8>,
    /// Whether the next key or element needs a comma before it.
    comma: bool,
}

impl Json {
    /// An empty text with room for `bytes`.
    pub(crate) fn with_capacity(bytes: usize) -> Json {
        Json { out: Vec::with_capacity(bytes), comma: false }
    }

    fn separate(&mut self) {
        if self.comma {
            self.out.push(b',');
        }
        self.comma = true;
    }

    /// `{`
    pub(crate) fn open(&mut self) {
        self.separate();
        self.out.push(b'{');
        self.comma = false;
    }

    /// `}`
    pub(crate) fn close(&mut self) {
        self.out.push(b'}');
        self.comma = true;
    }

    /// `[`
    pub(crate) fn open_list(&mut self) {
        self.separate();
        self.out.push(b'[');
        self.comma = false;
    }

    /// `]`
    pub(crate) fn close_list(&mut self) {
        self.out.push(b']');
        self.comma = true;
    }

    /// The name of the next value. `name` is one of ours: nothing in it needs an escape.
    pub(crate) fn key(&mut self, name: &str) {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.comma = false;
    }

    /// Any text.
    pub(crate) fn text(&mut self, text: &str) {
        self.separate();
        self.out.push(b'"');
        escape(&mut self.out, text);
        self.out.push(b'"');
    }

    /// A text, or null.
    pub(crate) fn maybe_text(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.null(),
        }
    }

    /// Something whose text needs no escape: an id, a receipt, a time, base64.
    pub(crate) fn plain(&mut self, value: impl Display) {
        self.separate();
        // Writing to memory cannot fail.
        let _ = write!(self.out, "\"{value}\"");
    }

    /// A text of ours that needs no escape, a name.
    pub(crate) fn name(&mut self, text: &str) {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'"');
    }

    /// A whole number.
    pub(crate) fn number(&mut self, value: u64) {
        self.separate();
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// A whole number, or null.
    pub(crate) fn maybe_number(&mut self, value: Option<u64>) {
        match value {
            Some(value) => self.number(value),
            None => self.null(),
        }
    }

    /// `true` or `false`.
    pub(crate) fn truth(&mut self, value: bool) {
        self.raw(if value { b"true" } else { b"false" });
    }

    /// `null`
    pub(crate) fn null(&mut self) {
        self.raw(b"null");
    }

    /// A value that is JSON already.
    pub(crate) fn raw(&mut self, json: &[u8]) {
        self.separate();
        self.out.extend_from_slice(json);
    }

    /// Any value that serde can write. For settings and views, not for messages.
    pub(crate) fn value(&mut self, value: &impl serde::Serialize) {
        self.separate();
        let before = self.out.len();
        if serde_json::to_writer(&mut self.out, value).is_err() {
            self.out.truncate(before);
            self.out.extend_from_slice(b"null");
        }
    }

    /// The name and a text.
    pub(crate) fn text_field(&mut self, name: &str, text: &str) {
        self.key(name);
        self.text(text);
    }

    /// A name that is not ours, and a text.
    pub(crate) fn member(&mut self, name: &str, text: &str) {
        self.text(name);
        self.out.push(b':');
        self.comma = false;
        self.text(text);
    }

    /// The name and a whole number.
    pub(crate) fn number_field(&mut self, name: &str, value: u64) {
        self.key(name);
        self.number(value);
    }

    /// Bytes in base64 (RFC 4648, section 4).
    pub(crate) fn base64(&mut self, bytes: &[u8]) {
        self.plain(Base64Display::new(bytes, &STANDARD));
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// The text.
    pub(crate) fn finish(self) -> Bytes {
        Bytes::from(self.out)
    }

    /// The text as a whole HTTP body: with a line end, so that a prompt behind `curl` begins on a line of its own.
    pub(crate) fn finish_line(mut self) -> Bytes {
        self.out.push(b'\n');
        Bytes::from(self.out)
    }
}

/// RFC 8259 section 7: only quote, backslash and control characters must be escaped.
fn escape(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = first_special(rest) {
        let (clean, tail) = rest.split_at(at);
        out.extend_from_slice(clean);
        let Some((special, tail)) = tail.split_first() else { return };
        match special {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => {
                let _ = write!(out, "\\u{other:04x}");
            }
        }
        rest = tail;
    }
    out.extend_from_slice(rest);
}

/// Where the first byte stands that must be escaped. Looks at whole stretches first, which the compiler turns into
/// vector instructions: bodies are mostly clean.
fn first_special(text: &[u8]) -> Option<usize> {
    const STRETCH: usize = 32;
    let is_special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    let clean = |stretch: &&[u8]| !stretch.iter().fold(false, |special, byte| special | is_special(byte));
    let skipped = text.chunks_exact(STRETCH).take_while(clean).count() * STRETCH;
    let rest = text.get(skipped..).unwrap_or_default();
    rest.iter().position(is_special).map(|at| skipped + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_and_escapes_come_out_right() {
        let mut json = Json::default();
        json.open();
        json.text_field("a", "x\"y\\z\n\u{1}ü");
        json.key("b");
        json.open_list();
        json.number(1);
        json.null();
        json.open();
        json.close();
        json.truth(true);
        json.close_list();
        json.key("c");
        json.value(&["q"]);
        json.number_field("d", u64::MAX);
        json.close();
        let bytes = json.finish();
        assert_eq!(
            std::str::from_utf8(&bytes).unwrap(),
            r#"{"a":"x\"y\\z\n\u0001ü","b":[1,null,{},true],"c":["q"],"d":18446744073709551615}"#
        );
        let all: String = (0..0x250).filter_map(char::from_u32).collect();
        let mut json = Json::default();
        json.text(&all);
        assert_eq!(serde_json::from_slice::<String>(&json.finish()).unwrap(), all);
    }
}
