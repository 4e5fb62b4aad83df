//! What every page gets.

use std::ops::Deref;
use std::sync::Arc;

use super::csrf::Csrf;
use super::gather::About;
use crate::broker::Broker;

/// The parts that pages are made from; one count for all of them.
#[derive(Clone)]
pub(super) struct Desk(Arc<Parts>);

/// What a [`Desk`] holds.
pub(super) struct Parts {
    pub(super) broker: Broker,
    pub(super) about: About,
    pub(super) csrf: Csrf,
}

impl Desk {
    /// Puts the parts together.
    pub(super) fn new(broker: Broker, about: About, secret: [u8; 32]) -> Desk {
        Desk(Arc::new(Parts { broker, about, csrf: Csrf::new(secret) }))
    }
}

impl Deref for Desk {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
