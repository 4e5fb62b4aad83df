//! Holds the rules against what there is, and remembers what the state need not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crate::broker::handle::Broker;
use crate::machine::Alerting;
use crate::model::alert::{AlertChange, AlertKey, AlertMetric, AlertRule, ReceiverKind};
use crate::model::{ALERTS_MAX, AlertName, Timestamp};
use crate::observe::notify::REFRESH_EVERY_MS;
use crate::observe::rules::{Evaluator, Growth, ReceiverFacts, Standing, longest_window};

use super::gather::{Asked, survey};
use super::tell::{Refresh, failing_ms, firing_for};

/// What one leadership remembers of alerts.
#[derive(Debug, Default)]
pub(super) struct Watch {
    evaluator: Evaluator,
    growth: Growth,
    /// When each Alertmanager was told last that alerts still fire.
    refreshed: BTreeMap<AlertName, Timestamp>,
}

impl Watch {
    /// Looks at everything, and answers which alerts change. Reads the index, so not for async threads.
    pub(super) fn look(&mut self, broker: &Broker) -> Vec<AlertChange> {
        let began = Instant::now();
        let core = &broker.core;
        let machine = core.machine.snapshot();
        let now = core.clock.now(machine.now());
        let alerting = machine.alerting();
        let rules: Vec<(&AlertName, Arc<AlertRule>)> =
            alerting.rules().map(|(name, placed)| (name, placed.value)).collect();
        let enabled = || rules.iter().map(|(_, rule)| &**rule).filter(|rule| rule.enabled);
        self.growth.note(&core.traffic, core.replication.log().fsyncs(), (now, longest_window(enabled())));
        let mut seen = survey(broker, &machine, asked(enabled()), now);
        seen.receivers = receivers(alerting, now);
        let alerts: Vec<_> = alerting.alerts().map(|(key, alert)| (key, &**alert)).collect();
        let told: BTreeSet<&AlertKey> = alerting.told_groups().flat_map(|(_, told)| &told.firing).collect();
        let standing = Standing { alerts: &alerts, told: &told, most: ALERTS_MAX };
        let rules = rules.iter().map(|(name, rule)| (name.as_str(), &**rule));
        let found = self.evaluator.evaluate(rules, standing, (&seen, &self.growth));
        core.alerting.figures.note(found.values, found.left_out, began.elapsed());
        found.changes
    }

    /// Which Alertmanagers are to be told again what still fires: they take an alert for over that they do not hear of.
    pub(super) fn refresh(
        &mut self,
        alerting: &Alerting,
        now: Timestamp,
        external_url: &str,
    ) -> Vec<Refresh> {
        let kind = ReceiverKind::Alertmanager;
        let known: Vec<_> = alerting.receivers().filter(|(_, placed)| placed.value.kind == kind).collect();
        self.refreshed.retain(|name, _| known.iter().any(|(other, _)| *other == name));
        let mut found = Vec::new();
        for (name, placed) in known {
            if self.refreshed.get(name).is_some_and(|at| now.since(*at) < REFRESH_EVERY_MS) {
                continue;
            }
            let alerts = firing_for(alerting, name.as_str(), now, external_url);
            if !alerts.is_empty() {
                self.refreshed.insert(name.clone(), now);
                found.push(Refresh { receiver: Arc::clone(&placed.value), alerts, now });
            }
        }
        found
    }
}

/// What has to be looked at closely for these rules.
fn asked<'a>(rules: impl Iterator<Item = &'a AlertRule>) -> Asked {
    let mut asked = Asked::default();
    for rule in rules {
        match rule.metric {
            AlertMetric::LagSeconds => asked.lag_ms = true,
            AlertMetric::InFlightSeconds | AlertMetric::HeadBlockedSeconds => asked.items = true,
            AlertMetric::ScheduleLatenessSeconds => asked.topics = true,
            _ => {}
        }
    }
    asked
}

fn receivers(alerting: &Alerting, now: Timestamp) -> Vec<ReceiverFacts> {
    let facts = |(name, _): (&AlertName, _)| ReceiverFacts {
        name: name.to_string(),
        failing_ms: failing_ms(alerting, name.as_str(), now),
    };
    alerting.receivers().map(facts).collect()
}
