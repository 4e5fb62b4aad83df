//! What strangers write stays text: in every field that they can fill, and in every address that they can make somebody
//! open.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::browser::Browser;
use crate::house::{CANARY, House, SHORT, Things};

/// Pages that show what stands in their own address.
fn reflecting() -> Vec<String> {
    let canary = utf8_percent_encode(CANARY, NON_ALPHANUMERIC).to_string();
    let all = "key={}&tag={}&from={}&to={}&contains={}&cursor={}&reason={}&words={}&topic=orders";
    [
        "/?cursor={}&q={}".to_owned(),
        "/topics?cursor={}&name={}".to_owned(),
        "/topics/{}".to_owned(),
        "/topics/orders?groups_after={}".to_owned(),
        "/groups?cursor={}&name={}&topic={}".to_owned(),
        "/groups/{}".to_owned(),
        "/search?q={}".to_owned(),
        "/messages?topic={}".to_owned(),
        format!("/messages?{all}"),
        format!("/messages?{all}&unknown={{}}"),
        "/messages?topic=orders&key={}".to_owned(),
        "/messages?topic=orders&contains={}".to_owned(),
        "/messages/{}".to_owned(),
        "/messages/tail?topic=orders&tag={}".to_owned(),
        "/messages/tail?topic={}".to_owned(),
        "/send?topic={}&body={}&tag={}&keys={}&properties={}&ordering_key={}&content_type={}&delay={}"
            .to_owned(),
        "/send?group={}&letter={}".to_owned(),
        "/dead-letters?cursor={}".to_owned(),
        "/dead-letters/{}".to_owned(),
        "/dead-letters/billing?reason={}".to_owned(),
        "/dead-letters/billing?words={}&topic={}&tag={}&key={}".to_owned(),
        "/dead-letters/billing?moved={}&purged={}".to_owned(),
        "/dead-letters/billing/{}".to_owned(),
        "/scheduled?topic={}".to_owned(),
        "/scheduled/{}/cancel".to_owned(),
        "/jobs?cursor={}".to_owned(),
        "/jobs/{}".to_owned(),
        "/clients?group={}".to_owned(),
    ]
    .iter()
    .map(|address| address.replace("{}", &canary))
    .collect()
}

fn assert_harmless(path: &str, html: &str) {
    for markup in [CANARY, SHORT, "<img", "<script>", "onerror=\""] {
        // The mark of the page is an image of ours.
        let found =
            html.match_indices(markup).filter(|(at, _)| !html[*at..].starts_with("<img src=\"/static/"));
        let found: Vec<&str> = found.map(|(at, _)| &html[at..(at + 60).min(html.len())]).collect();
        assert!(found.is_empty(), "{path}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_holds_markup_of_a_stranger() {
    let mut house = House::start().await;
    let things = house.fill().await;
    let mut shown = 0;
    for path in things.pages() {
        let answer = house.get(&path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(answer.header("content-security-policy").unwrap().contains("script-src 'self'"), "{path}");
        let html = answer.text();
        assert_harmless(&path, &html);
        shown += html.matches("window.canary").count();
    }
    assert!(shown > 30, "the markup is shown as text, {shown} times");
    for path in reflecting() {
        let answer = house.get(&path).await;
        assert!((200..500).contains(&answer.status), "{path}: {}", answer.status);
        assert_harmless(&path, &answer.text());
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_stranger_runs_in_a_browser_even_without_the_policy() {
    let mut house = House::start().await;
    let things: Things = house.fill().await;
    let browser = Browser::start().await;
    let page = browser.page().await;
    page.ignore_policy().await;
    for path in things.pages().into_iter().chain(reflecting()) {
        page.open(&format!("{}{path}", house.origin())).await;
        assert!(page.evaluate("window.canary").await.is_null(), "{path}: the canary sings");
        assert_eq!(page.count("img:not([src^='/static/'])").await, 0, "{path}");
    }
    // What the script of the tail shows comes from the stream, not from the page.
    page.open(&format!("{}/messages/tail?topic=orders", house.origin())).await;
    page.wait_for_text("#tail-state", "live").await;
    let hostile = serde_json::json!({"body": format!("{CANARY}\u{202e}txt.exe"), "tag": SHORT});
    house.calls.publish_all("orders", &[hostile]).await;
    page.wait_for_text("#tail-rows", "window.canary").await;
    // What turns the direction of writing is written out, there too.
    page.wait_for_text("#tail-rows", "⟨U+202E⟩txt.exe").await;
    assert!(page.evaluate("window.canary").await.is_null());
    house.stop().await;
}
