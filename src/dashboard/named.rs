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
            Ok(Path(name)) => {
                name.parse().map(Named).map_err(|error: T::Err| about(&name, &error.to_string()))
            }
            Err(error) => Err(error.body_text()),
        };
        read.map_err(|text| Visit::of(parts, desk).oops(desk, StatusCode::NOT_FOUND, &text))
    }
}

/// What is wrong with a name, with the name where it is not said.
fn about(name: &str, text: &str) -> String {
    if text.contains(name) { text.to_owned() } else { format!("{}: {text}", visible(name)) }
}
