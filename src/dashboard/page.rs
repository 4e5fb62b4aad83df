//! What all pages share: how they are rendered, and the headers they leave with.

use askama::Template;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};

/// A template could not be filled in. Nothing a client sends leads here.
#[derive(Debug, thiserror::Error)]
#[error("a page could not be rendered: {0}")]
pub struct RenderError(#[from] askama::Error);

pub(super) fn render(template: &impl Template) -> Result<String, RenderError> {
    Ok(template.render()?)
}

/// Pages load nothing but the style sheet and the mark, run no script, and cannot be framed (Content Security Policy
/// Level 3, W3C).
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'";

/// The answer that carries a page: HTML with a strict policy, never cached because its numbers age. A page that could
/// not be rendered is a 500 that says so.
pub(super) fn respond(page: Result<String, RenderError>) -> Response {
    let headers: [(HeaderName, &str); 5] = [
        (CONTENT_TYPE, if page.is_ok() { "text/html; charset=utf-8" } else { "text/plain; charset=utf-8" }),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    match page {
        Ok(html) => (headers, html).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, headers, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_leaves_with_the_strict_headers() {
        let broken = RenderError(askama::Error::Fmt);
        for (page, status) in
            [(Ok("<p>".to_owned()), StatusCode::OK), (Err(broken), StatusCode::INTERNAL_SERVER_ERROR)]
        {
            let answer = respond(page);
            assert_eq!(answer.status(), status);
            let header = |name: HeaderName| answer.headers()[name].to_str().unwrap().to_owned();
            assert!(
                header(CONTENT_SECURITY_POLICY).starts_with("default-src 'none'; style-src 'self'; img-")
            );
            assert!(!header(CONTENT_SECURITY_POLICY).contains("unsafe"));
            assert_eq!(header(X_CONTENT_TYPE_OPTIONS), "nosniff");
            assert_eq!(header(REFERRER_POLICY), "no-referrer");
            assert_eq!(header(CACHE_CONTROL), "no-store");
        }
    }
}
