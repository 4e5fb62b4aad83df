//! Queues, one by one. There may be millions, so they have a page of their own, and that has an end.

use crate::broker::lag::cursor;
use crate::machine::{Machine, Topic};
use crate::model::{METRICS_QUEUE_SAMPLES_MAX, QueueNo, TopicId};
use crate::observe::{Exposition, series};

use super::wide;

/// Adds the queues of `topics`, with every group that reads them, until there is no more room; what is left out is
/// counted.
pub(super) fn add<'a>(
    out: &mut Exposition,
    machine: &'a Machine,
    topics: impl Iterator<Item = (TopicId, &'a Topic)>,
) {
    let mut omitted = 0;
    for (id, topic) in topics {
        for bounds in topic.bounds() {
            let samples = 2 + 2 * topic.groups.len();
            if out.samples() + samples > METRICS_QUEUE_SAMPLES_MAX {
                omitted += samples;
            } else {
                add_queue(out, machine, (id, topic), bounds);
            }
        }
    }
    out.count(&series::QUEUE_SAMPLES_OMITTED, &[], wide(omitted));
}

fn add_queue(
    out: &mut Exposition,
    machine: &Machine,
    (id, topic): (TopicId, &Topic),
    (queue, first, next): (QueueNo, u64, u64),
) {
    let (name, number) = (topic.name.as_str(), queue.to_string());
    let number = number.as_str();
    out.count(&series::QUEUE_FIRST_KEPT_OFFSET, &[name, number], first);
    out.count(&series::QUEUE_NEXT_OFFSET, &[name, number], next);
    for group in topic.groups.iter().filter_map(|group| machine.group_by_id(*group)) {
        let Some(progress) = group.progress(id, queue) else { continue };
        let labels = [name, number, group.name.as_str()];
        let lag = wide(progress.items.len()) + progress.unlooked(next);
        out.count(&series::QUEUE_LAG_MESSAGES, &labels, lag);
        out.count(&series::QUEUE_CURSOR_OFFSET, &labels, cursor(progress));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Draft, PutMode};
    use crate::model::{QUEUES_MAX, Timestamp, TopicSettings};

    #[test]
    fn the_page_ends_and_says_what_it_left_out() {
        let mut draft = Draft::new(&Machine::default(), Timestamp(1), Box::new(|| 7));
        for number in 0..40 {
            let settings = TopicSettings { queues: QUEUES_MAX, ..TopicSettings::default() };
            draft.put_topic(format!("t{number}").parse().unwrap(), settings, PutMode::Upsert).unwrap();
        }
        let machine = draft.machine().clone();
        let mut out = Exposition::default();
        add(&mut out, &machine, machine.topics());
        // And the sample that says so.
        assert_eq!(out.samples(), METRICS_QUEUE_SAMPLES_MAX + 1);
        let omitted = 40 * 2 * usize::from(QUEUES_MAX) - METRICS_QUEUE_SAMPLES_MAX;
        assert!(out.text().unwrap().contains(&format!("whimbrel_metrics_queue_samples_omitted {omitted}\n")));
    }
}
