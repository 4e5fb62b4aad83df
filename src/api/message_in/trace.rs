//! W3C Trace Context: kept with a message and handed back, so that a trace goes on behind the broker.
//!
//! Headers are put there by tracing libraries, not by people: one that is malformed or too long is left out, as the
//! recommendation asks of whoever cannot read it, and the message is taken. In JSON a field is said on purpose, so
//! there it is refused.

use crate::model::{Attributes, HEADER_BYTES_MAX};

/// What a `traceparent` looks like, for a refusal.
pub(super) const SHAPE: &str = "must be a W3C traceparent such as 00-<32 hex digits>-<16 hex digits>-01";

/// Whether this is a traceparent (Trace Context, section 3.2): version, trace id, parent id and flags, lower-case hex,
/// ids not all zero. A later version may have more behind it.
pub(super) fn is_traceparent(text: &str) -> bool {
    let mut parts = text.split('-');
    let mut part = |digits: usize| {
        let part = parts.next()?;
        let hex = part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (part.len() == digits && hex).then_some(part)
    };
    let (Some(version), Some(trace), Some(parent), Some(_)) = (part(2), part(32), part(16), part(2)) else {
        return false;
    };
    let some = |id: &str| id.bytes().any(|byte| byte != b'0');
    version != "ff" && some(trace) && some(parent) && (version != "00" || parts.next().is_none())
}

/// Whether a tracestate can be kept: printable ASCII (section 3.3.1) within what is kept of a header.
pub(super) fn is_tracestate(text: &str) -> bool {
    text.len() <= HEADER_BYTES_MAX && text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
}

/// The trace headers of one request.
#[derive(Debug, Default)]
pub(super) struct TraceHeaders {
    parent: Option<Box<str>>,
    parents: usize,
    state: String,
}

impl TraceHeaders {
    /// Takes one `traceparent`.
    pub(super) fn parent(&mut self, value: &[u8]) {
        self.parents += 1;
        let text = std::str::from_utf8(value).ok().filter(|text| is_traceparent(text));
        self.parent = text.map(Box::from);
    }

    /// Takes one `tracestate`; several are one list (section 3.3.1.1).
    pub(super) fn state(&mut self, value: &[u8]) {
        if !self.state.is_empty() {
            self.state.push(',');
        }
        // What is no text is no tracestate either, and spoils the whole list.
        self.state.push_str(std::str::from_utf8(value).unwrap_or("\0"));
    }

    /// Keeps what is one context; a state without its parent means nothing.
    pub(super) fn keep(self, attributes: &mut Attributes) {
        let Some(parent) = self.parent.filter(|_| self.parents == 1) else { return };
        attributes.traceparent = Some(parent);
        if !self.state.is_empty() && is_tracestate(&self.state) {
            attributes.tracestate = Some(self.state.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn kept(parents: &[&[u8]], states: &[&[u8]]) -> (Option<String>, Option<String>) {
        let mut headers = TraceHeaders::default();
        parents.iter().for_each(|parent| headers.parent(parent));
        states.iter().for_each(|state| headers.state(state));
        let mut attributes = Attributes::default();
        headers.keep(&mut attributes);
        (attributes.traceparent.map(Into::into), attributes.tracestate.map(Into::into))
    }

    #[test]
    fn a_traceparent_is_what_the_recommendation_says() {
        assert!(is_traceparent(PARENT));
        assert!(is_traceparent(&PARENT.replacen("00", "cc", 1)), "a later version");
        assert!(is_traceparent(&format!("{}-more", PARENT.replacen("00", "cc", 1))));
        for bad in [
            "",
            "rubbish",
            &PARENT.to_uppercase(),
            &PARENT.replacen("00", "ff", 1),
            &format!("{PARENT}-more"),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }

    #[test]
    fn what_a_library_sends_is_kept_or_left_out_and_never_refused() {
        let parent = PARENT.as_bytes();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(kept(&[parent], &[b"a=1", b"b=2"]), (some(PARENT), some("a=1,b=2")));
        assert_eq!(kept(&[parent], &[]), (some(PARENT), None));
        assert_eq!(kept(&[parent], &[&[b'x'; 600]]), (some(PARENT), None));
        assert_eq!(kept(&[parent], &[b"a=1", b"\xff"]), (some(PARENT), None));
        assert_eq!(kept(&[parent, parent], &[b"a=1"]), (None, None));
        assert_eq!(kept(&[b"rubbish"], &[b"a=1"]), (None, None));
        assert_eq!(kept(&[], &[b"a=1"]), (None, None));
    }
}
