//! Pictures of every page, to look at: `make screenshots` writes them to `target/screenshots/`, light, dark and as on a
//! phone. It judges nothing; people do.

use std::path::Path;

use serde_json::json;

use crate::browser::{Browser, Media};
use crate::house::House;

/// The name of a picture: the address with what no file name takes left out.
fn name_of(path: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let name: String = path.chars().map(plain).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "overview".to_owned() } else { name.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes pictures"]
async fn every_page_in_light_dark_and_on_a_phone() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    let browser = Browser::start().await;
    // A broker at which somebody looks for the first time.
    let first = House::start().await;
    let page = browser.page().await;
    page.open(&format!("{}/", first.origin())).await;
    page.screenshot(&folder.join("empty-light.png")).await;
    first.stop().await;

    let mut house = House::start().await;
    let things = house.fill().await;
    for (name, topics) in [("shipping", vec!["orders", "parcels"]), ("search-index", vec!["products"])] {
        let subscriptions: Vec<_> = topics.iter().map(|topic| json!({"topic": topic})).collect();
        house
            .calls
            .expect(201, "PUT", &format!("/v1/groups/{name}"), &json!({"subscriptions": subscriptions}))
            .await;
    }
    // Half a minute of life, so that there are curves.
    for second in 0..30_u64 {
        let count = usize::try_from(20 + 15 * (second % 7)).unwrap();
        for topic in ["orders", "parcels", "products"] {
            house
                .calls
                .publish_all(topic, &vec![json!({"body": "{\"total\": 12.5}", "tag": "eu"}); count])
                .await;
        }
        let taken = house.calls.receive("shipping", 60, 1_000).await;
        house.calls.ack("shipping", &taken).await;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    let mut pages = things.pages();
    pages.push("/groups/shipping".to_owned());
    pages.push("/?lang=zh".to_owned());
    pages.push("/groups/billing?lang=zh".to_owned());
    pages.push("/?lang=en".to_owned());
    for path in pages {
        let page = browser.page().await;
        for (media, look) in [(Media::LIGHT, "light"), (Media::DARK, "dark"), (Media::PHONE, "phone")] {
            page.look_as(media).await;
            page.open(&format!("{}{path}", house.origin())).await;
            if page.count("figure.chart").await > 0 {
                page.wait_for("figure.chart canvas").await;
            }
            page.screenshot(&folder.join(format!("{}-{look}.png", name_of(&path)))).await;
        }
    }
    println!("{}", folder.display());
    house.stop().await;
}
