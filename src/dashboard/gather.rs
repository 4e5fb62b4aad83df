//! What the pages say of the node that answers.

use std::sync::Arc;
use std::time::Instant;

use crate::broker::Readiness;
use crate::model::Millis;

/// What the broker itself does not know about its node.
#[derive(Clone, Debug)]
pub struct About {
    address: String,
    data_dir: String,
    started: Instant,
    settings: Arc<[SettingShown]>,
}

/// A setting of the node, as the page of settings shows it.
#[derive(Clone, Debug)]
pub struct SettingShown {
    /// Its name.
    pub key: String,
    /// Its value; none when it is secret.
    pub value: Option<String>,
    /// Where it comes from.
    pub origin: String,
}

impl About {
    /// A node that starts now, is reached at `address` (`host:port`) and keeps its data in `data_dir`.
    #[must_use]
    pub fn starting(address: impl Into<String>, data_dir: impl Into<String>) -> About {
        About {
            address: address.into(),
            data_dir: data_dir.into(),
            started: Instant::now(),
            settings: Arc::default(),
        }
    }

    /// The same node, with the settings it was started with.
    #[must_use]
    pub fn with_settings(self, settings: impl IntoIterator<Item = SettingShown>) -> About {
        About { settings: settings.into_iter().collect(), ..self }
    }

    /// What it was started with; nothing when that is not known.
    pub(super) fn settings(&self) -> &[SettingShown] {
        &self.settings
    }

    /// `host:port` that clients reach it at.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Where it keeps its data.
    pub(super) fn data_dir(&self) -> &str {
        &self.data_dir
    }

    /// Since when the process runs.
    pub(super) fn uptime_ms(&self) -> Option<Millis> {
        u64::try_from(self.started.elapsed().as_millis()).ok()
    }
}

/// The state of the node, as every page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeState {
    /// Whether it takes work.
    pub(super) ready: bool,
    /// The checks that failed, with what they found; empty when all is well.
    pub(super) failed: Vec<String>,
}

impl NodeState {
    pub(super) fn gather(readiness: &Readiness) -> NodeState {
        let failed = readiness.checks.iter().filter(|(_, passed, _)| !passed);
        NodeState {
            ready: readiness.ready,
            failed: failed.map(|(name, _, found)| format!("{name}: {found}")).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_not_well_says_what_is_wrong() {
        let checks = vec![("log", true, "ok".to_owned()), ("disk", false, "full".to_owned())];
        let state = NodeState::gather(&Readiness { ready: true, checks });
        assert_eq!((state.ready, state.failed), (true, vec!["disk: full".to_owned()]));
    }
}
