//! What a run needs on the broker: its topic, its groups, a backlog. Made before the run, deleted after it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;
use serde_json::json;

use super::Workload;
use super::load::runtime;
use super::plan::Plan;
use super::send::check_stored;
use super::template::{self, Sample, Template};
use super::wire::Wire;
use crate::cli::CliError;
use crate::cli::http::{Call, Client};
use crate::model::BATCH_MESSAGES_MAX;

/// Connections that fill a backlog.
const FILLERS: u64 = 4;
/// Body bytes of one request that fills a backlog, as far as one message allows it.
const FILL_BYTES: usize = 1 << 20;
/// Longest time in which one request of a backlog may be answered.
const FILL_TIMEOUT: Duration = Duration::from_secs(60);

/// The names of one run on the broker.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) plan: Plan,
    /// Names this run, also inside bodies.
    pub(super) id: u64,
    /// The topic used.
    pub(super) topic: String,
    /// The groups of this run.
    pub(super) groups: Vec<String>,
    stopped: AtomicBool,
}

impl Stage {
    /// Names only; nothing is made yet.
    pub(super) fn new(plan: &Plan) -> Stage {
        let id = rand::random::<u64>();
        let own = format!("bench-{id:016x}");
        let groups = if plan.receives() { plan.groups } else { 0 };
        let groups = match groups {
            1 => vec![own.clone()],
            count => (1..=count).map(|number| format!("{own}-{number}")).collect(),
        };
        let (plan, topic) = (plan.clone(), plan.topic.clone().unwrap_or(own));
        Stage { plan, id, topic, groups, stopped: AtomicBool::new(false) }
    }

    /// Tells every connection to send nothing more and to end.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether [`Stage::stop`] was called.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Makes the topic, unless it was given, the groups, and the backlog.
    ///
    /// # Errors
    /// What the broker answered. Some of it may be made then; [`Stage::clear`] takes it away.
    pub(super) fn set(&self) -> Result<(), CliError> {
        runtime()?.block_on(async {
            let mut client = self.client();
            if self.plan.topic.is_none() {
                client.send(Call::put(format!("/v1/topics/{}", self.topic), "{}")).await?;
            }
            let settings =
                json!({ "subscriptions": [{ "topic": self.topic }], "start": "latest" }).to_string();
            for group in &self.groups {
                client.send(Call::put(format!("/v1/groups/{group}"), settings.clone())).await?;
            }
            if self.plan.workload == Workload::Consume {
                let share = |filler: u64| self.fill(spread(self.plan.backlog, filler));
                try_join_all((0..FILLERS).map(share)).await?;
            }
            Ok(())
        })
    }

    async fn fill(&self, mut messages: u64) -> Result<(), CliError> {
        let plan = &self.plan;
        let mut wire = Wire::connect(&plan.url, plan.timeout, false).await?;
        let sample = Sample { body: template::body(self.id, plan.size), delayed: false };
        let most = (FILL_BYTES / plan.size.max(1)).clamp(1, BATCH_MESSAGES_MAX);
        while messages > 0 && !self.is_stopped() {
            let count = usize::try_from(messages).unwrap_or(most).min(most);
            let request = Template::batch(plan.url.authority(), &self.topic, &sample, count);
            wire.set_alarm(std::time::Instant::now() + FILL_TIMEOUT);
            let Some(answer) = wire.exchange(request.bytes()).await? else {
                let what = "a batch of the backlog".to_owned();
                return Err(CliError::TimedOut { what, waited: FILL_TIMEOUT });
            };
            check_stored(answer.status, answer.body)?;
            messages -= count as u64;
        }
        Ok(())
    }

    /// Deletes the groups and, unless it was given, the topic. What is not there is fine; what cannot be deleted is
    /// returned by name and reason.
    pub(super) fn clear(&self) -> Vec<String> {
        let groups = self.groups.iter().map(|name| ("group", "groups", name));
        let topic = self.plan.topic.is_none().then_some(("topic", "topics", &self.topic));
        let things = groups.chain(topic);
        let Ok(runtime) = runtime() else {
            return things.map(|(kind, _, name)| format!("{kind} {name}")).collect();
        };
        let mut left = Vec::new();
        runtime.block_on(async {
            let mut client = self.client();
            for (kind, plural, name) in things {
                match client.send(Call::delete(format!("/v1/{plural}/{name}?confirm={name}"))).await {
                    Ok(_) => {}
                    Err(CliError::Refused(problem)) if problem.status == 404 => {}
                    Err(error) => left.push(format!("{kind} {name} ({error})")),
                }
            }
        });
        left
    }

    fn client(&self) -> Client {
        Client::new(self.plan.url.clone().into(), self.plan.timeout)
    }
}

/// The share of one filler.
fn spread(messages: u64, filler: u64) -> u64 {
    messages / FILLERS + u64::from(filler < messages % FILLERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_a_backlog_are_the_whole() {
        for messages in [0, 1, 3, 4, 7, 1_000_003] {
            assert_eq!((0..FILLERS).map(|filler| spread(messages, filler)).sum::<u64>(), messages);
        }
    }
}
