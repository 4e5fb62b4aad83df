//! Lays the trails of sealed segments in the background, so that looking for the facts about one message passes over
//! the segments that hold none ([`crate::storage::Trail`]). The newest segment first: what is asked about is mostly
//! young. A trail that is missing or damaged costs a reader time, and nothing else.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use crate::machine::{self, TOUCH_RULES};
use crate::storage::{Record, RecordKind, Space, StorageError, Touches};

use super::handle::Broker;

/// How often segments without a trail are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The most it reads, so that nobody notices it. Mostly from memory: the segment was just written.
const BYTES_PER_SECOND: u64 = 32 << 20;

/// It rests after this many bytes.
const STRIDE_BYTES: u64 = 256 << 10;

/// What the facts in an entry are about.
struct FactTouches;

impl Touches for FactTouches {
    fn rules(&self) -> u32 {
        TOUCH_RULES
    }

    fn of_entry(&self, record: &Record, touch: &mut dyn FnMut(u64)) -> Result<(), String> {
        if record.kind != RecordKind::Batch {
            return Ok(());
        }
        for part in record.parts.iter().skip(1) {
            machine::touches(part, record.index, &mut |what| touch(what.key()))
                .map_err(|error| format!("entry {}: {error}", record.index))?;
        }
        Ok(())
    }
}

/// Lays trails until the broker stops.
pub(super) async fn run(broker: Broker) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = broker.core.until_stopped() => return,
        }
        let layer = broker.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || layer.lay_trails()).await {
            tracing::error!(%error, "laying trails failed");
        }
    }
}

impl Broker {
    /// Lays the trails that are missing now, at a leisurely pace, and removes those of segments that are gone.
    /// Blocking.
    pub fn lay_trails(&self) {
        let log = self.core.replication.log();
        // One at a time: a sweep would take away what another one is writing.
        let mut given_up = self.core.trails.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = log.sweep_trails() {
            tracing::warn!(%error, "trails of segments that are gone stay on the disk");
        }
        let segments = log.segments();
        given_up.retain(|id| segments.iter().any(|segment| segment.id == *id));
        for segment in segments.iter().rev().filter(|segment| segment.sealed) {
            if self.core.stopping() || log.space() != Space::Open {
                return;
            }
            if !given_up.contains(&segment.id)
                && let Err(error) = self.lay_trail(segment.id)
            {
                // The scrub reads the segment as well, and names damage.
                tracing::warn!(%error, segment = segment.id, "no trail; who looks for a message reads this segment");
                given_up.insert(segment.id);
            }
        }
    }

    fn lay_trail(&self, id: u64) -> Result<(), StorageError> {
        let log = self.core.replication.log();
        if matches!(log.trail(id, TOUCH_RULES), Ok(Some(_))) {
            return Ok(());
        }
        let mut stride = 0;
        let mut pace = |bytes: u64| {
            stride += bytes;
            if stride >= STRIDE_BYTES {
                std::thread::sleep(Duration::from_millis(stride * 1_000 / BYTES_PER_SECOND));
                stride = 0;
            }
            !self.core.stopping()
        };
        log.lay_trail(id, &FactTouches, &mut pace).map(drop)
    }

    /// Whether a segment may hold a fact about any of `touches`. A trail that cannot be read is removed, to be laid
    /// anew.
    pub(super) fn may_touch(&self, segment: u64, touches: &[machine::Touch]) -> bool {
        let log = self.core.replication.log();
        let asked = log.trail(segment, TOUCH_RULES).and_then(|trail| {
            let Some(trail) = trail else { return Ok(true) };
            for touch in touches {
                if trail.may_touch(touch.key())? {
                    return Ok(true);
                }
            }
            Ok(false)
        });
        asked.unwrap_or_else(|error| {
            tracing::warn!(%error, segment, "a trail is not used; it is made again");
            if let Err(error) = log.remove_trail(segment) {
                tracing::warn!(%error, segment, "the trail cannot be removed");
            }
            true
        })
    }
}

/// Segments whose trail could not be laid. They are not tried again before a restart.
pub(super) type GivenUp = BTreeSet<u64>;
