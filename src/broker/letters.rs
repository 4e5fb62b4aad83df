//! Dead letters for people: which groups have any, those that fit a filter with the words of their last failure, and
//! what they died of, counted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::machine::History;
use crate::model::{
    DeadLetterFilter, DeadReason, GroupName, LETTER_LOOK_MS_MAX, LETTER_READS_MAX, MessageId, Position,
    Timestamp, TopicName, beginning,
};

use super::error::BrokerError;
use super::handle::Broker;
use super::look::{dead_letter_view, find_group};
use super::read;
use super::redrive::{Fit, Judge};
use super::views::{DeadLetterView, FailureView, Page};

/// Most kinds of death that are told apart; the rarest of more are summed up as not told apart.
pub(super) const KINDS_MAX: usize = 50;

/// How much of a consumer's words tells one kind of death from another, in bytes: numbers and ids stand behind.
pub(super) const WORDS_BYTES: usize = 80;

/// Dead letters that fit a filter.
#[derive(Clone, Debug)]
pub struct LettersFound {
    /// In message order; `failures` holds the last failure only, or nothing when that cannot be read.
    pub letters: Vec<DeadLetterView>,
    /// Behind which one the next look goes on; none when everything was looked at.
    pub next: Option<MessageId>,
    /// Dead letters looked at.
    pub looked: u64,
    /// Whether the look ended at one of its bounds before it had as many as were asked for.
    pub bounded: bool,
}

/// What dead letters died of.
#[derive(Clone, Debug, Default)]
pub struct Deaths {
    /// The kinds, the most frequent first.
    pub kinds: Vec<DeathKind>,
    /// Dead letters of further kinds.
    pub others: u64,
    /// Dead letters looked at, the newest first.
    pub looked: u64,
    /// Dead letters of the group.
    pub total: u64,
}

/// Dead letters that died of the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeathKind {
    /// Why they are dead letters.
    pub reason: DeadReason,
    /// The topic they were in.
    pub topic: TopicName,
    /// How their last words begin, at most 80 bytes; none when nobody said any.
    pub words: Option<String>,
    /// How many.
    pub count: u64,
    /// When the newest of them died.
    pub newest: Timestamp,
}

impl Broker {
    /// Groups that have dead letters, by name, behind `after`, with how many. Counts nothing and reads nothing.
    #[must_use]
    pub fn groups_with_dead_letters(
        &self,
        after: Option<&GroupName>,
        limit: usize,
    ) -> Page<(GroupName, u64)> {
        let machine = self.core.machine.snapshot();
        let rows = machine.groups_after(after).filter(|(_, group)| !group.dead.is_empty());
        Page::of(
            rows,
            limit,
            |(_, group)| group.name.to_string(),
            |(_, group)| (group.name.clone(), group.dead.len() as u64),
        )
    }

    /// Dead letters of a group that fit `filter`, behind `after`, as many as a bounded look finds.
    ///
    /// # Errors
    /// `GroupNotFound`.
    pub fn find_dead_letters(
        &self,
        group: &GroupName,
        filter: &DeadLetterFilter,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<LettersFound, BrokerError> {
        let machine = self.core.machine.snapshot();
        let (_, group) = find_group(&machine, group)?;
        // To show them takes no message that the filter does not ask for.
        let judge = Judge { core: &self.core, filter, back: true };
        let mut look = Look::begin();
        let mut found = LettersFound { letters: Vec::new(), next: None, looked: 0, bounded: false };
        let mut last = after;
        for (position, dead) in group.dead_after(after.map(|id| id.position)) {
            let is_full = found.letters.len() >= limit;
            found.bounded = !is_full && look.is_over();
            if is_full || found.bounded {
                found.next = last;
                break;
            }
            last = Some(MessageId::new(*position));
            found.looked += 1;
            let known = judge.knows(dead);
            look.reads += usize::from(known.reads());
            if judge.judge(*position, dead, known).is_ok_and(|fit| !matches!(fit, Fit::No)) {
                look.reads += 1;
                found.letters.push(dead_letter_view(
                    *position,
                    dead,
                    self.last_failure(dead.history.as_deref()).into_iter().collect(),
                ));
            }
        }
        Ok(found)
    }

    /// What the dead letters of a group died of, from its newest down, as many as a bounded look comes to.
    ///
    /// # Errors
    /// `GroupNotFound`.
    pub fn deaths(&self, group: &GroupName) -> Result<Deaths, BrokerError> {
        let machine = self.core.machine.snapshot();
        let (_, group) = find_group(&machine, group)?;
        let mut look = Look::begin();
        let mut kinds: BTreeMap<(DeadReason, TopicName, Option<String>), (u64, Timestamp)> = BTreeMap::new();
        let mut deaths = Deaths { total: group.dead.len() as u64, ..Deaths::default() };
        for (_, dead) in group.dead.iter().rev() {
            if look.is_over() {
                break;
            }
            look.reads += 1;
            deaths.looked += 1;
            let words = self.last_failure(dead.history.as_deref()).and_then(|failure| failure.reason);
            let words = words.map(|words| beginning(&words, WORDS_BYTES).to_owned());
            let (count, newest) = kinds.entry((dead.reason, dead.topic_name.clone(), words)).or_default();
            *count += 1;
            *newest = dead.at.max(*newest);
        }
        let kind =
            |((reason, topic, words), (count, newest))| DeathKind { reason, topic, words, count, newest };
        deaths.kinds = kinds.into_iter().map(kind).collect();
        deaths.kinds.sort_by_key(|kind| std::cmp::Reverse(kind.count));
        deaths.others = deaths.kinds.iter().skip(KINDS_MAX).map(|kind| kind.count).sum();
        deaths.kinds.truncate(KINDS_MAX);
        Ok(deaths)
    }

    /// The last failed delivery; none when there was none, or it cannot be read.
    pub(super) fn last_failure(&self, history: Option<&History>) -> Option<FailureView> {
        let last: Position = history.and_then(History::last_failure)?;
        read::failure(&self.core, last)
            .inspect_err(|error| tracing::warn!(%error, "a failure cannot be shown"))
            .ok()
    }
}

/// How far one look may go.
pub(super) struct Look {
    until: Instant,
    pub(super) reads: usize,
}

impl Look {
    pub(super) fn begin() -> Look {
        Look { until: Instant::now() + Duration::from_millis(LETTER_LOOK_MS_MAX), reads: 0 }
    }

    /// A look always comes to at least one letter.
    pub(super) fn is_over(&self) -> bool {
        self.reads >= LETTER_READS_MAX || (self.reads > 0 && Instant::now() >= self.until)
    }
}
