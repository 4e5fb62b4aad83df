//! Just enough Rust to tell code from comments and strings, and tests from the rest. Everything blanked becomes spaces
//! of the same length, so that line numbers and offsets stay right.

/// The code of `text`: comments, strings and character literals blanked.
pub(crate) fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if !follows_word(bytes, at) => raw_string_end(bytes, at).unwrap_or(at),
            b'b' if !follows_word(bytes, at) && bytes.get(at + 1) == Some(&b'r') => {
                raw_string_end(bytes, at + 1).unwrap_or(at)
            }
            b'\'' => char_end(bytes, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            at += 1;
            continue;
        }
        blank(&mut out, at, end);
        at = end;
    }
    String::from_utf8(out).expect("only whole characters are blanked")
}

/// `code` (already [`code_only`]) without the items that only tests see.
pub(crate) fn without_tests(code: &str) -> String {
    const ATTRIBUTES: [&str; 3] = ["#[cfg(test)]", "#[cfg(all(test", "#[cfg(any(test"];
    let mut out = code.as_bytes().to_vec();
    let mut from = 0;
    while let Some(start) = ATTRIBUTES.iter().filter_map(|text| find(code, text, from)).min() {
        let end = item_end(code.as_bytes(), start);
        blank(&mut out, start, end);
        from = end.max(start + 1);
    }
    String::from_utf8(out).expect("only whole items are blanked")
}

/// Where `needle` starts in `text` at or after `from`.
pub(crate) fn find(text: &str, needle: &str, from: usize) -> Option<usize> {
    text.get(from..).and_then(|rest| rest.find(needle)).map(|at| from + at)
}

/// Every identifier of `code` with its offset.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let bytes = code.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() && !is_word(bytes[at]) {
            at += 1;
        }
        let start = at;
        while at < bytes.len() && is_word(bytes[at]) {
            at += 1;
        }
        (start < at).then(|| (start, &code[start..at]))
    })
}

/// The line of an offset, counted from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Offset just behind the bracket that closes the one at `open`.
pub(crate) fn matching(bytes: &[u8], open: usize) -> usize {
    let mut depth = 0usize;
    for (at, byte) in bytes.iter().enumerate().skip(open) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    bytes.len()
}

/// Whether the byte belongs to an identifier.
pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The end of the item whose attributes begin at `start`: behind its block or its semicolon, whichever ends it.
fn item_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            b'[' | b'(' => at = matching(bytes, at),
            b'{' => return matching(bytes, at),
            b';' => return at + 1,
            // An attribute of a field, variant or argument ends with its comma or with what holds it.
            b',' => return at,
            b'}' | b')' => return at,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn blank(out: &mut [u8], start: usize, end: usize) {
    for byte in &mut out[start..end] {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

fn follows_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && is_word(bytes[at - 1])
}

fn line_end(bytes: &[u8], start: usize) -> usize {
    bytes[start..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| start + at)
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0usize);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn raw_string_end(bytes: &[u8], r: usize) -> Option<usize> {
    let hashes = bytes[r + 1..].iter().take_while(|byte| **byte == b'#').count();
    let quote = r + 1 + hashes;
    if bytes.get(quote) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let body = quote + 1;
    let length = bytes[body..].windows(close.len()).position(|window| window == close)?;
    Some(body + length + close.len())
}

/// The end of a character literal, or none when the quote begins a lifetime.
fn char_end(bytes: &[u8], start: usize) -> Option<usize> {
    if bytes.get(start + 1) == Some(&b'\\') {
        let close = bytes[start + 3..].iter().position(|byte| *byte == b'\'')?;
        return Some(start + 3 + close + 1);
    }
    let rest = std::str::from_utf8(&bytes[start + 1..]).ok()?;
    let character = rest.chars().next()?;
    let close = start + 1 + character.len_utf8();
    (bytes.get(close) == Some(&b'\'')).then_some(close + 1)
}
