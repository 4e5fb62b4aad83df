//! Style sheets, scripts and mark, built into the binary, ours and those of others (`static/vendor/`). Their addresses
//! carry a hash of their content, so that a browser may keep them for a year and still sees a new version at once.
//! They leave packed for whoever takes that. Pages do not: they hold the token of their forms beside what a stranger
//! may have written, and how well that packs would tell the one from the other (BREACH, CVE-2013-3587).

use std::sync::LazyLock;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::routing::get;
use tower_http::compression::CompressionLayer;
use xxhash_rust::xxh3::xxh3_64;

/// Where the pages find what they need besides themselves.
#[derive(Debug)]
pub(super) struct Assets {
    /// Path of the style sheet.
    pub(super) style: String,
    /// Path of the mark, also the icon of the browser's tab.
    pub(super) mark: String,
    /// Path of the script that follows a topic.
    pub(super) tail: String,
    /// Path of the script of every page.
    pub(super) app: String,
    /// Path of htmx, which renews parts of a page.
    pub(super) htmx: String,
    /// Path of idiomorph, which turns the old part into the new one instead of replacing it.
    pub(super) morph: String,
    /// Path of uPlot, which draws curves.
    pub(super) plot: String,
    /// Path of its style sheet.
    pub(super) plot_style: String,
}

const STYLE: &str = include_str!("../../static/style.css");
const MARK: &str = include_str!("../../static/mark.svg");
const TAIL: &str = include_str!("../../static/tail.js");
const APP: &str = include_str!("../../static/app.js");
const HTMX: &str = include_str!("../../static/vendor/htmx-2.0.11.min.js");
const MORPH: &str = include_str!("../../static/vendor/idiomorph-0.8.0.min.js");
const PLOT: &str = include_str!("../../static/vendor/uplot-1.6.32.min.js");
const PLOT_STYLE: &str = include_str!("../../static/vendor/uplot-1.6.32.min.css");

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

pub(super) static ASSETS: LazyLock<Assets> = LazyLock::new(|| Assets {
    style: path("style", "css", STYLE),
    mark: path("mark", "svg", MARK),
    tail: path("tail", "js", TAIL),
    app: path("app", "js", APP),
    htmx: path("htmx", "js", HTMX),
    morph: path("idiomorph", "js", MORPH),
    plot: path("uplot", "js", PLOT),
    plot_style: path("uplot", "css", PLOT_STYLE),
});

fn path(name: &str, kind: &str, content: &str) -> String {
    format!("/static/{name}-{:016x}.{kind}", xxh3_64(content.as_bytes()))
}

/// The routes of the static files. Any other path below `/static` stays unknown.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route(&ASSETS.style, get(|| async { file(CSS, STYLE) }))
        .route(&ASSETS.plot_style, get(|| async { file(CSS, PLOT_STYLE) }))
        .route(&ASSETS.app, get(|| async { file(SCRIPT, APP) }))
        .route(&ASSETS.htmx, get(|| async { file(SCRIPT, HTMX) }))
        .route(&ASSETS.morph, get(|| async { file(SCRIPT, MORPH) }))
        .route(&ASSETS.plot, get(|| async { file(SCRIPT, PLOT) }))
        .route(&ASSETS.mark, get(|| async { file("image/svg+xml", MARK) }))
        .route(&ASSETS.tail, get(|| async { file(SCRIPT, TAIL) }))
        .layer(CompressionLayer::new())
}

type File = ([(axum::http::HeaderName, &'static str); 2], &'static str);

fn file(content_type: &'static str, content: &'static str) -> File {
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    (headers, content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    #[tokio::test]
    async fn static_files_are_served_under_their_hash_and_nowhere_else() {
        let app: Router = router();
        let files = [
            (&ASSETS.style, STYLE),
            (&ASSETS.mark, MARK),
            (&ASSETS.tail, TAIL),
            (&ASSETS.app, APP),
            (&ASSETS.htmx, HTMX),
            (&ASSETS.morph, MORPH),
            (&ASSETS.plot, PLOT),
            (&ASSETS.plot_style, PLOT_STYLE),
        ];
        for (path, content) in files {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let answer = app.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            assert!(answer.headers()[CACHE_CONTROL].to_str().unwrap().contains("immutable"));
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, content.as_bytes());
        }
        let stale = Request::get("/static/style-0000000000000000.css").body(Body::empty()).unwrap();
        assert_eq!(app.oneshot(stale).await.unwrap().status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn they_leave_packed_for_who_takes_that() {
        let request = Request::get(&ASSETS.app).header("accept-encoding", "gzip, br").body(Body::empty());
        let answer = router::<()>().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(answer.headers()["content-encoding"], "gzip");
        assert_eq!(answer.headers()["vary"], "accept-encoding");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&body[..]), &mut text).unwrap();
        assert_eq!(text, APP);
    }

    #[test]
    fn all_of_them_together_stay_small() {
        let packed = |content: &str| {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            std::io::Write::write_all(&mut out, content.as_bytes()).unwrap();
            out.finish().unwrap().len()
        };
        let bytes: usize = [STYLE, MARK, TAIL, APP, HTMX, MORPH, PLOT, PLOT_STYLE].map(packed).iter().sum();
        assert!(bytes < 60 * 1_000, "{bytes} bytes");
    }

    #[test]
    fn what_others_wrote_is_what_they_published() {
        let digest = |content: &str| {
            let digest = <sha2::Sha256 as sha2::Digest>::digest(content.as_bytes());
            digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        let register = include_str!("../../static/vendor/README.md");
        for (name, content) in
            [("htmx", HTMX), ("idiomorph", MORPH), ("uPlot", PLOT), ("uPlot style", PLOT_STYLE)]
        {
            assert!(register.contains(&digest(content)), "{name} is not the file of the register");
        }
    }

    #[test]
    fn the_style_sheet_loads_nothing_the_policy_would_refuse() {
        for word in ["@import", "url(", "http:", "https:"] {
            assert!(!STYLE.contains(word), "{word}");
        }
    }
}
