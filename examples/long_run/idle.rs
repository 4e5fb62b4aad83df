//! What waiting costs: processor time and bytes written, with nothing to do.

use std::time::Duration;

use serde_json::json;

use crate::support::calls::Calls;
use crate::support::http::Http;
use crate::support::proc_fs;
use crate::support::process::{Broker, Launch};
use crate::support::socket::Socket;
use crate::{Figures, mib, rounded};

/// How long the broker is watched.
const WATCHED: Duration = Duration::from_secs(20);

/// `count` long polls and `count` WebSocket subscriptions, each on its own connection.
pub(crate) async fn measure(launch: &Launch, count: usize, figures: &mut Figures) {
    let broker = launch.start_or_fail();
    tokio::time::sleep(Duration::from_secs(3)).await;
    watch(&broker, "idle_alone", figures).await;
    let mut calls = Calls::to(broker.address());
    calls.expect(201, "PUT", "/v1/topics/quiet", &json!({"queues": 4})).await;
    for group in ["polls", "sockets"] {
        let settings = json!({"subscriptions": [{"topic": "quiet"}]});
        calls.expect(201, "PUT", &format!("/v1/groups/{group}"), &settings).await;
    }
    let mut sockets = Vec::new();
    for _ in 0..count {
        let mut socket = Socket::open(broker.address()).await.expect("a WebSocket");
        let subscribe = json!({"type": "subscribe", "sub": "s", "group": "sockets"});
        socket.send(&subscribe).await.expect("a subscription");
        socket.next().await.expect("an answer");
        sockets.push(tokio::spawn(async move { while socket.next().await.is_ok() {} }));
    }
    let mut polls = Vec::new();
    for _ in 0..count {
        let mut http = Http::new(broker.address());
        http.send("POST", "/v1/groups/polls/receive?wait=60s", &[], b"").await.expect("a long poll");
        polls.push(http);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    watch(&broker, "idle_consumers", figures).await;
    figures.add("idle_consumers_memory_mib", mib(proc_fs::memory(broker.pid())));
    sockets.iter().for_each(tokio::task::JoinHandle::abort);
}

async fn watch(broker: &Broker, name: &str, figures: &mut Figures) {
    let pid = broker.pid();
    let (ticks, io) = (proc_fs::processor_ticks(pid), proc_fs::io(pid));
    tokio::time::sleep(WATCHED).await;
    let ticks = proc_fs::processor_ticks(pid) - ticks;
    let after = proc_fs::io(pid);
    // 100 ticks a second.
    let core = ticks as f64 / (WATCHED.as_secs_f64() * 100.0);
    figures.add(&format!("{name}_core_percent"), rounded(core * 100.0));
    for counter in ["write_bytes", "wchar"] {
        figures.add(&format!("{name}_{counter}"), after[counter] - io[counter]);
    }
}
