//! Every way of searching against a plain list of what was stored.

use serde_json::{Value, json};

use crate::support::calls::Calls;
use crate::support::dice::{Dice, seed};
use crate::{launch, roomy};

/// Everything that a search finds, page after page; the messages, and how many entries were looked at.
async fn all(calls: &mut Calls, query: &str, limit: usize) -> (Vec<Value>, u64) {
    let (mut found, mut scanned, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let path = format!("/v1/topics/orders/messages?limit={limit}{query}{cursor}");
        let page = calls.expect(200, "GET", &path, &Value::Null).await;
        if page["index_complete"] == false {
            // The index goes live a moment after the node.
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            continue;
        }
        let messages = page["messages"].as_array().unwrap();
        assert!(messages.len() <= limit, "{page}");
        found.extend(messages.iter().cloned());
        scanned += page["scanned"].as_u64().unwrap();
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (found, scanned),
        }
    }
}

fn text<'a>(message: &'a Value, field: &str) -> &'a str {
    message[field].as_str().unwrap_or_default()
}

/// Newest first, as a search without a key has it.
fn newest_first(message: &Value) -> std::cmp::Reverse<(String, u64, u64)> {
    let number = |field: &str| message[field].as_u64().unwrap();
    std::cmp::Reverse((text(message, "accepted_at").to_owned(), number("queue"), number("offset")))
}

#[tokio::test]
async fn each_condition_and_all_together_find_what_a_plain_list_has() {
    let folder = tempfile::tempdir().unwrap();
    let broker = launch(folder.path()).start_or_fail();
    let mut calls = Calls::to(broker.address());
    calls.expect(201, "PUT", "/v1/topics/orders", &json!({"queues": 3})).await;
    let mut dice = Dice::new(seed(7), 1);
    for _ in 0..12 {
        let messages: Vec<Value> = (0..60)
            .map(|_| {
                let keys: Vec<String> = (0..dice.below(3)).map(|_| format!("k{}", dice.below(9))).collect();
                json!({"body": format!("body {}", dice.below(20)), "tag": format!("t{}", dice.below(4)), "keys": keys})
            })
            .collect();
        calls.publish_all("orders", &messages).await;
    }
    // A topic of its own beside it, with the same keys.
    calls.publish_all("others", &[json!({"body": "body 1", "tag": "t1", "keys": ["k1"]})]).await;

    let mut stored = Vec::new();
    for queue in 0..3 {
        let path = format!("/v1/topics/orders/queues/{queue}/messages?limit=1000");
        let page = calls.expect(200, "GET", &path, &Value::Null).await;
        stored.extend(page["messages"].as_array().unwrap().iter().cloned());
    }
    assert_eq!(stored.len(), 720);
    stored.sort_by_key(newest_first);
    let mut times: Vec<String> =
        stored.iter().map(|message| text(message, "accepted_at").to_owned()).collect();
    times.dedup();
    let (late, early) = (&times[times.len() / 4], &times[times.len() * 3 / 4]);
    let has_key =
        |message: &Value, key: &str| message["keys"].as_array().unwrap().iter().any(|own| own == key);
    type Holds<'a> = Box<dyn Fn(&Value) -> bool + 'a>;
    let conditions: [(String, Holds<'_>); 5] = [
        ("&key=k4".to_owned(), Box::new(|message| has_key(message, "k4"))),
        ("&tag=t1%7C%7Ct3".to_owned(), Box::new(|message| ["t1", "t3"].contains(&text(message, "tag")))),
        (format!("&from={early}"), Box::new(|message| text(message, "accepted_at") >= early.as_str())),
        (format!("&to={late}"), Box::new(|message| text(message, "accepted_at") < late.as_str())),
        ("&contains=ody+1".to_owned(), Box::new(|message| text(message, "body").contains("ody 1"))),
    ];
    for chosen in 0..1usize << conditions.len() {
        let is_chosen = |at: usize| chosen & (1 << at) != 0;
        let chosen: Vec<&(String, Holds<'_>)> = conditions
            .iter()
            .enumerate()
            .filter(|(at, _)| is_chosen(*at))
            .map(|(_, condition)| condition)
            .collect();
        let query: String = chosen.iter().map(|(query, _)| query.as_str()).collect();
        let mut expected: Vec<&Value> =
            stored.iter().filter(|message| chosen.iter().all(|(_, holds)| holds(message))).collect();
        if query.contains("key") {
            expected.sort_by_key(|message| std::cmp::Reverse(text(message, "id")));
        }
        for limit in [1_000, 17] {
            let (found, scanned) = all(&mut calls, &query, limit).await;
            assert!(
                found.iter().eq(expected.iter().copied()),
                "{query}, limit {limit}: {} of {}",
                found.len(),
                expected.len()
            );
            assert!(scanned >= found.len() as u64 && scanned <= 720, "{query}: {scanned}");
        }
    }
    let (none, scanned) = all(&mut calls, "&key=nobody", 10).await;
    assert_eq!((none.len(), scanned), (0, 0), "the index knows that there is none");
}

#[tokio::test]
async fn a_scheduled_message_is_found_by_its_key_before_and_after_it_is_due() {
    let folder = tempfile::tempdir().unwrap();
    let broker = launch(folder.path()).start_or_fail();
    let mut calls = Calls::to(broker.address());
    let later = [json!({"body": "later", "keys": ["k"], "delay_ms": 1_500})];
    let due = calls.publish_all("orders", &later).await.remove(0);
    assert_eq!(due["state"], "scheduled");
    let (found, _) = all(&mut calls, "&key=k", 10).await;
    assert_eq!((&found[0]["state"], &found[0]["offset"]), (&"scheduled".into(), &Value::Null));
    let deliver_at = text(&found[0], "deliver_at").to_owned();
    assert!(
        all(&mut calls, &format!("&key=k&to={deliver_at}"), 10).await.0.is_empty(),
        "it is not ready before"
    );
    assert!(all(&mut calls, "", 10).await.0.is_empty(), "it is in no queue yet");
    calls.expect(200, "POST", "/v1/groups/g/receive?topic=orders", &Value::Null).await;
    for query in [format!("&key=k&from={deliver_at}"), format!("&from={deliver_at}")] {
        let (found, _) = all(&mut calls, &query, 10).await;
        assert_eq!((&found[0]["id"], &found[0]["offset"]), (&due["id"], &0.into()), "{query}");
    }
}

#[tokio::test]
async fn one_call_reads_a_bounded_amount_and_says_where_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let broker = roomy(folder.path(), &[]).start_or_fail();
    let mut calls = Calls::to(broker.address());
    let large = "x".repeat(2 << 20);
    for _ in 0..20 {
        calls.publish("orders", &large).await;
    }
    all(&mut calls, "&key=none", 1).await;
    let (mut scanned, mut calls_made, mut cursor) = (0, 0, String::new());
    loop {
        let path = format!("/v1/topics/orders/messages?contains=y{cursor}");
        let page = calls.expect(200, "GET", &path, &Value::Null).await;
        let looked_at = page["scanned"].as_u64().unwrap();
        assert!(looked_at <= 16, "{looked_at} messages of 2 MiB in one call");
        assert_eq!(page["messages"], json!([]));
        assert_eq!(page["truncated"], !page["next_cursor"].is_null(), "{page}");
        (scanned, calls_made) = (scanned + looked_at, calls_made + 1);
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert!(scanned == 20 && calls_made >= 2, "{scanned} in {calls_made} calls");
    // What is found makes a page of at most 8 MiB of bodies and one more.
    let page = calls.expect(200, "GET", "/v1/topics/orders/messages", &Value::Null).await;
    assert_eq!(page["messages"].as_array().unwrap().len(), 5);
    assert_eq!((&page["truncated"], page["next_cursor"].is_string()), (&false.into(), true));
}

#[tokio::test]
async fn a_topic_that_is_made_again_has_none_of_the_old_messages() {
    let folder = tempfile::tempdir().unwrap();
    let broker = launch(folder.path()).start_or_fail();
    let mut calls = Calls::to(broker.address());
    calls.publish_all("orders", &[json!({"body": "old", "keys": ["k"]})]).await;
    assert_eq!(calls.call("DELETE", "/v1/topics/orders?confirm=orders", b"").await.status, 204);
    calls.expect(404, "GET", "/v1/topics/orders/messages?key=k", &Value::Null).await;
    calls.publish_all("orders", &[json!({"body": "new", "keys": ["k"]})]).await;
    for query in ["&key=k", ""] {
        let (found, _) = all(&mut calls, query, 10).await;
        assert_eq!((found.len(), &found[0]["body"]), (1, &"new".into()));
    }
}

#[tokio::test]
async fn what_a_search_does_not_understand_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let broker = launch(folder.path()).start_or_fail();
    let mut calls = Calls::to(broker.address());
    calls
        .publish_all("orders", &[json!({"body": "a", "keys": ["k"]}), json!({"body": "b", "keys": ["k"]})])
        .await;
    let first = calls.expect(200, "GET", "/v1/topics/orders/messages?key=k&limit=1", &Value::Null).await;
    let by_key = first["next_cursor"].as_str().unwrap();
    let (key, text) = ("k".repeat(257), "x".repeat(1_025));
    for (query, status, parameter) in [
        ("key=".to_owned(), 400, "key"),
        (format!("key={key}"), 400, "key"),
        ("contains=".to_owned(), 400, "contains"),
        (format!("contains={text}"), 400, "contains"),
        ("tag=a%7C%7C".to_owned(), 422, "tag"),
        ("from=yesterday".to_owned(), 400, "from"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z".to_owned(), 400, "to"),
        ("limit=0".to_owned(), 400, "limit"),
        ("cursor=x".to_owned(), 400, "cursor"),
        (format!("cursor={by_key}"), 400, "cursor"),
        ("encoding=hex".to_owned(), 400, "encoding"),
        ("order=oldest".to_owned(), 400, "order"),
    ] {
        let path = format!("/v1/topics/orders/messages?{query}");
        let problem = calls.expect(status, "GET", &path, &Value::Null).await;
        assert_eq!(problem["errors"][0]["parameter"], parameter, "{query}: {problem}");
    }
}
