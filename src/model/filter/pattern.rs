//! `LIKE` patterns: `%` stands for any text, `_` for any one character, everything else for itself.
//!
//! A pattern is cut at its `%` into stretches of known length. The first must stand at the beginning and the last at
//! the end; each of those between is looked for once, from where the one before ended. The earliest place is always
//! good enough, so nothing is ever taken back, and the time is linear in the text (shift-and, Baeza-Yates and Gonnet
//! 1992).

use crate::model::limits::FILTER_STRETCH_CHARS_MAX;

/// A checked pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// As it was written.
    pub(super) text: Box<str>,
    /// The character that makes the next one stand for itself.
    pub(super) escape: Option<char>,
    /// What stands before, between and after the `%`: one more than there are of them.
    stretches: Vec<Stretch>,
}

/// A part of a pattern without `%`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stretch {
    /// Without `_`.
    Plain(Box<str>),
    /// With `_`, which is none; 1 to 64 characters.
    Holed { chars: Vec<Option<char>>, masks: Vec<(char, u64)>, any: u64 },
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// In words: when an escape stands before something that needs none, or a stretch with `_` is too long.
    pub(super) fn parse(text: &str, escape: Option<char>) -> Result<Pattern, String> {
        let mut stretches = Vec::new();
        let mut stretch: Vec<Option<char>> = Vec::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            match char {
                char if Some(char) == escape => {
                    let plain =
                        chars.next().filter(|next| matches!(next, '%' | '_') || Some(*next) == escape);
                    let Some(plain) = plain else {
                        return Err(format!("expected %, _ or {char} behind the escape character {char}"));
                    };
                    stretch.push(Some(plain));
                }
                '%' => stretches.push(Stretch::new(std::mem::take(&mut stretch))?),
                '_' => stretch.push(None),
                char => stretch.push(Some(char)),
            }
        }
        stretches.push(Stretch::new(stretch)?);
        Ok(Pattern { text: text.into(), escape, stretches })
    }

    /// Whether all of `text` fits the pattern.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.rest_of(text).is_some_and(str::is_empty)
    }

    /// What is left of `text` behind the pattern; none when it does not fit.
    fn rest_of<'t>(&self, text: &'t str) -> Option<&'t str> {
        let (first, others) = self.stretches.split_first()?;
        let mut rest = first.strip_from_start(text)?;
        let Some((last, between)) = others.split_last() else { return Some(rest) };
        for stretch in between {
            rest = stretch.behind_first(rest)?;
        }
        last.ends(rest).then_some("")
    }
}

impl Stretch {
    fn new(chars: Vec<Option<char>>) -> Result<Stretch, String> {
        if let Some(plain) = chars.iter().copied().collect::<Option<String>>() {
            return Ok(Stretch::Plain(plain.into()));
        }
        if chars.len() > FILTER_STRETCH_CHARS_MAX {
            return Err(format!(
                "between two % a LIKE pattern with _ has at most {FILTER_STRETCH_CHARS_MAX} characters"
            ));
        }
        let bits = || (0u32..).map(|at| 1u64.checked_shl(at).unwrap_or(0)).zip(&chars);
        let any = bits().filter(|(_, char)| char.is_none()).fold(0, |mask, (bit, _)| mask | bit);
        let mut masks: Vec<(char, u64)> = Vec::new();
        for (bit, char) in bits().filter_map(|(bit, char)| Some((bit, (*char)?))) {
            match masks.binary_search_by_key(&char, |(known, _)| *known) {
                Ok(at) => masks.iter_mut().skip(at).take(1).for_each(|(_, mask)| *mask |= bit),
                Err(at) => masks.insert(at, (char, any | bit)),
            }
        }
        Ok(Stretch::Holed { chars, masks, any })
    }

    /// What follows when `text` begins with this.
    fn strip_from_start<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Stretch::Plain(plain) => text.strip_prefix(&**plain),
            Stretch::Holed { chars, .. } => {
                let mut left = text.chars();
                let fits = chars.iter().all(|wanted| left.next().is_some_and(|char| fits(*wanted, char)));
                fits.then_some(left.as_str())
            }
        }
    }

    fn ends(&self, text: &str) -> bool {
        match self {
            Stretch::Plain(plain) => text.ends_with(&**plain),
            Stretch::Holed { chars, .. } => {
                let mut left = text.chars().rev();
                chars.iter().rev().all(|wanted| left.next().is_some_and(|char| fits(*wanted, char)))
            }
        }
    }

    /// What follows the first place where this stands.
    fn behind_first<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Stretch::Plain(plain) => text.split_once(&**plain).map(|(_, rest)| rest),
            Stretch::Holed { chars, masks, any } => {
                let last = u32::try_from(chars.len()).ok()?.checked_sub(1)?;
                // Bit i: the last i + 1 characters fit the first i + 1 of the stretch.
                let mut state = 0u64;
                let mut left = text.chars();
                while state & (1u64 << last) == 0 {
                    let char = left.next()?;
                    let known = masks.binary_search_by_key(&char, |(known, _)| *known);
                    let mask = known.ok().and_then(|at| masks.get(at)).map_or(*any, |(_, mask)| *mask);
                    state = ((state << 1) | 1) & mask;
                }
                Some(left.as_str())
            }
        }
    }
}

fn fits(wanted: Option<char>, char: char) -> bool {
    wanted.is_none_or(|wanted| wanted == char)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rule word for word, with backtracking.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('%', rest)) => (0..=text.len()).any(|at| naive(rest, &text[at..])),
            Some((wanted, rest)) => text
                .split_first()
                .is_some_and(|(char, text)| (*wanted == '_' || wanted == char) && naive(rest, text)),
        }
    }

    #[test]
    fn patterns_fit_as_in_sql() {
        let like = |pattern: &str, text: &str| Pattern::parse(pattern, Some('\\')).unwrap().matches(text);
        for (pattern, text) in [
            ("", ""),
            ("%", ""),
            ("%%", "x"),
            ("abc", "abc"),
            ("a%", "a"),
            ("%c", "abc"),
            ("a%c", "ac"),
            ("%b%", "abc"),
            ("a_c", "aüc"),
            ("_", "🙂"),
            ("%a_c%e", "xxababczze"),
            ("50\\%", "50%"),
            ("a\\_b\\\\", "a_b\\"),
        ] {
            assert!(like(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("", "x"), ("abc", "abcd"), ("a%a", "a"), ("_", ""), ("_", "ab"), ("50\\%", "50x"), ("A", "a")]
        {
            assert!(!like(pattern, text), "{pattern} {text}");
        }
        assert!(Pattern::parse("a\\", Some('\\')).is_err() && Pattern::parse("\\a", Some('\\')).is_err());
        assert!(Pattern::parse(&"_".repeat(64), None).unwrap().matches(&"ü".repeat(64)));
        assert!(Pattern::parse(&format!("{}_", "a".repeat(64)), None).is_err());
        assert!(Pattern::parse(&"a".repeat(1_000), None).is_ok());
    }

    /// Backtracking would not come back from this one.
    #[test]
    fn a_hostile_pattern_takes_one_pass_a_stretch() {
        let pattern = Pattern::parse(&format!("{}b", "%a_a".repeat(500)), None).unwrap();
        assert!(!pattern.matches(&"a".repeat(16 << 10)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

        #[test]
        fn a_pattern_fits_what_the_rule_says(pattern in "[abü%_]{0,8}", text in "[abü]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = naive(&chars(&pattern), &chars(&text));
            prop_assert_eq!(Pattern::parse(&pattern, None).unwrap().matches(&text), expected);
        }
    }
}
