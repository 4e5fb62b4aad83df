//! What the pages do while somebody looks: parts that renew themselves, curves, keys, the word when the connection is
//! lost.

use serde_json::json;

use crate::browser::{Browser, Page};
use crate::house::House;

async fn at(page: &Page, house: &House, path: &str) {
    page.open(&format!("{}{path}", house.origin())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_grow_on_the_page_without_a_reload_and_curves_are_drawn() {
    let mut house = House::start().await;
    let things = house.fill().await;
    let browser = Browser::start().await;
    let page = browser.page().await;
    at(&page, &house, "/groups/billing").await;
    page.wait_for("figure.chart canvas").await;
    // A reload would lose this, and a part that is swapped keeps who stands in it.
    page.evaluate("window.here = true; document.querySelector('#topics a').focus()").await;
    let before: u64 = page.text("#lag").await.trim().parse().unwrap();
    house.calls.publish_all("orders", &vec![json!({"body": "more"}); 40]).await;
    page.wait(
        "a larger lag",
        &format!("document.querySelector('#lag').textContent.trim() === '{}'", before + 40),
    )
    .await;
    page.wait("the table too", "document.querySelector('#topics td').textContent.trim() !== ''").await;
    assert_eq!(page.evaluate("window.here").await, true);
    assert_eq!(page.evaluate("document.activeElement.getAttribute('href')").await, "/topics/orders");
    // On the overview, the same.
    at(&page, &house, "/").await;
    page.wait_for("figure.chart canvas").await;
    page.wait("rates are known", "document.querySelector('.tiles dd').textContent !== '–'").await;
    // Six hours instead of ten minutes: the curves go with it, the tiles stay at now.
    page.follow("main nav a[href='/?window=6h']").await;
    page.wait_for("figure.chart canvas").await;
    assert_eq!(page.text("main nav a[aria-current]").await, "6 hours");
    let sources =
        "[...document.querySelectorAll('figure.chart')].every((it) => it.dataset.source.includes('=6h&'))";
    assert_eq!(page.evaluate(sources).await, true);
    page.wait("rates are known", "document.querySelector('.tiles dd').textContent !== '–'").await;
    page.assert_clean(&house.origin());
    drop(things);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_script_curves_are_lines_of_the_server_and_tables() {
    let mut house = House::start().await;
    house.fill().await;
    let browser = Browser::start().await;
    let page = browser.page().await;
    page.forbid_script(true).await;
    loop {
        at(&page, &house, "/groups/billing").await;
        if page.count("figure.chart svg path").await > 0 {
            break;
        }
    }
    let figures = page.count("figure.chart").await;
    assert_eq!(page.count("figure.chart details table").await, figures);
    assert!(page.count("figure.chart tbody tr").await >= figures);
    assert_eq!(page.count("canvas").await, 0);
    page.assert_clean(&house.origin());
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_lead_around() {
    let mut house = House::start().await;
    house.fill().await;
    let browser = Browser::start().await;
    let page = browser.page().await;
    let path =
        |wanted: &str| format!("location.pathname === '{wanted}' && document.readyState === 'complete'");
    at(&page, &house, "/").await;
    page.press("g", 71).await;
    page.press("t", 84).await;
    page.wait("the topics", &path("/topics")).await;
    page.press("j", 74).await;
    assert_eq!(page.evaluate("document.activeElement.getAttribute('href')").await, "/topics/orders");
    page.press("k", 75).await;
    assert_eq!(page.count("tr.at").await, 1);
    page.press("g", 71).await;
    page.press("g", 71).await;
    page.wait("the groups", &path("/groups")).await;
    page.press("?", 191).await;
    page.wait_for("dialog#keys[open]").await;
    page.press("Escape", 27).await;
    page.wait("no dialog", "!document.querySelector('dialog#keys').open").await;
    page.press("/", 191).await;
    assert_eq!(page.evaluate("document.activeElement.name").await, "q");
    // In a field, letters are letters.
    page.press("g", 71).await;
    page.press("t", 84).await;
    assert_eq!(page.evaluate("location.pathname").await, "/groups");
    page.assert_clean(&house.origin());
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_says_when_the_broker_does_not_answer() {
    let mut house = House::start().await;
    house.fill().await;
    let browser = Browser::start().await;
    let page = browser.page().await;
    at(&page, &house, "/topics").await;
    assert_eq!(page.evaluate("document.querySelector('#lost').hidden").await, true);
    page.assert_clean(&house.origin());
    house.stop().await;
    page.wait("the word", "!document.querySelector('#lost').hidden").await;
    let text = page.text("#lost").await;
    assert!(text.starts_with("No connection to the broker.") && !text.contains("{0}"), "{text}");
    page.take_trouble();
}
