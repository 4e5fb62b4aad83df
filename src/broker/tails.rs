//! How tails hear of new entries: the index says which topics got some, a task of its own wakes who waits for them.
//!
//! The index is fed on the agreement thread, where a batch must not pay for a thousand wake-ups. So feeding only notes
//! the topic, when a tail of it is open, and wakes one task.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::machine::{Batch, Fact};
use crate::model::{TAILS_MAX, TopicId};

use super::core::Core;
use super::error::BrokerError;

/// The open tails, by topic.
#[derive(Debug, Default)]
pub(super) struct Tails {
    /// How many are open: while none is, feeding costs one look at this.
    open: AtomicUsize,
    state: Mutex<State>,
    /// Some topic has something new.
    work: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<TopicId, Waiting>,
    /// Topics with something new.
    fed: BTreeSet<TopicId>,
}

#[derive(Debug, Default)]
struct Waiting {
    tails: usize,
    told: Arc<Notify>,
}

/// A tail's place among them, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    tails: Arc<Tails>,
    topic: TopicId,
    told: Arc<Notify>,
}

impl Tails {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place.
    ///
    /// # Errors
    /// `Overloaded` when all are taken.
    pub(super) fn open(self: &Arc<Tails>, topic: TopicId) -> Result<Place, BrokerError> {
        let one_more = |open: usize| (open < TAILS_MAX).then_some(open + 1);
        if self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_err() {
            return Err(BrokerError::Overloaded(format!(
                "{TAILS_MAX} tails are open, the most this node holds"
            )));
        }
        let mut state = self.lock();
        let waiting = state.waiting.entry(topic).or_default();
        waiting.tails += 1;
        let told = Arc::clone(&waiting.told);
        drop(state);
        Ok(Place { tails: Arc::clone(self), topic, told })
    }

    /// Takes in that the queue entries of a batch can be read now.
    pub(super) fn fed(&self, batch: &Batch) {
        if self.open.load(Ordering::Acquire) == 0 {
            return;
        }
        let topics = batch.facts.iter().filter_map(|fact| match fact {
            Fact::Produced(produced) => Some(produced.topic),
            Fact::ScheduleDue(due) => Some(due.topic),
            Fact::TopicDeleted { id } => Some(*id),
            _ => None,
        });
        let mut state = self.lock();
        let State { waiting, fed } = &mut *state;
        fed.extend(topics.filter(|topic| waiting.contains_key(topic)));
        let any = !fed.is_empty();
        drop(state);
        if any {
            self.work.notify_one();
        }
    }

    /// Has every tail look again: what the index holds changed in another way than by the next batch.
    pub(super) fn wake_all(&self) {
        let mut state = self.lock();
        let State { waiting, fed } = &mut *state;
        fed.extend(waiting.keys());
        drop(state);
        self.work.notify_one();
    }

    fn wake_fed(&self) {
        let mut state = self.lock();
        for topic in std::mem::take(&mut state.fed) {
            if let Some(waiting) = state.waiting.get(&topic) {
                waiting.told.notify_waiters();
            }
        }
    }
}

impl Place {
    /// Where it is told of new entries.
    pub(super) fn told(&self) -> Arc<Notify> {
        Arc::clone(&self.told)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.tails.lock();
        if let Some(waiting) = state.waiting.get_mut(&self.topic) {
            waiting.tails -= 1;
            if waiting.tails == 0 {
                state.waiting.remove(&self.topic);
            }
        }
        drop(state);
        self.tails.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Wakes tails until the broker stops.
pub(super) async fn run(core: Arc<Core>) {
    let tails = Arc::clone(core.indexer.tails());
    loop {
        tokio::select! {
            () = tails.work.notified() => tails.wake_fed(),
            () = core.until_stopped() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Timestamp;

    fn deleted(topic: u32) -> Batch {
        Batch { base: 1, time: Timestamp(0), facts: vec![Fact::TopicDeleted { id: TopicId(topic) }] }
    }

    #[test]
    fn places_are_counted_and_come_back() {
        let tails = Arc::new(Tails::default());
        let places: Vec<Place> = (0..TAILS_MAX).map(|_| tails.open(TopicId(1)).unwrap()).collect();
        assert!(matches!(tails.open(TopicId(2)), Err(BrokerError::Overloaded(_))));
        drop(places);
        assert!(tails.lock().waiting.is_empty());
        drop(tails.open(TopicId(2)).unwrap());
    }

    #[tokio::test]
    async fn only_tails_of_the_topic_are_woken() {
        let tails = Arc::new(Tails::default());
        tails.fed(&deleted(1));
        assert!(tails.lock().fed.is_empty(), "nobody listens");
        let (one, two) = (tails.open(TopicId(1)).unwrap(), tails.open(TopicId(2)).unwrap());
        let (one_told, two_told) = (one.told(), two.told());
        let (mut first, mut second) =
            (std::pin::pin!(one_told.notified()), std::pin::pin!(two_told.notified()));
        first.as_mut().enable();
        second.as_mut().enable();
        tails.fed(&deleted(3));
        assert!(tails.lock().fed.is_empty(), "nobody follows this one");
        tails.fed(&deleted(1));
        tails.work.notified().await;
        tails.wake_fed();
        first.await;
        let still = tokio::time::timeout(Duration::from_millis(20), second.as_mut()).await;
        assert!(still.is_err(), "it was woken for nothing");
        tails.wake_all();
        tails.wake_fed();
        second.await;
    }
}
