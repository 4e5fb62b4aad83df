//! A payload as people read it: text, a JSON tree, or bytes in hexadecimal. Payloads come from strangers and may be
//! large: everything here is bounded and says what it left out, and nothing here is HTML; the templates escape.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::send::EDIT_BYTES_MAX;
use crate::dashboard::format;
use crate::dashboard::visible::visible;
use crate::model::beginning;

/// Bytes of text that are shown.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Bytes that are shown in hexadecimal.
const HEX_BYTES_MAX: usize = 4 << 10;
/// Bytes of one line in hexadecimal.
const HEX_LINE: usize = 16;
/// A larger payload is not made into a tree.
const TREE_BYTES_MAX: usize = 256 << 10;
/// Values of a tree that are shown.
const TREE_VALUES_MAX: usize = 1_000;
/// How deep a tree is shown; what lies deeper is shown as text.
const TREE_DEPTH_MAX: usize = 24;
/// Bytes of one value, or key, of a tree that are shown.
const VALUE_BYTES_MAX: usize = 1 << 10;
/// Levels of a tree that are unfolded at first.
const UNFOLDED: usize = 2;

/// How a payload is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dashboard) enum PayloadForm {
    /// As text.
    Text,
    /// As a JSON tree.
    Tree,
    /// As bytes.
    Hex,
}

impl PayloadForm {
    /// Its name in addresses.
    pub(in crate::dashboard) fn name(self) -> &'static str {
        match self {
            PayloadForm::Text => "text",
            PayloadForm::Tree => "json",
            PayloadForm::Hex => "hex",
        }
    }

    /// The form of that name.
    pub(in crate::dashboard) fn named(name: &str) -> Option<PayloadForm> {
        [PayloadForm::Text, PayloadForm::Tree, PayloadForm::Hex].into_iter().find(|form| form.name() == name)
    }
}

/// A payload, ready to be shown.
#[derive(Clone, Debug)]
pub(in crate::dashboard) struct Payload {
    /// How it is shown.
    pub(in crate::dashboard) form: PayloadForm,
    /// The forms that it can be shown in.
    pub(in crate::dashboard) forms: Vec<PayloadForm>,
    /// How many bytes it has.
    pub(in crate::dashboard) bytes: u64,
    /// How many of them are shown.
    pub(in crate::dashboard) shown: u64,
    /// The text, for [`PayloadForm::Text`].
    pub(in crate::dashboard) text: String,
    /// The tree, for [`PayloadForm::Tree`].
    pub(in crate::dashboard) tree: Vec<Piece>,
    /// The lines, for [`PayloadForm::Hex`].
    pub(in crate::dashboard) lines: Vec<HexLine>,
}

impl Payload {
    /// Whether it may be edited and sent again on a page.
    pub(in crate::dashboard) fn is_editable(&self) -> bool {
        self.bytes <= EDIT_BYTES_MAX as u64
    }
}

/// Sixteen bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::dashboard) struct HexLine {
    /// Where they begin.
    pub(in crate::dashboard) at: String,
    /// In hexadecimal, with blanks between.
    pub(in crate::dashboard) hex: String,
    /// As ASCII, a point for what is none.
    pub(in crate::dashboard) ascii: String,
}

/// A piece of a tree, in the order in which it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::dashboard) enum Piece {
    /// An object or a list begins.
    Open {
        /// Its key, or its number in the list around it; empty at the top.
        key: String,
        /// `{}` or `[]`.
        brackets: &'static str,
        /// How many values it has.
        count: usize,
        /// Whether it is unfolded at first.
        unfolded: bool,
    },
    /// It ends.
    Close,
    /// A value.
    Leaf {
        /// Its key, or its number.
        key: String,
        /// `string`, `number`, `word` (true, false, null) or `deep` (an object or list too deep to unfold).
        kind: &'static str,
        /// It, as JSON.
        text: String,
    },
    /// There are more values that are not shown.
    More,
}

impl Payload {
    /// Makes `body` ready, in the form asked for if it can be shown in it; else as a tree if it is JSON, as text if it
    /// is text, and as bytes if it is neither.
    pub(in crate::dashboard) fn of(body: &[u8], asked: Option<PayloadForm>) -> Payload {
        let text = std::str::from_utf8(body).ok();
        let tree = text.and_then(tree);
        let mut forms = Vec::with_capacity(3);
        forms.extend(tree.is_some().then_some(PayloadForm::Tree));
        forms.extend(text.is_some().then_some(PayloadForm::Text));
        forms.push(PayloadForm::Hex);
        let form =
            asked.filter(|form| forms.contains(form)).or(forms.first().copied()).unwrap_or(PayloadForm::Hex);
        let mut payload = Payload {
            form,
            forms,
            bytes: body.len() as u64,
            shown: body.len() as u64,
            text: String::new(),
            tree: Vec::new(),
            lines: Vec::new(),
        };
        match (form, text) {
            (PayloadForm::Tree, _) => payload.tree = tree.unwrap_or_default(),
            (PayloadForm::Text, Some(text)) => {
                let start = beginning(text, TEXT_BYTES_MAX);
                payload.shown = start.len() as u64;
                payload.text = visible(start).into_owned();
            }
            _ => {
                let start = body.get(..HEX_BYTES_MAX).unwrap_or(body);
                payload.shown = start.len() as u64;
                payload.lines = hex(start);
            }
        }
        payload
    }

    /// How large it is, for people.
    pub(in crate::dashboard) fn size(&self) -> String {
        format::bytes(Some(self.bytes))
    }

    /// How much of it is shown, for people.
    pub(in crate::dashboard) fn shown_size(&self) -> String {
        format::bytes(Some(self.shown))
    }

    /// Whether a part of it is not shown.
    pub(in crate::dashboard) fn is_cut(&self) -> bool {
        self.shown < self.bytes || self.tree.contains(&Piece::More)
    }
}

/// The first line of a payload, for a row of a table; bytes that are no text are told as such by their number.
pub(in crate::dashboard) fn preview(body: &[u8]) -> Option<String> {
    const PREVIEW_BYTES: usize = 160;
    // Cut first: the body of a row may have megabytes.
    let start = body.get(..PREVIEW_BYTES + 4).unwrap_or(body);
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // Cut in the middle of a letter.
        Err(error) if body.len() > start.len() && error.error_len().is_none() => {
            std::str::from_utf8(start.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    let cut = beginning(text, PREVIEW_BYTES);
    let mut shown = visible(cut).replace(['\n', '\t'], " ");
    if cut.len() < body.len() {
        shown.push('…');
    }
    Some(shown)
}

fn hex(bytes: &[u8]) -> Vec<HexLine> {
    let line = |(number, part): (usize, &[u8])| HexLine {
        at: format!("{:08x}", number * HEX_LINE),
        hex: part.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "),
        ascii: part
            .iter()
            .map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' })
            .collect(),
    };
    bytes.chunks(HEX_LINE).enumerate().map(line).collect()
}

/// The text as a tree; none when it is no JSON object or list, or too large. Keys keep their order, numbers their
/// digits, and a key that stands there twice is shown twice: this is what was sent, not what it was read as.
fn tree(text: &str) -> Option<Vec<Piece>> {
    if text.len() > TREE_BYTES_MAX || !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let top: &RawValue = serde_json::from_str(text).ok()?;
    let mut grower = Grower { pieces: Vec::new(), left: TREE_VALUES_MAX };
    grower.grow(String::new(), top, 0);
    Some(grower.pieces)
}

struct Grower {
    pieces: Vec<Piece>,
    /// Values that may still be shown.
    left: usize,
}

impl Grower {
    fn grow(&mut self, key: String, value: &RawValue, depth: usize) {
        self.left = self.left.saturating_sub(1);
        let json = value.get();
        let is_deep = depth >= TREE_DEPTH_MAX;
        let (brackets, members) = match json.as_bytes().first() {
            Some(b'{') if !is_deep => ("{}", members_of(json)),
            Some(b'[') if !is_deep => ("[]", elements_of(json)),
            first => {
                let kind = match first {
                    Some(b'{' | b'[') => "deep",
                    Some(b'"') => "string",
                    Some(b't' | b'f' | b'n') => "word",
                    _ => "number",
                };
                return self.pieces.push(Piece::Leaf { key, kind, text: shortened(json) });
            }
        };
        self.pieces.push(Piece::Open { key, brackets, count: members.len(), unfolded: depth < UNFOLDED });
        for (key, member) in members {
            if self.left == 0 {
                if self.pieces.last() != Some(&Piece::More) {
                    self.pieces.push(Piece::More);
                }
                break;
            }
            self.grow(key, member, depth + 1);
        }
        self.pieces.push(Piece::Close);
    }
}

fn shortened(text: &str) -> String {
    let cut = beginning(text, VALUE_BYTES_MAX);
    let mut shown = visible(cut).into_owned();
    if cut.len() < text.len() {
        shown.push('…');
    }
    shown
}

fn elements_of(json: &str) -> Vec<(String, &RawValue)> {
    let elements: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
    elements.into_iter().enumerate().map(|(number, element)| (number.to_string(), element)).collect()
}

fn members_of(json: &str) -> Vec<(String, &RawValue)> {
    serde_json::from_str::<Members<'_>>(json).map(|members| members.0).unwrap_or_default()
}

/// The members of an object as they stand there.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'a>, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Members<'de>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
                    members.push((shortened(&key), value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree on one line: `key{…}` and `key=value`.
    fn told(pieces: &[Piece]) -> String {
        let tell = |piece: &Piece| match piece {
            Piece::Open { key, brackets, count, .. } => format!("{key}{}{count}:", &brackets[..1]),
            Piece::Close => ")".to_owned(),
            Piece::Leaf { key, kind, text } => format!("{key}={text}/{kind}"),
            Piece::More => "more".to_owned(),
        };
        pieces.iter().map(tell).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_tree_shows_what_was_sent() {
        let payload = Payload::of(br#" {"b":1e400,"a":[true,null,"x\u0000"],"b":{}} "#, None);
        assert_eq!((payload.form, payload.forms.len()), (PayloadForm::Tree, 3));
        let expected = r#"{3: b=1e400/number a[3: 0=true/word 1=null/word 2="x\u0000"/string ) b{0: ) )"#;
        assert_eq!(told(&payload.tree), expected, "order, digits and a key that stands there twice are kept");
        assert!(!payload.is_cut());
        for no_tree in ["{", "[1,]", "12", "\"text\"", "hello", ""] {
            assert_ne!(
                Payload::of(no_tree.as_bytes(), Some(PayloadForm::Tree)).form,
                PayloadForm::Tree,
                "{no_tree}"
            );
        }
    }

    #[test]
    fn a_tree_is_bounded_in_number_depth_and_length() {
        let many = format!("[{}]", vec!["[1]"; 5_000].join(","));
        let payload = Payload::of(many.as_bytes(), None);
        assert!(payload.is_cut() && payload.tree.len() < 3 * TREE_VALUES_MAX, "{}", payload.tree.len());
        let left_out = payload.tree.iter().filter(|piece| **piece == Piece::More).count();
        assert!(
            (1..=2).contains(&left_out),
            "said in the list that was cut, and in the one around it: {left_out}"
        );
        let opened = payload.tree.iter().filter(|piece| matches!(piece, Piece::Open { .. })).count();
        assert_eq!(opened, payload.tree.iter().filter(|piece| **piece == Piece::Close).count());

        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        let payload = Payload::of(deep.as_bytes(), None);
        assert!(told(&payload.tree).contains("/deep"), "{}", told(&payload.tree));
        let deeper = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        let payload = Payload::of(deeper.as_bytes(), None);
        assert!(payload.tree.len() < 3 * TREE_DEPTH_MAX, "however deep it is");

        let long = format!("[\"{}\"]", "é".repeat(5_000));
        assert!(told(&Payload::of(long.as_bytes(), None).tree).len() < 2 * VALUE_BYTES_MAX);
        let large = format!("[\"{}\"]", "x".repeat(TREE_BYTES_MAX));
        assert_eq!(Payload::of(large.as_bytes(), Some(PayloadForm::Tree)).form, PayloadForm::Text);
    }

    #[test]
    fn text_and_bytes_are_cut_and_say_so() {
        let payload = Payload::of("é".repeat(60_000).as_bytes(), None);
        assert_eq!((payload.bytes, payload.shown, payload.is_cut()), (120_000, 65_536, true));
        let payload = Payload::of(b"\xff\x00AB", Some(PayloadForm::Text));
        assert_eq!(payload.forms, [PayloadForm::Hex], "bytes are not shown as text");
        let line = HexLine { at: "00000000".into(), hex: "ff 00 41 42".into(), ascii: "..AB".into() };
        assert_eq!(payload.lines, [line]);
        let payload = Payload::of(&[7; 10_000], Some(PayloadForm::Hex));
        assert_eq!((payload.lines.len(), payload.shown), (256, 4_096));
        assert_eq!(Payload::of(b"", None).form, PayloadForm::Text);
    }

    #[test]
    fn a_preview_is_one_line_and_never_splits_a_letter() {
        assert_eq!(preview(b"a\nb\tc").as_deref(), Some("a b c"));
        assert_eq!(preview(b"\xff\xfe"), None);
        assert_eq!(preview("é".repeat(200).as_bytes()), Some(format!("{}…", "é".repeat(80))));
        let odd = format!("a{}", "é".repeat(200));
        assert_eq!(preview(odd.as_bytes()), Some(format!("a{}…", "é".repeat(79))));
        assert_eq!(preview(b""), Some(String::new()));
    }
}
