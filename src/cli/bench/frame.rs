//! WebSocket frames (RFC 6455), as few of them as the load needs: whole text frames, ping, close.
//!
//! Frames go out with the mask key 0. That is allowed, keeps the bytes as they are, and saves the generator from
//! rewriting every body.

use crate::cli::CliError;
use crate::cli::problem::Problem;

/// Largest frame that is read: a full prefetch of large bodies.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// What a server frame asks of the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming<'a> {
    /// A text message.
    Text(&'a [u8]),
    /// A ping, to be answered with the same bytes.
    Ping(&'a [u8]),
    /// Nothing to do.
    Nothing,
}

/// Appends a masked text frame.
pub(super) fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    write(out, 0x81, text);
}

/// Appends the answer to a ping.
pub(super) fn write_pong(out: &mut Vec<u8>, payload: &[u8]) {
    write(out, 0x8a, payload);
}

fn write(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    const MASKED: u8 = 0x80;
    out.push(first);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..=125), _) => out.push(MASKED | length),
        (_, Ok(length)) => {
            out.push(MASKED | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(MASKED | 127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// Reads the first frame of `bytes`: the frame and how many bytes it took, or `None` while it is not complete.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(Incoming<'_>, usize)>, CliError> {
    let odd = |text: String| Err(CliError::Failed(format!("the broker's WebSocket: {text}")));
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    let (length, head) = match (second & 0x7f, rest) {
        (126, [a, b, ..]) => (usize::from(u16::from_be_bytes([*a, *b])), 4),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
            (usize::try_from(length).unwrap_or(usize::MAX), 10)
        }
        (126 | 127, _) => return Ok(None),
        (short, _) => (usize::from(short), 2),
    };
    if length > FRAME_BYTES_MAX {
        return odd(format!("a frame of {length} bytes"));
    }
    let Some(payload) = bytes.get(head..head + length) else { return Ok(None) };
    let incoming = match first {
        0x81 => Incoming::Text(payload),
        0x89 => Incoming::Ping(payload),
        0x8a => Incoming::Nothing,
        0x88 => {
            let (code, reason) = payload.split_at_checked(2).unwrap_or_default();
            let code = code.iter().fold(0u32, |code, byte| code << 8 | u32::from(*byte));
            return odd(format!("closed with {code} {}", String::from_utf8_lossy(reason)));
        }
        _ => return odd(format!("a kind of frame ({first:#04x}) that is not expected")),
    };
    Ok(Some((incoming, head + length)))
}

/// Where `needle` first stands in `text`.
pub(super) fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.iter().position(|byte| *byte == first)?;
        if text.get(at..)?.starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// How often `needle` stands in `text`.
pub(super) fn count(text: &[u8], needle: &[u8]) -> u64 {
    let mut rest = text;
    let mut count = 0;
    while let Some(at) = find(rest, needle) {
        count += 1;
        rest = rest.get(at + needle.len()..).unwrap_or_default();
    }
    count
}

/// The `type` of a message.
pub(super) fn kind(text: &[u8]) -> &[u8] {
    value_after(text, b"\"type\":")
}

/// The number in `re`, written as digits with or without quotes.
pub(super) fn re(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(value_after(text, b"\"re\":")).ok()?.parse().ok()
}

fn value_after<'a>(text: &'a [u8], name: &[u8]) -> &'a [u8] {
    let Some(at) = find(text, name) else { return &[] };
    let value = text.get(at + name.len()..).unwrap_or_default();
    let value = value.trim_ascii_start();
    let value = value.strip_prefix(b"\"").unwrap_or(value);
    let end =
        value.iter().position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_')).unwrap_or(value.len());
    value.get(..end).unwrap_or_default()
}

/// What an `error` message says.
pub(super) fn refusal(text: &[u8]) -> CliError {
    let status = serde_json::from_slice::<Problem>(text).map_or(0, |problem| problem.status);
    CliError::Refused(Box::new(Problem::read(status, text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame as a server sends it: the same without mask.
    fn served(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut masked = Vec::new();
        write(&mut masked, first, payload);
        let head = masked.len() - payload.len() - 4;
        let mut bytes = masked[..head].to_vec();
        bytes[1] &= 0x7f;
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn frames_of_every_length_are_read_once_complete() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let bytes = served(0x81, &vec![b'x'; length]);
            let (incoming, used) = read(&bytes).unwrap().unwrap();
            assert_eq!(incoming, Incoming::Text(&vec![b'x'; length]));
            assert_eq!(used, bytes.len());
            for cut in [0, 1, 2, 3, 5, 9, bytes.len() - 1] {
                assert_eq!(read(&bytes[..cut.min(bytes.len() - 1)]).unwrap(), None);
            }
        }
    }

    #[test]
    fn a_close_says_why() {
        let error = read(&served(0x88, b"\x03\xf5slow reader")).unwrap_err();
        assert!(error.to_string().contains("1013 slow reader"), "{error}");
        assert!(read(&served(0x01, b"part")).is_err());
        assert!(read(&[0x81, 127, 255, 255, 255, 255, 255, 255, 255, 255]).is_err());
    }

    #[test]
    fn the_few_fields_needed_are_found() {
        let text = br#"{"type":"published","re":"000000000042","id":"m","queue":1}"#;
        assert_eq!((kind(text), re(text)), (b"published".as_slice(), Some(42)));
        assert_eq!(re(br#"{"re": 7}"#), Some(7));
        assert_eq!(re(b"{}"), None);
        assert_eq!(count(br#"{"status":"ok"},{"status":"expired"},{"status":"ok"}"#, br#""status":"ok""#), 2);
        assert_eq!(find(b"aab", b"ab"), Some(1));
    }
}
