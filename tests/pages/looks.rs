//! Every page, as people see it: nothing that keeps them out, nothing on the console, nothing from elsewhere, in light
//! and dark, on a phone, with and without script.

use crate::browser::{Browser, Media};
use crate::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_accessible_quiet_and_keeps_to_its_origin() {
    let mut house = House::start().await;
    let things = house.fill().await;
    let browser = Browser::start().await;
    let mut wrong = Vec::new();
    for path in things.pages() {
        let page = browser.page().await;
        let url = format!("{}{path}", house.origin());
        for media in [Media::LIGHT, Media::DARK, Media::PHONE] {
            page.look_as(media).await;
            page.open(&url).await;
            wrong.extend(page.axe().await.into_iter().map(|finding| format!("{path} {media:?}: {finding}")));
            let overflow = page.overflow().await;
            if overflow > 0 {
                wrong.push(format!("{path} {media:?}: wider than the window by {overflow}"));
            }
        }
        page.assert_clean(&house.origin());
    }
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
    house.stop().await;
}
