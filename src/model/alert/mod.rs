//! The words of alerting: what a rule asks for, who is told along which route, what is kept quiet, and where an alert
//! and a notification stand.
//!
//! All of it is state of the machine, and what these types are as JSON is what stands in the log and in images.
//! Values are therefore fixed-point numbers (`quantity`): the machine knows no floats, and two nodes never disagree
//! about one. The models are Alertmanager's, so that who knows those knows these.

mod labels;
mod metric;
mod notification;
mod pattern;
mod quantity;
mod receiver;
mod route;
mod rule;
mod silence;
mod state;

pub use labels::{Labels, Matcher, check_labels};
pub use metric::{AlertMetric, MetricObject};
pub use notification::{Delivery, Notification, NotifiedAlert, ToldGroup};
pub use pattern::NamePattern;
pub use quantity::Quantity;
pub use receiver::{Receiver, ReceiverKind};
pub use route::{Inhibition, Route, Routing};
pub use rule::{AlertRule, Comparison, NoData, Origin, Selector, Severity};
pub use silence::Silence;
pub use state::{Alert, AlertChange, AlertKey, AlertPhase};

pub use super::id::{NotificationId, SilenceId};

use super::group::SettingsError;
use super::limits::{ALERT_MS_MAX, ALERT_TEXT_BYTES_MAX};
use super::time::Millis;

/// Refuses a text that is too long.
fn check_text(field: &str, text: &str) -> Result<(), SettingsError> {
    if text.len() > ALERT_TEXT_BYTES_MAX {
        return Err(SettingsError::new(field, format!("must have at most {ALERT_TEXT_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// Refuses a time that is shorter than `low`, or longer than any may be.
fn check_ms(field: &str, value: Millis, low: Millis) -> Result<(), SettingsError> {
    if (low..=ALERT_MS_MAX).contains(&value) {
        return Ok(());
    }
    Err(SettingsError::new(field, format!("must be {low} to {ALERT_MS_MAX}")))
}
