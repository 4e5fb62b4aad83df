//! What all pages share: how they are rendered, and the headers they leave with.

use askama::Template;
use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use tower_http::set_header::SetResponseHeaderLayer;

/// A page could not be made. Nothing a client sends leads here.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A template could not be filled in.
    #[error("a page could not be rendered: {0}")]
    Template(#[from] askama::Error),
    /// `openapi.yaml` could not be read.
    #[error("openapi.yaml could not be read: {0}")]
    Contract(String),
}

pub(super) fn render(template: &impl Template) -> Result<String, RenderError> {
    Ok(template.render()?)
}

/// Pages load style, script and pictures from this very origin, run nothing that stands in a page, and cannot be framed
/// (Content Security Policy Level 3, W3C).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What every page leaves with.
///
/// `same-origin` and not `no-referrer`, which would have browsers send our own forms with `Origin: null` (Fetch,
/// section 3.2, "append a request Origin header"): a form that nobody could tell from a stranger's.
const ALWAYS: [(HeaderName, &str); 3] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "same-origin"),
];

/// Everything that `router` answers leaves with the strict policy, and uncached where it does not say otherwise: the
/// numbers of a page age.
pub(super) fn guarded<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    let uncached =
        SetResponseHeaderLayer::if_not_present(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    ALWAYS.into_iter().fold(router.layer(uncached), |router, (name, value)| {
        router.layer(SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value)))
    })
}

/// The same for one answer that leaves by another router than the pages' own.
pub(super) fn guard(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// The answer that carries a page. One that could not be rendered is a 500 that says so.
pub(super) fn respond(page: Result<String, RenderError>) -> Response {
    match page {
        Ok(html) => ([(CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn every_page_leaves_with_the_strict_headers() {
        let broken = || respond(Err(RenderError::Template(askama::Error::Fmt)));
        let app: Router = Router::new()
            .route("/good", get(async || respond(Ok("<p>".to_owned()))))
            .route("/broken", get(async move || broken()))
            .route("/alone", get(async || guard(respond(Ok("<p>".to_owned())))))
            .route("/kept", get(async || [(CACHE_CONTROL, "max-age=1")]));
        let app = guarded(app);
        for (path, status, media_type, cached) in [
            ("/good", 200, "text/html; charset=utf-8", "no-store"),
            ("/broken", 500, "text/plain; charset=utf-8", "no-store"),
            ("/alone", 200, "text/html; charset=utf-8", "no-store"),
            ("/kept", 200, "", "max-age=1"),
        ] {
            let answer = app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(answer.status(), status, "{path}");
            let header = |name| answer.headers().get(name).map_or("", |value| value.to_str().unwrap());
            assert!(
                header(CONTENT_SECURITY_POLICY).starts_with("default-src 'none'; script-src 'self'; sty")
            );
            assert!(!header(CONTENT_SECURITY_POLICY).contains("unsafe"));
            assert_eq!(header(X_CONTENT_TYPE_OPTIONS), "nosniff");
            assert_eq!(header(REFERRER_POLICY), "same-origin");
            assert_eq!((header(CONTENT_TYPE), header(CACHE_CONTROL)), (media_type, cached), "{path}");
        }
    }
}
