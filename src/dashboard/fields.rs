//! What a form sends, in an address or in a body: `application/x-www-form-urlencoded` (WHATWG URL, section 5).

use std::fmt::Display;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::model::{Millis, Timestamp, parse_duration};

/// Most fields of one form: as many dead letters as a page shows can be chosen, and some.
const FIELDS_MAX: usize = 1_200;

/// What stays as it is in an address.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The fields of a form, in the order sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields(Vec<(String, String)>);

/// What is wrong with a field, for the person who filled it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldError {
    /// Its name.
    pub(super) field: &'static str,
    /// What is accepted.
    pub(super) text: String,
}

impl Fields {
    /// Reads them; none when they are too many or not UTF-8.
    pub(super) fn parse(text: &str) -> Option<Fields> {
        let mut fields = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            if fields.len() >= FIELDS_MAX {
                return None;
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            fields.push((decoded(name)?, decoded(value)?));
        }
        Some(Fields(fields))
    }

    /// The first field of that name; none when it is missing or left empty.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.raw(name).filter(|value| !value.is_empty())
    }

    /// The first field of that name as it is; none when it is missing.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        self.pairs().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All of them.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What to show in an input: what was filled in before, else nothing.
    pub(super) fn kept(&self, name: &str) -> &str {
        self.raw(name).unwrap_or_default()
    }

    /// All fields of that name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A length of time such as `90s`; none when it is missing or left empty.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn span(&self, name: &'static str) -> Result<Option<Millis>, FieldError> {
        self.filled(name)
            .map(|text| parse_duration(text).map_err(|text| FieldError::new(name, text)))
            .transpose()
    }

    /// A time as people fill it in: RFC 3339, as the pages show it (`2026-01-31 23:59:59 UTC`), as a field for dates
    /// sends it (without a zone it is UTC), or how long ago it was (`15m`). None when it is missing or left empty.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn time(&self, name: &'static str, now: Timestamp) -> Result<Option<Timestamp>, FieldError> {
        let Some(text) = self.filled(name) else { return Ok(None) };
        if let Ok(ago) = parse_duration(text) {
            return Ok(Some(Timestamp(now.0.saturating_sub(ago))));
        }
        let plain = text.strip_suffix(" UTC").unwrap_or(text).replacen(' ', "T", 1);
        let written = match plain.len() {
            // To the minute, and to the second.
            16 => format!("{plain}:00Z"),
            19 => format!("{plain}Z"),
            _ => plain,
        };
        let refused =
            || FieldError::new(name, "must be a time such as 2026-01-31T23:59:59Z, or how long ago: 15m, 2h");
        written.parse().map(Some).map_err(|_| refused())
    }

    /// A field as a text, blanks around it left out; none when it is missing or left empty.
    fn filled(&self, name: &str) -> Option<&str> {
        self.one(name).map(str::trim).filter(|text| !text.is_empty())
    }

    /// A field as what it stands for, blanks around it left out; none when it is missing or left empty.
    ///
    /// # Errors
    /// It does not stand for that.
    pub(super) fn parsed<T: FromStr<Err: Display>>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, FieldError> {
        let Some(text) = self.filled(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|error: T::Err| FieldError::new(name, error.to_string()))
    }

    /// The same for a field that has to be filled in.
    ///
    /// # Errors
    /// It is not, or does not stand for that.
    pub(super) fn needed<T: FromStr<Err: Display>>(&self, name: &'static str) -> Result<T, FieldError> {
        self.parsed(name)?.ok_or_else(|| FieldError::missing(name))
    }
}

impl FieldError {
    pub(super) fn new(field: &'static str, text: impl Into<String>) -> FieldError {
        FieldError { field, text: text.into() }
    }

    /// It has to be filled in, and is not.
    pub(super) fn missing(field: &'static str) -> FieldError {
        FieldError::new(field, "is missing")
    }
}

fn decoded(text: &str) -> Option<String> {
    let blanks = text.replace('+', " ");
    percent_decode_str(&blanks).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// `text` as it stands in an address, in a form and in a cookie.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// An address: `path`, and what of `pairs` has a value.
pub(super) fn address<'a>(path: &str, pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> String {
    let mut address = path.to_owned();
    for (name, value) in pairs {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            address.push(if address.len() == path.len() { '?' } else { '&' });
            address.push_str(name);
            address.push('=');
            address.push_str(&encoded(value));
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_browsers_write_them() {
        let fields = Fields::parse("a=1+2&a=%C3%A9&empty=&flag&key=x%3Dy%26z").unwrap();
        assert_eq!(fields.all("a").collect::<Vec<_>>(), ["1 2", "é"]);
        assert_eq!(
            (fields.one("empty"), fields.raw("empty"), fields.raw("flag")),
            (None, Some(""), Some(""))
        );
        assert_eq!(fields.one("key"), Some("x=y&z"));
        assert_eq!(fields.parsed::<u32>("flag"), Ok(None));
        assert_eq!(fields.parsed::<u32>("key").unwrap_err().field, "key");
        assert_eq!(Fields::parse("a=%FF"), None);
        assert_eq!(Fields::parse(&"a=1&".repeat(FIELDS_MAX + 1)), None);
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let now = Timestamp(1_700_000_000_000);
        let read = |text: &str| Fields(vec![("from".to_owned(), text.to_owned())]).time("from", now);
        let written = |text: &str| read(text).unwrap().map(|time| time.to_string());
        assert_eq!((written(""), written(" ")), (None, None));
        for text in [
            "15m",
            "2023-11-14T21:58:20Z",
            "2023-11-14T21:58:20",
            "2023-11-14 21:58:20",
            "2023-11-14T22:58:20+01:00",
        ] {
            assert_eq!(written(text).as_deref(), Some("2023-11-14T21:58:20.000Z"), "{text}");
        }
        assert_eq!(
            written(&crate::dashboard::format::moment(&now)),
            Some(now.to_string()),
            "as pages show it"
        );
        assert_eq!(written("2023-11-14T21:58").as_deref(), Some("2023-11-14T21:58:00.000Z"));
        assert_eq!(written("99999d").as_deref(), Some("1970-01-01T00:00:00.000Z"), "as far back as there is");
        assert_eq!(read("yesterday").unwrap_err().field, "from");
    }

    #[test]
    fn addresses_read_back_as_what_they_were_made_of() {
        let odd = "a b&c=d#e%\"<é>+/?";
        let address =
            address("/messages", [("topic", Some("t")), ("key", Some(odd)), ("tag", None), ("to", Some(""))]);
        assert!(!address.contains(['<', '"', '#', ' ']), "{address}");
        let fields = Fields::parse(address.strip_prefix("/messages?").unwrap()).unwrap();
        assert_eq!((fields.one("topic"), fields.one("key"), fields.raw("to")), (Some("t"), Some(odd), None));
    }
}
