//! Makes a node give every documented answer at least once.

use serde_json::{Value, json};

use super::Witness;

pub(super) const NOBODY: &[u8] = b"";

pub(super) fn text(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

pub(crate) fn all(witness: &mut Witness) {
    topics(witness);
    produce(witness);
    look(witness);
    search(witness);
    tail(witness);
    groups(witness);
    receive(witness);
    settle(witness);
    dead_letters(witness);
    jobs(witness);
    seek_and_pause(witness);
    explain(witness);
    clients(witness);
    delete(witness);
    node(witness);
    history(witness);
    super::alerts::all(witness);
    backup(witness);
}

fn history(witness: &mut Witness) {
    let node = witness.see(("getHistory", 200), "/v1/history", &[], NOBODY).json();
    assert_eq!((&node["kept"], &node["step_ms"]), (&json!(true), &json!(1_000)), "{node}");
    let path = "/v1/history?topic=empty&window=7d&series=produced_bytes_per_s";
    let topic = witness.see(("getHistory", 200), path, &[], NOBODY).json();
    assert!(topic["series"]["produced_bytes_per_s"].is_array() && topic["step_ms"] == 60_000, "{topic}");
    for wrong in
        ["window=1m", "series=colour", "topic=-", "topic=a&group=b", "topic=empty&series=lag_seconds"]
    {
        witness.see(("getHistory", 400), &format!("/v1/history?{wrong}"), &[], NOBODY);
    }
    witness.see(("getHistory", 404), "/v1/history?topic=nothing", &[], NOBODY);
    witness.see(("getHistory", 404), "/v1/history?group=nothing", &[], NOBODY);
}

fn topics(witness: &mut Witness) {
    witness.see(("putTopic", 201), "/v1/topics/orders", &[], b"{\"queues\": 1}");
    witness.see(("putTopic", 200), "/v1/topics/orders", &[], b"{\"queues\": 2}");
    witness.see(("putTopic", 200), "/v1/topics/orders", &[], b"{\"queues\": 2}");
    witness.see(("putTopic", 409), "/v1/topics/orders", &[], b"{\"queues\": 1}");
    witness.see(("putTopic", 412), "/v1/topics/orders", &[("If-None-Match", "*")], b"{\"queues\": 2}");
    witness.see(("putTopic", 400), "/v1/topics/orders", &[], b"{\"colour\": 1}");
    witness.see(("putTopic", 422), "/v1/topics/orders", &[], b"{\"queues\": 0}");
    let stale = [("If-Match", "\"0000000000000000\"")];
    witness.see(("putTopic", 412), "/v1/topics/orders", &stale, b"{\"queues\": 2}");
    witness.see(("patchTopic", 200), "/v1/topics/orders", &[("If-Match", "*")], b"{\"max_age_ms\": null}");
    witness.see(("patchTopic", 400), "/v1/topics/orders", &[], b"{\"colour\": null}");
    witness.see(("patchTopic", 404), "/v1/topics/nothing", &[], b"{}");
    witness.see(("patchTopic", 409), "/v1/topics/orders", &[], b"{\"queues\": 1}");
    witness.see(("patchTopic", 412), "/v1/topics/orders", &stale, b"{}");
    witness.see(("patchTopic", 413), "/v1/topics/orders", &[], &vec![b' '; (1 << 20) + 1]);
    witness.see(("patchTopic", 422), "/v1/topics/orders", &[], b"{\"queues\": 0}");
    witness.see(("deleteTopic", 412), "/v1/topics/orders", &stale, NOBODY);
    witness.see(("putTopic", 413), "/v1/topics/orders", &[], &vec![b' '; (1 << 20) + 1]);
    witness.see(("putTopic", 201), "/v1/topics/empty", &[("If-None-Match", "*")], NOBODY);
    witness.see(("getTopic", 200), "/v1/topics/orders", &[], NOBODY);
    witness.see(("getTopic", 400), "/v1/topics/-", &[], NOBODY);
    witness.see(("getTopic", 404), "/v1/topics/nothing", &[], NOBODY);
    let first = witness.see(("listTopics", 200), "/v1/topics?limit=1", &[], NOBODY).json();
    assert_eq!(first["topics"].as_array().unwrap().len(), 1, "{first}");
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = witness.see(("listTopics", 200), &format!("/v1/topics?cursor={cursor}"), &[], NOBODY).json();
    assert_eq!(second["topics"][0]["name"], "orders", "{second}");
    assert_eq!(second["next_cursor"], Value::Null);
    witness.see(("listTopics", 400), "/v1/topics?limit=0", &[], NOBODY);
}

fn produce(witness: &mut Witness) {
    let messages = "/v1/topics/orders/messages";
    let headers = [
        ("Mq-Tag", "a"),
        ("Mq-Keys", "k1,k2"),
        ("Mq-Queue", "0"),
        ("Mq-Prop-Colour", "red"),
        ("Content-Type", "text/plain"),
        ("Content-Encoding", "identity"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=b"),
    ];
    let answer = witness.see(("produce", 201), messages, &headers, b"first");
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), Some(format!("/v1/messages/{id}").as_str()));
    let answer = witness.see(("produce", 201), messages, &[("Mq-Delay", "10d")], b"later");
    assert_eq!((&answer.json()["state"], &answer.json()["offset"]), (&json!("scheduled"), &Value::Null));
    witness.see(("produce", 400), messages, &[("Mq-Colour", "red")], b"x");
    witness.see(("produce", 400), messages, &[("Mq-Queue", "0"), ("Mq-Ordering-Key", "k")], b"x");
    witness.see(("produce", 404), messages, &[("Mq-Queue", "9")], b"x");
    witness.see(("produce", 404), "/v1/topics/nothing/messages?auto_create=false", &[], b"x");
    witness.see(("produce", 413), messages, &[], &vec![b'x'; (4 << 20) + 1]);
    let key = [("Idempotency-Key", "\"once\"")];
    let first = witness.see(("produce", 201), "/v1/topics/once/messages", &key, b"x");
    let again = witness.see(("produce", 201), "/v1/topics/once/messages", &key, b"x");
    assert_eq!((again.header("idempotency-replayed"), &again.body), (Some("true"), &first.body));
    witness.see(("produce", 422), "/v1/topics/once/messages", &key, b"y");

    let batch = "/v1/topics/orders/messages/batch";
    let body =
        json!({"messages": [{"body": "a"}, {"body": "b", "tag": "x|y"}, {"body": {"c": 1}, "queue": 9}]});
    let answer = witness.see(("produceBatch", 200), batch, &[], &text(&body)).json();
    assert_eq!(answer["failed"], 2, "{answer}");
    assert_eq!(answer["results"][1]["code"], "invalid_request");
    assert_eq!(answer["results"][2]["code"], "queue_not_found");
    let lines = b"{\"body\":\"l1\"}\n{\"body\":\"AP8=\",\"encoding\":\"base64\"}\n";
    let answer =
        witness.see(("produceBatch", 200), batch, &[("Content-Type", "application/x-ndjson")], lines);
    assert_eq!(answer.json()["failed"], 0);
    witness.see(("produceBatch", 400), batch, &[], b"{\"messages\": [{\"colour\": 1}]}");
    let atomic = "/v1/topics/once/messages/batch?atomic=true";
    witness.see(("produceBatch", 400), atomic, &[], &text(&body));
    let whole = json!({"messages": [{"body": "a"}, {"body": "b"}]});
    let key = [("Idempotency-Key", "whole")];
    witness.see(("produceBatch", 200), atomic, &key, &text(&whole));
    let again = witness.see(("produceBatch", 200), atomic, &key, &text(&whole));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    witness.see(("produceBatch", 422), atomic, &key, b"{\"messages\": [{\"body\": \"c\"}]}");
    let one = text(&json!({"messages": [{"body": "a"}]}));
    let missing = "/v1/topics/nothing/messages/batch?auto_create=false";
    witness.see(("produceBatch", 404), missing, &[], &one);
    let many: Vec<Value> = vec![json!({"body": ""}); 1_001];
    witness.see(("produceBatch", 413), batch, &[], &text(&json!({ "messages": many })));
    witness.see(("produceBatch", 415), batch, &[("Content-Type", "application/cloudevents+json")], b"{}");
    let event = json!({"specversion": "1.0", "id": "e", "source": "/s", "type": "t", "data": 1});
    let events = [("Content-Type", "application/cloudevents-batch+json")];
    let answer = witness.see(
        ("produceBatch", 200),
        "/v1/topics/events/messages/batch",
        &events,
        &text(&json!([event])),
    );
    assert_eq!(answer.json()["failed"], 0);
    let binary = [("ce-id", "b"), ("ce-source", "/s"), ("ce-type", "t"), ("ce-specversion", "1.0")];
    witness.see(("produce", 201), "/v1/topics/events/messages", &binary, b"x");
    for _ in 0..2 {
        let asked = [("Accept", "application/cloudevents+json")];
        let path = "/v1/groups/watchers/receive?topic=events";
        let answer = witness.see(("receive", 200), path, &asked, NOBODY);
        assert_eq!(answer.media_type(), "application/cloudevents+json");
        assert!(answer.header("mq-receipt").is_some() && answer.header("mq-prop-ce_source") == Some("/s"));
        let expected = if answer.json()["id"] == "e" { event.clone() } else { answer.json() };
        assert_eq!((answer.json(), &expected["source"]), (expected.clone(), &json!("/s")));
    }
}

fn look(witness: &mut Witness) {
    let queue = "/v1/topics/orders/queues/0/messages";
    let page = witness.see(("browseQueue", 200), &format!("{queue}?limit=1"), &[], NOBODY).json();
    assert_eq!(page["messages"][0]["body"], "first", "{page}");
    let id = page["messages"][0]["id"].as_str().unwrap().to_owned();
    let cursor = page["next_cursor"].as_str().unwrap();
    witness.see(("browseQueue", 200), &format!("{queue}?cursor={cursor}&encoding=base64"), &[], NOBODY);
    witness.see(("browseQueue", 400), "/v1/topics/orders/queues/x/messages", &[], NOBODY);
    witness.see(("browseQueue", 404), "/v1/topics/orders/queues/9/messages", &[], NOBODY);
    witness.see(("browseQueue", 404), "/v1/topics/nothing/queues/0/messages", &[], NOBODY);
    let shown = witness.see(("getMessage", 200), &format!("/v1/messages/{id}"), &[], NOBODY).json();
    assert_eq!(shown["properties"]["colour"], "red");
    witness.see(("getMessage", 400), "/v1/messages/x", &[], NOBODY);
    scheduled(witness, &id);
    let unknown = unknown_id();
    witness.see(("getMessage", 404), &format!("/v1/messages/{unknown}"), &[], NOBODY);
    witness.see(("traceMessage", 400), &format!("/v1/messages/{id}/trace?cursor=x"), &[], NOBODY);
    witness.see(("traceMessage", 404), &format!("/v1/messages/{unknown}/trace"), &[], NOBODY);
}

fn search(witness: &mut Witness) {
    let messages = "/v1/topics/orders/messages";
    let found =
        witness.see(("searchMessages", 200), &format!("{messages}?key=k2&tag=a&contains=irs"), &[], NOBODY);
    assert_eq!(found.json()["messages"][0]["body"], "first");
    let page = witness.see(("searchMessages", 200), &format!("{messages}?limit=1"), &[], NOBODY).json();
    let cursor = page["next_cursor"].as_str().unwrap();
    let times = "from=2026-01-01T00:00:00Z&to=2999-01-01T00:00:00Z";
    let path = format!("{messages}?{times}&encoding=base64&cursor={cursor}");
    witness.see(("searchMessages", 200), &path, &[], NOBODY);
    witness.see(("searchMessages", 400), &format!("{messages}?key="), &[], NOBODY);
    witness.see(("searchMessages", 404), "/v1/topics/nothing/messages", &[], NOBODY);
    witness.see(("searchMessages", 422), &format!("{messages}?tag=%7C"), &[], NOBODY);
}

fn tail(witness: &mut Witness) {
    let tail = "/v1/topics/orders/tail";
    let told =
        witness.see(("tailTopic", 200), &format!("{tail}?from=earliest&tag=a&max_events=1"), &[], NOBODY);
    assert_eq!(told.media_type(), "text/event-stream");
    let text = String::from_utf8(told.body).unwrap();
    let message: Value =
        serde_json::from_str(text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap()).unwrap();
    assert_eq!(message["body"], "first", "{text}");
    // The data of an event has the shape of a stored message, whatever the media type around it says.
    let shown = &witness.operations["getMessage"].responses[&200];
    assert_eq!(witness.contract.complaints(shown, "application/json", &message), Vec::<String>::new());
    let id = text.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().unwrap();
    let told = witness.see(("tailTopic", 200), &format!("{tail}?for=50ms"), &[("Last-Event-ID", id)], NOBODY);
    assert!(String::from_utf8(told.body).unwrap().contains("event: end\n"));
    witness.see(("tailTopic", 400), tail, &[("Last-Event-ID", "x")], NOBODY);
    witness.see(("tailTopic", 404), "/v1/topics/nothing/tail", &[], NOBODY);
    witness.see(("tailTopic", 410), "/v1/topics/empty/tail", &[("Last-Event-ID", id)], NOBODY);
    witness.see(("tailTopic", 422), &format!("{tail}?tag=%7C"), &[], NOBODY);
}

fn scheduled(witness: &mut Witness, ready: &str) {
    let list = "/v1/topics/orders/scheduled";
    let later =
        witness.see(("produce", 201), "/v1/topics/orders/messages", &[("Mq-Delay", "1h")], b"x").json();
    let path = format!("/v1/messages/{}", later["id"].as_str().unwrap());
    let page = witness.see(("listScheduled", 200), &format!("{list}?limit=1"), &[], NOBODY).json();
    assert_eq!(
        (&page["messages"][0]["id"], &page["messages"][0]["state"]),
        (&later["id"], &json!("scheduled"))
    );
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest =
        witness.see(("listScheduled", 200), &format!("{list}?cursor={cursor}&encoding=base64"), &[], NOBODY);
    assert_eq!(rest.json()["messages"].as_array().map(Vec::len), Some(1), "{page}");
    witness.see(("listScheduled", 400), &format!("{list}?limit=0"), &[], NOBODY);
    witness.see(("listScheduled", 404), "/v1/topics/nothing/scheduled", &[], NOBODY);
    witness.see(("cancelMessage", 204), &path, &[], NOBODY);
    witness.see(("cancelMessage", 204), &path, &[], NOBODY);
    let shown = witness.see(("getMessage", 200), &path, &[], NOBODY).json();
    assert_eq!(
        (&shown["state"], &shown["deliver_at"]),
        (&json!("cancelled"), &page["messages"][0]["deliver_at"])
    );
    let refused = witness.see(("cancelMessage", 409), &format!("/v1/messages/{ready}"), &[], NOBODY).json();
    assert_eq!(refused["code"], "not_scheduled");
    witness.see(("cancelMessage", 400), &format!("{path}?colour=1"), &[], NOBODY);
    let unknown = unknown_id();
    witness.see(("cancelMessage", 404), &format!("/v1/messages/{unknown}"), &[], NOBODY);
}

/// A well-formed id that no message has.
fn unknown_id() -> String {
    use whimbrel::model::{MessageId, Position};
    MessageId::new(Position { index: 1 << 40, slot: 7 }).to_string()
}

fn groups(witness: &mut Witness) {
    let workers = "/v1/groups/workers";
    let settings =
        json!({"subscriptions": [{"topic": "orders"}], "retry": {"kind": "table", "steps_ms": [100]}});
    witness.see(("putGroup", 201), workers, &[], &text(&settings));
    witness.see(("putGroup", 200), workers, &[], &text(&settings));
    witness.see(("putGroup", 412), workers, &[("If-None-Match", "*")], &text(&settings));
    witness.see(("putGroup", 400), workers, &[], b"{\"ordered\": 1}");
    witness.see(("putGroup", 422), workers, &[], b"{\"max_attempts\": 0}");
    let stale = [("If-Match", "\"0000000000000000\"")];
    witness.see(("patchGroup", 200), workers, &[("If-Match", "*")], b"{\"max_attempts\": null}");
    witness.see(("patchGroup", 400), workers, &[], b"{\"colour\": null}");
    witness.see(("patchGroup", 404), "/v1/groups/nobody", &[], b"{}");
    witness.see(("patchGroup", 412), workers, &stale, b"{}");
    witness.see(("patchGroup", 413), workers, &[], &vec![b' '; (1 << 20) + 1]);
    witness.see(("patchGroup", 422), workers, &[], b"{\"max_attempts\": 0}");
    witness.see(("deleteGroup", 412), workers, &stale, NOBODY);
    witness.see(("putGroup", 413), workers, &[], &vec![b' '; (1 << 20) + 1]);
    let sql = json!({"subscriptions": [{"topic": "orders", "filter": {"sql": "a"}}]});
    witness.see(("putGroup", 422), workers, &[], &text(&sql));
    let sql = json!({"subscriptions": [{"topic": "orders", "filter": {"sql": "colour = 'red'"}}]});
    let asking = witness.see(("putGroup", 201), "/v1/groups/asking", &[], &text(&sql)).json();
    assert_eq!(asking["subscriptions"][0]["filter"], json!({"sql": "colour = 'red'"}));
    let missing = json!({"subscriptions": [{"topic": "nothing"}]});
    witness.see(("putGroup", 404), "/v1/groups/lost?auto_create=false", &[], &text(&missing));
    let named = json!({"subscriptions": [{"topic": "named"}]});
    witness.see(("putGroup", 201), "/v1/groups/namer", &[], &text(&named));
    witness.see(("getTopic", 200), "/v1/topics/named", &[], NOBODY);
    witness.see(("getGroup", 200), workers, &[], NOBODY);
    witness.see(("getGroup", 400), "/v1/groups/-", &[], NOBODY);
    witness.see(("getGroup", 404), "/v1/groups/nobody", &[], NOBODY);
    witness.see(("listGroups", 200), "/v1/groups", &[], NOBODY);
    witness.see(("listGroups", 400), "/v1/groups?colour=1", &[], NOBODY);
}

fn receive(witness: &mut Witness) {
    let path = "/v1/groups/workers/receive";
    let raw = [("Accept", "application/octet-stream")];
    let answer = witness.see(("receive", 200), path, &raw, NOBODY);
    assert_eq!(answer.header("mq-attempt"), Some("1"));
    assert!(answer.header("mq-receipt").is_some_and(|receipt| receipt.len() <= 200));
    // One message is leased now, so the kind of group cannot change.
    let ordered = json!({"subscriptions": [{"topic": "orders"}], "ordered": true});
    witness.see(("putGroup", 409), "/v1/groups/workers", &[], &text(&ordered));
    witness.see(("patchGroup", 409), "/v1/groups/workers", &[], b"{\"ordered\": true}");
    let late = "/v1/groups/late/receive";
    let latest = json!({"subscriptions": [{"topic": "orders"}], "start": "latest"});
    witness.see(("putGroup", 201), "/v1/groups/late", &[], &text(&latest));
    witness.see(("receive", 204), &format!("{late}?wait=0"), &raw, NOBODY);
    let empty = witness.see(("receive", 200), late, &[], b"{\"wait_ms\": 0}").json();
    assert_eq!(empty, json!({"messages": []}));
    let made =
        witness.see(("receive", 200), "/v1/groups/made/receive?topic=orders&max_messages=2", &[], NOBODY);
    assert!(!made.json()["messages"].as_array().unwrap().is_empty());
    witness.see(("receive", 400), &format!("{path}?wait=0"), &[], b"{\"wait_ms\": 0}");
    witness.see(("receive", 404), "/v1/groups/nobody/receive", &[], NOBODY);
    witness.see(("receive", 409), &format!("{path}?topic=empty"), &[], NOBODY);
    witness.see(("receive", 409), &format!("{path}?filter=b"), &[], NOBODY);
    witness.see(("receive", 422), &format!("{path}?filter=b%7C%7C"), &[], NOBODY);
}

/// Leases one message of the group `workers`.
fn lease(witness: &mut Witness) -> String {
    let answer =
        witness.see(("receive", 200), "/v1/groups/workers/receive?max_messages=1", &[], NOBODY).json();
    answer["messages"][0]["receipt"].as_str().unwrap_or_else(|| panic!("nothing came: {answer}")).to_owned()
}

fn settle(witness: &mut Witness) {
    let group = "/v1/groups/workers";
    for n in 0..8 {
        let body = format!("work {n}");
        witness.see(("produce", 201), "/v1/topics/orders/messages", &[], body.as_bytes());
    }
    let one = |receipt: &str| text(&json!({"receipts": [receipt]}));
    let status =
        |answer: &super::Answer| answer.json()["results"][0]["status"].as_str().unwrap_or("?").to_owned();

    let receipt = lease(witness);
    let answer = witness.see(("extend", 200), &format!("{group}/extend"), &[], &one(&receipt));
    assert_eq!(status(&answer), "ok");
    let answer = witness.see(("ack", 200), &format!("{group}/ack"), &[], &one(&receipt));
    assert_eq!(status(&answer), "ok");
    let answer = witness.see(("ack", 200), &format!("{group}/ack"), &[], &one(&receipt));
    assert_eq!(status(&answer), "already");
    witness.see(("ackReceipt", 204), &format!("/v1/receipts/{receipt}"), &[], NOBODY);
    let answer = witness.see(("ack", 200), &format!("{group}/ack"), &[], &one("rubbish"));
    assert_eq!(status(&answer), "invalid");

    let receipt = lease(witness);
    let answer = witness.see(("nack", 200), &format!("{group}/nack"), &[], &one(&receipt));
    assert_eq!(answer.json()["results"][0]["state"], "retrying");
    let receipt = lease(witness);
    let answer = witness.see(("deadLetter", 200), &format!("{group}/dead-letter"), &[], &one(&receipt));
    assert_eq!(answer.json()["results"][0]["state"], "dead");

    let dead = "/v1/groups/workers/dead-letters";
    let dead = witness.see(("listDeadLetters", 200), dead, &[], NOBODY).json();
    let path = format!("/v1/messages/{}/trace", dead["dead_letters"][0]["id"].as_str().unwrap());
    let begun = witness.see(("traceMessage", 200), &format!("{path}?limit=1"), &[], NOBODY).json();
    assert_eq!((&begun["events"][0]["event"], &begun["truncated"]), (&json!("accepted"), &json!(true)));
    let cursor = begun["next_cursor"].as_str().unwrap();
    let rest = witness.see(("traceMessage", 200), &format!("{path}?cursor={cursor}"), &[], NOBODY).json();
    let events = rest["events"].as_array().unwrap();
    assert!(events.iter().any(|event| event["dead_reason"] == "rejected"), "{rest}");

    let receipts = [lease(witness), lease(witness), lease(witness), lease(witness)];
    let all = json!({
        "acks": [{"receipt": receipts[0]}],
        "nacks": [{"receipt": receipts[1], "delay_ms": 43_200_000, "reason": "not now"}],
        "extends": [{"receipt": receipts[2], "lease_ms": 600_000}],
        "dead_letters": [{"receipt": receipts[3], "reason": "never"}],
    });
    let answer = witness.see(("settle", 200), &format!("{group}/settle"), &[], &text(&all)).json();
    let ops: Vec<&Value> = answer["results"].as_array().unwrap().iter().map(|result| &result["op"]).collect();
    assert_eq!(ops, ["ack", "nack", "extend", "dead_letter"]);

    let many: Vec<&str> = vec!["x"; 1_001];
    let many = text(&json!({ "receipts": many }));
    let acks: Vec<Value> = vec![json!({"receipt": "x"}); 1_001];
    for (operation, verb) in
        [("ack", "ack"), ("nack", "nack"), ("extend", "extend"), ("deadLetter", "dead-letter")]
    {
        witness.see((operation, 400), &format!("{group}/{verb}"), &[], b"{}");
        let answer =
            witness.see((operation, 200), &format!("/v1/groups/nobody/{verb}"), &[], &one(&receipts[0]));
        assert_eq!(
            answer.json()["results"][0]["status"],
            "invalid",
            "a group that is not there has no receipts"
        );
        witness.see((operation, 413), &format!("{group}/{verb}"), &[], &many);
    }
    witness.see(("settle", 400), &format!("{group}/settle"), &[], b"{\"acks\": 1}");
    let nobody = text(&json!({"acks": [{"receipt": receipts[0]}]}));
    let answer = witness.see(("settle", 200), "/v1/groups/nobody/settle", &[], &nobody);
    assert_eq!(answer.json()["results"][0]["status"], "invalid");
    witness.see(("settle", 413), &format!("{group}/settle"), &[], &text(&json!({ "acks": acks })));

    // A seek ends the leases of its topic; going back, the message is ready again and the receipt means nothing.
    let receipt = lease(witness);
    let seek = json!({"topic": "orders", "to": "earliest"});
    let counts = witness.see(("seekGroup", 200), &format!("{group}/seek"), &[], &text(&seek)).json();
    assert!(counts["leases_cancelled"].as_u64().unwrap() >= 1, "{counts}");
    witness.see(("ackReceipt", 410), &format!("/v1/receipts/{receipt}"), &[], NOBODY);
    witness.see(("ackReceipt", 404), "/v1/receipts/rubbish", &[], NOBODY);
    witness.see(("ackReceipt", 400), "/v1/receipts/rubbish?colour=1", &[], NOBODY);
}

fn dead_letters(witness: &mut Witness) {
    let path = "/v1/groups/workers/dead-letters";
    let page = witness.see(("listDeadLetters", 200), &format!("{path}?limit=1"), &[], NOBODY).json();
    let cursor = page["next_cursor"].as_str().unwrap_or_else(|| panic!("two dead letters: {page}"));
    let rest = witness.see(("listDeadLetters", 200), &format!("{path}?cursor={cursor}"), &[], NOBODY).json();
    assert_eq!(rest["dead_letters"].as_array().unwrap().len(), 1, "{rest}");
    witness.see(("listDeadLetters", 400), &format!("{path}?cursor=x"), &[], NOBODY);
    witness.see(("listDeadLetters", 404), "/v1/groups/nobody/dead-letters", &[], NOBODY);
    let id = page["dead_letters"][0]["id"].as_str().unwrap();
    let shown = witness.see(("getDeadLetter", 200), &format!("{path}/{id}"), &[], NOBODY).json();
    assert_eq!(shown["message"]["id"], id);
    let unknown = unknown_id();
    witness.see(("getDeadLetter", 404), &format!("{path}/{unknown}"), &[], NOBODY);
    witness.see(("getDeadLetter", 400), &format!("{path}/x"), &[], NOBODY);

    let redrive = format!("{path}/redrive");
    let answer =
        witness.see(("redriveDeadLetters", 200), &redrive, &[], &text(&json!({"ids": [id, unknown]}))).json();
    assert_eq!((&answer["failed"], &answer["results"][0]["status"]), (&json!(1), &json!("ok")), "{answer}");
    assert_eq!(answer["results"][1]["problem"]["code"], "dead_letter_not_found");
    witness.see(("redriveDeadLetters", 400), &redrive, &[], b"{\"filter\": {\"colour\": 1}}");
    let would = text(&json!({"ids": [unknown], "to": "orders", "dry_run": true}));
    let would = witness.see(("redriveDeadLetters", 200), &redrive, &[], &would).json();
    assert_eq!(would, json!({"would_move": 0, "looked": 1, "truncated": false}));
    witness.see(("redriveDeadLetters", 404), "/v1/groups/nobody/dead-letters/redrive", &[], b"{\"ids\": []}");
    let many = text(&json!({"ids": vec![unknown.as_str(); 1_001]}));
    witness.see(("redriveDeadLetters", 413), &redrive, &[], &many);

    let purged = witness.see(("purgeDeadLetters", 200), &format!("{path}/purge"), &[], NOBODY).json();
    assert_eq!(purged, json!({"purged": 1}));
    witness.see(("purgeDeadLetters", 400), &format!("{path}/purge"), &[], b"{\"colour\": 1}");
    witness.see(("purgeDeadLetters", 404), "/v1/groups/nobody/dead-letters/purge", &[], NOBODY);
}

/// Dead letters in `group`, and a job over them that could run for a minute.
fn slow_job(witness: &mut Witness, group: &str) -> Value {
    let letters = text(&json!({"messages": vec![json!({"body": "letter"}); 60]}));
    witness.see(("produceBatch", 200), &format!("/v1/topics/{group}/messages/batch"), &[], &letters);
    let path = format!("/v1/groups/{group}/receive?topic={group}&max_messages=100");
    let leased = witness.see(("receive", 200), &path, &[], NOBODY).json();
    let receipts: Vec<&Value> =
        leased["messages"].as_array().unwrap().iter().map(|message| &message["receipt"]).collect();
    let count = receipts.len();
    assert!(count > 10, "{leased}");
    let receipts = text(&json!({ "receipts": receipts }));
    witness.see(("deadLetter", 200), &format!("/v1/groups/{group}/dead-letter"), &[], &receipts);
    let export = format!("/v1/groups/{group}/dead-letters/export");
    let exported = witness.see(("exportDeadLetters", 200), &export, &[], NOBODY);
    assert_eq!(exported.body.iter().filter(|byte| **byte == b'\n').count(), count);
    witness.see(("exportDeadLetters", 400), &format!("{export}?after=x"), &[], NOBODY);
    let redrive = format!("/v1/groups/{group}/dead-letters/redrive");
    let order = text(&json!({"filter": {}, "to": "orders", "rate_per_s": 1}));
    let started = witness.see(("redriveDeadLetters", 202), &redrive, &[], &order);
    let job = started.json();
    let at = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
    assert_eq!(started.header("location"), Some(at.as_str()));
    witness.see(("redriveDeadLetters", 409), &redrive, &[], b"{\"filter\": {}}");
    job
}

fn jobs(witness: &mut Witness) {
    let first = slow_job(witness, "letters");
    let job = format!("/v1/jobs/{}", first["id"].as_str().unwrap());
    let shown = witness.see(("getJob", 200), &job, &[], NOBODY).json();
    assert_eq!((&shown["kind"], &shown["to"]), (&json!("redrive"), &json!("orders")));
    let cancelled = witness.see(("cancelJob", 200), &job, &[], NOBODY).json();
    assert_eq!(cancelled["state"], "cancelled");
    witness.see(("cancelJob", 200), &job, &[], NOBODY);
    let nothing = json!({"filter": {"reason": "expired"}});
    let redrive = "/v1/groups/namer/dead-letters/redrive";
    let done = witness.see(("redriveDeadLetters", 202), redrive, &[], &text(&nothing)).json();
    assert_eq!((&done["state"], &done["total"]), (&json!("done"), &json!(0)), "nothing to look at");
    let done = format!("/v1/jobs/{}", done["id"].as_str().unwrap());
    witness.see(("cancelJob", 409), &done, &[], NOBODY);
    for (operation, path) in [("getJob", "/v1/jobs/"), ("cancelJob", "/v1/jobs/")] {
        witness.see((operation, 400), &format!("{path}x"), &[], NOBODY);
        witness.see((operation, 404), &format!("{path}999"), &[], NOBODY);
    }
    let page = witness.see(("listJobs", 200), "/v1/jobs?limit=1", &[], NOBODY).json();
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = witness.see(("listJobs", 200), &format!("/v1/jobs?cursor={cursor}"), &[], NOBODY).json();
    assert_eq!(rest["jobs"][0]["id"], first["id"], "the newest first");
    witness.see(("listJobs", 400), "/v1/jobs?cursor=x", &[], NOBODY);
    witness.see(("exportDeadLetters", 404), "/v1/groups/nobody/dead-letters/export", &[], NOBODY);
}

fn seek_and_pause(witness: &mut Witness) {
    let group = "/v1/groups/workers";
    let dry = json!({"topic": "orders", "to": {"queue": 0, "offset": 0}, "dry_run": true});
    witness.see(("seekGroup", 200), &format!("{group}/seek"), &[], &text(&dry));
    let time = json!({"topic": "orders", "to": "2020-01-01T00:00:00Z"});
    witness.see(("seekGroup", 200), &format!("{group}/seek"), &[], &text(&time));
    witness.see(
        ("seekGroup", 400),
        &format!("{group}/seek"),
        &[],
        b"{\"topic\": \"orders\", \"to\": \"soon\"}",
    );
    let earliest = |topic: &str| text(&json!({"topic": topic, "to": "earliest"}));
    witness.see(("seekGroup", 404), "/v1/groups/nobody/seek", &[], &earliest("orders"));
    witness.see(("seekGroup", 409), &format!("{group}/seek"), &[], &earliest("empty"));

    let paused = witness.see(("pauseGroup", 200), &format!("{group}/pause"), &[], NOBODY).json();
    assert_eq!(paused["paused"], true);
    let waited = witness.see(("receive", 200), &format!("{group}/receive?wait=0"), &[], NOBODY).json();
    assert_eq!(waited, json!({"messages": [], "paused": true}));
    let resumed = witness.see(("resumeGroup", 200), &format!("{group}/resume"), &[], NOBODY).json();
    assert_eq!(resumed["paused"], false);
    for (operation, verb) in [("pauseGroup", "pause"), ("resumeGroup", "resume")] {
        witness.see((operation, 400), &format!("{group}/{verb}"), &[], b"{\"colour\": 1}");
        witness.see((operation, 404), &format!("/v1/groups/nobody/{verb}"), &[], NOBODY);
    }
}

fn explain(witness: &mut Witness) {
    let path = "/v1/groups/workers/explain";
    witness.see(("receive", 200), "/v1/groups/workers/receive?wait=0", &[], NOBODY);
    let well = witness.see(("explainGroup", 200), path, &[], NOBODY).json();
    assert_eq!((&well["group"], &well["blocked"]), (&json!("workers"), &json!(false)), "{well}");
    witness.see(("pauseGroup", 200), "/v1/groups/workers/pause", &[], NOBODY);
    let paused = witness.see(("explainGroup", 200), path, &[], NOBODY).json();
    assert_eq!(
        (&paused["findings"][0]["code"], &paused["blocked"]),
        (&json!("paused"), &json!(true)),
        "{paused}"
    );
    witness.see(("resumeGroup", 200), "/v1/groups/workers/resume", &[], NOBODY);
    witness.see(("explainGroup", 400), &format!("{path}?colour=1"), &[], NOBODY);
    witness.see(("explainGroup", 404), "/v1/groups/nobody/explain", &[], NOBODY);
}

fn clients(witness: &mut Witness) {
    let socket = open_socket(witness.to);
    let receive = "/v1/groups/workers/receive?wait=0";
    witness.see(("receive", 200), receive, &[("Mq-Client", "worker 1")], NOBODY);
    let all = witness.see(("listClients", 200), "/v1/clients", &[], NOBODY).json();
    let id = |name: &str| -> String {
        let mut rows = all["clients"].as_array().unwrap().iter();
        let row = rows.find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name}: {all}"));
        row["id"].as_str().unwrap().to_owned()
    };
    let (page, visitor, worker) = ("/v1/clients?limit=1", id("visitor"), id("worker 1"));
    let first = witness.see(("listClients", 200), page, &[], NOBODY).json();
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = witness.see(("listClients", 200), &format!("/v1/clients?cursor={cursor}"), &[], NOBODY).json();
    let count = |page: &Value| page["clients"].as_array().unwrap().len();
    assert_eq!(1 + count(&rest), count(&all));
    let members = witness.see(("listClients", 200), "/v1/clients?group=workers", &[], NOBODY).json();
    assert!(members["clients"].as_array().unwrap().iter().all(|row| row["name"] != "visitor"), "{members}");
    witness.see(("listClients", 400), "/v1/clients?group=-", &[], NOBODY);
    witness.see(("disconnectClient", 204), &format!("/v1/clients/{visitor}"), &[], NOBODY);
    witness.see(("disconnectClient", 404), &format!("/v1/clients/{visitor}"), &[], NOBODY);
    witness.see(("disconnectClient", 409), &format!("/v1/clients/{worker}"), &[], NOBODY);
    witness.see(("disconnectClient", 400), "/v1/clients/worker", &[], NOBODY);
    drop(socket);
}

/// A WebSocket of a client that is called "visitor".
fn open_socket(to: std::net::SocketAddr) -> std::net::TcpStream {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(to).unwrap();
    let head = format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {to}\r\nMq-Client: visitor\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // The first byte of the welcome: from then on it is among the clients.
    let mut seen = Vec::new();
    while !seen.windows(4).any(|end| end == b"\r\n\r\n") || seen.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        seen.extend(byte);
    }
    stream
}

fn delete(witness: &mut Witness) {
    witness.see(("deleteGroup", 409), "/v1/groups/workers", &[], NOBODY);
    witness.see(("deleteGroup", 400), "/v1/groups/workers?confirm=other", &[], NOBODY);
    witness.see(("deleteGroup", 204), "/v1/groups/workers?confirm=workers", &[], NOBODY);
    witness.see(("deleteGroup", 404), "/v1/groups/workers", &[], NOBODY);
    witness.see(("deleteTopic", 409), "/v1/topics/orders", &[], NOBODY);
    witness.see(("deleteTopic", 400), "/v1/topics/orders?confirm=other", &[], NOBODY);
    witness.see(("deleteTopic", 204), "/v1/topics/orders?confirm=orders", &[], NOBODY);
    witness.see(("deleteTopic", 404), "/v1/topics/orders", &[], NOBODY);
}

fn node(witness: &mut Witness) {
    let upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    witness.see(("openWebSocket", 101), "/v1/ws", &upgrade, NOBODY);
    let mut odd = upgrade.to_vec();
    odd[0].1 = "Upgrade, close";
    witness.see(("openWebSocket", 400), "/v1/ws?colour=1", &odd, NOBODY);
    for (operation, path) in [
        ("getConfig", "/v1/config"),
        ("getLimits", "/v1/limits"),
        ("getVersion", "/v1/version"),
        ("livez", "/livez"),
        ("readyz", "/readyz"),
        ("getMetrics", "/metrics"),
        ("getQueueMetrics", "/metrics/per-object"),
        ("getContract", "/openapi.yaml"),
        ("getDocs", "/docs"),
        ("getProblem", "/problems/not_found"),
    ] {
        witness.see((operation, 200), path, &[], NOBODY);
        witness.see((operation, 400), &format!("{path}?colour=1"), &[], NOBODY);
    }
    let ready = witness.see(("readyz", 200), "/readyz?verbose", &[], NOBODY).json();
    assert!(ready["checks"].is_array() && ready["node"].is_object(), "{ready}");
    let checks = ready["checks"].as_array().unwrap().iter();
    let names: std::collections::BTreeSet<&str> = checks.filter_map(|check| check["name"].as_str()).collect();
    assert_eq!(names.len(), ready["checks"].as_array().unwrap().len(), "every check once: {names:?}");
    let limits = witness.see(("getLimits", 200), "/v1/limits", &[], NOBODY).json();
    assert_eq!(limits["body_bytes_max"], 4_194_304);
    let served = witness.see(("getContract", 200), "/openapi.yaml", &[], NOBODY);
    assert_eq!(served.body, super::contract::TEXT.as_bytes());
    witness.see(("getQueueMetrics", 404), "/metrics/per-object?topic=nothing", &[], NOBODY);
    witness.see(("getQueueMetrics", 400), "/metrics/per-object?topic=-", &[], NOBODY);
    witness.see(("getProblem", 404), "/problems/nonsense", &[], NOBODY);
    let browser = [("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")];
    let page = witness.see(("getProblem", 200), "/problems/stale", &browser, NOBODY);
    let policy = page.header("content-security-policy");
    assert!(policy.is_some_and(|policy| policy.starts_with("default-src 'none'")), "{policy:?}");
    let html = String::from_utf8(page.body).unwrap();
    assert!(html.contains("What to do") && page.headers.contains(&("vary".to_owned(), "Accept".to_owned())));
}

fn backup(witness: &mut Witness) {
    // More than all buffers on the way hold, so that a backup that nobody reads goes on.
    for _ in 0..8 {
        witness.see(("produce", 201), "/v1/topics/large/messages", &[], &vec![b'x'; 4 << 20]);
    }
    let whole = witness.see(("takeBackup", 200), "/v1/backup", &[], b"{}");
    assert!(whole.header("content-disposition").is_some_and(|name| name.contains("whimbrel-2")));
    assert!(whimbrel::storage::backup::check(whole.body.as_slice()).is_ok());
    witness.see(("takeBackup", 400), "/v1/backup", &[], b"{\"path\": \"/tmp\"}");
    witness.see(("takeBackup", 413), "/v1/backup", &[], &vec![b' '; (1 << 20) + 1]);
    let unread = begin_backup(witness.to);
    witness.see(("takeBackup", 409), "/v1/backup", &[], NOBODY);
    drop(unread);
}

/// Asks for a backup and reads one byte of the answer.
fn begin_backup(to: std::net::SocketAddr) -> std::net::TcpStream {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(to).unwrap();
    let request = format!("POST /v1/backup HTTP/1.1\r\nHost: {to}\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream.read_exact(&mut [0]).unwrap();
    stream
}
