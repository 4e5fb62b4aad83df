//! The rig sees what it has to see. A rig that saw nothing would let every page pass.

use axum::Router;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::routing::get;

use crate::browser::{Browser, Media};

/// Serves one page at `/`; its origin.
async fn serve(html: &'static str, policy: &'static str) -> String {
    let page =
        move || async move { ([(CONTENT_TYPE, "text/html"), (CONTENT_SECURITY_POLICY, policy)], html) };
    let icon = || async { ([(CONTENT_TYPE, "image/svg+xml")], "<svg xmlns='http://www.w3.org/2000/svg'/>") };
    let app = Router::new().route("/", get(page)).route("/favicon.ico", get(icon));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

const GOOD: &str = r#"<!doctype html><html lang="en"><head><title>Good</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body><main><h1>Good</h1><p id="wide">a page</p>
<form action="/" method="get"><label>Word <input name="word" value="old"></label><button>Go</button></form>
</main></body></html>"#;

const BAD: &str = r#"<!doctype html><html lang="en"><head><title>Bad</title></head>
<body><main><h1>Bad</h1><img src="http://127.0.0.2:9/stolen.png">
<p style="color:#ddd">pale</p><script>window.canary = 1</script>
<div style="width:2000px">wide</div></main></body></html>"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_browser_does_what_it_is_told_and_reports_what_a_page_must_not_do() {
    let browser = Browser::start().await;
    let (good, bad) = (serve(GOOD, "default-src 'self'").await, serve(BAD, "default-src 'self'").await);
    let allowed = serve(BAD, "default-src * 'unsafe-inline'").await;

    let page = browser.page().await;
    page.open(&good).await;
    page.fill("input", "new & <odd>").await;
    page.follow("button").await;
    assert_eq!(page.evaluate("location.search").await, "?word=new+%26+%3Codd%3E");
    assert_eq!(page.text("#wide").await, "a page");
    assert_eq!(page.axe().await, Vec::<String>::new());
    page.look_as(Media::PHONE).await;
    assert_eq!(page.overflow().await, 0);
    page.assert_clean(&good);
    page.evaluate("console.error('odd')").await;
    page.evaluate("setTimeout(() => { throw new Error('lost') })").await;
    let mut trouble = Vec::new();
    while trouble.len() < 2 {
        trouble.extend(page.take_trouble());
        page.wait("another look", "true").await;
    }
    assert!(trouble[0].starts_with("console: ") && trouble[0].contains("odd"), "{trouble:?}");
    assert!(trouble[1].starts_with("exception: ") && trouble[1].contains("lost"), "{trouble:?}");

    let page = browser.page().await;
    page.open(&bad).await;
    assert!(page.evaluate("window.canary").await.is_null(), "the policy keeps inline script from running");
    let trouble = page.take_trouble().join("\n");
    for word in ["script-src", "style-src", "img-src"] {
        assert!(trouble.contains(word), "{word} is not among {trouble}");
    }

    let page = browser.page().await;
    page.open(&allowed).await;
    assert_eq!(page.evaluate("window.canary").await, 1);
    assert!(page.requests().contains(&"http://127.0.0.2:9/stolen.png".to_owned()));
    let findings = page.axe().await;
    assert!(findings.iter().any(|finding| finding.starts_with("color-contrast: ")), "{findings:?}");
    assert!(findings.iter().any(|finding| finding.starts_with("image-alt: ")), "{findings:?}");
    page.look_as(Media { window: (360, 700), dark: false }).await;
    assert!(page.overflow().await > 0);

    let page = browser.page().await;
    page.forbid_script(true).await;
    page.open(&allowed).await;
    assert!(page.evaluate("window.canary").await.is_null(), "no script runs");
}
