//! The one way a node's agreement ends other than by being stopped: a fault, after which nothing is acknowledged any
//! more and the process must say why and exit non-zero.

use std::sync::Arc;

use tokio::sync::watch;

/// Why this node can no longer be trusted to agree on anything until it is started again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Fault {
    reason: Arc<str>,
}

impl Fault {
    pub(super) fn new(reason: impl Into<Arc<str>>) -> Fault {
        Fault { reason: reason.into() }
    }
}

/// Where the first fault is written, and who is told.
#[derive(Clone, Debug)]
pub(super) struct FaultBoard {
    first: Arc<watch::Sender<Option<Fault>>>,
}

impl FaultBoard {
    pub(super) fn new() -> FaultBoard {
        FaultBoard { first: Arc::new(watch::Sender::new(None)) }
    }

    /// Notes a fault, unless there is one already: later ones are only its consequences.
    pub(super) fn raise(&self, fault: Fault) {
        self.first.send_if_modified(|first| {
            let fresh = first.is_none();
            if fresh {
                tracing::error!(%fault, "nothing is acknowledged any more");
                *first = Some(fault);
            }
            fresh
        });
    }

    pub(super) fn get(&self) -> Option<Fault> {
        self.first.borrow().clone()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Option<Fault>> {
        self.first.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fault_stays() {
        let board = FaultBoard::new();
        let watch = board.watch();
        assert_eq!(board.get(), None);
        board.raise(Fault::new("fsync failed"));
        board.raise(Fault::new("openraft stopped"));
        assert_eq!(board.get().unwrap().to_string(), "fsync failed");
        assert!(watch.has_changed().unwrap());
    }
}
