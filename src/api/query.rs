//! Query strings, strictly: every parameter once, none unknown, values percent-decoded once (`+` is a space).

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::percent_decode_str;

use super::problem::Problem;
use crate::model::{LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX, Millis, parse_duration};

/// The parameters that nobody took yet.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a raw query string.
    ///
    /// # Errors
    /// A parameter that is given twice, or is not UTF-8.
    pub(crate) fn parse(raw: Option<&str>) -> Result<Query, Problem> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for pair in raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).ok_or_else(|| Problem::parameter(name, "is not UTF-8"))?;
            let value = decode(value).ok_or_else(|| Problem::parameter(&name, "is not UTF-8"))?;
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(Problem::parameter(&name, "is given twice"));
            }
            parameters.push((name, value));
        }
        Ok(Query(parameters))
    }

    /// Takes a parameter as text.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Takes a parameter that reads itself.
    ///
    /// # Errors
    /// The parameter, and what it should look like.
    pub(crate) fn parse_as<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Problem>
    where
        T::Err: std::fmt::Display,
    {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|error: T::Err| Problem::parameter(name, error.to_string()))
    }

    /// Takes a whole number.
    ///
    /// # Errors
    /// Anything but digits.
    pub(crate) fn number(&mut self, name: &str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        whole(&text).map(Some).ok_or_else(|| Problem::parameter(name, "must be a whole number"))
    }

    /// Takes `true` or `false`.
    ///
    /// # Errors
    /// Anything else.
    pub(crate) fn truth(&mut self, name: &str) -> Result<Option<bool>, Problem> {
        match self.text(name).as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(Problem::parameter(name, "must be true or false")),
        }
    }

    /// Takes a human duration.
    ///
    /// # Errors
    /// Anything else.
    pub(crate) fn duration(&mut self, name: &str) -> Result<Option<Millis>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        parse_duration(&text).map(Some).map_err(|error| Problem::parameter(name, error))
    }

    /// Takes `limit` of a list.
    ///
    /// # Errors
    /// Out of range.
    pub(crate) fn limit(&mut self) -> Result<usize, Problem> {
        let Some(limit) = self.number("limit")? else { return Ok(LIST_LIMIT_DEFAULT) };
        match usize::try_from(limit) {
            Ok(limit) if (1..=LIST_LIMIT_MAX).contains(&limit) => Ok(limit),
            _ => Err(Problem::parameter("limit", format!("must be 1 to {LIST_LIMIT_MAX}"))),
        }
    }

    /// Takes `cursor` of a list: where the page before ended.
    ///
    /// # Errors
    /// It is no cursor of a list of this `kind`.
    pub(crate) fn cursor<T: FromStr>(&mut self, kind: &str) -> Result<Option<T>, Problem> {
        let Some(text) = self.text("cursor") else { return Ok(None) };
        let bytes = URL_SAFE_NO_PAD.decode(&text).ok();
        let inner = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let place = inner.as_deref().and_then(|inner| inner.strip_prefix(kind)?.strip_prefix(' '));
        let place = place.and_then(|place| place.parse().ok());
        place.map(Some).ok_or_else(|| Problem::parameter("cursor", "must be next_cursor of the page before"))
    }

    /// Refuses what nobody took.
    ///
    /// # Errors
    /// Names the first unknown parameter.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::parameter(name, "is not a parameter of this call")),
        }
    }
}

/// A whole number without sign, blanks or more digits than fit 2^53.
pub(crate) fn whole(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number < 1 << 53)
}

/// The cursor of a list of this `kind` whose page ended at `place`. Opaque, so that nobody builds one and what is in it
/// may change.
pub(crate) fn cursor_at(kind: &str, place: impl Display) -> String {
    URL_SAFE_NO_PAD.encode(format!("{kind} {place}"))
}

fn decode(text: &str) -> Option<String> {
    let spaced: Cow<'_, str> =
        if text.contains('+') { Cow::Owned(text.replace('+', " ")) } else { Cow::Borrowed(text) };
    percent_decode_str(&spaced).decode_utf8().ok().map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_taken_once_and_strictly() {
        let mut query = Query::parse(Some("a=x%20y+z&limit=7&wait=1m&auto_create=false&flag")).unwrap();
        assert_eq!(query.text("a").as_deref(), Some("x y z"));
        assert_eq!(query.limit().unwrap(), 7);
        assert_eq!(query.duration("wait").unwrap(), Some(60_000));
        assert_eq!(query.truth("auto_create").unwrap(), Some(false));
        assert_eq!(query.text("flag").as_deref(), Some(""));
        assert!(query.finish().is_ok());
        assert_eq!(Query::parse(None).unwrap().limit().unwrap(), LIST_LIMIT_DEFAULT);
    }

    #[test]
    fn a_cursor_is_read_by_the_list_that_wrote_it_and_by_no_other() {
        let cursor = cursor_at("topics", "orders");
        let read = |text: &str, kind: &str| {
            let raw = format!("cursor={text}");
            Query::parse(Some(&raw)).unwrap().cursor::<crate::model::TopicName>(kind)
        };
        assert_eq!(read(&cursor, "topics").unwrap().unwrap().as_str(), "orders");
        assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
        let odd = cursor_at("topics", "no name");
        for (text, kind) in
            [(cursor.as_str(), "groups"), ("orders", "topics"), ("", "topics"), (&odd, "topics")]
        {
            assert!(read(text, kind).is_err(), "{text}");
        }
        assert!(Query::parse(None).unwrap().cursor::<u64>("queue").unwrap().is_none());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let problem = Query::parse(Some("a=1&a=2")).unwrap_err();
        assert_eq!(problem.detail, "query parameter a: is given twice");
        assert!(Query::parse(Some("a=%ff")).is_err());
        let problem = Query::parse(Some("colour=1")).unwrap().finish().unwrap_err();
        assert_eq!(problem.detail, "query parameter colour: is not a parameter of this call");
        for bad in ["limit=0", "limit=1001", "limit=-1", "limit=+5", "limit=1e3", "limit="] {
            assert!(Query::parse(Some(bad)).unwrap().limit().is_err(), "{bad}");
        }
        assert!(whole("9007199254740992").is_none());
        assert!(whole("9007199254740991").is_some());
    }
}
