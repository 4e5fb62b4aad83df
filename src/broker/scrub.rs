//! The background scrub: reads every sealed segment now and then, so that damage is found before somebody needs the
//! bytes. What it finds is named on `/readyz?verbose` and in the log; a damaged record is never served anyway, because
//! every read checks its checksum.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::handle::Broker;

/// A segment is read again this long after its last scrub.
const AGAIN_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// How long after a start the first scrub begins, and how often due segments are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The most it reads, so that consumers do not notice it.
const BYTES_PER_SECOND: u64 = 8 << 20;

/// It rests after this many bytes.
const STRIDE_BYTES: u64 = 256 << 10;

/// Scrubs until the broker stops.
pub(super) async fn run(broker: Broker) {
    let mut scrubbed: BTreeMap<u64, Instant> = BTreeMap::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = broker.core.until_stopped() => return,
        }
        let segments = broker.core.replication.log().segments();
        scrubbed.retain(|id, _| segments.iter().any(|segment| segment.id == *id));
        let due = segments
            .iter()
            .filter(|segment| segment.sealed)
            .find(|segment| scrubbed.get(&segment.id).is_none_or(|last| last.elapsed() > AGAIN_AFTER));
        let Some(id) = due.map(|segment| segment.id) else { continue };
        scrubbed.insert(id, Instant::now());
        let scrubber = broker.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || scrub(&scrubber, id)).await {
            tracing::error!(%error, "the scrub failed");
        }
    }
}

impl Broker {
    /// Reads every sealed segment now, at its leisurely pace. Blocking. Damage is named by [`Broker::readiness`].
    pub fn scrub(&self) {
        for segment in self.core.replication.log().segments().iter().filter(|segment| segment.sealed) {
            scrub(self, segment.id);
        }
    }
}

fn scrub(broker: &Broker, id: u64) {
    let mut stride = 0;
    let mut pace = |bytes: u64| {
        stride += bytes;
        if stride >= STRIDE_BYTES {
            std::thread::sleep(Duration::from_millis(stride * 1_000 / BYTES_PER_SECOND));
            stride = 0;
        }
        !broker.core.stopping()
    };
    if let Err(error) = broker.core.replication.log().scrub_segment(id, &mut pace) {
        // Removed meanwhile: nothing is left to be damaged.
        if !broker.core.replication.log().segments().iter().any(|segment| segment.id == id) {
            return;
        }
        tracing::error!(%error, segment = id, "the scrub found damage; restore the segment from a copy");
        *broker.core.damage.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }
}
