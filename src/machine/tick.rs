//! What comes due: leases that run out, retries, TTLs, schedules; and a few parts of deleted things at a time.

use crate::model::{Position, TICK_ITEMS_MAX, Timestamp};

use super::draft::{Candidates, Draft};
use super::facts::{Fact, FailCause};
use super::state::{Deadline, DeadlineKind, ItemState, Machine, Scheduled};

/// What stands first among all that comes due.
pub(super) enum Due {
    /// A deadline of an item.
    Item(Deadline),
    /// A scheduled message.
    Message(Timestamp, Position, Scheduled),
    /// Something that belonged to a deleted thing.
    Leftover,
}

impl Draft {
    /// Decides what is due, in (due, position) order, at most 1,000 things; answers how many. A scheduled message whose
    /// entry is not among the candidates holds up those behind it, so that none overtakes, but nothing else.
    pub fn tick(&mut self, candidates: &Candidates) -> usize {
        let mut done = 0;
        let mut blocked = false;
        while done < TICK_ITEMS_MAX && !self.is_full() {
            let due = if blocked {
                self.machine.first_live_item(self.time)
            } else {
                self.machine.first_due(self.time)
            };
            done += match due {
                Some(Due::Item(deadline)) => {
                    self.item_due(&deadline);
                    1
                }
                Some(Due::Message(due, position, scheduled)) => {
                    blocked = !self.schedule_due((due, position), scheduled, candidates);
                    usize::from(!blocked)
                }
                Some(Due::Leftover) => self.sweep(self.machine.leftovers(self.time, TICK_ITEMS_MAX - done)),
                None => break,
            };
        }
        let trash = self.machine.trash_parts(TICK_ITEMS_MAX.saturating_sub(done));
        done + self.sweep(trash)
    }

    fn sweep(&mut self, count: usize) -> usize {
        if count > 0 {
            self.push(Fact::Swept { count: u32::try_from(count).unwrap_or(u32::MAX) });
        }
        count
    }

    fn item_due(&mut self, deadline: &Deadline) {
        let at = deadline.target();
        let place = deadline.place;
        match deadline.kind {
            DeadlineKind::Lease => {
                self.fail(at, place, FailCause::RanOut, None);
            }
            DeadlineKind::Retry => self.retry_due(at, place),
            DeadlineKind::Ttl => self.expire_item(at, place),
        }
    }
}

impl Machine {
    /// What is due first at `now`, if anything is.
    pub(super) fn first_due(&self, now: Timestamp) -> Option<Due> {
        let item = self.deadlines.get_min().filter(|deadline| deadline.at <= now);
        let message = self.scheduled.get_min().filter(|((due, _), _)| *due <= now);
        match (item, message) {
            (Some(item), Some((key, _))) if (item.at, item.position) < *key => Some(self.due_item(item)),
            (_, Some((key, scheduled))) => Some(self.due_message(*key, *scheduled)),
            (Some(item), None) => Some(self.due_item(item)),
            (None, None) => None,
        }
    }

    /// The first item that is due, whatever stands before it.
    fn first_live_item(&self, now: Timestamp) -> Option<Due> {
        let due = self.deadlines.iter().take(TICK_ITEMS_MAX).take_while(|deadline| deadline.at <= now);
        due.into_iter().find(|deadline| self.is_live(deadline)).map(|deadline| Due::Item(*deadline))
    }

    fn due_item(&self, deadline: &Deadline) -> Due {
        if self.is_live(deadline) { Due::Item(*deadline) } else { Due::Leftover }
    }

    fn due_message(&self, (due, position): (Timestamp, Position), scheduled: Scheduled) -> Due {
        if self.topics.contains_key(&scheduled.topic) {
            Due::Message(due, position, scheduled)
        } else {
            Due::Leftover
        }
    }

    /// Whether a deadline is that of an item as it is now.
    pub(super) fn is_live(&self, deadline: &Deadline) -> bool {
        let progress = self.progress(deadline.target());
        let Some(item) = progress.and_then(|progress| progress.items.get(&deadline.place)) else {
            return false;
        };
        let stands = match (&item.state, deadline.kind) {
            (ItemState::Leased(lease), DeadlineKind::Lease) => lease.until == deadline.at,
            (ItemState::Retrying { due }, DeadlineKind::Retry) => *due == deadline.at,
            (ItemState::Leased(_), DeadlineKind::Ttl) => false,
            (_, DeadlineKind::Ttl) => item.expires_at == deadline.at,
            _ => false,
        };
        stands && item.position == deadline.position
    }

    /// How many leftovers stand before anything live among what is due, at most `most`. The order is that of
    /// [`Machine::first_due`]: several groups may have a deadline for the same message at the same time, and a message
    /// goes before an item of the same key. Never 0 when a leftover stands first, or the tick would not end.
    fn leftovers(&self, now: Timestamp, most: usize) -> usize {
        let is_live_item = |deadline: &&Deadline| deadline.at > now || self.is_live(deadline);
        let is_live_message = |((due, _), scheduled): &(&(Timestamp, Position), &Scheduled)| {
            *due > now || self.topics.contains_key(&scheduled.topic)
        };
        let key = |deadline: &Deadline| (deadline.at, deadline.position);
        let live_item = self.deadlines.iter().take(most).find(is_live_item).map(key);
        let live_message = self.scheduled.iter().take(most).find(is_live_message).map(|(key, _)| *key);
        let items = self.deadlines.iter().take(most).take_while(|item| !is_live_item(item));
        let items = items.filter(|item| live_message.is_none_or(|live| key(item) < live));
        let messages = self.scheduled.iter().take(most).take_while(|message| !is_live_message(message));
        let messages = messages.filter(|(key, _)| live_item.is_none_or(|live| **key <= live));
        (items.count() + messages.count()).min(most)
    }

    /// How many parts the trash holds, counted up to `most`.
    fn trash_parts(&self, most: usize) -> usize {
        let mut parts = 0;
        let sizes = self.trash.iter().map(|progress| progress.items.len());
        for size in sizes.chain(self.dead_trash.iter().map(imbl::OrdMap::len)) {
            parts += size;
            if parts >= most {
                return most;
            }
        }
        parts
    }

    pub(super) fn apply_swept(&mut self, count: u32, now: Timestamp) {
        for _ in 0..count {
            if matches!(self.first_due(now), Some(Due::Leftover)) {
                self.drop_leftover();
            } else if !self.drop_trash_part() {
                return;
            }
        }
    }

    /// Drops what is due first.
    fn drop_leftover(&mut self) {
        let item = self.deadlines.get_min().copied();
        let message = self.scheduled.get_min().map(|(key, _)| *key);
        match (item, message) {
            (Some(item), message) if message.is_none_or(|key| (item.at, item.position) < key) => {
                self.deadlines.remove(&item);
            }
            (_, Some(key)) => {
                self.scheduled.remove(&key);
            }
            _ => {}
        }
    }

    /// Drops one item or dead letter of the trash; false when there is none.
    fn drop_trash_part(&mut self) -> bool {
        if let Some(progress) = self.trash.get_mut(0) {
            let progress = std::sync::Arc::make_mut(progress);
            if let Some((place, _)) = progress.items.get_min().cloned() {
                progress.items.remove(&place);
            }
            if progress.items.is_empty() {
                self.trash.pop_front();
            }
            return true;
        }
        let Some(dead) = self.dead_trash.get_mut(0) else { return false };
        if let Some((position, _)) = dead.get_min().cloned() {
            dead.remove(&position);
        }
        if dead.is_empty() {
            self.dead_trash.pop_front();
        }
        true
    }
}
