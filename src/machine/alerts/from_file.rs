//! What a configuration file says of alerting, made true in one go.
//!
//! Receivers and routes name each other, and of both there is a limit: put before what is gone goes, a hundred renamed
//! receivers have no room; taken away first, the routes would lead to nobody, and with no routes at all everybody is
//! told everything. So it is decided as a whole, and is one entry of the log: nobody is ever told along half a file.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::draft::Draft;
use super::super::refusal::Refusal;
use super::super::requests::PutDone;
use super::super::version::Expected;
use super::{AlertFact, Alerting, Placed};
use crate::model::alert::{AlertRule, Origin, Receiver, Route, Routing};
use crate::model::{ALERT_RECEIVERS_MAX, ALERT_RULES_MAX, AlertName};

/// Rules, receivers and routes as a file has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertingFromFile {
    /// By name. One of the name of a rule that comes with the broker stands in its place.
    pub rules: BTreeMap<AlertName, Arc<AlertRule>>,
    /// By name.
    pub receivers: BTreeMap<AlertName, Arc<Receiver>>,
    /// None: the file says nothing of routes.
    pub routing: Option<Arc<Routing>>,
}

/// What making a file true came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetFromFile {
    /// How much was written; 0 when it was so already.
    pub changed: usize,
    /// Receivers that are new, or another than they were.
    pub receivers: Vec<AlertName>,
    /// Receivers that left the file and stay, as if they were set by hand: a route that was leads to them.
    pub released: Vec<AlertName>,
}

/// What came from a file that does not say it any more.
struct Left {
    rules: Vec<AlertName>,
    receivers: Vec<AlertName>,
    /// Receivers that routes lead to which stay.
    released: Vec<(AlertName, Arc<Receiver>)>,
}

impl Draft {
    /// Makes what a file says true: what it names wins over what was set by hand, and what came from a file and is not
    /// named any more goes, except a receiver that a route set by hand leads to. Only what differs is written.
    ///
    /// # Errors
    /// What was set by hand leaves too little room, or a route leads to a receiver that does not exist. Nothing is
    /// changed then.
    pub fn set_alerting_from_file(&mut self, file: &AlertingFromFile) -> Result<SetFromFile, Refusal> {
        let before = self.machine.alerting.clone();
        let left = before.left_by(file);
        // Before anything is written: what is refused half-way would stay half done.
        before.check_room_for(file, &left)?;
        let begun = self.facts.len();
        for name in left.rules {
            self.push_alert(AlertFact::RuleRemoved { name });
        }
        for name in left.receivers {
            self.push_alert(AlertFact::ReceiverRemoved { name });
        }
        let mut done = SetFromFile::default();
        for (name, receiver) in left.released {
            self.push_alert(AlertFact::ReceiverSet { name: name.clone(), receiver, origin: Origin::Api });
            done.released.push(name);
        }
        for (name, receiver) in &file.receivers {
            if self.put_receiver(name, receiver, Origin::File, &Expected::Anything)? != PutDone::Unchanged {
                done.receivers.push(name.clone());
            }
        }
        if let Some(routing) = &file.routing {
            self.put_routing(routing, Origin::File, &Expected::Anything)?;
        } else if before.routing().is_some_and(Placed::is_from_file) {
            self.push_alert(AlertFact::RoutingSet { routing: Arc::default(), origin: Origin::Api });
        }
        for (name, rule) in &file.rules {
            self.put_alert_rule(name, rule, Origin::File, &Expected::Anything)?;
        }
        done.changed = self.facts.len() - begun;
        Ok(done)
    }
}

impl Alerting {
    fn left_by(&self, file: &AlertingFromFile) -> Left {
        let routes = self.routes_with(file);
        let mut left = Left { rules: Vec::new(), receivers: Vec::new(), released: Vec::new() };
        let rules = self
            .rules
            .iter()
            .filter(|(name, placed)| placed.is_from_file() && !file.rules.contains_key(*name));
        left.rules.extend(rules.map(|(name, _)| name.clone()));
        for (name, placed) in &self.receivers {
            if !placed.is_from_file() || file.receivers.contains_key(name) {
                continue;
            }
            if routes.iter().any(|route| route.receiver == name.as_str()) {
                left.released.push((name.clone(), Arc::clone(&placed.value)));
            } else {
                left.receivers.push(name.clone());
            }
        }
        left
    }

    /// The routes once the file is true.
    fn routes_with<'a>(&'a self, file: &'a AlertingFromFile) -> &'a [Route] {
        match (&file.routing, self.routing()) {
            (Some(routing), _) => &routing.routes,
            (None, Some(placed)) if !placed.is_from_file() => &placed.value.routes,
            (None, _) => &[],
        }
    }

    fn check_room_for(&self, file: &AlertingFromFile, left: &Left) -> Result<(), Refusal> {
        let new_rules = file.rules.keys().filter(|name| !self.rules.contains_key(*name)).count();
        if self.rules.len() + new_rules - left.rules.len() > ALERT_RULES_MAX {
            return Err(Refusal::TooManyOf { what: "rules", most: ALERT_RULES_MAX });
        }
        let is_new = |name: &AlertName| !self.receivers.contains_key(name);
        let new_receivers = file.receivers.keys().filter(|name| is_new(name)).count();
        if self.receivers.len() + new_receivers - left.receivers.len() > ALERT_RECEIVERS_MAX {
            return Err(Refusal::TooManyOf { what: "receivers", most: ALERT_RECEIVERS_MAX });
        }
        let known = |name: &AlertName| file.receivers.contains_key(name) || !is_new(name);
        let lost = |route: &&Route| !route.receiver.parse().is_ok_and(|name| known(&name));
        match file.routing.iter().flat_map(|routing| &routing.routes).find(lost) {
            Some(route) => Err(Refusal::NoAlertObject { what: "receiver", name: route.receiver.clone() }),
            None => Ok(()),
        }
    }
}
