//! Alerts as they stand.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::super::time::Timestamp;
use super::{Labels, Quantity, Severity};

/// Which alert: a rule, and what it is about. Nothing else of an alert stays the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AlertKey {
    /// The rule's name.
    pub rule: String,
    /// The topic, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The group, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The receiver, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver: Option<String>,
}

/// Where an alert stands. One that never fired is forgotten when it ends; one that fired stays as resolved until every
/// receiver was told, and a while longer to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum AlertPhase {
    /// The comparison holds, not yet for as long as the rule asks.
    Pending {
        /// Since when it holds.
        since: Timestamp,
    },
    /// People are told.
    Firing {
        /// Since when it fires.
        since: Timestamp,
    },
    /// It is over.
    Resolved {
        /// Since when it had fired.
        since: Timestamp,
        /// When it ended.
        ended: Timestamp,
    },
}

impl AlertPhase {
    /// Its name in the interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            AlertPhase::Pending { .. } => "pending",
            AlertPhase::Firing { .. } => "firing",
            AlertPhase::Resolved { .. } => "resolved",
        }
    }
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Where it stands.
    #[serde(flatten)]
    pub phase: AlertPhase,
    /// How bad it is.
    pub severity: Severity,
    /// The value when it last changed; none when it was not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Quantity>,
    /// All its labels.
    pub labels: Labels,
    /// What people are told.
    pub annotations: Labels,
}

impl Alert {
    /// What alerts are sorted by where the most urgent stands first.
    #[must_use]
    pub fn urgency(&self) -> (u8, Reverse<Severity>) {
        let rank = match self.phase {
            AlertPhase::Firing { .. } => 0,
            AlertPhase::Pending { .. } => 1,
            AlertPhase::Resolved { .. } => 2,
        };
        (rank, Reverse(self.severity))
    }

    /// Whether people are told of it now.
    #[must_use]
    pub fn is_firing(&self) -> bool {
        matches!(self.phase, AlertPhase::Firing { .. })
    }
}

/// What becomes of one alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertChange {
    /// Which.
    pub key: AlertKey,
    /// How it stands from now on; none: it is forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Alert>,
}
