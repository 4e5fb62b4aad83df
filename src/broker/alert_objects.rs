//! Rules, receivers, routes, silences and deliveries: set, shown, taken away. What is made of them is in `alerting/`.

use std::sync::Arc;

use crate::machine::{Alerting, Expected, PlannedNotification, PutDone, Refusal};
use crate::model::AlertName;
use crate::model::alert::{
    AlertChange, AlertRule, Delivery, NotificationId, Origin, Receiver, Routing, Silence, SilenceId,
};

use super::error::BrokerError;
use super::handle::Broker;

impl Broker {
    /// All of alerting as it stands, in O(1).
    #[must_use]
    pub fn alerting(&self) -> Alerting {
        self.core.machine.read(|machine| machine.alerting().clone())
    }

    /// Makes or changes a rule.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn put_alert_rule(
        &self,
        name: AlertName,
        rule: AlertRule,
        origin: Origin,
        expected: Expected,
    ) -> Result<PutDone, BrokerError> {
        let rule = Arc::new(rule);
        Ok(self.decide(0, move |draft| draft.put_alert_rule(&name, &rule, origin, &expected)).await?.0)
    }

    /// Deletes a rule, or takes one that comes with the broker back to what it was.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn delete_alert_rule(
        &self,
        name: AlertName,
        origin: Origin,
        expected: Expected,
    ) -> Result<(), BrokerError> {
        self.decide(0, move |draft| draft.delete_alert_rule(&name, origin, &expected)).await?;
        Ok(())
    }

    /// Makes or changes a receiver; see [`crate::machine::Draft::put_receiver`] for its secret.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn put_receiver(
        &self,
        name: AlertName,
        receiver: Receiver,
        origin: Origin,
        expected: Expected,
    ) -> Result<PutDone, BrokerError> {
        let receiver = Arc::new(receiver);
        let put = name.clone();
        let (done, _) =
            self.decide(0, move |draft| draft.put_receiver(&put, &receiver, origin, &expected)).await?;
        if done == PutDone::Changed {
            self.core.alerting.may_be_back(&name);
        }
        Ok(done)
    }

    /// Deletes a receiver.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn delete_receiver(
        &self,
        name: AlertName,
        origin: Origin,
        expected: Expected,
    ) -> Result<(), BrokerError> {
        self.decide(0, move |draft| draft.delete_receiver(&name, origin, &expected)).await?;
        Ok(())
    }

    /// Replaces routes and inhibitions.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn put_routing(
        &self,
        routing: Routing,
        origin: Origin,
        expected: Expected,
    ) -> Result<PutDone, BrokerError> {
        let routing = Arc::new(routing);
        Ok(self.decide(0, move |draft| draft.put_routing(&routing, origin, &expected)).await?.0)
    }

    /// Makes a silence.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn make_silence(&self, silence: Silence) -> Result<SilenceId, BrokerError> {
        let silence = Arc::new(silence);
        Ok(self.decide(0, move |draft| draft.make_silence(&silence)).await?.0)
    }

    /// Ends a silence now.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn end_silence(&self, id: SilenceId) -> Result<(), BrokerError> {
        self.decide(0, move |draft| draft.end_silence(id)).await?;
        Ok(())
    }

    /// Sends a notification once more, also one that arrived.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn redeliver(&self, id: NotificationId) -> Result<(), BrokerError> {
        self.decide(0, move |draft| draft.redeliver(id)).await?;
        self.core.alerting.look_again();
        Ok(())
    }

    /// Notes how alerts changed; the answer is how many new ones found no room.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn change_alerts(&self, changes: Vec<AlertChange>) -> Result<usize, BrokerError> {
        Ok(self.decide(0, move |draft| Ok(draft.change_alerts(changes.clone()))).await?.0)
    }

    /// Queues notifications, and notes what their groups were told; the answer is how many found no room.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn queue_notifications(
        &self,
        planned: Vec<PlannedNotification>,
        forgotten: Vec<String>,
    ) -> Result<usize, BrokerError> {
        Ok(self.decide(0, move |draft| Ok(draft.notify(planned.clone(), forgotten.clone()))).await?.0)
    }

    /// Notes how far a notification came.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn note_attempt(&self, id: NotificationId, delivery: Delivery) -> Result<(), BrokerError> {
        let noted = self.decide(0, move |draft| {
            draft.attempted(id, delivery.clone());
            Ok::<(), Refusal>(())
        });
        noted.await.map(|_| ())
    }
}
