//! Alerting as state: rules, receivers, routes and silences that people set, alerts as the leader finds them, and what
//! is still to be told.
//!
//! 1. The leader holds the rules against what it sees, outside the machine (values are floats there), and has only what
//!    *changes* decided here: an alert becomes pending, fires, is over.
//! 2. Out of the alerts it plans notifications and has them *told*: they are queued here together with what each group
//!    was told last, in one entry, so that no restart tells twice or forgets to tell.
//! 3. It delivers what is due and has every *attempt* noted with when the next one is. A notification that is under way
//!    when a process dies is tried again: at least once, under the same id.
//!
//! Everything is kept as JSON in log and image: it is rare, and for people. What ended is remembered up to a limit.

mod built_in;
mod decide;
mod from_file;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use crate::model::alert::{
    Alert, AlertChange, AlertKey, AlertRule, Delivery, Labels, Notification, NotificationId, Origin,
    Receiver, Routing, Silence, SilenceId, ToldGroup,
};
use crate::model::{
    ALERT_GROUPS_MAX, ALERT_RECEIVERS_MAX, ALERT_RULES_MAX, ALERT_SILENCES_MAX, ALERTS_MAX, AlertName,
    NOTIFICATIONS_DONE_MAX, Timestamp,
};

use super::state::Machine;

pub use built_in::built_in_rules;
pub use decide::PlannedNotification;
pub use from_file::{AlertingFromFile, SetFromFile};

/// What can happen in alerting. Also its form in log and image, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AlertFact {
    /// A rule was made or changed.
    RuleSet {
        /// Its name.
        name: AlertName,
        /// What it says.
        rule: Arc<AlertRule>,
        /// Where it comes from.
        origin: Origin,
    },
    /// A rule is gone; one that comes with the broker is as it was again.
    RuleRemoved {
        /// Its name.
        name: AlertName,
    },
    /// A receiver was made or changed.
    ReceiverSet {
        /// Its name.
        name: AlertName,
        /// What it is.
        receiver: Arc<Receiver>,
        /// Where it comes from.
        origin: Origin,
    },
    /// A receiver is gone.
    ReceiverRemoved {
        /// Its name.
        name: AlertName,
    },
    /// Routes and inhibitions were replaced.
    RoutingSet {
        /// By these.
        routing: Arc<Routing>,
        /// Where they come from.
        origin: Origin,
    },
    /// A silence was made or changed.
    SilenceSet {
        /// Which.
        id: SilenceId,
        /// What it says.
        silence: Arc<Silence>,
    },
    /// Silences that were over made room for another.
    SilencesForgotten {
        /// Which.
        ids: Vec<SilenceId>,
    },
    /// Alerts changed.
    Changed {
        /// How.
        changes: Vec<AlertChange>,
    },
    /// Somebody is to be told.
    Notified {
        /// What is sent.
        notifications: Vec<(NotificationId, Arc<Notification>)>,
        /// What each group was told last from now on; none: that is forgotten.
        groups: Vec<(String, Option<Arc<ToldGroup>>)>,
    },
    /// A notification was tried, or is to be tried again.
    Attempted {
        /// Which.
        id: NotificationId,
        /// How far it is.
        delivery: Delivery,
    },
}

/// Something that people set, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<T> {
    /// What it is.
    pub value: Arc<T>,
    /// Where it comes from.
    pub origin: Origin,
}

/// All of alerting. Cloning is O(1).
#[derive(Clone, Debug, Default)]
pub struct Alerting {
    /// Rules that somebody set; those that come with the broker are not among them.
    pub(super) rules: OrdMap<AlertName, Placed<AlertRule>>,
    /// Receivers.
    pub(super) receivers: OrdMap<AlertName, Placed<Receiver>>,
    /// Routes and inhibitions; none: nobody set any.
    pub(super) routing: Option<Placed<Routing>>,
    /// Silences, also those that are over.
    pub(super) silences: OrdMap<SilenceId, Arc<Silence>>,
    /// Alerts that are pending, firing, or remembered as resolved.
    pub(super) alerts: OrdMap<AlertKey, Arc<Alert>>,
    /// What each group of alerts was told last.
    pub(super) told: OrdMap<String, Arc<ToldGroup>>,
    /// Notifications: those under way, and the last that are over.
    pub(super) notifications: OrdMap<NotificationId, Arc<Notification>>,
    /// Those under way, by when they are tried next.
    pub(super) due: OrdSet<(Timestamp, NotificationId)>,
}

impl AlertFact {
    /// About how many bytes it takes in the log.
    pub(super) fn about_bytes(&self) -> usize {
        match self {
            AlertFact::Changed { changes } => 64 + 512 * changes.len(),
            AlertFact::Notified { notifications, groups } => {
                let alerts: usize = notifications.iter().map(|(_, it)| it.alerts.len()).sum();
                let keys: usize = groups
                    .iter()
                    .flat_map(|(_, told)| told)
                    .map(|it| it.firing.len() + it.resolved.len())
                    .sum();
                256 * (notifications.len() + groups.len()) + 512 * alerts + 128 * keys
            }
            _ => 1_024,
        }
    }
}

impl Machine {
    /// Applies what happened in alerting.
    pub(super) fn apply_alert(&mut self, fact: &AlertFact) {
        let state = &mut self.alerting;
        match fact {
            AlertFact::RuleSet { name, rule, origin } => {
                state.rules.insert(name.clone(), Placed { value: Arc::clone(rule), origin: *origin });
            }
            AlertFact::RuleRemoved { name } => drop(state.rules.remove(name)),
            AlertFact::ReceiverSet { name, receiver, origin } => {
                state.receivers.insert(name.clone(), Placed { value: Arc::clone(receiver), origin: *origin });
            }
            AlertFact::ReceiverRemoved { name } => drop(state.receivers.remove(name)),
            AlertFact::RoutingSet { routing, origin } => {
                state.routing = Some(Placed { value: Arc::clone(routing), origin: *origin });
            }
            AlertFact::SilenceSet { id, silence } => drop(state.silences.insert(*id, Arc::clone(silence))),
            AlertFact::SilencesForgotten { ids } => ids.iter().for_each(|id| drop(state.silences.remove(id))),
            AlertFact::Changed { changes } => changes.iter().for_each(|change| state.change(change)),
            AlertFact::Notified { notifications, groups } => {
                for (id, notification) in notifications {
                    state.put_notification(*id, Arc::clone(notification));
                }
                for (group, told) in groups {
                    match told {
                        Some(told) => drop(state.told.insert(group.clone(), Arc::clone(told))),
                        None => drop(state.told.remove(group)),
                    }
                }
            }
            AlertFact::Attempted { id, delivery } => {
                if let Some(found) = state.notifications.get(id) {
                    let after = Notification { delivery: delivery.clone(), ..Notification::clone(found) };
                    state.put_notification(*id, Arc::new(after));
                }
            }
        }
    }

    /// All of alerting, as it stands.
    #[must_use]
    pub fn alerting(&self) -> &Alerting {
        &self.alerting
    }

    pub(super) fn check_alerting(&self) -> Result<(), String> {
        let Alerting { rules, receivers, routing: _, silences, alerts, told, notifications, due } =
            &self.alerting;
        let next = |(id, it): (&NotificationId, &Arc<Notification>)| it.delivery.next_at.map(|at| (at, *id));
        let waiting: OrdSet<_> = notifications.iter().filter_map(next).collect();
        let sizes = [
            ("rules", rules.len(), ALERT_RULES_MAX),
            ("receivers", receivers.len(), ALERT_RECEIVERS_MAX),
            ("silences", silences.len(), ALERT_SILENCES_MAX),
            ("alerts", alerts.len(), ALERTS_MAX),
            ("groups that were told", told.len(), ALERT_GROUPS_MAX),
            ("notifications that are over", notifications.len() - waiting.len(), NOTIFICATIONS_DONE_MAX),
        ];
        if let Some((what, found, most)) = sizes.into_iter().find(|(_, found, most)| found > most) {
            return Err(format!("{found} {what}, at most {most}"));
        }
        if waiting != *due {
            return Err("notifications under way and what is due differ".into());
        }
        Ok(())
    }
}

impl Alerting {
    fn change(&mut self, change: &AlertChange) {
        match &change.to {
            Some(alert) => drop(self.alerts.insert(change.key.clone(), Arc::new(alert.clone()))),
            None => drop(self.alerts.remove(&change.key)),
        }
    }

    fn put_notification(&mut self, id: NotificationId, notification: Arc<Notification>) {
        let next = notification.delivery.next_at;
        if let Some(before) = self.notifications.insert(id, notification)
            && let Some(at) = before.delivery.next_at
        {
            self.due.remove(&(at, id));
        }
        if let Some(at) = next {
            self.due.insert((at, id));
        }
        // The oldest that are over make room. The newest of all stays, so that no id is ever given twice.
        while self.notifications.len() - self.due.len() > NOTIFICATIONS_DONE_MAX {
            let over = self.notifications.iter().find(|(_, it)| it.delivery.next_at.is_none());
            let Some(oldest) = over.map(|(id, _)| *id) else { return };
            self.notifications.remove(&oldest);
        }
    }

    /// Rules that are in force: those that come with the broker, and those that somebody set, by name.
    pub fn rules(&self) -> impl Iterator<Item = (&AlertName, Placed<AlertRule>)> {
        let own = built_in_rules().iter().filter(|(name, _)| !self.rules.contains_key(name));
        let own = own.map(|(name, rule)| (name, Placed { value: Arc::clone(rule), origin: Origin::BuiltIn }));
        let mut all: Vec<_> =
            own.chain(self.rules.iter().map(|(name, placed)| (name, placed.clone()))).collect();
        all.sort_by_key(|(name, _)| *name);
        all.into_iter()
    }

    /// One rule that is in force.
    #[must_use]
    pub fn rule(&self, name: &AlertName) -> Option<Placed<AlertRule>> {
        let own = || {
            let (_, rule) = built_in_rules().iter().find(|(known, _)| known == name)?;
            Some(Placed { value: Arc::clone(rule), origin: Origin::BuiltIn })
        };
        self.rules.get(name).cloned().or_else(own)
    }

    /// Receivers, by name.
    pub fn receivers(&self) -> impl Iterator<Item = (&AlertName, &Placed<Receiver>)> {
        self.receivers.iter()
    }

    /// One receiver.
    #[must_use]
    pub fn receiver(&self, name: &AlertName) -> Option<&Placed<Receiver>> {
        self.receivers.get(name)
    }

    /// Routes and inhibitions; none: nobody set any, and every alert goes to every receiver.
    #[must_use]
    pub fn routing(&self) -> Option<&Placed<Routing>> {
        self.routing.as_ref()
    }

    /// A receiver as it would be stored under this name: given without a secret it keeps the one that is there.
    #[must_use]
    pub fn with_kept_secret(&self, name: &AlertName, receiver: &Receiver) -> Receiver {
        let receiver = receiver.clone();
        match self.receivers.get(name) {
            Some(before) => receiver.keeping_secret_of(&before.value),
            None => receiver,
        }
    }

    /// Silences, the oldest first, also those that are over.
    pub fn silences(&self) -> impl DoubleEndedIterator<Item = (SilenceId, &Arc<Silence>)> {
        self.silences.iter().map(|(id, silence)| (*id, silence))
    }

    /// One silence.
    #[must_use]
    pub fn silence(&self, id: SilenceId) -> Option<&Arc<Silence>> {
        self.silences.get(&id)
    }

    /// Alerts that are pending, firing, or remembered as resolved, by rule and object.
    pub fn alerts(&self) -> impl Iterator<Item = (&AlertKey, &Arc<Alert>)> {
        self.alerts.iter()
    }

    /// The same, the most urgent first: those that fire, then those that may soon, the worst of each first.
    #[must_use]
    pub fn alerts_by_urgency(&self) -> Vec<(&AlertKey, &Arc<Alert>)> {
        let mut alerts: Vec<_> = self.alerts.iter().collect();
        alerts.sort_by_key(|(_, alert)| alert.urgency());
        alerts
    }

    /// A silence that keeps alerts with these labels quiet at `now`.
    #[must_use]
    pub fn silenced_by(&self, labels: &Labels, now: Timestamp) -> Option<SilenceId> {
        let quiets = |(_, silence): &(&SilenceId, &Arc<Silence>)| silence.quiets(labels, now);
        self.silences.iter().find(quiets).map(|(id, _)| *id)
    }

    /// What a group of alerts was told last.
    #[must_use]
    pub fn told(&self, group_key: &str) -> Option<&Arc<ToldGroup>> {
        self.told.get(group_key)
    }

    /// What every group of alerts was told last.
    pub fn told_groups(&self) -> impl Iterator<Item = (&String, &Arc<ToldGroup>)> {
        self.told.iter()
    }

    /// Notifications, the oldest first: those under way, and the last that are over.
    pub fn notifications(&self) -> impl DoubleEndedIterator<Item = (NotificationId, &Arc<Notification>)> {
        self.notifications.iter().map(|(id, notification)| (*id, notification))
    }

    /// One notification.
    #[must_use]
    pub fn notification(&self, id: NotificationId) -> Option<&Arc<Notification>> {
        self.notifications.get(&id)
    }

    /// Notifications under way, in the order in which they are tried next.
    pub fn due(&self) -> impl Iterator<Item = (Timestamp, NotificationId)> {
        self.due.iter().copied()
    }

    /// What there is, as the facts that make it.
    pub(super) fn as_facts(&self) -> impl Iterator<Item = AlertFact> {
        let rules = self.rules.iter().map(|(name, placed)| AlertFact::RuleSet {
            name: name.clone(),
            rule: Arc::clone(&placed.value),
            origin: placed.origin,
        });
        let receivers = self.receivers.iter().map(|(name, placed)| AlertFact::ReceiverSet {
            name: name.clone(),
            receiver: Arc::clone(&placed.value),
            origin: placed.origin,
        });
        let routing = self.routing.iter().map(|placed| AlertFact::RoutingSet {
            routing: Arc::clone(&placed.value),
            origin: placed.origin,
        });
        let silences = self
            .silences
            .iter()
            .map(|(id, silence)| AlertFact::SilenceSet { id: *id, silence: Arc::clone(silence) });
        let alerts = self.alerts.iter().map(|(key, alert)| AlertFact::Changed {
            changes: vec![AlertChange { key: key.clone(), to: Some(Alert::clone(alert)) }],
        });
        let told = self.told.iter().map(|(group, told)| AlertFact::Notified {
            notifications: Vec::new(),
            groups: vec![(group.clone(), Some(Arc::clone(told)))],
        });
        let notifications = self.notifications.iter().map(|(id, notification)| AlertFact::Notified {
            notifications: vec![(*id, Arc::clone(notification))],
            groups: Vec::new(),
        });
        rules.chain(receivers).chain(routing).chain(silences).chain(alerts).chain(told).chain(notifications)
    }
}
