//! Topics and groups are made, changed, moved and deleted on their pages, with script and without.

use serde_json::{Value, json};

use crate::browser::{Browser, Page};
use crate::house::House;

async fn at(page: &Page, house: &House, path: &str) {
    page.open(&format!("{}{path}", house.origin())).await;
}

async fn setting(house: &mut House, path: &str, name: &str) -> Value {
    house.calls.expect(200, "GET", path, &Value::Null).await[name].clone()
}

/// Waits for what went wrong, and takes the refusal that the browser tells of: the status says so too.
async fn refused(page: &Page, text: &str) {
    page.wait_for_text("main [role=alert]", text).await;
    page.take_trouble();
}

async fn a_topic(page: &Page, house: &mut House) {
    at(page, house, "/topics").await;
    page.fill("input[name=name]", "parcels").await;
    page.follow("main form button.main").await;
    page.wait_for_text("h1", "parcels").await;
    // A field for each setting; what would change is told first, and only then it can be saved.
    assert_eq!(page.count("#fields button[value=save]").await, 0);
    page.fill("#fields input[name=max_age_ms]", "2d12h").await;
    page.fill("#fields input[name=queues]", "5 or so").await;
    page.follow("#fields button[value=review]").await;
    refused(page, "queues: invalid digit").await;
    assert_eq!(page.evaluate("document.querySelector('#fields [name=max_age_ms]').value").await, "2d12h");
    page.fill("#fields input[name=queues]", "4").await;
    page.follow("#fields button[value=review]").await;
    page.wait_for_text("#diff", "216000000").await;
    page.follow("#fields button[value=save]").await;
    page.wait_for_text("main > [role=status]", "Done").await;
    assert_eq!(setting(house, "/v1/topics/parcels", "max_age_ms").await, 216_000_000);
    // The same as JSON.
    page.click("#fields + details summary").await;
    page.fill("#settings textarea", r#"{"queues": 8}"#).await;
    page.follow("#settings button[value=review]").await;
    page.wait_for_text("#diff", "queues").await;
    page.wait_for_text("main > [role=status]", "Nothing is changed yet").await;
    assert_eq!(page.count("main > [role=status] a[href='#diff']").await, 1);
    assert_eq!(setting(house, "/v1/topics/parcels", "queues").await, 4);
    // What is edited after that is shown again, and not saved unseen.
    page.fill("#settings textarea", r#"{"queues": 9}"#).await;
    page.follow("#settings button[value=save]").await;
    page.wait_for_text("#settings [role=status]", "edited after it was shown").await;
    assert!(page.text("#diff").await.contains('9'));
    assert_eq!(setting(house, "/v1/topics/parcels", "queues").await, 4);
    page.fill("#settings textarea", r#"{"queues": 8}"#).await;
    page.follow("#settings button[value=review]").await;
    page.wait_for_text("#diff", "8").await;
    // Meanwhile somebody else changes it.
    house.calls.expect(200, "PATCH", "/v1/topics/parcels", &json!({"queues": 6})).await;
    page.follow("#settings button[value=save]").await;
    refused(page, "was changed meanwhile").await;
    assert_eq!(setting(house, "/v1/topics/parcels", "queues").await, 6);
    assert!(page.text("#diff td").await.contains('6'), "compared with what stands now");
    page.follow("#settings button[value=save]").await;
    page.wait_for_text("[role=status]", "Done").await;
    assert_eq!(setting(house, "/v1/topics/parcels", "queues").await, 8);
    // What the broker refuses stays in the form.
    page.click("#fields + details summary").await;
    page.fill("#settings textarea", r#"{"queues": 0}"#).await;
    page.follow("#settings button[value=review]").await;
    refused(page, "must be 1 to 256").await;
    assert_eq!(page.evaluate("document.querySelector('#settings textarea').value").await, r#"{"queues": 0}"#);
    // It goes away only by its name.
    page.fill("input[name=confirm]", "parcel").await;
    page.follow("form.danger button").await;
    refused(page, "is not parcels").await;
    page.fill("input[name=confirm]", "parcels").await;
    page.follow("form.danger button").await;
    page.wait_for_text("h1", "Topics").await;
    house.calls.expect(404, "GET", "/v1/topics/parcels", &Value::Null).await;
}

async fn a_group(page: &Page, house: &mut House) {
    at(page, house, "/groups").await;
    page.fill("input[name=name]", "shipping").await;
    page.fill("input[name=topic]", "orders").await;
    page.follow("main form button.main").await;
    page.wait_for_text("h1", "shipping").await;
    page.follow("#pause").await;
    page.wait_for_text("h1", "paused").await;
    assert_eq!(setting(house, "/v1/groups/shipping", "paused").await, true);
    page.wait_for_text("#explain", "paused").await;
    page.follow("#pause").await;
    page.wait_for_text("[role=status]", "Done").await;
    assert_eq!(setting(house, "/v1/groups/shipping", "paused").await, false);
    page.fill("#fields textarea", "orders tag: eu || us\nparcels").await;
    page.fill("#fields input[name=retry]", "1s 5s").await;
    page.fill("#fields input[name=lane_batch]", "2").await;
    page.follow("#fields button[value=review]").await;
    refused(page, "above 1 needs an ordered group").await;
    page.fill("#fields textarea", "orders").await;
    page.fill("#fields input[name=lane_batch]", "1").await;
    page.follow("#fields button[value=review]").await;
    page.wait_for_text("#diff", "retry").await;
    page.follow("#fields button[value=save]").await;
    page.wait_for_text("main > [role=status]", "Done").await;
    let retry = setting(house, "/v1/groups/shipping", "retry").await;
    assert_eq!(retry, json!({"kind": "table", "steps_ms": [1000, 5000]}));
    // Looked at before it moves.
    let lag = |group: &Value| group[0]["lag"].as_u64().unwrap();
    let before = lag(&setting(house, "/v1/groups/shipping", "topics").await);
    assert!(before > 0 && page.count("#seek button.danger").await == 0);
    page.choose("#seek select[name=to]", "latest").await;
    page.follow("#seek button[value=look]").await;
    page.wait_for_text("#would", &before.to_string()).await;
    page.choose("#seek select[name=to]", "earliest").await;
    page.follow("#seek button[value=seek]").await;
    page.wait_for_text("#seek [role=status]", "edited after it was shown").await;
    page.choose("#seek select[name=to]", "latest").await;
    page.follow("#seek button[value=look]").await;
    page.wait_for_text("#would", &before.to_string()).await;
    assert_eq!(lag(&setting(house, "/v1/groups/shipping", "topics").await), before, "only looked");
    page.follow("#seek button[value=seek]").await;
    page.wait_for_text("[role=status]", "Done").await;
    assert_eq!(lag(&setting(house, "/v1/groups/shipping", "topics").await), 0);
    page.fill("input[name=confirm]", "shipping").await;
    page.follow("form.danger button").await;
    page.wait_for_text("h1", "Groups").await;
    house.calls.expect(404, "GET", "/v1/groups/shipping", &Value::Null).await;
    // The search leads to what has this very name.
    page.fill("input[type=search]", "billing").await;
    page.evaluate("document.querySelector('form.search').requestSubmit()").await;
    page.wait_for_text("h1", "billing").await;
}

async fn a_rule(page: &Page, house: &mut House) {
    const PATH: &str = "/v1/alerts/rules/GroupLag";
    at(page, house, "/alerts/rules/GroupLag").await;
    let before = setting(house, PATH, "annotations").await;
    page.fill("#rule input[name=threshold]", "700").await;
    page.follow("#rule button[value=review]").await;
    page.wait_for_text("#diff", "threshold").await;
    // Meanwhile somebody else changes it.
    let theirs = json!({"metric": "lag_seconds", "threshold": 650, "annotations": before});
    house.calls.expect(200, "PUT", PATH, &theirs).await;
    page.follow("#rule button[value=save]").await;
    refused(page, "was changed meanwhile").await;
    assert!(page.text("#diff").await.contains("650"), "compared with what stands now");
    page.follow("#rule button[value=save]").await;
    page.wait_for_text("main [role=status]", "Done").await;
    assert_eq!(setting(house, PATH, "threshold").await, 700);
    assert_eq!(setting(house, PATH, "annotations").await, before, "what has no field stays");
    // Deleted, the one that comes with the broker is back.
    page.fill("input[name=confirm]", "GroupLag").await;
    page.follow("form.danger button").await;
    page.wait_for_text("h1", "Rules").await;
    assert_eq!(setting(house, PATH, "origin").await, "built_in");
    // A new one as the page proposes it: everything of it is new.
    page.fill("form[action='/alerts/rule'] input[name=name]", "Mine").await;
    page.follow("form[action='/alerts/rule'] button").await;
    page.follow("#rule button[value=review]").await;
    page.wait_for_text("#diff", "threshold").await;
    page.follow("#rule button[value=save]").await;
    page.wait_for_text("main [role=status]", "Done").await;
    assert_eq!(setting(house, "/v1/alerts/rules/Mine", "threshold").await, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_groups_and_rules_are_made_changed_moved_and_deleted() {
    let browser = Browser::start().await;
    for forbidden in [false, true] {
        let mut house = House::start().await;
        house.fill().await;
        let page = browser.page().await;
        page.forbid_script(forbidden).await;
        a_topic(&page, &mut house).await;
        a_group(&page, &mut house).await;
        a_rule(&page, &mut house).await;
        page.assert_clean(&house.origin());
        house.stop().await;
    }
}
