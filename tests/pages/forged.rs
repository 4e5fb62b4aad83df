//! Forms that were not sent from a page of ours change nothing.

use std::path::Path;

use serde_json::Value;

use crate::browser::Browser;
use crate::house::House;

const PURGE: &str = "/dead-letters/billing/purge";
const TYPE: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// Cookie and token of a page.
async fn given(house: &mut House, path: &str) -> (String, String) {
    let answer = house.get(path).await;
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let html = answer.text();
    let token = html.split("name=\"token\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    (cookie, token)
}

/// The address of every form, out of the routes as they stand in the source: one that is added is tried as well. Any name
/// of the right kind does, because a form is refused before anybody looks for what it is about.
fn takers_of_forms(folder: &Path, message: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(takers_of_forms(&path, message));
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        for route in source.split(".route(\"").skip(1) {
            let (pattern, handlers) = route.split_once('"').unwrap();
            if handlers.lines().next().unwrap_or_default().contains("post(") {
                let id = match pattern {
                    _ if pattern.starts_with("/scheduled") => message,
                    _ if pattern.starts_with("/clients") => "000000000007",
                    _ => "7",
                };
                found.push(pattern.replace("{id}", id).split('/').map(named).collect::<Vec<_>>().join("/"));
            }
        }
    }
    found
}

fn named(part: &str) -> &str {
    if part.starts_with('{') { "billing" } else { part }
}

async fn letters(house: &mut House) -> usize {
    let listed = house.calls.expect(200, "GET", "/v1/groups/billing/dead-letters", &Value::Null).await;
    listed["dead_letters"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_without_our_token_cookie_or_origin_is_refused() {
    let mut house = House::start().await;
    let things = house.fill().await;
    let (cookie, token) = given(&mut house, "/dead-letters/billing").await;
    let own = house.origin();
    let good = format!("token={token}&confirm=billing");
    let good = good.as_str();
    let cookie = ("cookie", cookie.as_str());
    let other_port = own.replace(&house.address().port().to_string(), "9");
    let forged = [
        ("no cookie", vec![TYPE], good),
        ("no token", vec![TYPE, cookie], "confirm=billing"),
        ("an empty token", vec![TYPE, cookie], "token=&confirm=billing"),
        ("another token", vec![TYPE, cookie], "token=00000000000000000000000000000000&confirm=billing"),
        ("another cookie", vec![TYPE, ("cookie", "whimbrel_form=00000000000000000000000000000000")], good),
        ("Origin: null", vec![TYPE, cookie, ("origin", "null")], good),
        ("another origin", vec![TYPE, cookie, ("origin", "http://evil.example")], good),
        ("another port", vec![TYPE, cookie, ("origin", other_port.as_str())], good),
        ("another site", vec![TYPE, cookie, ("sec-fetch-site", "cross-site")], good),
        ("another port, said so", vec![TYPE, cookie, ("sec-fetch-site", "same-site")], good),
    ];
    for (what, headers, body) in &forged {
        let answer = house.calls.0.call("POST", PURGE, headers, body.as_bytes()).await.unwrap();
        assert_eq!(answer.status, 403, "{what}: {}", answer.text());
    }
    // Every form of every page, with a token of nobody.
    let targets =
        takers_of_forms(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/dashboard")), &things.scheduled);
    assert!(targets.len() >= 25 && targets.contains(&PURGE.to_owned()), "{targets:?}");
    for target in &targets {
        let answer = house.calls.0.call("POST", target, &[TYPE, cookie], b"token=x").await.unwrap();
        assert_eq!(answer.status, 403, "{target}");
        let answer = house.calls.0.call("POST", target, &[cookie], good.as_bytes()).await.unwrap();
        assert_eq!(answer.status, 415, "{target}: a form says that it is one");
        let large = vec![b'a'; (1 << 20) + 1];
        let answer = house.calls.0.call("POST", target, &[TYPE, cookie], &large).await.unwrap();
        assert_eq!(answer.status, 413, "{target}");
    }
    // Whoever opens such an address comes to a page, not to an empty answer.
    for target in &targets {
        let mut answer = house.get(target).await;
        if let Some(page) = answer.header("location").map(str::to_owned) {
            answer = house.get(&page).await;
        }
        assert!(answer.text().contains("<main"), "{target}: {} {}", answer.status, answer.text());
    }
    assert_eq!(letters(&mut house).await, 1, "nothing was thrown away");
    // Somebody had the page open while the broker was started again.
    let mut house = house.restart().await;
    let own = house.origin();
    let honest = [TYPE, cookie, ("origin", own.as_str()), ("sec-fetch-site", "same-origin")];
    let answer = house.calls.0.call("POST", PURGE, &honest, good.as_bytes()).await.unwrap();
    assert_eq!((answer.status, answer.header("location")), (303, Some("/dead-letters/billing?purged=1")));
    assert_eq!(letters(&mut house).await, 0);
    house.stop().await;
}

/// A page of somebody else posts our form from the same browser, on another port of the same machine: the same site,
/// whose cookies it sends along.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_somebody_else_cannot_send_our_forms_from_a_browser() {
    let mut house = House::start().await;
    let things = house.fill().await;
    drop(things.socket);
    let browser = Browser::start().await;
    let page = browser.page().await;
    page.open(&format!("{}/dead-letters/billing", house.origin())).await;
    let token = page.evaluate("document.querySelector('input[name=token]').value").await;
    // The worst case: it even knows the token.
    let html = format!(
        "<!doctype html><title>evil</title><form method=post action='{}{PURGE}'><input name=token value='{}'>\
         <input name=confirm value=billing><button>Win</button></form>",
        house.origin(),
        token.as_str().unwrap()
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let evil = format!("http://{}", listener.local_addr().unwrap());
    let app =
        axum::Router::new().route("/", axum::routing::get(move || async move { axum::response::Html(html) }));
    tokio::spawn(async move { axum::serve(listener, app).await });
    page.open(&evil).await;
    page.follow("button").await;
    page.wait_for_text("body", "foreign").await;
    assert_eq!(letters(&mut house).await, 1);
    // From our own page the same browser may.
    page.open(&format!("{}/dead-letters/billing", house.origin())).await;
    page.click("#purge summary").await;
    page.fill("input[name=confirm]", "billing").await;
    page.follow("#purge button").await;
    page.wait_for_text("main", "1 thrown away").await;
    assert_eq!(letters(&mut house).await, 0);
    house.stop().await;
}
