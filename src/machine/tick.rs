//! What comes due: leases that run out, retries, TTLs, schedules, idempotency keys; and a few parts of deleted things
//! at a time.

use imbl::{OrdMap, Vector};

use crate::model::{Position, TICK_ITEMS_MAX, Timestamp};

use super::cause::FailCause;
use super::draft::{Candidates, Draft};
use super::facts::Fact;
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
    /// Decides what is due, in (due, position) order, at most 1,000 things; answers how many. Keys go first, all those
    /// of a topic and time as one thing. A scheduled message whose
    /// entry is not among the candidates holds up those behind it, so that none overtakes, but nothing else.
    pub fn tick(&mut self, candidates: &Candidates) -> usize {
        let mut done = self.forget_due(TICK_ITEMS_MAX);
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
        let message = self.first_scheduled().filter(|((due, _), _)| *due <= now);
        match (item, message) {
            (Some(item), Some((key, _))) if (item.at, item.position) < key => Some(self.due_item(item)),
            (_, Some(((due, position), scheduled))) => Some(Due::Message(due, position, scheduled)),
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
        let message = self.next_scheduled.get_min().map(|(due, position, _)| (*due, *position));
        let leftover = |item: &&Deadline| {
            let first = message.is_none_or(|message| (item.at, item.position) < message);
            item.at <= now && first && !self.is_live(item)
        };
        self.deadlines.iter().take(most).take_while(leftover).count()
    }

    /// How many parts the trash holds, counted up to `most`.
    fn trash_parts(&self, most: usize) -> usize {
        let mut parts = 0;
        let sizes = self.trash.iter().map(|progress| progress.items.len());
        let sizes = sizes.chain(self.dead_trash.iter().map(OrdMap::len));
        for size in sizes.chain(self.schedule_trash.iter().map(OrdMap::len)) {
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
                self.deadlines.remove_min();
            } else if !self.drop_trash_part() {
                return;
            }
        }
    }

    /// Drops one item, dead letter or scheduled message of the trash; false when there is none.
    fn drop_trash_part(&mut self) -> bool {
        if let Some(progress) = self.trash.get_mut(0) {
            let items = &mut std::sync::Arc::make_mut(progress).items;
            remove_first(items);
            if items.is_empty() {
                self.trash.pop_front();
            }
            return true;
        }
        drop_first(&mut self.dead_trash) || drop_first(&mut self.schedule_trash)
    }
}

/// Drops the first entry of the first map; false when there is none.
fn drop_first<K: Ord + Clone, V: Clone>(maps: &mut Vector<OrdMap<K, V>>) -> bool {
    let Some(map) = maps.get_mut(0) else { return false };
    remove_first(map);
    if map.is_empty() {
        maps.pop_front();
    }
    true
}

fn remove_first<K: Ord + Clone, V: Clone>(map: &mut OrdMap<K, V>) {
    if let Some(first) = map.get_min().map(|(key, _)| key.clone()) {
        map.remove(&first);
    }
}
