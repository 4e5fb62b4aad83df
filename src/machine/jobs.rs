//! Jobs: work over more dead letters than one entry should hold, done a step at a time.
//!
//! 1. A job is *started* on a group. It is about the dead letters that the group has at that moment; one that dies
//!    again later is not its business, so that a job always ends.
//! 2. The leader reads on from the job's cursor, outside the machine, which letters fit its filter, and offers that as
//!    a [`JobStep`]. Deciding checks it against the state and pushes what moves together with the new cursor: one
//!    entry, so that a letter is moved once whatever dies in between.
//! 3. It *ends*: nothing is left behind the cursor, somebody cancels it, or its group or target is deleted. What has
//!    ended is remembered until newer jobs need the room.
//!
//! The pace is kept in log time: each step says when the next may be.

use std::sync::Arc;

use imbl::OrdMap;

use crate::model::{
    DeadLetterFilter, GroupId, GroupName, JOB_STEP_LETTERS_MAX, JOBS_MAX, JOBS_RUNNING_MAX, JobId, Position,
    Timestamp, TopicId, TopicName,
};

use super::draft::Draft;
use super::facts::Fact;
use super::redrive::Letter;
use super::refusal::Refusal;
use super::state::Machine;

/// A job that is behind its rate catches up with at most this much.
const CATCH_UP_MS: u64 = 250;

/// What can happen to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobFact {
    /// It was started.
    Started(JobStarted),
    /// It came further.
    Progressed(JobProgressed),
    /// It ended.
    Ended {
        /// The job.
        id: JobId,
        /// How.
        end: JobEnd,
    },
    /// It had ended, and made room for another.
    Forgotten {
        /// The job.
        id: JobId,
    },
}

/// A redrive by filter began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStarted {
    /// The job.
    pub id: JobId,
    /// The group.
    pub group: GroupId,
    /// Which dead letters.
    pub filter: Arc<DeadLetterFilter>,
    /// Where they go; none: back.
    pub to: Option<TopicId>,
    /// At most this many a second.
    pub rate_per_s: Option<u32>,
    /// How many dead letters the group has.
    pub total: u64,
}

/// A job came further. What it moved is told by the facts directly before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobProgressed {
    /// The job.
    pub id: JobId,
    /// It has looked at everything up to here.
    pub cursor: Position,
    /// Dead letters looked at in this step.
    pub looked: u32,
    /// Those that moved.
    pub moved: u32,
    /// Those that fit and could not be moved; they stay where they are.
    pub failed: u32,
    /// When the next step may be.
    pub not_before: Timestamp,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// It has looked at everything.
    Done,
    /// Somebody cancelled it.
    Cancelled,
    /// Its group was deleted.
    GroupDeleted,
    /// The topic that it moves to was deleted.
    TopicDeleted,
}

/// A job as it stands. Its kind is always redrive so far.
#[derive(Clone, Debug)]
pub struct Job {
    /// The group.
    pub group: GroupId,
    /// The group's name, which may be another group's by now.
    pub group_name: GroupName,
    /// Which dead letters.
    pub filter: Arc<DeadLetterFilter>,
    /// Where they go; none: back.
    pub to: Option<(TopicId, TopicName)>,
    /// At most this many a second.
    pub rate_per_s: Option<u32>,
    /// When it was started; later dead letters are not its business.
    pub started_at: Timestamp,
    /// Dead letters of the group at that time.
    pub total: u64,
    /// It has looked at everything up to here.
    pub cursor: Option<Position>,
    /// When the next step may be.
    pub not_before: Timestamp,
    /// Dead letters it has looked at.
    pub looked: u64,
    /// Those that moved.
    pub moved: u64,
    /// Those that fit and could not be moved.
    pub failed: u64,
    /// How and when it ended; none: it runs.
    pub ended: Option<(JobEnd, Timestamp)>,
}

/// What to redrive, and how.
#[derive(Clone, Debug)]
pub struct RedriveOrder {
    /// The group.
    pub group: GroupName,
    /// Which dead letters.
    pub filter: Arc<DeadLetterFilter>,
    /// Where they go; none: back.
    pub to: Option<TopicName>,
    /// At most this many a second; at least 1.
    pub rate_per_s: Option<u32>,
}

/// The stretch of dead letters behind a job's cursor, as the leader found it.
#[derive(Clone, Debug, Default)]
pub struct JobStep {
    /// The job.
    pub id: JobId,
    /// The cursor it begins behind.
    pub after: Option<Position>,
    /// The last letter that was looked at; `after` when there was none.
    pub cursor: Option<Position>,
    /// How many were looked at that were dead when the job started.
    pub looked: u32,
    /// Those that could not be read, so that nobody knows whether they fit.
    pub unreadable: u32,
    /// Those that fit, in order, at most [`Job::most_at_once`].
    pub fitting: Vec<Position>,
    /// With a target: what the log holds of each of them.
    pub letters: Vec<Letter>,
    /// Nothing stands behind the cursor.
    pub is_last: bool,
}

impl Draft {
    /// Starts a redrive by filter. With nothing to look at it has ended at once.
    ///
    /// # Errors
    /// When there is no such group or target topic, the group has a job that runs, or too many run.
    pub fn start_redrive(&mut self, order: &RedriveOrder) -> Result<JobId, Refusal> {
        let (group, found) = self.machine.find_group(&order.group)?;
        let total = found.dead.len() as u64;
        let to = order.to.as_ref().map(|topic| self.topic_or_make(topic, false)).transpose()?;
        if let Some((job, _)) = self.machine.running_jobs().find(|(_, job)| job.group == group) {
            return Err(Refusal::JobRunning { group: order.group.clone(), job });
        }
        if self.machine.running_jobs().count() >= JOBS_RUNNING_MAX {
            return Err(Refusal::TooManyJobs(JOBS_RUNNING_MAX));
        }
        self.forget_jobs();
        let id = self.machine.next_job();
        let (filter, rate_per_s) = (Arc::clone(&order.filter), order.rate_per_s);
        let started = JobStarted { id, group, filter, to, rate_per_s, total };
        self.push(Fact::Job(JobFact::Started(started)));
        if total == 0 {
            self.end_job(id, JobEnd::Done);
        }
        Ok(id)
    }

    /// Makes room for one more. There is always a job that has ended, for fewer may run than are remembered.
    fn forget_jobs(&mut self) {
        let surplus = (self.machine.jobs.len() + 1).saturating_sub(JOBS_MAX);
        let ended = self.machine.jobs.iter().filter(|(_, job)| job.ended.is_some());
        let oldest: Vec<JobId> = ended.map(|(id, _)| *id).take(surplus).collect();
        for id in oldest {
            self.push(Fact::Job(JobFact::Forgotten { id }));
        }
    }

    /// Cancels a job; what it moved stays moved. Saying it twice changes nothing.
    ///
    /// # Errors
    /// When there is no such job, or it ended in another way.
    pub fn cancel_job(&mut self, id: JobId) -> Result<(), Refusal> {
        let job = self.machine.jobs.get(&id).ok_or(Refusal::JobNotFound(id))?;
        match job.ended {
            None => self.end_job(id, JobEnd::Cancelled),
            Some((JobEnd::Cancelled, _)) => {}
            Some(_) => return Err(Refusal::JobEnded(id)),
        }
        Ok(())
    }

    /// Takes the step that the leader has read, if the job still stands where that begins and its time has come.
    /// Answers whether anything happened.
    pub fn advance_job(&mut self, step: &JobStep) -> bool {
        let Some(job) = self.machine.jobs.get(&step.id).map(Arc::clone) else { return false };
        let is_due = job.ended.is_none() && job.cursor == step.after && job.not_before <= self.time;
        if !is_due || step.fitting.len() > job.most_at_once() {
            return false;
        }
        if let Some(cursor) = step.cursor.filter(|_| step.cursor != step.after) {
            let (moved, refused) = self.move_letters(&job, step);
            let failed = refused.saturating_add(step.unreadable);
            let not_before = self.next_step(&job, moved);
            let (id, looked) = (step.id, step.looked);
            let progressed = JobProgressed { id, cursor, looked, moved, failed, not_before };
            self.push(Fact::Job(JobFact::Progressed(progressed)));
        }
        if step.is_last {
            self.end_job(step.id, JobEnd::Done);
        }
        true
    }

    /// Moves what is still there as it was when the job started; answers how many moved, and how many could not.
    fn move_letters(&mut self, job: &Job, step: &JobStep) -> (u32, u32) {
        let group = self.machine.groups.get(&job.group);
        let is_meant = |position: &Position| {
            let dead = group.and_then(|group| group.dead.get(position));
            dead.is_some_and(|dead| dead.at <= job.started_at)
        };
        let results = match &job.to {
            None => {
                let meant: Vec<Position> = step.fitting.iter().copied().filter(is_meant).collect();
                self.send_back(job.group, &meant)
            }
            Some((topic, _)) => {
                let meant = step.letters.iter().filter(|letter| is_meant(&letter.position));
                let meant: Vec<Letter> = meant.cloned().collect();
                self.send_on(job.group, *topic, &meant)
            }
        };
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let moved = results.iter().filter(|result| result.is_ok()).count();
        (count(moved), count(results.len() - moved))
    }

    /// When a job that moves `moved` letters now may go on.
    fn next_step(&self, job: &Job, moved: u32) -> Timestamp {
        let Some(rate) = job.rate_per_s else { return self.time };
        let from = job.not_before.max(Timestamp(self.time.0.saturating_sub(CATCH_UP_MS)));
        from.plus((u64::from(moved) * 1_000).div_ceil(u64::from(rate.max(1))))
    }

    fn end_job(&mut self, id: JobId, end: JobEnd) {
        self.push(Fact::Job(JobFact::Ended { id, end }));
    }

    /// Ends the jobs that run and are `meant`.
    pub(super) fn end_jobs(&mut self, meant: impl Fn(&Job) -> bool, end: JobEnd) {
        let meant: Vec<JobId> =
            self.machine.running_jobs().filter(|(_, job)| meant(job)).map(|(id, _)| id).collect();
        for id in meant {
            self.end_job(id, end);
        }
    }
}

impl Job {
    /// Most letters that one step may move: a tenth of a second's at its rate, so that the pace is even.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        let tenth = self.rate_per_s.map(|rate| usize::try_from(rate / 10).unwrap_or(usize::MAX).max(1));
        tenth.unwrap_or(JOB_STEP_LETTERS_MAX).min(JOB_STEP_LETTERS_MAX)
    }
}

impl Machine {
    /// A job by its id, unless it is forgotten.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id).map(Arc::as_ref)
    }

    /// The jobs before `before`, the newest first.
    pub fn jobs_before(&self, before: Option<JobId>) -> impl Iterator<Item = (JobId, &Job)> {
        let range = self.jobs.range(..before.unwrap_or(JobId(u64::MAX)));
        range.rev().map(|(id, job)| (*id, job.as_ref()))
    }

    /// The jobs that run, the oldest first.
    pub fn running_jobs(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.jobs.iter().filter(|(_, job)| job.ended.is_none()).map(|(id, job)| (*id, job.as_ref()))
    }

    /// The id of the next job. The newest is never forgotten, so no id is given twice.
    fn next_job(&self) -> JobId {
        JobId(self.jobs.get_max().map_or(0, |(id, _)| id.0) + 1)
    }

    pub(super) fn apply_job(&mut self, fact: &JobFact, time: Timestamp) {
        match fact {
            JobFact::Started(started) => self.apply_job_started(started, time),
            JobFact::Progressed(progressed) => {
                let Some(job) = self.jobs.get_mut(&progressed.id) else { return };
                let job = Arc::make_mut(job);
                job.cursor = Some(progressed.cursor);
                job.not_before = progressed.not_before;
                job.looked += u64::from(progressed.looked);
                job.moved += u64::from(progressed.moved);
                job.failed += u64::from(progressed.failed);
            }
            JobFact::Ended { id, end } => {
                if let Some(job) = self.jobs.get_mut(id) {
                    Arc::make_mut(job).ended = Some((*end, time));
                }
            }
            JobFact::Forgotten { id } => {
                self.jobs.remove(id);
            }
        }
    }

    fn apply_job_started(&mut self, started: &JobStarted, time: Timestamp) {
        let Some(group_name) = self.groups.get(&started.group).map(|group| group.name.clone()) else {
            return;
        };
        let name_of = |id: TopicId| self.topics.get(&id).map(|topic| (id, topic.name.clone()));
        let job = Job {
            group: started.group,
            group_name,
            filter: Arc::clone(&started.filter),
            to: started.to.and_then(name_of),
            rate_per_s: started.rate_per_s,
            started_at: time,
            total: started.total,
            cursor: None,
            not_before: time,
            looked: 0,
            moved: 0,
            failed: 0,
            ended: None,
        };
        self.jobs.insert(started.id, Arc::new(job));
    }

    /// Says what is wrong with the jobs, if anything is.
    pub(super) fn check_jobs(&self) -> Result<(), String> {
        let mut groups: OrdMap<GroupId, JobId> = OrdMap::new();
        for (id, job) in self.running_jobs() {
            if !self.groups.contains_key(&job.group) {
                return Err(format!("job {id} runs, and its group is gone"));
            }
            if job.to.as_ref().is_some_and(|(topic, _)| !self.topics.contains_key(topic)) {
                return Err(format!("job {id} runs, and its target is gone"));
            }
            if groups.insert(job.group, id).is_some() {
                return Err(format!("job {id} is not the only one of its group that runs"));
            }
        }
        if self.jobs.len() > JOBS_MAX || groups.len() > JOBS_RUNNING_MAX {
            return Err(format!("{} jobs, of which {} run", self.jobs.len(), groups.len()));
        }
        let odd = |job: &Arc<Job>| job.moved + job.failed > job.looked;
        match self.jobs.iter().find(|(_, job)| odd(job)) {
            Some((id, job)) => Err(format!("job {id} does not add up: {job:?}")),
            None => Ok(()),
        }
    }
}
