//! Memory with many messages that wait for their time.

use serde_json::{Value, json};

use crate::support::calls::Calls;
use crate::support::proc_fs;
use crate::support::process::Launch;
use crate::{Figures, mib, rounded};

const BATCH: u64 = 1_000;

/// `count` messages of 200 bytes that are due in an hour or later.
pub(crate) async fn measure(launch: &Launch, count: u64, figures: &mut Figures) {
    let broker = launch.start_or_fail();
    let mut calls = Calls::to(broker.address());
    let empty = proc_fs::memory(broker.pid());
    for batch in 0..count.div_ceil(BATCH) {
        let delay_ms = 3_600_000 + batch * 7_919 % 86_400_000;
        let message = json!({"body": "x".repeat(200), "delay_ms": delay_ms});
        let messages = vec![message; usize::try_from(BATCH.min(count - batch * BATCH)).expect("small")];
        calls.publish_all("later", &messages).await;
    }
    figures.add("scheduled_messages", count);
    figures.add("scheduled_empty_memory_mib", mib(empty));
    figures.add("scheduled_memory_mib", mib(proc_fs::memory(broker.pid())));
    figures.add("scheduled_peak_memory_mib", mib(proc_fs::peak_memory(broker.pid())));
    broker.kill();
    let broker = launch.start_or_fail();
    figures.add("scheduled_restart_after_kill_s", rounded(broker.ready_after.as_secs_f64()));
    let mut calls = Calls::to(broker.address());
    let topic = calls.expect(200, "GET", "/v1/topics/later", &Value::Null).await;
    figures.add("scheduled_after_kill", topic["scheduled"].clone());
    figures.add("scheduled_restart_peak_memory_mib", mib(proc_fs::peak_memory(broker.pid())));
    broker.terminate();
    let broker = launch.start_or_fail();
    figures.add("scheduled_restart_after_stop_s", rounded(broker.ready_after.as_secs_f64()));
    figures.add("scheduled_image_restart_peak_memory_mib", mib(proc_fs::peak_memory(broker.pid())));
    broker.kill();
    let _ = std::fs::remove_dir_all(&launch.data);
}
