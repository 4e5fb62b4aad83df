//! One notification to see whether a receiver takes it.

use std::time::Instant;

use crate::broker::error::BrokerError;
use crate::broker::handle::Broker;
use crate::machine::Refusal;
use crate::model::alert::{Delivery, Labels, Notification, NotifiedAlert, Severity};
use crate::model::{AlertName, Millis, Timestamp};
use crate::observe::alerts::group_key;
use crate::observe::notify::Verdict;

use super::tell::find_receiver;

/// How a test of a receiver ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverTest {
    /// Whether the receiver took the notification.
    pub is_delivered: bool,
    /// The HTTP status of its answer; none when there was no answer.
    pub status: Option<u16>,
    /// The beginning of its answer's body, or why there was none. At most 512 bytes.
    pub excerpt: String,
    /// How long that took.
    pub took_ms: Millis,
}

impl Broker {
    /// Sends a receiver one notification now, along the way of all others, and answers what came of it. It is not
    /// queued and not tried again; it tells of an alert `WhimbrelTest` that fires, with the severity `info`.
    ///
    /// # Errors
    /// `NoAlertObject`, when there is no such receiver; `NotReady` on a node that does not lead; `Overloaded`, when too
    /// many notifications are under way.
    pub async fn test_receiver(&self, name: &AlertName) -> Result<ReceiverTest, BrokerError> {
        self.check_serving()?;
        let machine = self.core.machine.snapshot();
        let missing = || Refusal::NoAlertObject { what: "receiver", name: name.to_string() };
        let receiver = find_receiver(machine.alerting(), name.as_str()).ok_or_else(missing)?;
        let alerting = &self.core.alerting;
        if alerting.places.available_permits() == 0 {
            let busy = "too many notifications are under way; try again in some seconds";
            return Err(BrokerError::Overloaded(busy.to_owned()));
        }
        let now = self.core.clock.now(machine.now());
        let id = format!("test-{:016x}", rand::random::<u64>());
        let began = Instant::now();
        let posted = alerting.post(&receiver, (&id, &notification(name, now)), now).await;
        let is_delivered = posted.verdict == Verdict::Delivered;
        if is_delivered {
            alerting.may_be_back(name);
        }
        Ok(ReceiverTest {
            is_delivered,
            status: posted.status,
            excerpt: posted.excerpt,
            took_ms: Millis::try_from(began.elapsed().as_millis()).unwrap_or(Millis::MAX),
        })
    }
}

fn notification(receiver: &AlertName, now: Timestamp) -> Notification {
    let owned = |pairs: &[(&str, &str)]| -> Labels {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    };
    let alertname = ("alertname", "WhimbrelTest");
    let group_labels = owned(&[alertname]);
    let alert = NotifiedAlert {
        labels: owned(&[alertname, ("severity", Severity::Info.as_str())]),
        annotations: owned(&[
            ("summary", "a test: this receiver hears of alerts"),
            ("description", "Somebody asked for it. Nothing is wrong, and nothing has to be done."),
        ]),
        starts_at: now,
        ends_at: None,
    };
    Notification {
        receiver: receiver.to_string(),
        group_key: group_key(receiver.as_str(), &group_labels),
        group_labels,
        alerts: vec![alert],
        truncated: 0,
        created_at: now,
        delivery: Delivery::default(),
    }
}
