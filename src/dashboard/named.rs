//! What the path of a page names, `/groups/{group}`.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;

use super::desk::Desk;
use super::visible::visible;
use super::visit::Visit;

/// The one name or number in the path; where it is no such thing, a page says so.
pub(super) struct Named<T>(pub(super) T);

impl<T: FromStr<Err: Display>> FromRequestParts<Desk> for Named<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Named<T>, Response> {
        let read = match Path::<String>::from_request_parts(parts, desk).await {
            Ok(Path(name)) => name.parse().map(Named).map_err(|error: T::Err| (name, error.to_string())),
            Err(error) => Err((String::new(), error.body_text())),
        };
        read.map_err(|(name, text)| {
            let visit = Visit::of(parts, desk);
            // Told first: with the name before it no sentence would be known any more.
            let text = visit.told(&text);
            let is_named = text.contains(name.escape_debug().to_string().as_str());
            let text = if is_named { text } else { format!("{}: {text}", visible(&name)) };
            visit.oops(desk, StatusCode::NOT_FOUND, &text)
        })
    }
}
