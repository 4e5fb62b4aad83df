//! The recent past, so that curves have a beginning at first paint and rules can be tried against what was.
//!
//! Rings of three grains ([`Window`]): 600 steps of a second, 2,160 of ten, 10,080 of a minute, 12,840 in all, four
//! bytes a value. So the node takes 1.2 MiB, a topic 100 KiB and a group 540 KiB, at most and only after a week: a ring
//! grows with what it holds. Of topics and groups the [`HISTORY_TOPICS_MAX`] and [`HISTORY_GROUPS_MAX`] with the most
//! to tell are remembered, about 33 MiB in all.
//!
//! A step of which nothing is known is a gap, and never 0. All of it is a cache: what is lost is a gap.

mod doubt;
mod file;
mod measure;
mod ring;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::{HISTORY_GROUPS_MAX, HISTORY_TOPICS_MAX, Timestamp};

pub use doubt::Sample;
pub use file::Unusable;
pub use measure::{Incarnation, Measure, Subject, SubjectKind, UnknownMeasure};
pub use ring::{Curves, Window};

use doubt::Doubt;
use ring::{THOUSANDTHS, Track};

/// An object that is not remembered takes the place of one that is when it has this many times as much to tell. Less,
/// and two that are about equal would take turns, and neither would have a past.
const MUCH_MORE: u64 = 2;
/// How much one has had to tell is remembered in [`THOUSANDTHS`], and fades by one part in so many at each choice: at
/// one every 10 s it is half after seven minutes. Else whoever is quiet for ten seconds loses a past of a week.
const FADES: u64 = 64;

/// Everything that is remembered.
#[derive(Debug, Default)]
pub struct History {
    tracks: BTreeMap<Incarnation, Track>,
    doubt: Doubt,
}

impl History {
    /// Takes in a sample, or has it wait while its clock is not believed: of a clock that jumped ten have to agree. Of
    /// the node and of what was chosen ([`History::choose`]); what is not told is a gap.
    pub fn take(&mut self, sample: Sample) {
        let newest = self.tracks.get(&Incarnation::Node).and_then(Track::newest);
        for Sample { at, told } in self.doubt.look_at(newest, sample) {
            self.tracks.entry(Incarnation::Node).or_insert_with(|| Track::new(SubjectKind::Node));
            for (of, values) in told {
                if let Some(track) = self.tracks.get_mut(&of) {
                    track.note(at, &values);
                }
            }
        }
    }

    /// What is remembered of one; none when it is not among the remembered.
    #[must_use]
    pub fn curves(
        &self,
        of: Incarnation,
        measures: &[Measure],
        window: Window,
        now: Timestamp,
    ) -> Option<Curves> {
        Some(self.tracks.get(&of)?.read(measures, window, now))
    }

    /// The remembered ones of a kind.
    pub fn remembered(&self, kind: SubjectKind) -> impl Iterator<Item = Incarnation> + '_ {
        self.tracks.keys().copied().filter(move |of| of.kind() == kind)
    }

    /// Chooses which objects of a kind are remembered, of all there are, each with how much it has to tell. What is
    /// gone is forgotten. While there is room for all, all are; else the one with the least to tell makes room for one
    /// with much more.
    pub fn choose(&mut self, kind: SubjectKind, all: &[(Incarnation, u64)]) {
        let most = match kind {
            SubjectKind::Node => return,
            SubjectKind::Topic => HISTORY_TOPICS_MAX,
            SubjectKind::Group => HISTORY_GROUPS_MAX,
        };
        let there: BTreeSet<Incarnation> = all.iter().map(|(of, _)| *of).collect();
        self.tracks.retain(|of, _| of.kind() != kind || there.contains(of));
        let (mut kept, mut others) = (Vec::new(), Vec::new());
        for (of, weight) in all {
            let weight = weight.saturating_mul(THOUSANDTHS);
            if let Some(track) = self.tracks.get_mut(of) {
                track.told = (track.told - track.told / FADES).max(weight);
                kept.push((*of, track.told));
            } else {
                others.push((*of, weight));
            }
        }
        others.sort_by_key(|(_, weight)| Reverse(*weight));
        kept.sort_by_key(|(_, weight)| *weight);
        let mut least = kept.iter();
        let mut room = most.saturating_sub(kept.len());
        for (of, weight) in others {
            if room > 0 {
                room -= 1;
            } else {
                let Some(&(yielding, less)) = least.next() else { return };
                if weight <= less.saturating_mul(MUCH_MORE) {
                    return;
                }
                self.tracks.remove(&yielding);
            }
            let mut track = Track::new(kind);
            track.told = weight;
            self.tracks.insert(of, track);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TopicId;

    fn topic(number: usize) -> Incarnation {
        Incarnation::Topic(TopicId(number.try_into().unwrap()))
    }

    fn kept(history: &History) -> BTreeSet<Incarnation> {
        history.remembered(SubjectKind::Topic).collect()
    }

    #[test]
    fn who_has_much_more_to_tell_takes_the_place_of_the_quietest() {
        let mut history = History::default();
        let many = HISTORY_TOPICS_MAX + 2;
        let mut all: Vec<(Incarnation, u64)> = (0..many).map(|number| (topic(number), 10)).collect();
        history.choose(SubjectKind::Topic, &all[..many - 2]);
        let first = kept(&history);
        assert_eq!(first.len(), HISTORY_TOPICS_MAX);
        history.choose(SubjectKind::Topic, &all);
        assert_eq!(kept(&history), first, "as much is not more");
        all[many - 1].1 = 20;
        history.choose(SubjectKind::Topic, &all);
        assert_eq!(kept(&history), first, "nor is twice as much");
        all[many - 1].1 = 21;
        all[3].1 = 2;
        history.choose(SubjectKind::Topic, &all);
        let second = kept(&history);
        assert!(second.contains(&topic(many - 1)) && !second.contains(&topic(3)), "{second:?}");
        all.remove(0);
        history.choose(SubjectKind::Topic, &all);
        let third = kept(&history);
        assert!(!third.contains(&topic(0)) && third.len() == HISTORY_TOPICS_MAX, "what is gone made room");
    }

    #[test]
    fn who_is_quiet_for_a_while_keeps_a_past() {
        let mut history = History::default();
        let many = HISTORY_TOPICS_MAX + 1;
        let mut all: Vec<(Incarnation, u64)> = (0..many).map(|number| (topic(number), 1)).collect();
        history.choose(SubjectKind::Topic, &all[..many - 1]);
        let first = kept(&history);
        // One message a minute each, not all at once: now these have something to tell, now those.
        for round in 0..60 {
            for (number, (_, weight)) in all.iter_mut().enumerate() {
                *weight = u64::from(number % 6 == round % 6);
            }
            history.choose(SubjectKind::Topic, &all);
        }
        assert_eq!(kept(&history), first);
        // Quiet for long, it makes room.
        for (number, (_, weight)) in all.iter_mut().enumerate() {
            *weight = u64::from(number != 3);
        }
        for _ in 0..60 {
            history.choose(SubjectKind::Topic, &all);
        }
        assert!(!kept(&history).contains(&topic(3)) && kept(&history).contains(&topic(many - 1)));
    }

    /// What is known of the node in ten minutes, six hours and seven days.
    fn lengths(history: &History, now: Timestamp) -> [usize; 3] {
        Window::ALL.map(|window| {
            let found = history.curves(Incarnation::Node, &[Measure::Waiters], window, now);
            found.map_or(0, |found| found.values(Measure::Waiters).iter().flatten().count())
        })
    }

    #[test]
    fn a_sample_of_a_wrong_clock_wipes_nothing() {
        let mut history = History::default();
        let at = |second: u64| Timestamp(1_790_000_040_500 + second * 1_000);
        let take = |history: &mut History, at| {
            history.take(Sample { at, told: vec![(Incarnation::Node, vec![(Measure::Waiters, 1.0)])] });
        };
        (0..7_200).for_each(|second| take(&mut history, at(second)));
        let before = lengths(&history, at(7_199));
        assert_eq!(before, [600, 720, 120]);
        for wrong in [Timestamp(0), at(40_000_000), Timestamp::MAX, at(3_600)] {
            take(&mut history, wrong);
            assert_eq!(lengths(&history, at(7_199)), before, "{wrong}");
        }
        // Set back by an hour for good: the last hour has not come yet, and everything before it stays.
        (0..10).for_each(|second| take(&mut history, at(3_600 + second)));
        assert_eq!(lengths(&history, at(3_609)), [10, 361, 61]);
        // Ahead by a day for good: no step of it is lost that a ring still has room for.
        (0..10).for_each(|second| take(&mut history, at(90_000 + second)));
        assert_eq!(lengths(&history, at(90_009)), [10, 1, 62]);
    }

    #[test]
    fn what_was_not_chosen_is_not_remembered_and_the_node_always_is() {
        let mut history = History::default();
        let now = Timestamp(1_790_000_000_000);
        let told = [topic(1), Incarnation::Node].map(|of| (of, vec![(Measure::ProducedMessages, 1.0)]));
        history.take(Sample { at: now, told: told.to_vec() });
        let read = |of: Incarnation| {
            let found = history.curves(of, &[Measure::ProducedMessages], Window::TenMinutes, now)?;
            Some(found.values(Measure::ProducedMessages).to_vec())
        };
        assert_eq!((read(topic(1)), read(Incarnation::Node)), (None, Some(vec![Some(1.0)])));
    }
}
