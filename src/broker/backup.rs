//! A backup on its way to whoever asked for it: a thread copies, a bounded channel carries, one at a time.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::clock;
use super::error::BrokerError;
use super::handle::Broker;
use crate::replication::ReplicationError;
use crate::storage::{self, StorageError};

/// Pieces (of at most 1 MiB) that wait for a reader that is slower than the disk.
const PIECES_MAX: usize = 4;

/// A backup that is being taken. Dropping it ends it.
#[derive(Debug)]
pub struct Backup {
    /// The archive in order. Its end without an error means that it is whole.
    pub pieces: mpsc::Receiver<Result<Bytes, BrokerError>>,
    /// Bytes of the archive.
    pub bytes: u64,
    /// When it was begun, as RFC 3339.
    pub taken_at: String,
}

impl Broker {
    /// Begins a backup of everything acknowledged so far.
    ///
    /// # Errors
    /// [`BrokerError::BackupRunning`] while another one is being taken, `NotReady`, or damage, named.
    pub async fn backup(&self) -> Result<Backup, BrokerError> {
        self.check_serving()?;
        let turn = Arc::clone(&self.core.backups).try_acquire_owned();
        let Ok(turn) = turn else { return Err(BrokerError::BackupRunning) };
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        // The turn travels along: whoever asked may go away, and the thread still ends before the next one begins.
        let begun = self.look(move |broker| {
            let begun = broker.core.replication.backup(clock::wall_time());
            let begun = begun.map_err(|error| broker.backup_failed(&error.to_string(), is_damage(&error)))?;
            Ok((begun, turn))
        });
        let (backup, turn) = begun.await?;
        let (bytes, taken_at) = (backup.archive_bytes(), backup.taken_at().to_owned());
        let broker = self.clone();
        tokio::task::spawn_blocking(move || {
            broker.carry_out(backup, &sender);
            // The next one may begin.
            drop(turn);
        });
        Ok(Backup { pieces, bytes, taken_at })
    }

    fn carry_out(&self, backup: storage::backup::Backup, sender: &mpsc::Sender<Result<Bytes, BrokerError>>) {
        let (last, bytes) = (backup.last_index().unwrap_or(0), backup.archive_bytes());
        tracing::info!(last, bytes, "a backup begins");
        let mut give = |piece| !self.core.stopping() && sender.blocking_send(Ok(piece)).is_ok();
        match backup.write(&mut give) {
            Ok(()) => tracing::info!(last, bytes, "a backup was taken"),
            Err(storage::backup::BackupError::Unwanted) => {
                tracing::warn!("a backup ended early: nobody takes it any more");
            }
            Err(error) => {
                let damage =
                    matches!(&error, storage::backup::BackupError::Storage(StorageError::Damaged { .. }));
                let error = self.backup_failed(&error.to_string(), damage);
                // The reader may be gone too.
                let _ = sender.blocking_send(Err(error));
            }
        }
    }

    /// Says so in the log, and damage on `/readyz` too.
    fn backup_failed(&self, error: &str, is_damage: bool) -> BrokerError {
        tracing::error!(error, "a backup failed");
        if is_damage {
            *self.core.damage.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_owned());
        }
        BrokerError::Fault(format!("the backup failed: {error}"))
    }
}

fn is_damage(error: &ReplicationError) -> bool {
    matches!(error, ReplicationError::Storage(StorageError::Damaged { .. }))
}
