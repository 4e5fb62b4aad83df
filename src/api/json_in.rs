//! Reads JSON bodies and says where they are wrong.

use serde::de::DeserializeOwned;

use super::problem::{Code, Place, Problem};

/// Reads a JSON body; an empty one counts as `{}`.
///
/// # Errors
/// 400 with the JSON pointer, line and column of the first thing that is wrong.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let body = if body.is_empty() { b"{}" } else { body };
    parse_borrowed(body)
}

/// Reads a JSON body whose parts stay borrowed from it.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_borrowed<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    // serde would also read a struct from a list of its fields; that is no form of ours.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| *byte != b'{') {
        let place = Place::Pointer(String::new());
        return Err(Problem::at(Code::InvalidJson, place, "a JSON object is expected here"));
    }
    serde_json::from_slice(body).map_err(|error| explain(body, &error))
}

/// Turns serde's line and column into a JSON pointer.
fn explain(body: &[u8], error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let missing = text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    let mut levels = levels_at(body, offset_of(body, error.line(), error.column()));
    if let (Some(name), Some(Level::Object { key, .. })) = (missing, levels.last_mut()) {
        // It is noticed at the end of the object, behind the last field that is there.
        name.clone_into(key);
    }
    Problem::at(Code::InvalidJson, Place::Pointer(pointer_of(&levels)), in_plain_words(&text))
}

/// serde speaks of Rust types; callers write JSON. "invalid type: string "72h", expected u64" becomes "found string
/// "72h", expected a whole number".
fn in_plain_words(text: &str) -> String {
    let (what, place) = match text.rfind(" at line ") {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let what = what.replacen("invalid type: ", "found ", 1).replacen("EOF while", "the text ends while", 1);
    let Some((found, expected)) = what.rsplit_once(", expected ") else { return format!("{what}{place}") };
    let expected = match expected {
        "u64" | "u32" | "u16" | "u8" => "a whole number",
        "a sequence" => "a list",
        "a boolean" => "true or false",
        other if other.starts_with("struct ") => "an object",
        other => other,
    };
    format!("{found}, expected {expected}{place}")
}

/// The byte offset of a line and column, both counted from 1.
fn offset_of(body: &[u8], line: usize, column: usize) -> usize {
    let line_start = if line <= 1 {
        0
    } else {
        let newlines = body.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        newlines.map(|(at, _)| at + 1).nth(line - 2).unwrap_or(body.len())
    };
    (line_start + column).min(body.len())
}

/// One level of nesting.
enum Level {
    /// In an object, at this key (raw, between the quotes).
    Object { key: String, at_key: bool },
    /// In a list, at this element.
    List(usize),
}

/// The levels around the value that the first `end` bytes end in. Tolerant: the text may be broken.
fn levels_at(body: &[u8], end: usize) -> Vec<Level> {
    let mut levels: Vec<Level> = Vec::new();
    let mut bytes = body.iter().take(end).copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' => levels.push(Level::Object { key: String::new(), at_key: true }),
            b'[' => levels.push(Level::List(0)),
            // The closing bracket itself still belongs to the value it closes when it is the last byte looked at.
            b'}' | b']' if bytes.peek().is_some() => {
                levels.pop();
            }
            b',' => match levels.last_mut() {
                Some(Level::List(at)) => *at += 1,
                Some(Level::Object { at_key, .. }) => *at_key = true,
                None => {}
            },
            b':' => {
                if let Some(Level::Object { at_key, .. }) = levels.last_mut() {
                    *at_key = false;
                }
            }
            b'"' => {
                let text = string(&mut bytes);
                if let Some(Level::Object { key, at_key: true }) = levels.last_mut() {
                    *key = text;
                }
            }
            _ => {}
        }
    }
    levels
}

/// The JSON pointer (RFC 6901) of the value inside all `levels`.
fn pointer_of(levels: &[Level]) -> String {
    let mut pointer = String::new();
    for level in levels {
        match level {
            Level::Object { key, .. } if key.is_empty() => {}
            Level::Object { key, .. } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Level::List(at) => {
                pointer.push('/');
                pointer.push_str(&at.to_string());
            }
        }
    }
    pointer
}

/// The inside of a string whose opening quote is consumed; escapes stay as they are.
fn string(bytes: &mut impl Iterator<Item = u8>) -> String {
    let mut text = Vec::new();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => break,
            b'\\' => {
                text.push(byte);
                text.extend(bytes.next());
            }
            _ => text.push(byte),
        }
        if text.len() > 256 {
            // Only names matter here; a long value need not be kept.
            text.truncate(128);
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::GroupSettings;

    fn pointer(body: &str) -> String {
        let problem = parse::<GroupSettings>(body.as_bytes()).unwrap_err();
        match &problem.errors[0].place {
            Place::Pointer(pointer) => pointer.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn errors_point_at_the_place() {
        assert_eq!(pointer(r#"{"ordered": 3}"#), "/ordered");
        assert_eq!(pointer(r#"{"colour": 3}"#), "/colour");
        assert_eq!(pointer("{\n \"lease_ms\": 5,\n \"lane_batch\": \"x\"}"), "/lane_batch");
        assert_eq!(pointer(r#"{"subscriptions":[{"topic":"a"},{"topic":"b","x":1}]}"#), "/subscriptions/1/x");
        assert_eq!(pointer(r#"{"subscriptions":[{"topic":"a"},{"topic":"!"}]}"#), "/subscriptions/1/topic");
        // What is missing is named, not what stands before it.
        assert_eq!(pointer(r#"{"subscriptions":[{"filter":{"tag":"a"}}]}"#), "/subscriptions/0/topic");
        assert_eq!(pointer(r#"{"subscriptions":[{"topic":"a","filter":{}}]}"#), "/subscriptions/0/filter");
        assert_eq!(pointer(r#"{"ordered":true,"retry":{"kind":"table"}}"#), "/retry/steps_ms");
        assert_eq!(pointer("[]"), "");
        assert_eq!(pointer("{"), "");
        assert!(parse::<GroupSettings>(b" \n").is_err());
        let problem = parse::<GroupSettings>(b"{\"ordered\":\n\"x\"}").unwrap_err();
        assert!(problem.detail.contains("line 2 column"), "{}", problem.detail);
    }

    #[test]
    fn errors_speak_json_and_not_rust() {
        let detail = |body: &str| parse::<GroupSettings>(body.as_bytes()).unwrap_err().errors[0].text.clone();
        let begins = |body: &str, text: &str| assert!(detail(body).starts_with(text), "{}", detail(body));
        begins(r#"{"lease_ms": "1m"}"#, "found string \"1m\", expected a whole number at line 1");
        begins(r#"{"subscriptions": ["a"]}"#, "found string \"a\", expected an object at line 1");
        begins(r#"{"subscriptions": "a"}"#, "found string \"a\", expected a list at line 1");
        begins(
            r#"{"ordered": ", expected u64"}"#,
            "found string \", expected u64\", expected true or false at",
        );
        begins("{", "the text ends while");
    }

    #[test]
    fn rubbish_never_panics() {
        let alphabet = b"{}[]\",:\\a1 \n\xff";
        let mut seed: u64 = 42;
        for _ in 0..20_000 {
            let mut text = Vec::new();
            for _ in 0..(seed % 24) {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push(alphabet[usize::try_from((seed >> 33) % 13).unwrap()]);
            }
            seed = seed.wrapping_add(1);
            let _ = parse::<GroupSettings>(&text);
        }
    }
}
