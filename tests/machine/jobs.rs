//! The commands of a script that are about jobs.

use std::sync::Arc;

use whimbrel::machine::{Draft, Job, RedriveOrder};
use whimbrel::model::DeadLetterFilter;

use super::world::World;
use super::{Answer, Words, clock, text};

pub(crate) fn start(draft: &mut Draft, words: &Words<'_>) -> Answer {
    let filter = DeadLetterFilter {
        topic: words.named.get("topic").map(|topic| topic.parse().unwrap()),
        tag: words.named.get("tag").map(|tag| (*tag).into()),
        ..DeadLetterFilter::default()
    };
    let order = RedriveOrder {
        group: words.plain[1].parse().unwrap(),
        filter: Arc::new(filter),
        to: words.named.get("to").map(|topic| topic.parse().unwrap()),
        rate_per_s: words.number("rate").map(|rate| u32::try_from(rate).unwrap()),
    };
    text(draft.start_redrive(&order), |id| format!("job {id}"))
}

/// Every job, the newest first.
pub(crate) fn all(world: &World) -> String {
    let jobs = world.machine.jobs_before(None);
    let told = jobs.map(|(id, job)| {
        let end = match job.ended {
            None => format!("runs, next step from {}", clock(job.not_before)),
            Some((end, at)) => format!("{end:?} at {}", clock(at)),
        };
        let Job { group_name, total, looked, moved, failed, .. } = job;
        format!("{id} of {group_name}: looked at {looked} of {total}, moved {moved}, failed {failed}; {end}")
    });
    told.collect::<Vec<_>>().join("\n")
}

/// Everything a topic was sent, with the properties.
pub(crate) fn peek(world: &World, topic: &str) -> String {
    let (id, _) = world.machine.topic(&topic.parse().unwrap()).unwrap();
    let entries = world.entries.iter().filter(|((topic, _), _)| *topic == id);
    let told = entries.flat_map(|((_, queue), entries)| entries.iter().map(move |entry| (queue, entry)));
    let told = told.map(|(queue, entry)| {
        let properties = &world.messages[&entry.position].message.attributes.properties;
        format!("{queue}@{} {}: {properties:?}", entry.offset, world.body(entry.position))
    });
    told.collect::<Vec<_>>().join("\n")
}
