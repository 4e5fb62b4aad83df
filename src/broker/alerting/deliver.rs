//! Delivers what is queued: one notification at a time to each receiver, the oldest of a group first, so that nobody
//! hears of an end before its beginning.
//!
//! A receiver that takes one is given at once whatever else waits for it: it is back. So is one whose settings change,
//! and one that takes a test. One that does not is asked again when the wait of some notification is over; that wait is
//! in the state, so a restart goes on with it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::broker::handle::Broker;
use crate::machine::Alerting;
use crate::model::alert::{Delivery, Notification, NotificationId, Receiver, ReceiverKind};
use crate::model::{Millis, Timestamp};
use crate::observe::notify::{
    GIVE_UP_AFTER_MS, Notice, Outcome, Outgoing, Verdict, compose, judge, next_try_ms, refresh as again,
};

use super::tell::{Refresh, find_receiver};
use super::transport::{Answer, SendError};
use super::{Notifier, POSTS_MAX};

/// The longest time without a look at what is due: log time may run a little faster than the clock that is slept by.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How long a try that could not be noted waits before that is tried again.
const NOTE_AGAIN: Duration = Duration::from_secs(5);

/// What a post brought.
pub(super) struct Posted {
    pub(super) status: Option<u16>,
    pub(super) excerpt: String,
    pub(super) verdict: Verdict,
    retry_after_ms: Option<Millis>,
}

impl Posted {
    /// There was no answer.
    fn nothing(reason: String, verdict: fn(String) -> Verdict) -> Posted {
        Posted { status: None, excerpt: reason.clone(), verdict: verdict(reason), retry_after_ms: None }
    }

    fn answered(kind: ReceiverKind, answer: Answer) -> Posted {
        let Answer { status, retry_after_ms, excerpt } = answer;
        let verdict = judge(kind, status, &excerpt);
        let excerpt = match &verdict {
            Verdict::Again(reason) | Verdict::Never(reason) if excerpt.is_empty() => reason.clone(),
            _ => excerpt,
        };
        Posted { status: Some(status), excerpt, verdict, retry_after_ms }
    }
}

/// Who is busy, and who answered last.
#[derive(Debug, Default)]
struct Desk {
    busy: BTreeSet<String>,
    answering: BTreeSet<String>,
}

/// What may be tried now, and when the next may be.
#[derive(Debug, Default)]
struct Choice {
    now: Vec<(NotificationId, Arc<Notification>)>,
    next: Option<Timestamp>,
}

/// Delivers until the broker stops. What is under way then is tried again after the start, under the same id.
pub(super) async fn run(broker: Broker) {
    let (mut desk, mut posts) = (Desk::default(), JoinSet::new());
    loop {
        let mut wait = LOOK_EVERY;
        if broker.is_serving() {
            let machine = broker.core.machine.snapshot();
            let now = broker.core.clock.now(machine.now());
            desk.answering.append(&mut broker.core.alerting.take_back());
            let choice = desk.choose(machine.alerting(), now);
            for (id, notification) in choice.now {
                desk.busy.insert(notification.receiver.clone());
                posts.spawn(deliver(broker.clone(), id, notification, now));
            }
            wait = choice.next.map_or(wait, |next| wait.min(Duration::from_millis(next.since(now).max(1))));
        }
        tokio::select! {
            () = broker.core.until_stopped() => return,
            Some(done) = posts.join_next() => match done {
                Ok((receiver, outcome)) => desk.done(receiver, outcome),
                Err(error) => {
                    tracing::error!(%error, "delivering a notification failed");
                    // Whose it was is not known: begin anew, and have nobody told twice at a time.
                    posts.shutdown().await;
                    desk = Desk::default();
                }
            },
            () = broker.core.alerting.queued.notified() => {}
            () = sleep(wait) => {}
        }
    }
}

impl Desk {
    fn choose(&self, alerting: &Alerting, now: Timestamp) -> Choice {
        let mut choice = Choice::default();
        let mut waiting: Vec<(NotificationId, Timestamp)> = alerting.due().map(|(at, id)| (id, at)).collect();
        waiting.sort_unstable();
        let (mut groups, mut taken) = (BTreeSet::new(), BTreeSet::new());
        for (id, at) in waiting {
            let Some(found) = alerting.notification(id) else { continue };
            let receiver = found.receiver.as_str();
            // Behind an older one of its group, or of its receiver, whose end makes this look again.
            if !groups.insert(found.group_key.as_str())
                || self.busy.contains(receiver)
                || taken.contains(receiver)
            {
                continue;
            }
            if at > now && !self.answering.contains(receiver) {
                choice.next = Some(choice.next.map_or(at, |next| next.min(at)));
            } else if self.busy.len() + choice.now.len() < POSTS_MAX {
                taken.insert(receiver);
                choice.now.push((id, Arc::clone(found)));
            }
        }
        choice
    }

    fn done(&mut self, receiver: String, outcome: Outcome) {
        self.busy.remove(&receiver);
        match outcome {
            Outcome::Delivered => drop(self.answering.insert(receiver)),
            Outcome::Failed => drop(self.answering.remove(&receiver)),
            // What is wrong is this notification, or the receiver is gone.
            Outcome::GivenUp => {}
        }
    }
}

/// Tries once, and has that noted.
async fn deliver(
    broker: Broker,
    id: NotificationId,
    notification: Arc<Notification>,
    now: Timestamp,
) -> (String, Outcome) {
    let receiver =
        broker.core.machine.read(|machine| find_receiver(machine.alerting(), &notification.receiver));
    let posted = match receiver {
        Some(receiver) => {
            broker.core.alerting.post(&receiver, (&wire_id(&broker, id), &notification), now).await
        }
        None => Posted::nothing("the receiver does not exist any more".to_owned(), Verdict::Never),
    };
    let (delivery, outcome) = after(&notification, posted, now);
    let name = &notification.receiver;
    broker.core.alerting.counts.count(name, outcome);
    if outcome == Outcome::GivenUp {
        let reason = &delivery.excerpt;
        tracing::warn!(receiver = %name, %id, %reason, "a notification is given up");
    }
    while let Err(error) = broker.note_attempt(id, delivery.clone()).await {
        tracing::warn!(%error, receiver = %name, %id, "a try to deliver could not be noted yet");
        tokio::select! {
            () = sleep(NOTE_AGAIN) => {}
            () = broker.core.until_stopped() => break,
        }
    }
    (name.clone(), outcome)
}

/// How far a notification is after a try at `now`.
fn after(notification: &Notification, posted: Posted, now: Timestamp) -> (Delivery, Outcome) {
    let before = &notification.delivery;
    let attempts = before.attempts.saturating_add(1);
    let outcome = match posted.verdict {
        Verdict::Delivered => Outcome::Delivered,
        Verdict::Again(_) if now.since(notification.wanted_since()) < GIVE_UP_AFTER_MS => Outcome::Failed,
        Verdict::Again(_) | Verdict::Never(_) => Outcome::GivenUp,
    };
    let wait =
        (outcome == Outcome::Failed).then(|| next_try_ms(attempts, posted.retry_after_ms, rand::random()));
    let is_delivered = outcome == Outcome::Delivered;
    let delivery = Delivery {
        attempts,
        next_at: wait.map(|wait| now.plus(wait)),
        last_at: Some(now),
        status: posted.status,
        excerpt: posted.excerpt,
        is_delivered,
        taken_at: if is_delivered { Some(now) } else { before.taken() },
        again_at: before.again_at.filter(|_| !is_delivered),
    };
    (delivery, outcome)
}

impl Notifier {
    /// Posts a notification to a receiver under an id, as soon as there is a place.
    pub(super) async fn post(
        &self,
        receiver: &Receiver,
        (id, notification): (&str, &Notification),
        now: Timestamp,
    ) -> Posted {
        let notice = Notice { id, notification, external_url: &self.external_url };
        let target = (receiver.url.as_str(), receiver.secret.as_deref());
        match compose(receiver.kind, target, &notice, now) {
            Ok(outgoing) => self.send(receiver.kind, outgoing, now).await,
            Err(error) => Posted::nothing(error.to_string(), Verdict::Never),
        }
    }

    async fn send(&self, kind: ReceiverKind, outgoing: Outgoing, now: Timestamp) -> Posted {
        let _place = self.places.acquire().await;
        match self.transport.post(outgoing, now).await {
            Ok(answer) => Posted::answered(kind, answer),
            Err(error @ SendError::Address) => Posted::nothing(error.to_string(), Verdict::Never),
            Err(error) => Posted::nothing(error.to_string(), Verdict::Again),
        }
    }
}

/// Tells an Alertmanager again what still fires. Not noted, and not tried again: the next time is soon.
pub(super) async fn refresh(broker: Broker, Refresh { receiver, alerts, now }: Refresh) {
    let alerting = &broker.core.alerting;
    let outgoing = again(&receiver.url, &alerts, &alerting.external_url, now);
    let posted = tokio::select! {
        posted = alerting.send(receiver.kind, outgoing, now) => posted,
        () = broker.core.until_stopped() => return,
    };
    if posted.verdict != Verdict::Delivered {
        let reason = posted.excerpt;
        tracing::debug!(receiver = ?receiver, %reason, "an Alertmanager did not hear that alerts still fire");
    }
}

/// The id under which a receiver sees a notification, the same on every try.
fn wire_id(broker: &Broker, id: NotificationId) -> String {
    format!("{}-{id}", broker.core.cluster_id)
}

#[cfg(test)]
mod tests;
