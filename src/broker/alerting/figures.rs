//! What is known of alerting beyond the state, on the node that leads: for whoever looks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::broker::handle::Broker;
use crate::model::alert::{Alert, AlertKey, Quantity};
use crate::observe::rules::to_quantity;

/// Of the last look.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    values: Mutex<Arc<BTreeMap<AlertKey, f64>>>,
    evaluations: AtomicU64,
    left_out: AtomicU64,
    evaluation_micros: AtomicU64,
}

impl Figures {
    /// Takes in what a look found and how long it took.
    pub(super) fn note(&self, values: BTreeMap<AlertKey, f64>, left_out: u64, took: Duration) {
        *self.values.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(values);
        self.evaluations.fetch_add(1, Ordering::Relaxed);
        self.left_out.store(left_out, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.evaluation_micros.store(micros, Ordering::Relaxed);
    }

    /// More found no room once they were decided.
    pub(super) fn add_left_out(&self, more: usize) {
        self.left_out.fetch_add(u64::try_from(more).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How often it was looked.
    pub(in crate::broker) fn evaluations(&self) -> u64 {
        self.evaluations.load(Ordering::Relaxed)
    }

    /// Alerts for which there was no room.
    pub(in crate::broker) fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    /// How long the last look took.
    pub(in crate::broker) fn evaluation(&self) -> Duration {
        Duration::from_micros(self.evaluation_micros.load(Ordering::Relaxed))
    }
}

/// What alerts were worth at the last look.
#[derive(Clone, Debug)]
pub struct AlertValues(Arc<BTreeMap<AlertKey, f64>>);

impl AlertValues {
    /// The value of an alert at the last look of this node; where it has not looked, or the alert is over, when the
    /// alert last changed. None when it was not known.
    #[must_use]
    pub fn of(&self, key: &AlertKey, alert: &Alert) -> Option<Quantity> {
        self.0.get(key).copied().and_then(to_quantity).or(alert.value)
    }
}

impl Broker {
    /// What alerts were worth at the last look.
    #[must_use]
    pub fn alert_values(&self) -> AlertValues {
        let values = self.core.alerting.figures.values.lock().unwrap_or_else(PoisonError::into_inner);
        AlertValues(Arc::clone(&values))
    }
}
