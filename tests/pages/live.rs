//! What the pages do while somebody looks: parts that renew themselves, curves, keys, the word when the connection is
//! lost.

use serde_json::{Value, json};

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
    let headings = page.count("main h2").await;
    let before: u64 = page.text("#lag").await.trim().parse().unwrap();
    house.calls.publish_all("orders", &vec![json!({"body": "more"}); 40]).await;
    page.wait(
        "a larger lag",
        &format!("document.querySelector('#lag').textContent.trim() === '{}'", before + 40),
    )
    .await;
    let table = format!("document.querySelector('#topics td').textContent.trim() === '{}'", before + 40);
    page.wait("the table too", &table).await;
    // So does what stands beside a curve and in its table.
    let newest = "document.querySelector('figure.chart tbody time').dateTime";
    page.evaluate(&format!("window.newest = {newest}")).await;
    page.wait("a newer row below the curve", &format!("{newest} > window.newest")).await;
    // Only what renews itself is gathered anew; the rest stays.
    assert_eq!(page.count("main h2").await, headings);
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

/// The past of 50 groups is remembered. Another one that is behind is named all the same.
#[tokio::test(flavor = "multi_thread")]
async fn the_overview_names_who_is_behind_remembered_or_not() {
    let mut house = House::start().await;
    house.calls.expect(201, "PUT", "/v1/topics/orders", &json!({"queues": 1})).await;
    let subscribed = json!({"subscriptions": [{"topic": "orders"}]});
    let names: Vec<String> = (0..51).map(|number| format!("g{number:02}")).collect();
    for name in &names {
        house.calls.expect(201, "PUT", &format!("/v1/groups/{name}"), &subscribed).await;
    }
    house.calls.publish("orders", "paid").await;
    // Those that work have as much to tell as the last one, which came too late to be remembered.
    for name in &names[..50] {
        assert_eq!(house.calls.drain(name, 0).await, ["paid"]);
    }
    let began = std::time::Instant::now();
    loop {
        let text = String::from_utf8(house.get("/").await.body).unwrap();
        if text.contains("id=\"worst-g50\"") && text.matches("id=\"worst-g").count() == 1 {
            break;
        }
        assert!(began.elapsed().as_secs() < 60, "it never came");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let past = house.calls.expect(200, "GET", "/v1/history?group=g50", &json!(null)).await;
    assert_eq!(past["kept"], false, "the test shows nothing when its past is remembered");
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
    // Other colours, at once and from now on, and what was typed stays.
    page.fill("input[name=name]", "half typed").await;
    page.evaluate("document.activeElement.blur()").await;
    page.press("t", 84).await;
    page.wait("light", "document.documentElement.dataset.theme === 'light'").await;
    assert_eq!(page.evaluate("document.querySelector('input[name=name]').value").await, "half typed");
    page.wait(
        "it is remembered",
        "fetch('/').then((a) => a.text()).then((t) => t.includes('data-theme=\"light\"'))",
    )
    .await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_was_empty_fills_and_keeps_who_stands_in_it() {
    let mut house = House::start().await;
    let browser = Browser::start().await;
    let page = browser.page().await;
    at(&page, &house, "/topics").await;
    assert_eq!(page.count("main tbody tr").await, 0);
    page.evaluate("window.here = true").await;
    house.calls.expect(201, "PUT", "/v1/topics/middle", &json!({})).await;
    page.wait_for("#row-middle a").await;
    page.evaluate("document.querySelector('#row-middle a').focus()").await;
    // Another one comes above it: whoever stands on a topic stays on that topic.
    house.calls.expect(201, "PUT", "/v1/topics/above", &json!({})).await;
    page.wait_for("#row-above a").await;
    assert_eq!(page.evaluate("document.activeElement.getAttribute('href')").await, "/topics/middle");
    house.calls.expect(204, "DELETE", "/v1/topics/above", &Value::Null).await;
    page.wait("the row is gone", "!document.querySelector('#row-above')").await;
    assert_eq!(page.evaluate("document.activeElement.getAttribute('href')").await, "/topics/middle");
    assert_eq!(page.evaluate("window.here").await, true);
    page.assert_clean(&house.origin());
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_is_no_lost_connection() {
    let mut house = House::start().await;
    house.fill().await;
    let browser = Browser::start().await;
    let page = browser.page().await;
    at(&page, &house, "/groups/billing").await;
    house.calls.expect(204, "DELETE", "/v1/groups/billing?confirm=billing", &Value::Null).await;
    page.wait_for_text("#lost", "The broker answers with status 404").await;
    let text = page.text("#lost").await;
    assert!(text.contains(" UTC") && !text.contains('{'), "{text}");
    page.take_trouble();
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_one_letter_can_be_switched_off() {
    let house = House::start().await;
    let browser = Browser::start().await;
    let page = browser.page().await;
    at(&page, &house, "/").await;
    page.click("#show-keys").await;
    page.click("#keys-on").await;
    page.press("Escape", 27).await;
    for (key, code) in [("g", 71), ("t", 84), ("?", 191)] {
        page.press(key, code).await;
    }
    assert_eq!(page.evaluate("location.pathname").await, "/");
    assert_eq!(page.evaluate("document.querySelector('#keys').open").await, false);
    // It stays so on the next page, and can be switched on again.
    at(&page, &house, "/groups").await;
    assert_eq!(page.evaluate("document.querySelector('#keys-on').checked").await, false);
    page.click("#show-keys").await;
    page.click("#keys-on").await;
    page.press("Escape", 27).await;
    page.press("?", 191).await;
    page.wait_for("dialog#keys[open]").await;
    page.assert_clean(&house.origin());
    house.stop().await;
}
