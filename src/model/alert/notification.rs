//! Notifications: what one receiver is told of one group of alerts at one time.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::super::time::Timestamp;
use super::{AlertKey, Labels};

/// One alert as a notification tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifiedAlert {
    /// Its labels.
    pub labels: Labels,
    /// What people are told.
    pub annotations: Labels,
    /// Since when it fires.
    pub starts_at: Timestamp,
    /// When it ended; none while it fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
}

impl NotifiedAlert {
    /// Whether it still fires.
    #[must_use]
    pub fn is_firing(&self) -> bool {
        self.ends_at.is_none()
    }

    /// A label; empty when it has none of that name.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// An annotation; empty when it has none of that name.
    #[must_use]
    pub fn annotation(&self, name: &str) -> &str {
        self.annotations.get(name).map_or("", String::as_str)
    }
}

/// What is sent, and how far that came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Who is told.
    pub receiver: String,
    /// Names the group of alerts, the same as long as it exists.
    pub group_key: String,
    /// The labels that its alerts were grouped by.
    pub group_labels: Labels,
    /// Its alerts.
    pub alerts: Vec<NotifiedAlert>,
    /// How many more there are.
    #[serde(default)]
    pub truncated: u64,
    /// When it came to be.
    pub created_at: Timestamp,
    /// How far it came.
    pub delivery: Delivery,
}

/// How far a notification came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next; none once it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// When it was tried last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Timestamp>,
    /// The HTTP status of the last answer; none when there was no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The beginning of the last answer's body, or why there was none. At most 512 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub excerpt: String,
    /// Whether it arrived.
    #[serde(default)]
    pub is_delivered: bool,
    /// When it arrived last; stays when it is sent again. None in what was written before this was kept, see
    /// [`Delivery::taken`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_at: Option<Timestamp>,
    /// Since when it is to be sent again, after it had arrived or was given up. None once it arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again_at: Option<Timestamp>,
}

impl Notification {
    /// Since when its receiver is to take it: since it was made, or since somebody wanted it sent again.
    #[must_use]
    pub fn wanted_since(&self) -> Timestamp {
        self.delivery.again_at.unwrap_or(self.created_at)
    }
}

impl Delivery {
    /// When its receiver took it last.
    #[must_use]
    pub fn taken(&self) -> Option<Timestamp> {
        self.taken_at.or(self.last_at.filter(|_| self.is_delivered))
    }

    /// As it is when somebody wants it sent again at `now`. That it had arrived is kept: else its receiver would look
    /// as if it had never taken it.
    #[must_use]
    pub fn again(&self, now: Timestamp) -> Delivery {
        Delivery {
            next_at: Some(now),
            is_delivered: false,
            taken_at: self.taken(),
            // What still waits is only tried earlier.
            again_at: if self.next_at.is_none() { Some(now) } else { self.again_at },
            ..self.clone()
        }
    }

    /// Its name in the interface: `pending`, `delivered`, `failed`.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match (self.is_delivered, self.next_at) {
            (true, _) => "delivered",
            (false, Some(_)) => "pending",
            (false, None) => "failed",
        }
    }
}

/// What a group's receiver was told last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldGroup {
    /// When.
    pub at: Timestamp,
    /// What fired.
    pub firing: BTreeSet<AlertKey>,
    /// What was over.
    pub resolved: BTreeSet<AlertKey>,
}
