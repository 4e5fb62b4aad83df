//! The decide half of alerting.

use std::sync::Arc;

use serde::Serialize;

use super::super::draft::Draft;
use super::super::facts::Fact;
use super::super::refusal::Refusal;
use super::super::requests::PutDone;
use super::super::version::{Expected, Version};
use super::{AlertFact, Alerting, Placed};
use crate::model::alert::{
    AlertChange, AlertRule, Delivery, Notification, NotificationId, Origin, Receiver, Routing, Silence,
    SilenceId, ToldGroup,
};
use crate::model::{
    ALERT_GROUPS_MAX, ALERT_RECEIVERS_MAX, ALERT_RULES_MAX, ALERT_SILENCES_MAX, ALERTS_MAX, AlertName,
    NOTIFICATIONS_PENDING_MAX,
};

/// A notification to be queued, and what its group was told last once it is.
pub type PlannedNotification = (Arc<Notification>, (String, Arc<ToldGroup>));

impl<T: Serialize> Placed<T> {
    /// The version of what it says.
    #[must_use]
    pub fn version(&self) -> Version {
        Version::of(self.origin as u32, &*self.value)
    }
}

impl<T> Placed<T> {
    /// Whether it stands in a configuration file, and is changed there.
    #[must_use]
    pub fn is_from_file(&self) -> bool {
        self.origin == Origin::File
    }
}

/// How somebody who is not the configuration file may not change what comes from it.
fn check_origin<T>(name: &str, present: Option<&Placed<T>>, origin: Origin) -> Result<(), Refusal> {
    match present {
        Some(placed) if placed.is_from_file() && origin != Origin::File => {
            Err(Refusal::FromFile(name.to_owned()))
        }
        _ => Ok(()),
    }
}

fn put_done<T: PartialEq>(present: Option<&Placed<T>>, value: &T, origin: Origin) -> PutDone {
    match present {
        None => PutDone::Created,
        Some(placed) if *placed.value == *value && placed.origin == origin => PutDone::Unchanged,
        Some(_) => PutDone::Changed,
    }
}

impl Draft {
    fn alerting(&self) -> &Alerting {
        &self.machine.alerting
    }

    pub(super) fn push_alert(&mut self, fact: AlertFact) {
        self.push(Fact::Alert(fact));
    }

    /// Makes or changes a rule.
    ///
    /// # Errors
    /// It is not as expected, comes from a configuration file, or there are too many.
    pub fn put_alert_rule(
        &mut self,
        name: &AlertName,
        rule: &Arc<AlertRule>,
        origin: Origin,
        expected: &Expected,
    ) -> Result<PutDone, Refusal> {
        let present = self.alerting().rule(name);
        expected.check(name.as_str(), present.as_ref().map(Placed::version))?;
        check_origin(name.as_str(), present.as_ref(), origin)?;
        let done = put_done(present.as_ref(), rule, origin);
        if !self.alerting().rules.contains_key(name) && self.alerting().rules.len() >= ALERT_RULES_MAX {
            return Err(Refusal::TooManyOf { what: "rules", most: ALERT_RULES_MAX });
        }
        if done != PutDone::Unchanged {
            self.push_alert(AlertFact::RuleSet { name: name.clone(), rule: Arc::clone(rule), origin });
        }
        Ok(done)
    }

    /// Deletes a rule, or takes one that comes with the broker back to what it was.
    ///
    /// # Errors
    /// There is none, it is not as expected, comes from a configuration file, or comes with the broker and was never
    /// changed.
    pub fn delete_alert_rule(
        &mut self,
        name: &AlertName,
        origin: Origin,
        expected: &Expected,
    ) -> Result<(), Refusal> {
        let present = self.alerting().rule(name);
        let missing = || Refusal::NoAlertObject { what: "rule", name: name.to_string() };
        let placed = present.ok_or_else(missing)?;
        expected.check(name.as_str(), Some(placed.version()))?;
        check_origin(name.as_str(), Some(&placed), origin)?;
        if placed.origin == Origin::BuiltIn {
            return Err(Refusal::BuiltIn(name.to_string()));
        }
        self.push_alert(AlertFact::RuleRemoved { name: name.clone() });
        Ok(())
    }

    /// Makes or changes a receiver. One that is given without a secret keeps the one it has
    /// ([`Alerting::with_kept_secret`]), except from a configuration file, which says all there is.
    ///
    /// # Errors
    /// It is not as expected, comes from a configuration file, or there are too many.
    pub fn put_receiver(
        &mut self,
        name: &AlertName,
        receiver: &Arc<Receiver>,
        origin: Origin,
        expected: &Expected,
    ) -> Result<PutDone, Refusal> {
        let present = self.alerting().receivers.get(name);
        expected.check(name.as_str(), present.map(Placed::version))?;
        check_origin(name.as_str(), present, origin)?;
        let receiver = match origin {
            Origin::File => Arc::clone(receiver),
            _ => Arc::new(self.alerting().with_kept_secret(name, receiver)),
        };
        let done = put_done(present, &receiver, origin);
        if present.is_none() && self.alerting().receivers.len() >= ALERT_RECEIVERS_MAX {
            return Err(Refusal::TooManyOf { what: "receivers", most: ALERT_RECEIVERS_MAX });
        }
        if done != PutDone::Unchanged {
            self.push_alert(AlertFact::ReceiverSet { name: name.clone(), receiver, origin });
        }
        Ok(done)
    }

    /// Deletes a receiver. What is still to be told to it is given up when it is due.
    ///
    /// # Errors
    /// There is none, it is not as expected, comes from a configuration file, or a route leads to it.
    pub fn delete_receiver(
        &mut self,
        name: &AlertName,
        origin: Origin,
        expected: &Expected,
    ) -> Result<(), Refusal> {
        let missing = || Refusal::NoAlertObject { what: "receiver", name: name.to_string() };
        let placed = self.alerting().receivers.get(name).ok_or_else(missing)?;
        expected.check(name.as_str(), Some(placed.version()))?;
        check_origin(name.as_str(), Some(placed), origin)?;
        let routes = self.alerting().routing().map(|placed| &placed.value.routes);
        if routes.is_some_and(|routes| routes.iter().any(|route| route.receiver == name.as_str())) {
            return Err(Refusal::ReceiverInUse(name.to_string()));
        }
        self.push_alert(AlertFact::ReceiverRemoved { name: name.clone() });
        Ok(())
    }

    /// Replaces routes and inhibitions.
    ///
    /// # Errors
    /// They are not as expected, come from a configuration file, or name a receiver that does not exist.
    pub fn put_routing(
        &mut self,
        routing: &Arc<Routing>,
        origin: Origin,
        expected: &Expected,
    ) -> Result<PutDone, Refusal> {
        let present = self.alerting().routing();
        expected.check("routes", present.map(Placed::version))?;
        check_origin("routes", present, origin)?;
        let receivers = &self.alerting().receivers;
        let known = |name: &str| name.parse::<AlertName>().is_ok_and(|name| receivers.contains_key(&name));
        if let Some(route) = routing.routes.iter().find(|route| !known(&route.receiver)) {
            return Err(Refusal::NoAlertObject { what: "receiver", name: route.receiver.clone() });
        }
        let done = put_done(present, routing, origin);
        if done != PutDone::Unchanged {
            self.push_alert(AlertFact::RoutingSet { routing: Arc::clone(routing), origin });
        }
        Ok(done)
    }

    /// Makes a silence.
    ///
    /// # Errors
    /// There are too many, and none of them is over.
    pub fn make_silence(&mut self, silence: &Arc<Silence>) -> Result<SilenceId, Refusal> {
        let silences = &self.alerting().silences;
        let id = SilenceId(silences.get_max().map_or(0, |(id, _)| id.0) + 1);
        if silences.len() >= ALERT_SILENCES_MAX {
            let over = silences.iter().filter(|(_, silence)| silence.ends_at <= self.time).map(|(id, _)| *id);
            let ids: Vec<SilenceId> = over.take(1).collect();
            if ids.is_empty() {
                return Err(Refusal::TooManyOf { what: "silences", most: ALERT_SILENCES_MAX });
            }
            self.push_alert(AlertFact::SilencesForgotten { ids });
        }
        self.push_alert(AlertFact::SilenceSet { id, silence: Arc::clone(silence) });
        Ok(id)
    }

    /// Ends a silence now.
    ///
    /// # Errors
    /// There is none with this id, or it is over.
    pub fn end_silence(&mut self, id: SilenceId) -> Result<(), Refusal> {
        let silence = self.open_silence(id)?;
        let starts_at = silence.starts_at.min(self.time);
        let ended = Silence { starts_at, ends_at: self.time, ..Silence::clone(&silence) };
        self.push_alert(AlertFact::SilenceSet { id, silence: Arc::new(ended) });
        Ok(())
    }

    fn open_silence(&self, id: SilenceId) -> Result<Arc<Silence>, Refusal> {
        let missing = || Refusal::NoAlertObject { what: "silence", name: id.to_string() };
        let silence = self.alerting().silences.get(&id).ok_or_else(missing)?;
        if silence.ends_at <= self.time {
            return Err(Refusal::SilenceOver(id));
        }
        Ok(Arc::clone(silence))
    }

    /// Notes how alerts changed. Of new ones, those beyond the limit are left out; the answer says how many.
    pub fn change_alerts(&mut self, mut changes: Vec<AlertChange>) -> usize {
        let alerts = &self.machine.alerting.alerts;
        let gone = changes.iter().filter(|it| it.to.is_none() && alerts.contains_key(&it.key)).count();
        let mut room = (ALERTS_MAX + gone).saturating_sub(alerts.len());
        let before = changes.len();
        changes.retain(|change| match (&change.to, alerts.contains_key(&change.key)) {
            (Some(_), true) => true,
            (None, is_there) => is_there,
            (Some(_), false) if room > 0 => {
                room -= 1;
                true
            }
            (Some(_), false) => false,
        });
        let left_out = before - changes.len();
        // Those that go make their room first.
        changes.sort_by_key(|change| change.to.is_some());
        if !changes.is_empty() {
            self.push_alert(AlertFact::Changed { changes });
        }
        left_out
    }

    /// Queues notifications, and notes what each group was told last. The answer is how many found no room; what their
    /// groups were told is not noted then, so that they are planned again.
    pub fn notify(&mut self, planned: Vec<PlannedNotification>, forgotten: Vec<String>) -> usize {
        let room = NOTIFICATIONS_PENDING_MAX.saturating_sub(self.alerting().due.len());
        let last = self.alerting().notifications.get_max().map_or(0, |(id, _)| id.0);
        let left_out = planned.len().saturating_sub(room);
        let surplus = self.surplus_groups(planned.len().min(room));
        let mut groups: Vec<_> = forgotten.into_iter().chain(surplus).map(|group| (group, None)).collect();
        let mut notifications = Vec::new();
        for ((notification, (group, told)), id) in planned.into_iter().take(room).zip(last + 1..) {
            notifications.push((NotificationId(id), notification));
            // A group in which nothing fires any more begins anew with its next alert.
            groups.push((group, Some(told).filter(|told| !told.firing.is_empty())));
        }
        if !groups.is_empty() {
            self.push_alert(AlertFact::Notified { notifications, groups });
        }
        left_out
    }

    /// Groups that were told longest ago, as many as have to make room for `coming` others. At worst they are told what
    /// they know.
    fn surplus_groups(&self, coming: usize) -> Vec<String> {
        let told = &self.alerting().told;
        let surplus = (told.len() + coming).saturating_sub(ALERT_GROUPS_MAX);
        if surplus == 0 {
            return Vec::new();
        }
        let mut oldest: Vec<_> = told.iter().map(|(group, told)| (told.at, group)).collect();
        oldest.sort_unstable();
        oldest.into_iter().take(surplus).map(|(_, group)| group.clone()).collect()
    }

    /// Notes how far a notification came; one that is gone is passed over.
    pub fn attempted(&mut self, id: NotificationId, delivery: Delivery) {
        if self.alerting().notifications.contains_key(&id) {
            self.push_alert(AlertFact::Attempted { id, delivery });
        }
    }

    /// Sends a notification once more, also one that arrived.
    ///
    /// # Errors
    /// There is none with this id.
    pub fn redeliver(&mut self, id: NotificationId) -> Result<(), Refusal> {
        let missing = || Refusal::NoAlertObject { what: "delivery", name: id.to_string() };
        let found = self.alerting().notifications.get(&id).ok_or_else(missing)?;
        let delivery = found.delivery.again(self.time);
        self.push_alert(AlertFact::Attempted { id, delivery });
        Ok(())
    }
}
