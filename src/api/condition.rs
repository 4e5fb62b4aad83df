//! Entity tags of settings: `ETag` on the way out, `If-Match` and `If-None-Match` on the way in (RFC 9110, section 13).

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;

use super::problem::Problem;
use crate::machine::{Expected, Version};

/// Marks an answer with the version of the settings in it.
pub(super) fn tag(response: &mut Response, version: Version) {
    if let Ok(value) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, value);
    }
}

/// What the request expects to find: `If-Match` with `*` or a list of entity tags, or `If-None-Match: *`.
///
/// # Errors
/// 400 when a header is malformed, or both are there.
pub(super) fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    let mut matches = headers.get_all(header::IF_MATCH).iter().peekable();
    let is_match = matches.peek().is_some();
    match headers.get(header::IF_NONE_MATCH).map(|value| value.as_bytes().trim_ascii()) {
        Some(_) if is_match => Err(Problem::header("If-None-Match", "and If-Match exclude each other")),
        Some(b"*") => Ok(Expected::Missing),
        Some(_) => Err(Problem::header("If-None-Match", "must be *")),
        None if !is_match => Ok(Expected::Anything),
        None => {
            let mut versions = Vec::new();
            for value in matches {
                if value.as_bytes().trim_ascii() == b"*" {
                    return Ok(Expected::Existing);
                }
                read_tags(value, &mut versions)?;
            }
            Ok(Expected::OneOf(versions))
        }
    }
}

/// A tag that this broker never wrote is well-formed and matches nothing. `W/` is taken too: a proxy that packs an
/// answer puts it before our tags.
fn read_tags(value: &HeaderValue, versions: &mut Vec<Version>) -> Result<(), Problem> {
    let refuse = || Problem::header("If-Match", "must be * or a list of entity tags, each in double quotes");
    for tag in value.to_str().map_err(|_| refuse())?.split(',').map(str::trim) {
        let quoted = tag.strip_prefix("W/").unwrap_or(tag);
        let inner = quoted.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).ok_or_else(refuse)?;
        versions.extend(inner.parse::<Version>().ok());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[(&'static str, &'static str)]) -> Result<Expected, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        expected(&headers).map_err(|problem| problem.detail)
    }

    #[test]
    fn conditions_are_read_strictly() {
        let version: Version = "00000000000000ab".parse().unwrap();
        assert_eq!(read(&[]), Ok(Expected::Anything));
        assert_eq!(read(&[("if-none-match", "*")]), Ok(Expected::Missing));
        assert_eq!(read(&[("if-match", " * ")]), Ok(Expected::Existing));
        for tags in ["\"00000000000000ab\"", "W/\"00000000000000ab\"", "\"other\" , \"00000000000000ab\""] {
            assert_eq!(read(&[("if-match", tags)]), Ok(Expected::OneOf(vec![version])), "{tags}");
        }
        let lines = [("if-match", "\"x\""), ("if-match", "\"00000000000000ab\"")];
        assert_eq!(read(&lines), Ok(Expected::OneOf(vec![version])));
        assert_eq!(read(&[("if-match", "\"x\"")]), Ok(Expected::OneOf(vec![])));
        for bad in ["", "00000000000000ab", "\"", "\"a\",", "W/", "\"a\" \"b"] {
            assert!(read(&[("if-match", bad)]).is_err(), "{bad}");
        }
        assert!(read(&[("if-none-match", "\"x\"")]).is_err());
        assert!(read(&[("if-none-match", "*"), ("if-match", "*")]).is_err());
    }
}
