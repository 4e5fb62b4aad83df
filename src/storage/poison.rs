//! The one-way switch thrown by a failed write or fsync: from then on nothing is acknowledged by this process.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock},
};

use super::{error::StorageError, wire::lock};

type Listener = Box<dyn FnOnce(Arc<StorageError>) + Send>;

/// Remembers the first fault and tells whoever asked to be told.
#[derive(Default)]
pub(super) struct Poison {
    fault: OnceLock<Arc<StorageError>>,
    listeners: Mutex<Vec<Listener>>,
}

impl fmt::Debug for Poison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poison").field("fault", &self.fault).finish_non_exhaustive()
    }
}

impl Poison {
    pub(super) fn fault(&self) -> Option<Arc<StorageError>> {
        self.fault.get().map(Arc::clone)
    }

    /// The error every later caller gets.
    pub(super) fn refusal(&self) -> Option<StorageError> {
        self.fault().map(StorageError::Poisoned)
    }

    /// Throws the switch; only the first fault counts.
    pub(super) fn throw(&self, fault: StorageError) {
        let fault = match fault {
            StorageError::Poisoned(first) => first,
            other => Arc::new(other),
        };
        if self.fault.set(Arc::clone(&fault)).is_ok() {
            let listeners = std::mem::take(&mut *lock(&self.listeners));
            for listener in listeners {
                listener(Arc::clone(&fault));
            }
        }
    }

    /// Calls `listener` once when the switch is thrown; at once when it already was.
    pub(super) fn listen(&self, listener: Listener) {
        let mut listeners = lock(&self.listeners);
        match self.fault() {
            Some(fault) => {
                drop(listeners);
                listener(fault);
            }
            None => listeners.push(listener),
        }
    }
}
