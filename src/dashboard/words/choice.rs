//! In which language and in which colours a page is shown: what its address says, else what the browser was last told
//! to remember, else what the browser prefers.

use super::Common;

/// A language of the pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::dashboard) enum Lang {
    /// English.
    #[default]
    En,
    /// Simplified Chinese.
    Zh,
}

impl Lang {
    /// As it stands in `?lang=` and in the cookie.
    pub(in crate::dashboard) fn named(name: &str) -> Option<Lang> {
        match name {
            "en" => Some(Lang::En),
            "zh" => Some(Lang::Zh),
            _ => None,
        }
    }

    /// The name that [`Lang::named`] takes.
    pub(in crate::dashboard) fn name(self) -> &'static str {
        match self {
            Lang::En => "en",
            Lang::Zh => "zh",
        }
    }

    /// As `<html lang>` takes it (BCP 47).
    pub(in crate::dashboard) fn tag(self) -> &'static str {
        match self {
            Lang::En => "en",
            Lang::Zh => "zh-Hans",
        }
    }

    /// What it calls itself.
    pub(in crate::dashboard) fn own_name(self) -> &'static str {
        match self {
            Lang::En => "English",
            Lang::Zh => "简体中文",
        }
    }

    /// The best of `Accept-Language` (RFC 9110, section 12.5.4): of the ranges that we speak, the first with the
    /// highest weight. English when there is none.
    pub(in crate::dashboard) fn accepted(header: &str) -> Lang {
        let mut best = (0, Lang::En);
        for range in header.split(',').take(RANGES_MAX) {
            let mut parts = range.split(';');
            let tag = parts.next().unwrap_or_default().trim();
            let weight = parts.find_map(|part| part.trim().strip_prefix("q=")).map_or(1_000, thousandths);
            let lang = match tag.split('-').next().unwrap_or_default() {
                primary if primary.eq_ignore_ascii_case("zh") => Lang::Zh,
                primary if primary.eq_ignore_ascii_case("en") => Lang::En,
                _ => continue,
            };
            if weight > best.0 {
                best = (weight, lang);
            }
        }
        best.1
    }
}

/// Most ranges of `Accept-Language` that are looked at.
const RANGES_MAX: usize = 32;

/// A weight like `0.8`, in thousandths; what is no weight weighs nothing.
fn thousandths(text: &str) -> u32 {
    let (whole, rest) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    match (whole, format!("{rest:0<3}").parse::<u32>()) {
        ("1", _) => 1_000,
        ("0", Ok(rest)) if rest < 1_000 => rest,
        _ => 0,
    }
}

/// The colours of the pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::dashboard) enum Theme {
    /// As the system prefers.
    #[default]
    Auto,
    /// Light, whatever the system prefers.
    Light,
    /// Dark, whatever the system prefers.
    Dark,
}

impl Theme {
    /// As it stands in `?theme=`, in the cookie and in `<html data-theme>`.
    pub(in crate::dashboard) fn named(name: &str) -> Option<Theme> {
        match name {
            "auto" => Some(Theme::Auto),
            "light" => Some(Theme::Light),
            "dark" => Some(Theme::Dark),
            _ => None,
        }
    }

    /// The name that [`Theme::named`] takes.
    pub(in crate::dashboard) fn name(self) -> &'static str {
        match self {
            Theme::Auto => "auto",
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }

    /// What people call it.
    pub(in crate::dashboard) fn words(self, words: &Common) -> &'static str {
        match self {
            Theme::Auto => words.theme_auto,
            Theme::Light => words.theme_light,
            Theme::Dark => words.theme_dark,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_one_that_the_browser_likes_best() {
        for (header, lang) in [
            ("", Lang::En),
            ("zh-CN,zh;q=0.9,en;q=0.8", Lang::Zh),
            ("en-GB,en;q=0.9,zh;q=0.8", Lang::En),
            ("fr, de;q=0.7", Lang::En),
            ("fr, zh-TW;q=0.3", Lang::Zh),
            ("en;q=0.2, ZH;q=0.25", Lang::Zh),
            ("zh;q=0", Lang::En),
            ("zh;q=nonsense", Lang::En),
            (";;;,,,q=1", Lang::En),
        ] {
            assert_eq!(Lang::accepted(header), lang, "{header}");
        }
    }

    #[test]
    fn names_read_back() {
        for lang in [Lang::En, Lang::Zh] {
            assert_eq!(Lang::named(lang.name()), Some(lang));
        }
        for theme in [Theme::Auto, Theme::Light, Theme::Dark] {
            assert_eq!(Theme::named(theme.name()), Some(theme));
        }
        assert_eq!((Lang::named("fr"), Theme::named("")), (None, None));
    }
}
