//! Alerts, and what became of notifications.

use std::collections::BTreeMap;

use crate::broker::core::Core;
use crate::machine::Machine;
use crate::model::alert::AlertPhase;
use crate::observe::notify::Outcome;
use crate::observe::{Exposition, series};

/// Adds what is known of alerts and of the receivers there are.
pub(super) fn add(out: &mut Exposition, core: &Core, machine: &Machine) {
    let alerting = machine.alerting();
    let (mut pending, mut firing) = (0, 0);
    for (_, alert) in alerting.alerts() {
        match alert.phase {
            AlertPhase::Pending { .. } => pending += 1,
            AlertPhase::Firing { .. } => firing += 1,
            AlertPhase::Resolved { .. } => {}
        }
    }
    out.count(&series::ALERTS, &["pending"], pending);
    out.count(&series::ALERTS, &["firing"], firing);
    out.count(&series::ALERTS_LEFT_OUT, &[], core.alerting.figures.left_out());
    out.count(&series::ALERT_EVALUATIONS, &[], core.alerting.figures.evaluations());
    out.add(&series::ALERT_EVALUATION_SECONDS, &[], core.alerting.figures.evaluation().as_secs_f64());
    let mut waiting: BTreeMap<&str, u64> = BTreeMap::new();
    for notification in alerting.due().filter_map(|(_, id)| alerting.notification(id)) {
        *waiting.entry(notification.receiver.as_str()).or_default() += 1;
    }
    let is_there = |name: &str| name.parse().is_ok_and(|name| alerting.receiver(&name).is_some());
    core.alerting.counts.keep(is_there);
    for (name, _) in alerting.receivers() {
        let name = name.as_str();
        for outcome in Outcome::ALL {
            let count = core.alerting.counts.of(name, outcome);
            out.count(&series::NOTIFICATIONS, &[name, outcome.as_str()], count);
        }
        out.count(&series::NOTIFICATIONS_WAITING, &[name], waiting.get(name).copied().unwrap_or(0));
    }
}
