//! Texts of strangers, so that what cannot be seen can be seen.
//!
//! Escaping keeps a text from being markup. This keeps it from looking like another text: control characters, marks
//! that turn the direction of writing (Unicode Technical Report 36, section 2.11: "bidirectional text spoofing"), and
//! characters without width are shown as what they are.

use std::borrow::Cow;

/// `text` with every character that hides, or hides others, written as ⟨U+202E⟩, and control characters as their
/// pictures (␀). Line ends and tabs stay.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(hides) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            letter if !hides(letter) => shown.push(letter),
            '\0'..='\u{1f}' => shown.extend(char::from_u32(0x2400 + u32::from(letter))),
            '\u{7f}' => shown.push('\u{2421}'),
            letter => shown.push_str(&format!("⟨U+{:04X}⟩", u32::from(letter))),
        }
    }
    Cow::Owned(shown)
}

fn hides(letter: char) -> bool {
    match letter {
        '\n' | '\t' => false,
        // Joiners (U+200C, U+200D) are part of how words and pictures are written, and stay.
        '\u{200b}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{feff}' => true,
        '\u{61c}' | '\u{2028}' | '\u{2029}' | '\u{e0000}'..='\u{e007f}' => true,
        letter => letter.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_is_written_out_and_the_rest_is_left_alone() {
        for plain in ["", "order 7\n\ttwo", "zürich 订单 عربي 👩\u{200d}💻", "<script>"] {
            assert!(matches!(visible(plain), Cow::Borrowed(same) if same == plain), "{plain}");
        }
        assert_eq!(visible("a\0b\u{1b}[31m\r\n\u{7f}"), "a␀b␛[31m␍\n␡");
        assert_eq!(visible("exe.\u{202e}gpj"), "exe.⟨U+202E⟩gpj");
        assert_eq!(visible("pay\u{200b}pal\u{85}"), "pay⟨U+200B⟩pal⟨U+0085⟩");
    }
}
