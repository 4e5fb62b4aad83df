//! An incident from its first sign to its end, as the person on call lives it: in a real browser, without a reload.

use serde_json::{Value, json};

use crate::browser::{Browser, Page};
use crate::house::House;
use crate::receiver::{Receiver, SECRET};

/// Watches every second, and may tell a receiver on this host.
const WATCHING: [&str; 2] = ["--alert-interval=1s", "--webhook-allow=127.0.0.1"];

/// Fills the form for settings in as JSON, looks at what would change, and saves it.
async fn put_settings(page: &Page, form: &str, settings: &Value) {
    page.fill(&format!("{form} textarea"), &settings.to_string()).await;
    page.follow(&format!("{form} button[value=review]")).await;
    page.wait_for("#diff").await;
    page.follow(&format!("{form} button[value=save]")).await;
    page.wait_for("main .notice.good").await;
}

/// The rule as JSON, with the patience it is to have.
fn rule(for_ms: u64) -> Value {
    json!({"metric": "lag_seconds", "op": ">", "threshold": 1, "for_ms": for_ms, "severity": "critical",
        "annotations": {"summary": "{{ group }} is behind on {{ topic }}"}})
}

/// The same with an hour's patience, field by field.
async fn make_rule(page: &Page) {
    page.choose("#rule select[name=metric]", "lag_seconds").await;
    page.choose("#rule select[name=severity]", "critical").await;
    page.fill("#rule input[name=summary]", "{{ group }} is behind on {{ topic }}").await;
    page.fill("#rule input[name=for]", "1h").await;
    page.fill("#rule input[name=threshold]", "soon").await;
    page.follow("#rule button[value=review]").await;
    page.wait_for_text("main [role=alert]", "threshold").await;
    page.take_trouble();
    page.fill("#rule input[name=threshold]", "1").await;
    page.follow("#rule button[value=review]").await;
    page.wait_for_text("#preview", "0 times").await;
    page.wait_for_text("#preview", "of the 1 objects").await;
    page.wait_for_text("#diff", "for_ms").await;
    page.follow("#rule button[value=save]").await;
    page.wait_for_text("main [role=status]", "Done").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_stops_and_everybody_hears_of_it_and_of_its_end() {
    let (mut house, ops) = (House::start_with(&WATCHING).await, Receiver::start());
    let browser = Browser::start().await;
    let (page, watch) = (browser.page().await, browser.page().await);
    let origin = house.origin();
    let group = json!({"subscriptions": [{"topic": "orders"}]});
    house.calls.expect(201, "PUT", "/v1/topics/orders", &json!({"queues": 1})).await;
    house.calls.expect(201, "PUT", "/v1/groups/billing", &group).await;

    // Who is told, along which route, by which rule: all set on the pages.
    page.open(&format!("{origin}/alerts/receivers")).await;
    for (field, text) in [("name", "ops"), ("url", ops.url().as_str()), ("secret", SECRET)] {
        page.fill(&format!("#receiver input[name={field}]"), text).await;
    }
    page.follow("#receiver button.main").await;
    page.wait_for_text("main table", "ops").await;
    page.follow("main table form button").await;
    page.wait_for_text("#tested", "arrived").await;
    ops.wait_for(1);
    // Of this trouble alone: the rules that come with the broker see the dead letter as well.
    let route = json!({"receiver": "ops", "match": [{"name": "alertname", "value": "Behind"}],
        "group_wait_ms": 0, "group_interval_ms": 1_000});
    put_settings(&page, "form[action='/alerts/routing']", &json!({"routes": [route]})).await;
    page.open(&format!("{origin}/alerts/rules/Behind")).await;
    make_rule(&page).await;

    // A worker takes messages and goes silent: the lag grows on the page by itself.
    watch.open(&format!("{origin}/groups/billing")).await;
    watch.evaluate("window.sameDocument = true").await;
    for number in 0..3 {
        house.calls.publish("orders", &format!("order {number}")).await;
    }
    let taken = house.calls.receive("billing", 10, 20_000).await;
    watch.wait_for_text("#lag", "3").await;
    assert_eq!(watch.evaluate("window.sameDocument").await, true, "without a reload");

    // Pending, then firing, on the page of alerts, again without a reload.
    watch.open(&format!("{origin}/alerts")).await;
    watch.evaluate("window.sameDocument = true").await;
    watch.wait_for("#states .badge.wait").await;
    assert_eq!(ops.got().len(), 1, "what is pending is nobody's trouble yet");
    page.open(&format!("{origin}/alerts/rules/Behind")).await;
    page.evaluate("document.querySelector('details:has(#settings)').open = true").await;
    put_settings(&page, "#settings", &rule(0)).await;
    watch.wait_for("#states .badge.alarm").await;
    watch.wait_for_text("#states", "billing is behind on orders").await;
    assert_eq!(watch.evaluate("window.sameDocument").await, true, "without a reload");
    let told = ops.wait_for(2).remove(1);
    told.check_signature();
    let body = told.json();
    assert_eq!((&body["status"], body["alerts"].as_array().unwrap().len()), (&json!("firing"), 1), "{body}");

    // One message is beyond help: it becomes a dead letter, is looked at, and sent back from the page.
    let dead = json!({"receipts": [taken[0]["receipt"]], "reason": "cannot be parsed"});
    house.calls.expect(200, "POST", "/v1/groups/billing/dead-letter", &dead).await;
    page.open(&format!("{origin}/dead-letters/billing")).await;
    page.follow(&format!("a[href='/dead-letters/billing/{}']", taken[0]["id"].as_str().unwrap())).await;
    page.wait_for_text("main", "cannot be parsed").await;
    assert_eq!(page.text("pre.payload").await.trim(), "order 0");
    page.follow("#redrive button.main").await;
    page.wait_for_text("main", "1 redriven").await;

    // The worker is back.
    let again = house.calls.receive("billing", 10, 20_000).await;
    assert_eq!(again.len(), 1, "{again:?}");
    for messages in [&again[..], &taken[1..]] {
        assert!(house.calls.ack("billing", messages).await.iter().all(|status| status == "ok"));
    }
    watch.wait_for("#states .badge.good").await;
    let over = ops.wait_for(3).remove(2);
    over.check_signature();
    assert_eq!(over.json()["status"], "resolved");
    page.open(&format!("{origin}/alerts/deliveries")).await;
    page.wait_for_text("#deliveries", "heard").await;
    assert_eq!(page.count("#deliveries .badge.good").await, 2, "both arrived");
    page.assert_clean(&origin);
    watch.assert_clean(&origin);
    house.stop().await;
}
