//! Alerts, from the leader's side.
//!
//! 1. Every `--alert-interval` it looks at an O(1) clone of the state ([`gather`]), holds the rules against what it saw
//!    and has decided what *changes*: as long as nothing does, nothing is written ([`watch`]).
//! 2. Out of the alerts it plans who is to be told now, and has that queued, together with what each group of alerts
//!    has been told then ([`tell`]).
//! 3. What is queued it delivers, one at a time to each receiver, and has every try noted with when the next one is
//!    ([`deliver`], [`transport`]). So a notification outlives the process that queued it, and is delivered at least
//!    once, under one id.
//!
//! Looking and planning read much and wait for nothing but the disk, so they run where waiting is allowed; no batch
//! waits for them. What it does not do: watch the other nodes of a cluster.

mod deliver;
mod figures;
mod from_file;
mod gather;
mod preview;
mod tell;
mod test_receiver;
mod transport;
mod watch;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::model::{ALERT_PREVIEWS_MAX, AlertName};
use crate::observe::notify::{AllowedNetworks, NotificationCounts};

use super::handle::Broker;

use figures::Figures;
use tell::Told;
use transport::Transport;
use watch::Watch;

pub use figures::AlertValues;
pub use preview::{PreviewedObject, RulePreview};
pub use test_receiver::ReceiverTest;

/// Most notifications under way at a time, tests of receivers among them.
const POSTS_MAX: usize = 16;

/// Most changes or notifications that are proposed as one, so that no entry of the log gets long.
const PROPOSED_MAX: usize = 200;

/// How alerts are watched, and who may be told.
#[derive(Clone, Debug)]
pub struct AlertingOptions {
    /// How often the rules are held against what there is.
    pub every: Duration,
    /// Networks that notifications may go to although they are not public.
    pub allowed: AllowedNetworks,
    /// Where people reach the pages, for links in notifications; empty when that is not known.
    pub external_url: String,
}

/// What the parts of alerting share.
pub(super) struct Notifier {
    transport: Transport,
    external_url: String,
    every: Duration,
    /// Places for notifications under way.
    places: Semaphore,
    /// Places for previews of rules.
    previews: Semaphore,
    /// Told when something may have become due.
    queued: Notify,
    /// Receivers that may take again what they did not.
    back: Mutex<BTreeSet<String>>,
    pub(super) counts: NotificationCounts,
    pub(super) figures: Figures,
}

impl Notifier {
    pub(super) fn new(options: AlertingOptions) -> Notifier {
        Notifier {
            transport: Transport::new(options.allowed),
            external_url: options.external_url,
            every: options.every,
            places: Semaphore::new(POSTS_MAX),
            previews: Semaphore::new(ALERT_PREVIEWS_MAX),
            queued: Notify::new(),
            back: Mutex::default(),
            counts: NotificationCounts::default(),
            figures: Figures::default(),
        }
    }

    /// Something may have become due.
    pub(super) fn look_again(&self) {
        self.queued.notify_one();
    }

    /// A receiver may take again what it did not: it is asked now, and not when some wait is over.
    pub(super) fn may_be_back(&self, receiver: &AlertName) {
        self.back.lock().unwrap_or_else(PoisonError::into_inner).insert(receiver.to_string());
        self.look_again();
    }

    fn take_back(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.back.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Watches and tells until the broker stops; delivering has a task of its own.
pub(super) async fn run(broker: Broker) {
    let delivering = tokio::spawn(deliver::run(broker.clone()));
    let mut watch = Watch::default();
    let mut rounds = broker.core.rounds_every(broker.core.alerting.every);
    while rounds.next().await {
        if !broker.is_serving() {
            // Another leads, and what is remembered here of alerts grows old.
            watch = Watch::default();
            continue;
        }
        watch = round(&broker, watch).await;
    }
    let _ = delivering.await;
}

/// Looks and tells once.
async fn round(broker: &Broker, mut watch: Watch) -> Watch {
    let looking = broker.clone();
    let look = move || {
        let found = watch.look(&looking);
        (watch, found)
    };
    let (watch, changes) = match tokio::task::spawn_blocking(look).await {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(%error, "looking for alerts failed");
            return Watch::default();
        }
    };
    let mut left_out = 0;
    for some in changes.chunks(PROPOSED_MAX) {
        match broker.change_alerts(some.to_vec()).await {
            Ok(more) => left_out += more,
            Err(error) => {
                tracing::warn!(%error, "alerts changed, and that could not be noted; the next look finds it again");
                return watch;
            }
        }
    }
    broker.core.alerting.figures.add_left_out(left_out);
    tell(broker, watch).await
}

/// Plans who is to be told, and has it queued.
async fn tell(broker: &Broker, mut watch: Watch) -> Watch {
    let planning = broker.clone();
    let plan = move || {
        let machine = planning.core.machine.snapshot();
        let now = planning.core.clock.now(machine.now());
        let (alerting, url) = (machine.alerting(), &planning.core.alerting.external_url);
        (tell::plan(alerting, now, url), watch.refresh(alerting, now, url), watch)
    };
    let (Told { planned, forgotten }, refreshed, watch) = match tokio::task::spawn_blocking(plan).await {
        Ok(planned) => planned,
        Err(error) => {
            tracing::error!(%error, "planning notifications failed");
            return Watch::default();
        }
    };
    for refresh in refreshed {
        tokio::spawn(deliver::refresh(broker.clone(), refresh));
    }
    let mut forgotten = Some(forgotten).filter(|forgotten| !forgotten.is_empty());
    let mut planned = planned.into_iter().peekable();
    while planned.peek().is_some() || forgotten.is_some() {
        let some = planned.by_ref().take(PROPOSED_MAX).collect();
        match broker.queue_notifications(some, forgotten.take().unwrap_or_default()).await {
            Ok(0) => {}
            Ok(left_out) => {
                tracing::warn!(left_out, "too many notifications wait already; these are planned again");
                break;
            }
            Err(error) => {
                tracing::warn!(%error, "notifications could not be queued; they are planned again");
                break;
            }
        }
        broker.core.alerting.look_again();
    }
    watch
}
