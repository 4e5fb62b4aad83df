//! Who is to be told what, from the alerts as they stand. Reads the state and decides nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::machine::{Alerting, PlannedNotification};
use crate::model::alert::{
    Alert, AlertKey, Delivery, Labels, Notification, NotifiedAlert, Receiver, Route, ToldGroup,
};
use crate::model::{Millis, Timestamp};
use crate::observe::alerts::{
    Candidate, Planned, Ways, as_told, group_key, group_keys, inhibited, plan as due,
};
use crate::observe::notify::REFRESH_EVERY_MS;

/// What is to be queued.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Notifications, each with what its group has been told then.
    pub(super) planned: Vec<PlannedNotification>,
    /// Groups of which it is forgotten what they were told.
    pub(super) forgotten: Vec<String>,
}

/// An Alertmanager that is to be told again what still fires.
#[derive(Debug)]
pub(super) struct Refresh {
    pub(super) receiver: Arc<Receiver>,
    pub(super) alerts: Vec<NotifiedAlert>,
    pub(super) now: Timestamp,
}

/// Plans what is to be told at `now`. `external_url` is where the pages are.
pub(super) fn plan(alerting: &Alerting, now: Timestamp, external_url: &str) -> Told {
    if alerting.alerts().next().is_none() && alerting.told_groups().next().is_none() {
        return Told::default();
    }
    let candidates = candidates(alerting, now);
    let routes = routes(alerting);
    let ways = Ways {
        routes: &routes,
        send_resolved: &|name| find_receiver(alerting, name).map(|receiver| receiver.send_resolved),
        told: &|key| alerting.told(key).map(|told| &**told),
    };
    let mut told = Told::default();
    for Planned { group_key, receiver, group_labels, alerts, truncated, told: after } in
        due(&candidates, &ways, now)
    {
        let Some(mut alerts) = alerts else {
            told.forgotten.push(group_key);
            continue;
        };
        alerts.iter_mut().for_each(|alert| make_links_whole(alert, external_url));
        let delivery = Delivery { next_at: Some(now), ..Delivery::default() };
        let notification = Notification {
            receiver,
            group_key: group_key.clone(),
            group_labels,
            alerts,
            truncated,
            created_at: now,
            delivery,
        };
        told.planned.push((Arc::new(notification), (group_key, Arc::new(after))));
    }
    // A group that no way leads into any more says nothing any more, and must not hold what is over.
    let reached = group_keys(candidates.iter().map(|candidate| candidate.alert), &ways);
    let lost = alerting.told_groups().map(|(key, _)| key).filter(|key| !reached.contains(*key));
    told.forgotten.extend(lost.cloned());
    told
}

/// The routes in force: with none, every alert goes to every receiver.
fn routes(alerting: &Alerting) -> Vec<Route> {
    match alerting.routing() {
        Some(placed) if !placed.value.routes.is_empty() => placed.value.routes.clone(),
        _ => alerting.receivers().map(|(name, _)| Route::to(name.as_str())).collect(),
    }
}

/// The receiver of that name.
pub(super) fn find_receiver(alerting: &Alerting, name: &str) -> Option<Arc<Receiver>> {
    let placed = alerting.receiver(&name.parse().ok()?)?;
    Some(Arc::clone(&placed.value))
}

/// All alerts, and which of them are kept quiet by a silence or by others that fire.
fn candidates(alerting: &Alerting, now: Timestamp) -> Vec<Candidate<'_>> {
    let alerts: Vec<(&AlertKey, &Alert)> = alerting.alerts().map(|(key, alert)| (key, &**alert)).collect();
    let labels: Vec<&Labels> = alerts.iter().map(|(_, alert)| &alert.labels).collect();
    let firing: Vec<&Labels> =
        alerts.iter().filter(|(_, alert)| alert.is_firing()).map(|(_, alert)| &alert.labels).collect();
    let inhibitions = alerting.routing().map_or(&[][..], |placed| placed.value.inhibitions.as_slice());
    let quiet = inhibited(&labels, &firing, inhibitions);
    let silences: Vec<_> = alerting.silences().filter(|(_, silence)| silence.is_active(now)).collect();
    let is_silenced = |alert: &Alert| silences.iter().any(|(_, silence)| silence.quiets(&alert.labels, now));
    let each = alerts.into_iter().zip(quiet);
    each.map(|((key, alert), quiet)| Candidate { key, alert, is_muted: quiet || is_silenced(alert) })
        .collect()
}

/// A runbook that the broker itself serves is a path; who reads a notification needs the whole address.
fn make_links_whole(alert: &mut NotifiedAlert, external_url: &str) {
    if let Some(url) = alert.annotations.get_mut("runbook_url").filter(|url| url.starts_with('/')) {
        url.insert_str(0, external_url);
    }
}

/// What a receiver was told of a while ago that still fires and is not kept quiet.
pub(super) fn firing_for(
    alerting: &Alerting,
    receiver: &str,
    now: Timestamp,
    external_url: &str,
) -> Vec<NotifiedAlert> {
    let whole = group_key(receiver, &Labels::new());
    let start = whole.trim_end_matches('}');
    let is_a_while_ago = |told: &ToldGroup| now.since(told.at) >= REFRESH_EVERY_MS;
    let groups = alerting.told_groups().filter(|(key, told)| key.starts_with(start) && is_a_while_ago(told));
    let told: BTreeSet<&AlertKey> = groups.flat_map(|(_, told)| &told.firing).collect();
    if told.is_empty() {
        return Vec::new();
    }
    let candidates = candidates(alerting, now);
    let firing = candidates.iter().filter(|one| !one.is_muted && told.contains(one.key));
    let told = |one: &Candidate<'_>| {
        let mut alert = as_told(one.alert);
        make_links_whole(&mut alert, external_url);
        alert
    };
    firing.map(told).filter(NotifiedAlert::is_firing).collect()
}

/// For how long a receiver has not taken what it was sent; 0 when it took what was tried last.
pub(super) fn failing_ms(alerting: &Alerting, receiver: &str, now: Timestamp) -> Millis {
    let own = || alerting.notifications().map(|(_, it)| it).filter(|it| it.receiver == receiver);
    let taken = own().filter_map(|it| it.delivery.taken()).max();
    let is_after = |at: Timestamp| taken.is_none_or(|taken| at > taken);
    let refused = own().filter(|it| !it.delivery.is_delivered && it.delivery.last_at.is_some_and(is_after));
    let since = refused.map(|it| match taken {
        // It was asked for nothing between what it took and what somebody wanted sent again.
        Some(taken) if taken >= it.created_at => it.wanted_since().max(taken),
        _ => it.created_at,
    });
    let since = since.min();
    since.map_or(0, |since| now.since(since))
}

#[cfg(test)]
mod tests;
