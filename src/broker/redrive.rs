//! Redrive by id, what a redrive would do, and dead letters with their bodies page by page.

use std::sync::Arc;

use crate::machine::{Dead, History, Letter, Refusal};
use crate::model::{DRY_RUN_READS_MAX, DeadLetterFilter, GroupName, Message, MessageId, Position, TopicName};

use super::core::Core;
use super::error::BrokerError;
use super::handle::Broker;
use super::look::{dead_letter_view, find_group, find_topic};
use super::produce::no_room;
use super::read;
use super::views::{DeadLetterView, DryRun, ExportPage};

/// Body bytes of dead letters after which a batch of them is decided; also the bound of an export's page.
pub(super) const LETTER_BYTES: usize = 1 << 20;

/// Dead letters of one page of an export.
const EXPORT_LETTERS: usize = 100;

/// What became of each dead letter, in input order.
pub type RedriveAnswer = Vec<Result<(), BrokerError>>;

impl Broker {
    /// Sends dead letters back to the end of their lanes; with `to`, on to that topic. On, they go a few at a time,
    /// each of them as a whole; one that cannot be read stays.
    ///
    /// # Errors
    /// See [`BrokerError`]; then nothing moved, or with `OutcomeUnknown` possibly all that go back.
    pub async fn redrive(
        &self,
        group: GroupName,
        ids: Vec<MessageId>,
        to: Option<TopicName>,
    ) -> Result<RedriveAnswer, BrokerError> {
        let positions: Vec<Position> = ids.into_iter().map(|id| id.position).collect();
        match to {
            Some(topic) => self.redrive_to(group, topic, positions).await,
            None => {
                let (results, _) = self.decide(0, move |draft| draft.redrive(&group, &positions)).await?;
                Ok(results.into_iter().map(|result| result.map_err(BrokerError::Refused)).collect())
            }
        }
    }

    async fn redrive_to(
        &self,
        group: GroupName,
        topic: TopicName,
        positions: Vec<Position>,
    ) -> Result<RedriveAnswer, BrokerError> {
        self.look({
            let (group, topic) = (group.clone(), topic.clone());
            move |broker| {
                let machine = broker.core.machine.snapshot();
                find_group(&machine, &group)?;
                find_topic(&machine, &topic).map(|_| ())
            }
        })
        .await?;
        let positions = Arc::new(positions);
        let mut answers = RedriveAnswer::with_capacity(positions.len());
        while answers.len() < positions.len() {
            match self.redrive_some(&group, &topic, (&positions, answers.len())).await {
                Ok(some) => answers.extend(some),
                Err(error) if answers.is_empty() => return Err(error),
                Err(error) => {
                    // Those of this batch may have moved when the outcome is unknown; those behind it were not tried.
                    let rest = positions.len() - answers.len();
                    answers.extend(std::iter::repeat_n(Err(error), rest));
                }
            }
        }
        Ok(answers)
    }

    /// Sends on as many from place `from` as fit into one batch.
    async fn redrive_some(
        &self,
        group: &GroupName,
        topic: &TopicName,
        (positions, from): (&Arc<Vec<Position>>, usize),
    ) -> Result<RedriveAnswer, BrokerError> {
        if !self.core.may_produce() {
            return Err(no_room());
        }
        let (positions, name) = (Arc::clone(positions), group.clone());
        let (read, bytes) = self
            .look(move |broker| broker.read_letters(&name, positions.get(from..).unwrap_or_default()))
            .await?;
        let letters: Vec<Letter> = read.iter().filter_map(|letter| letter.as_ref().ok().cloned()).collect();
        let (group, topic) = (group.clone(), topic.clone());
        let (results, _) =
            self.decide(bytes, move |draft| draft.redrive_to(&group, &topic, &letters)).await?;
        let mut results = results.into_iter();
        let answer = |letter: Result<Letter, BrokerError>| {
            letter?;
            results.next().unwrap_or(Err(Refusal::DeadLetterNotFound)).map_err(BrokerError::Refused)
        };
        Ok(read.into_iter().map(answer).collect())
    }

    /// Reads dead letters from the log, from the first on, as many as fit into one batch; and how many bytes they have.
    fn read_letters(
        &self,
        group: &GroupName,
        positions: &[Position],
    ) -> Result<(Vec<Result<Letter, BrokerError>>, usize), BrokerError> {
        let machine = self.core.machine.snapshot();
        let (_, group) = find_group(&machine, group)?;
        let mut letters = Vec::new();
        let mut bytes = 0;
        for position in positions.iter().copied() {
            if bytes >= LETTER_BYTES {
                break;
            }
            let letter = match group.dead(position) {
                None => Err(BrokerError::Refused(Refusal::DeadLetterNotFound)),
                Some(_) => read::logged(&self.core, position)
                    .map(|logged| Letter { position, message: Arc::new(logged.message) }),
            };
            bytes += letter.as_ref().map_or(0, |letter| bytes_of(&letter.message));
            letters.push(letter);
        }
        Ok((letters, bytes))
    }

    /// How many of these dead letters a redrive would move.
    ///
    /// # Errors
    /// No such group or target topic.
    pub fn dry_run_ids(
        &self,
        group: &GroupName,
        ids: &[MessageId],
        to: Option<&TopicName>,
    ) -> Result<DryRun, BrokerError> {
        let machine = self.core.machine.snapshot();
        let (_, group) = find_group(&machine, group)?;
        to.map(|topic| find_topic(&machine, topic)).transpose()?;
        let chosen: std::collections::BTreeSet<Position> = ids.iter().map(|id| id.position).collect();
        let would_move = chosen.iter().filter_map(|position| group.dead(*position));
        let would_move = would_move.filter(|dead| to.is_some() || group.may_return(dead)).count();
        Ok(DryRun { would_move: would_move as u64, looked: chosen.len() as u64, truncated: false })
    }

    /// How many dead letters a redrive by filter would move. Counts what it can decide with a bounded number of reads,
    /// and says when that was not all; one that cannot be read is not counted.
    ///
    /// # Errors
    /// No such group or target topic.
    pub fn dry_run(
        &self,
        group: &GroupName,
        filter: &DeadLetterFilter,
        to: Option<&TopicName>,
    ) -> Result<DryRun, BrokerError> {
        let machine = self.core.machine.snapshot();
        let (_, group) = find_group(&machine, group)?;
        to.map(|topic| find_topic(&machine, topic)).transpose()?;
        // Counting needs no message that the filter does not ask for.
        let judge = Judge { core: &self.core, filter, back: true };
        let mut reads = 0;
        let mut counted = DryRun::default();
        for (position, dead) in group.dead_after(None) {
            let known = judge.knows(dead);
            reads += usize::from(known.reads());
            if reads > DRY_RUN_READS_MAX {
                counted.truncated = true;
                break;
            }
            counted.looked += 1;
            let fits = judge.judge(*position, dead, known).is_ok_and(|fit| !matches!(fit, Fit::No));
            counted.would_move += u64::from(fits && (to.is_some() || group.may_return(dead)));
        }
        Ok(counted)
    }

    /// Dead letters with their histories and messages, in message order, behind `after`: a page that is bounded by
    /// number and bytes. One that cannot be read comes with its fault instead of its message.
    ///
    /// # Errors
    /// `GroupNotFound`.
    pub fn export_dead_letters(
        &self,
        group: &GroupName,
        after: Option<MessageId>,
    ) -> Result<ExportPage, BrokerError> {
        let machine = self.core.machine.snapshot();
        let (_, group) = find_group(&machine, group)?;
        let mut page = ExportPage::default();
        let mut bytes = 0;
        for (position, dead) in group.dead_after(after.map(|id| id.position)) {
            if page.letters.len() >= EXPORT_LETTERS || bytes >= LETTER_BYTES {
                page.next = page.letters.last().map(|(view, _): &(DeadLetterView, _)| view.id);
                break;
            }
            page.letters.push(match self.shown_letter(*position, dead) {
                Ok((view, stored)) => {
                    bytes += bytes_of(&stored.message);
                    (view, Ok(stored))
                }
                Err(error) => (dead_letter_view(*position, dead, Vec::new()), Err(error)),
            });
        }
        Ok(page)
    }
}

fn bytes_of(message: &Message) -> usize {
    message.body.len() + message.attributes.bytes() + 256
}

/// Decides whether dead letters fit a filter: first by what the state knows, then by what the log holds.
pub(super) struct Judge<'a> {
    pub(super) core: &'a Core,
    pub(super) filter: &'a DeadLetterFilter,
    /// They are to go back: the message itself is not needed.
    pub(super) back: bool,
}

/// What is known of a dead letter without reading anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It does not fit.
    Not,
    /// It fits.
    Fits,
    /// That is in the log.
    Unknown,
}

/// Whether a dead letter fits.
pub(super) enum Fit {
    /// It does not.
    No,
    /// It does.
    Yes,
    /// It does, and here is its message.
    With(Message),
}

impl Known {
    pub(super) fn reads(self) -> bool {
        self == Known::Unknown
    }
}

impl Judge<'_> {
    pub(super) fn knows(&self, dead: &Dead) -> Known {
        if !self.filter.admits(dead.reason, &dead.topic_name, dead.at) {
            return Known::Not;
        }
        let reads = self.filter.reads_message() || self.filter.reads_failure();
        if reads { Known::Unknown } else { Known::Fits }
    }

    /// Whether it fits.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn judge(&self, position: Position, dead: &Dead, known: Known) -> Result<Fit, BrokerError> {
        if known == Known::Not || (known == Known::Unknown && !self.failure_fits(dead)?) {
            return Ok(Fit::No);
        }
        if self.back && !self.filter.reads_message() {
            return Ok(Fit::Yes);
        }
        let message = read::logged(self.core, position)?.message;
        Ok(if self.filter.admits_message(&message.attributes) { Fit::With(message) } else { Fit::No })
    }

    fn failure_fits(&self, dead: &Dead) -> Result<bool, BrokerError> {
        if !self.filter.reads_failure() {
            return Ok(true);
        }
        let last = dead.history.as_deref().and_then(History::last_failure);
        let words = match last {
            Some(position) => read::failure(self.core, position)?.reason,
            None => None,
        };
        Ok(self.filter.admits_failure(words.as_deref()))
    }
}
