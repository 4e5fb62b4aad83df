//! How openraft is set up, and why it may not delete or decide anything by itself.

use std::sync::Arc;

use openraft::{Config, SnapshotPolicy};

use super::error::ReplicationError;

/// At most this many bytes of entries are read from the log in one go for another node.
pub(super) const READ_BYTES_MAX: usize = 4 << 20;

/// The leader's heartbeat to other nodes. With one voter nothing is sent; the tick (1.5 times this) only looks at the
/// clock.
const HEARTBEAT_MS: u64 = 300;

/// openraft's set-up. Images are taken and the log is purged only when this folder says so ([`super::image`]):
/// openraft never makes an image by policy and never purges because there is one.
pub(super) fn config(cluster: &str) -> Result<Arc<Config>, ReplicationError> {
    let config = Config {
        cluster_name: cluster.to_owned(),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: 4 * HEARTBEAT_MS,
        election_timeout_max: 8 * HEARTBEAT_MS,
        install_snapshot_timeout: 60_000,
        max_payload_entries: 64,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        purge_batch_size: 1,
        ..Config::default()
    };
    config.validate().map(Arc::new).map_err(|error| ReplicationError::Config(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openraft_never_deletes_by_itself() {
        let config = config("any").unwrap();
        assert_eq!(config.snapshot_policy, SnapshotPolicy::Never);
        assert_eq!(config.max_in_snapshot_log_to_keep, u64::MAX);
        assert!(config.enable_tick && config.enable_elect && config.enable_heartbeat);
    }

    #[test]
    fn openraft_is_built_without_loosened_rules() {
        let manifest = include_str!("../../Cargo.toml");
        let line = manifest.lines().find(|line| line.starts_with("openraft ")).unwrap();
        assert!(line.contains("\"=0.9.25\"") && line.contains("default-features = false"), "{line}");
        assert!(!manifest.contains("loosen-follower-log-revert"));
    }
}
