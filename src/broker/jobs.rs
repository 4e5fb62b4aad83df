//! Jobs, from the leader's side: it reads what comes next for each that runs, and has it decided.
//!
//! Nothing of a job lives here. A leader that takes over, or a process that starts again, finds the jobs that run in
//! the machine and goes on where the last entry of each says it stands.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::machine::{Job, JobEnd, JobStep, Letter, RedriveOrder};
use crate::model::{JobId, Millis, Timestamp, TopicName};

use super::error::BrokerError;
use super::handle::Broker;
use super::produce::no_room;
use super::redrive::{Fit, Judge, LETTER_BYTES};
use super::views::{JobView, Page};

/// How often a leader without jobs looks whether there is one: only after it took over, else it is told.
const IDLE: Duration = Duration::from_secs(1);

/// How long a step waits that could not be taken: no space, no leader, the time not quite come.
const AGAIN: Duration = Duration::from_millis(50);

/// Dead letters that one step looks at, at most, and those of them that it reads from the log.
const LOOKS_MAX: usize = 20_000;
const READS_MAX: usize = 500;

impl Broker {
    /// Starts a redrive by filter; the leader goes on with it from then on.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn start_redrive(&self, order: RedriveOrder) -> Result<JobView, BrokerError> {
        if order.to.is_some() && !self.core.may_produce() {
            return Err(no_room());
        }
        let (id, _) = self.decide(0, move |draft| draft.start_redrive(&order)).await?;
        self.core.job_started.notify_one();
        self.job(id)
    }

    /// Cancels a job; what it moved stays moved. Saying it twice changes nothing.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn cancel_job(&self, id: JobId) -> Result<JobView, BrokerError> {
        self.decide(0, move |draft| draft.cancel_job(id)).await?;
        self.job(id)
    }

    /// One job.
    ///
    /// # Errors
    /// `JobNotFound`.
    pub fn job(&self, id: JobId) -> Result<JobView, BrokerError> {
        let machine = self.core.machine.snapshot();
        let now = self.core.clock.now(machine.now());
        let found = machine.job(id).map(|job| job_view(now, id, job));
        found.ok_or(BrokerError::Refused(crate::machine::Refusal::JobNotFound(id)))
    }

    /// Jobs, the newest first, behind `cursor`.
    #[must_use]
    pub fn jobs(&self, cursor: Option<JobId>, limit: usize) -> Page<JobView> {
        let machine = self.core.machine.snapshot();
        let now = self.core.clock.now(machine.now());
        let rows = machine.jobs_before(cursor);
        Page::of(rows, limit, |(id, _)| id.to_string(), |(id, job)| job_view(now, id, job))
    }
}

fn job_view(now: Timestamp, id: JobId, job: &Job) -> JobView {
    let ended_at = job.ended.map(|(_, at)| at);
    let elapsed_ms = ended_at.unwrap_or(now).since(job.started_at);
    let (state, error) = match job.ended {
        None => ("running", None),
        Some((JobEnd::Done, _)) => ("done", None),
        Some((JobEnd::Cancelled, _)) => ("cancelled", None),
        Some((JobEnd::GroupDeleted, _)) => ("failed", Some("the group was deleted")),
        Some((JobEnd::TopicDeleted, _)) => ("failed", Some("the topic that it moves to was deleted")),
    };
    JobView {
        id,
        group: job.group_name.clone(),
        filter: Arc::clone(&job.filter),
        to: job.to.as_ref().map(|(_, name)| TopicName::clone(name)),
        rate_per_s: job.rate_per_s,
        state,
        error,
        total: job.total,
        looked: job.looked,
        moved: job.moved,
        failed: job.failed,
        moved_per_s: (job.moved * 1_000).checked_div(elapsed_ms).unwrap_or(job.moved),
        eta_ms: if ended_at.is_some() { None } else { eta_ms(job, elapsed_ms) },
        started_at: job.started_at,
        ended_at,
    }
}

/// How long a job may still run, when as many of the rest fit as did so far: at its rate, or else at the pace it had.
fn eta_ms(job: &Job, elapsed_ms: Millis) -> Option<Millis> {
    let left = u128::from(job.total.saturating_sub(job.looked));
    let (moved, looked) = (u128::from(job.moved), u128::from(job.looked));
    let eta = match (looked, job.rate_per_s.map(|rate| u128::from(rate.max(1)))) {
        (0, None) => return None,
        (0, Some(rate)) => left * 1_000 / rate,
        (looked, Some(rate)) => left * moved * 1_000 / (looked * rate),
        (looked, None) => left * u128::from(elapsed_ms) / looked,
    };
    u64::try_from(eta).ok()
}

/// Goes on with every job that runs until the broker stops.
pub(super) async fn run(broker: Broker) {
    while !broker.core.stopping() {
        let wait = round(&broker).await;
        tokio::select! {
            () = sleep(wait) => {}
            () = broker.core.job_started.notified() => {}
            () = broker.core.until_stopped() => return,
        }
    }
}

/// One step of every job whose time has come; answers how long nothing is to be done.
async fn round(broker: &Broker) -> Duration {
    if !broker.core.serving.load(std::sync::atomic::Ordering::Acquire) {
        return IDLE;
    }
    let (stamped, running) = broker.core.machine.read(|machine| {
        let running = machine.running_jobs().map(|(id, job)| (id, job.not_before, job.to.is_some()));
        (machine.now(), running.collect::<Vec<_>>())
    });
    let now = broker.core.clock.now(stamped);
    let mut wait = if running.is_empty() { IDLE } else { Duration::MAX };
    for (id, not_before, produces) in running {
        wait = wait.min(if not_before > now {
            Duration::from_millis(not_before.since(now))
        } else if has_space(broker, produces) && take_step(broker, id).await {
            Duration::ZERO
        } else {
            AGAIN
        });
    }
    wait
}

/// A job waits for space as everybody else does.
fn has_space(broker: &Broker, produces: bool) -> bool {
    if produces { broker.core.may_produce() } else { broker.core.may_lease() }
}

/// Whether the job came further, or is over.
async fn take_step(broker: &Broker, id: JobId) -> bool {
    let read = broker.look(move |broker| Ok(next_step(broker, id))).await;
    let decided = match read {
        Ok(None) => return true,
        Ok(Some((step, bytes))) => broker.decide(bytes, move |draft| Ok(draft.advance_job(&step))).await,
        Err(error) => Err(error),
    };
    match decided {
        Ok((advanced, _)) => advanced,
        Err(error) => {
            tracing::warn!(%error, job = %id, "a job waits");
            false
        }
    }
}

/// Reads what comes next for a job, and how many bytes of messages that is; none when it does not run any more.
fn next_step(broker: &Broker, id: JobId) -> Option<(JobStep, usize)> {
    let machine = broker.core.machine.snapshot();
    let job = machine.job(id).filter(|job| job.ended.is_none())?;
    let group = machine.group_by_id(job.group)?;
    let judge = Judge { core: &broker.core, filter: &job.filter, back: job.to.is_none() };
    let mut step = JobStep { id, after: job.cursor, cursor: job.cursor, is_last: true, ..JobStep::default() };
    let (mut passed, mut reads, mut bytes) = (0, 0, 0);
    for (position, dead) in group.dead_after(job.cursor) {
        let is_full = step.fitting.len() >= job.most_at_once() || bytes >= LETTER_BYTES;
        if is_full || reads >= READS_MAX || passed >= LOOKS_MAX {
            step.is_last = false;
            break;
        }
        passed += 1;
        step.cursor = Some(*position);
        if dead.at > job.started_at {
            continue;
        }
        step.looked += 1;
        let known = judge.knows(dead);
        reads += usize::from(known.reads());
        match judge.judge(*position, dead, known) {
            Ok(Fit::No) => continue,
            Ok(Fit::Yes) => {}
            Ok(Fit::With(message)) => {
                if job.to.is_some() {
                    bytes += message.body.len() + message.attributes.bytes();
                    step.letters.push(Letter { position: *position, message: Arc::new(message) });
                }
            }
            Err(error) => {
                tracing::error!(%error, job = %id, "a dead letter cannot be read and stays where it is");
                step.unreadable += 1;
                continue;
            }
        }
        step.fitting.push(*position);
    }
    Some((step, bytes))
}
