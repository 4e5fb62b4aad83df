//! What the configuration file says of alerting, made true when the node begins to lead.

use std::collections::BTreeMap;

use crate::broker::error::BrokerError;
use crate::broker::handle::Broker;
use crate::machine::{Expected, PutDone};
use crate::model::AlertName;
use crate::model::alert::{AlertRule, Origin, Receiver, Routing};

/// Rules, receivers and routes as a file has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertingFromFile {
    /// By name. One of the name of a rule that comes with the broker stands in its place.
    pub rules: BTreeMap<AlertName, AlertRule>,
    /// By name.
    pub receivers: BTreeMap<AlertName, Receiver>,
    /// None: the file says nothing of routes.
    pub routing: Option<Routing>,
}

impl Broker {
    /// Makes what a file says true: what it names wins over what was set by hand, and what came from a file and is not
    /// named any more goes, except a receiver that a route set by hand leads to, which is then as if it was set by hand
    /// too. Writes only what differs; answers how much that was.
    ///
    /// # Errors
    /// See [`BrokerError`]; what came before the one that failed stays.
    pub async fn set_alerting_from_file(&self, file: AlertingFromFile) -> Result<usize, BrokerError> {
        let AlertingFromFile { rules, receivers, routing } = file;
        let before = self.alerting();
        let from_file = |origin: Origin| origin == Origin::File;
        let old_rules = before.rules().filter(|(_, placed)| from_file(placed.origin));
        let old_rules: Vec<AlertName> = old_rules.map(|(name, _)| name.clone()).collect();
        let old_receivers = before.receivers().filter(|(_, placed)| from_file(placed.origin));
        let old_receivers: Vec<AlertName> = old_receivers.map(|(name, _)| name.clone()).collect();
        let gone_rules: Vec<_> = old_rules.into_iter().filter(|name| !rules.contains_key(name)).collect();
        let gone: Vec<_> = old_receivers.into_iter().filter(|name| !receivers.contains_key(name)).collect();

        let mut changed = 0;
        let count = |done: PutDone| usize::from(done != PutDone::Unchanged);
        for (name, receiver) in receivers {
            changed += count(self.put_receiver(name, receiver, Origin::File, Expected::Anything).await?);
        }
        // Routes before the receivers that they led to go.
        match routing {
            Some(routing) => {
                changed += count(self.put_routing(routing, Origin::File, Expected::Anything).await?);
            }
            None => changed += usize::from(self.free_routing().await?),
        }
        for (name, rule) in rules {
            changed += count(self.put_alert_rule(name, rule, Origin::File, Expected::Anything).await?);
        }
        changed += gone_rules.len() + gone.len();
        for name in gone_rules {
            self.delete_alert_rule(name, Origin::File, Expected::Anything).await?;
        }
        for name in gone {
            if !self.release_receiver(name.clone()).await? {
                tracing::warn!(%name, "the receiver left the configuration file and stays: a route leads to it");
            }
        }
        Ok(changed)
    }

    async fn release_receiver(&self, name: AlertName) -> Result<bool, BrokerError> {
        Ok(self.decide(0, move |draft| draft.release_receiver(&name)).await?.0)
    }

    async fn free_routing(&self) -> Result<bool, BrokerError> {
        Ok(self.decide(0, |draft| Ok(draft.free_routing())).await?.0)
    }
}
