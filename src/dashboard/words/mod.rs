//! What the pages say, in English and in Simplified Chinese.
//!
//! Texts stand in tables, one for what is on every page ([`Common`]) and one for each page. A row holds a text in both
//! languages side by side, so that whoever changes one sees the other, and one that is missing does not compile.
//! `{0}`, `{1}` in a text are filled in by the templates (`|with(…)`).
//!
//! What the broker itself says when it refuses something has its rows in `told`, and its words for states in `states`.
//! What is not translated: `/docs` and `/problems/{code}`, which show the contract, the runbooks, explanations and
//! checks of the broker, and what is wrong with an expression of a filter.

/// Makes a struct of texts and fills it for each language.
macro_rules! texts {
    ($(#[$about:meta])* $name:ident { $($key:ident: $en:literal, $zh:literal;)+ }) => {
        $(#[$about])*
        #[derive(Debug)]
        pub(in crate::dashboard) struct $name {
            $(pub(in crate::dashboard) $key: &'static str,)+
        }

        impl $name {
            const EN: $name = $name { $($key: $en,)+ };
            const ZH: $name = $name { $($key: $zh,)+ };

            /// The texts in one language.
            pub(in crate::dashboard) fn of(lang: $crate::dashboard::words::Lang) -> &'static $name {
                match lang {
                    $crate::dashboard::words::Lang::En => &$name::EN,
                    $crate::dashboard::words::Lang::Zh => &$name::ZH,
                }
            }

            /// Every row: its key, and its text in both languages.
            #[cfg(test)]
            pub(in crate::dashboard) fn rows() -> Vec<(&'static str, &'static str, &'static str)> {
                vec![$((stringify!($key), $en, $zh),)+]
            }
        }
    };
}
mod alerts;
mod choice;
mod common;
mod letters;
mod messages;
mod objects;
mod overview;
mod states;
mod told;
mod work;

pub(super) use alerts::Alerts;
pub(super) use choice::{Lang, Theme};
pub(super) use common::Common;
pub(super) use letters::Letters;
pub(super) use messages::Messages;
pub(super) use objects::Objects;
pub(super) use overview::Overview;
pub(super) use states::{tone, word};
pub(super) use told::told;
pub(super) use work::Work;

#[cfg(test)]
mod tests {
    use super::*;

    /// Every table. A new one is added here.
    fn tables() -> Vec<(&'static str, &'static str, &'static str)> {
        [
            Alerts::rows(),
            Common::rows(),
            Letters::rows(),
            Messages::rows(),
            Objects::rows(),
            Overview::rows(),
            Work::rows(),
        ]
        .concat()
    }

    fn places(text: &str) -> Vec<&str> {
        let mut places: Vec<&str> =
            text.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
        places.sort_unstable();
        places
    }

    #[test]
    fn every_text_is_there_in_both_languages_with_the_same_places_to_fill() {
        for (key, en, zh) in tables() {
            assert!(!en.trim().is_empty() && !zh.trim().is_empty(), "{key}");
            assert_eq!(places(en), places(zh), "{key}");
            assert!(
                en.is_ascii() || en.contains(['–', '…', '→', '≤', '·', '×']),
                "{key} is not English: {en}"
            );
            for mark in ["<", "&"] {
                assert!(!en.contains(mark) && !zh.contains(mark), "{key} holds {mark}");
            }
        }
    }

    #[test]
    fn a_text_that_is_a_sentence_is_translated() {
        for (key, en, zh) in tables() {
            let is_sentence = en.split(' ').count() > 2 && en.ends_with('.');
            assert!(!is_sentence || !zh.is_ascii(), "{key} is not translated: {zh}");
        }
    }
}
