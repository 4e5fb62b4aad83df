//! What the configuration file says of alerting, made true when the node begins to lead.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::broker::error::BrokerError;
use crate::broker::handle::Broker;
use crate::machine::{AlertingFromFile, SetFromFile};

/// From the first time that it fails to the next; twice that to the one after it, and so on.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl Broker {
    /// Makes what a file says true, as far as it is not; answers how much that was. See
    /// [`crate::machine::Draft::set_alerting_from_file`].
    ///
    /// # Errors
    /// See [`BrokerError`]; all of it is true or nothing has changed.
    pub async fn set_alerting_from_file(&self, file: Arc<AlertingFromFile>) -> Result<usize, BrokerError> {
        let set = self.decide(0, move |draft| draft.set_alerting_from_file(&file));
        let (SetFromFile { changed, receivers, released }, _) = set.await?;
        for name in receivers {
            self.core.alerting.may_be_back(&name);
        }
        for name in released {
            tracing::warn!(%name, "the receiver left the configuration file and stays: a route leads to it");
        }
        if changed > 0 {
            tracing::info!(changed, "alerting is as the configuration file says");
        }
        Ok(changed)
    }

    /// After `error`, tries that again until it is done or the broker stops: a disk has room again, and what was set by
    /// hand makes some. Each time it is decided anew, from what stands then. Only another error than the last is worth
    /// another line in the log.
    pub async fn set_alerting_from_file_again(self, file: Arc<AlertingFromFile>, error: BrokerError) {
        let (mut error, mut told) = (error, String::new());
        let mut wait = FIRST_WAIT;
        loop {
            let text = error.to_string();
            if text != told {
                tracing::error!(%error, "alerting is not as the configuration file says; this is tried again");
                told = text;
            }
            tokio::select! {
                () = sleep(wait) => {}
                () = self.core.until_stopped() => return,
            }
            wait = (wait * 2).min(LONGEST_WAIT);
            match self.set_alerting_from_file(Arc::clone(&file)).await {
                Ok(_) => return,
                Err(again) => error = again,
            }
        }
    }
}
