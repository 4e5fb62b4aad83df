//! What people do on the pages, by clicking.

use serde_json::{Value, json};

use crate::browser::{Browser, Page};
use crate::house::House;

async fn at(page: &Page, house: &House, path: &str) {
    page.open(&format!("{}{path}", house.origin())).await;
}

/// Runs `what` once with script and once without: every page works without.
macro_rules! with_and_without_script {
    ($what:ident) => {
        let browser = Browser::start().await;
        for forbidden in [false, true] {
            let mut house = House::start().await;
            let things = house.fill().await;
            let page = browser.page().await;
            page.forbid_script(forbidden).await;
            $what(&page, &mut house, &things).await;
            page.assert_clean(&house.origin());
            house.stop().await;
        }
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_found_kept_under_a_name_and_sent_again() {
    async fn does(page: &Page, house: &mut House, _: &crate::house::Things) {
        house
            .calls
            .publish_all("orders", &[json!({"body": "find me", "keys": ["k 1&2"], "tag": "eu"})])
            .await;
        at(page, house, "/messages").await;
        page.fill("input[name=topic]", "orders").await;
        page.fill("input[name=key]", "k 1&2").await;
        page.follow("#search button").await;
        page.wait_for_text("main", "1 found").await;
        assert_eq!(page.count("tbody tr").await, 1);
        page.fill("input[name=name]", "the <one>").await;
        page.follow("#keep button").await;
        at(page, house, "/messages").await;
        assert_eq!(page.text("#saved a").await, "the <one>");
        page.follow("#saved a").await;
        page.wait_for_text("main", "1 found").await;
        page.follow("tbody th a").await;
        page.wait_for_text("h1", "Message").await;
        assert_eq!(page.text("pre.payload").await.trim(), "find me");
        page.follow("a[href^='/send?from=']").await;
        page.fill("textarea[name=body]", "edited\nin two lines").await;
        page.follow("#send button.main").await;
        page.wait_for_text("[role=status]", "Done").await;
        assert_eq!(page.text("pre.payload").await.trim(), "edited\nin two lines");
        let found =
            house.calls.expect(200, "GET", "/v1/topics/orders/messages?key=k%201%262", &Value::Null).await;
        assert_eq!(found["messages"][0]["body"], "edited\nin two lines");
        assert_eq!(
            (&found["messages"][0]["tag"], &found["messages"][1]["body"]),
            (&json!("eu"), &json!("find me"))
        );
        // One that is longer than a cookie is told, and takes none of the others with it.
        at(page, house, &format!("/messages?topic=orders&contains={}", "%C3%A9".repeat(500))).await;
        page.fill("input[name=name]", "too long").await;
        page.follow("#keep button").await;
        page.wait_for_text("main [role=alert]", "it was not kept").await;
        page.take_trouble();
        at(page, house, "/messages").await;
        assert_eq!(page.count("#saved li").await, 1);
        page.follow("button[aria-label='Forget the <one>']").await;
        assert_eq!(page.count("#saved").await, 0);
    }
    with_and_without_script!(does);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_inspected_counted_and_redriven() {
    async fn does(page: &Page, house: &mut House, things: &crate::house::Things) {
        let odd = house.letter("second", "db <down>").await;
        at(page, house, "/dead-letters").await;
        page.follow("tbody a").await;
        page.wait_for_text("#kinds", "What they died of").await;
        assert_eq!(page.count("main table tbody tr").await, 4, "two kinds, two letters");
        // One of a kind, inspected and sent back.
        page.fill("input[name=words]", "db <down>").await;
        page.follow("#filter button").await;
        page.follow(&format!("a[href='/dead-letters/billing/{odd}']")).await;
        page.wait_for_text("main", "db <down>").await;
        assert_eq!(page.text("pre.payload").await.trim(), "second");
        page.follow("#redrive button.main").await;
        page.wait_for_text("main", "1 redriven").await;
        let back = house.calls.receive("billing", 10, 20_000).await;
        assert!(
            back.iter().any(|message| message["id"] == odd.as_str() && message["round"] == 2),
            "{back:?}"
        );
        // The other one, chosen; first only counted.
        house.calls.expect(201, "PUT", "/v1/topics/elsewhere", &json!({})).await;
        let choose = format!("input[value='{}']", things.letter);
        page.follow("fieldset button[value=redrive]").await;
        page.wait_for_text("main [role=alert]", "choose at least one").await;
        let refused = page.take_trouble();
        assert!(refused.iter().all(|line| line.contains("422")), "{refused:?}");
        page.click(&choose).await;
        page.fill("input[name=rate]", "7").await;
        page.click("input[name=where][value=on]").await;
        page.fill("input[name=target]", "elsewhere").await;
        page.follow("button[value=dry_run]").await;
        page.wait_for_text("main", "1 would be redriven").await;
        // What was counted is what will be redriven: nothing has to be chosen again.
        let chosen = "[...document.querySelectorAll('#redrive input:checked, #redrive input[name=rate], \
                      #redrive input[name=target]')].map(input => input.value).join()";
        let kept = format!("{},selected,on,elsewhere,7", things.letter);
        assert_eq!(page.evaluate(chosen).await, kept.as_str());
        page.click("input[name=where][value=back]").await;
        page.follow("fieldset button[value=redrive]").await;
        page.wait_for_text("main", "1 redriven").await;
        // All that fit, as a job; their kind is found by its words, though they span lines.
        for number in 0..3 {
            house.letter(&format!("{number}"), "again\nand again").await;
        }
        at(page, house, "/dead-letters/billing").await;
        page.follow("#kinds + div tbody a").await;
        page.wait_for_text("#letters", "Those that fit").await;
        page.click("input[name=which][value=all]").await;
        page.follow("fieldset button[value=redrive]").await;
        page.wait_for_text("h1", "Redrive of billing").await;
        let job = page.evaluate("location.pathname").await.as_str().unwrap().to_owned();
        loop {
            let state = house.calls.expect(200, "GET", &format!("/v1{job}"), &Value::Null).await;
            if state["state"] != "running" {
                assert_eq!((&state["state"], &state["moved"]), (&json!("done"), &json!(3)), "{state}");
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        at(page, house, &job).await;
        page.wait_for_text("#job-state", "done").await;
    }
    with_and_without_script!(does);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_undone_asks_for_the_name() {
    async fn does(page: &Page, house: &mut House, things: &crate::house::Things) {
        at(page, house, "/dead-letters/billing").await;
        page.click("#purge summary").await;
        page.fill("input[name=confirm]", "billin").await;
        page.follow("#purge button.danger").await;
        page.wait_for_text("main [role=alert]", "not billing").await;
        at(page, house, &format!("/messages/{}", things.scheduled)).await;
        page.follow("a[href$='/cancel']").await;
        page.fill("input[name=confirm]", "order").await;
        page.follow("button.danger").await;
        page.wait_for_text("main [role=alert]", "not orders").await;
        let refused = page.take_trouble();
        assert!(refused.iter().all(|line| line.contains("422")), "{refused:?}");
        let topic = house.calls.expect(200, "GET", "/v1/topics/orders", &Value::Null).await;
        assert_eq!(topic["scheduled"], 1, "nothing was taken back");
        page.fill("input[name=confirm]", "orders").await;
        page.follow("button.danger").await;
        page.wait_for_text("[role=status]", "Done").await;
        let topic = house.calls.expect(200, "GET", "/v1/topics/orders", &Value::Null).await;
        assert_eq!(topic["scheduled"], 0);
    }
    with_and_without_script!(does);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_sent_away() {
    async fn does(page: &Page, house: &mut House, _: &crate::house::Things) {
        at(page, house, "/clients?group=billing").await;
        page.follow("form[action$='/disconnect'] button").await;
        let gone = async {
            loop {
                let listed = house.calls.expect(200, "GET", "/v1/clients", &Value::Null).await;
                if listed["clients"].as_array().unwrap().iter().all(|client| client["kind"] == "http") {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), gone).await.unwrap();
    }
    with_and_without_script!(does);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_shows_what_comes_rests_and_goes_on_without_a_loss() {
    let mut house = House::start().await;
    house.calls.publish("orders", "before").await;
    let browser = Browser::start().await;
    let page = browser.page().await;
    at(&page, &house, "/messages/tail?topic=orders").await;
    page.wait_for_text("#tail-state", "live").await;
    house.calls.publish("orders", "first").await;
    page.wait_for_text("#tail-rows", "first").await;
    page.click("#tail-pause").await;
    page.wait_for_text("#tail-state", "paused").await;
    house.calls.publish("orders", "meanwhile").await;
    page.click("#tail-resume").await;
    page.wait_for_text("#tail-rows", "meanwhile").await;
    house.calls.publish("orders", "last").await;
    page.wait_for_text("#tail-rows", "last").await;
    let bodies = "[...document.querySelectorAll('#tail-rows .preview')].map(cell => cell.textContent).join()";
    assert_eq!(page.evaluate(bodies).await, "last,meanwhile,first", "each once, the newest first");
    page.assert_clean(&house.origin());
    house.stop().await;
}
