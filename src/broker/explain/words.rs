//! The findings in words: what is so, and what to do about it.

use crate::machine::{Held, ItemState};
use crate::model::{Filter, GroupName, LOOK_AHEAD, MessageId, Timestamp, TopicName};

use super::super::clients::Members;
use super::topic::Sample;
use super::{Affects, Cause, Finding};

pub(super) fn not_serving() -> Finding {
    let text = "this node starts, stops, or has no leader; GET /readyz?verbose says what it waits for";
    Finding::new(Cause::NotServing, Affects::All, text)
}

pub(super) fn disk_low() -> Finding {
    let text =
        "free disk space is under the reserve: producers are refused with 507, what is there is delivered";
    Finding::new(Cause::DiskLow, Affects::Some, text)
}

pub(super) fn disk_full() -> Finding {
    let text = "free disk space is under half the reserve: nothing is leased until there is more";
    Finding::new(Cause::DiskFull, Affects::All, text)
}

pub(super) fn node_full(held: u64, most: u64) -> Finding {
    let text = format!(
        "the node holds {held} messages that are scheduled, dead, or handed out and not settled, the most it may; no \
         group looks at new ones until there are fewer"
    );
    Finding::new(Cause::NodeFull, Affects::All, text).counted(held, most)
}

pub(super) fn index_behind(indexed: u64, applied: u64) -> Finding {
    let text = format!(
        "the queue index knows {indexed} of {applied} log entries; what is behind that is delivered once it does"
    );
    Finding::new(Cause::IndexBehind, Affects::Some, text).counted(indexed, applied)
}

pub(super) fn paused(group: &GroupName) -> Finding {
    let text = format!("the group is paused; POST /v1/groups/{group}/resume lets it go on");
    Finding::new(Cause::Paused, Affects::All, text)
}

pub(super) fn no_subscriptions(group: &GroupName) -> Finding {
    let text = format!("the group subscribes to no topic; PATCH /v1/groups/{group} with subscriptions");
    Finding::new(Cause::NoSubscriptions, Affects::All, text)
}

pub(super) fn max_in_flight(in_flight: u64, most: u64) -> Finding {
    let text = format!(
        "{} leased and not settled, the most this group may hold; settle some, or raise max_in_flight",
        messages(in_flight, "is", "are")
    );
    Finding::new(Cause::MaxInFlight, Affects::All, text).counted(in_flight, most)
}

pub(super) fn no_members() -> Finding {
    let text = "nobody receives: no subscription is open, no receive waits, and none came in the last 60 s";
    Finding::new(Cause::NoMembers, Affects::All, text)
}

pub(super) fn no_credit(members: &Members) -> Finding {
    let (count, text) = (
        members.count,
        if members.callers == members.count {
            "no receive waits at this moment; messages go out when one of the members asks again"
        } else {
            "no member takes a message now: subscriptions are paused, or hold as many unsettled messages as their prefetch \
         or credit allows"
        },
    );
    // Whoever polls is between two receives most of the time; that holds nothing up.
    let affects = if members.callers > 0 { Affects::None } else { Affects::All };
    Finding { count: Some(count), ..Finding::new(Cause::NoCredit, affects, text) }
}

pub(super) fn dead_letters_full(group: &GroupName, used_up: u64, (dead, most): (u64, u64)) -> Finding {
    let text = format!(
        "{} used up all attempts and cannot become dead letters, of which there are {dead} (at most {most} in this \
         group); redrive or purge some: /v1/groups/{group}/dead-letters",
        messages(used_up, "has", "have")
    );
    Finding::new(Cause::DeadLettersFull, Affects::Some, text).counted(dead, most)
}

pub(super) fn look_ahead_full(oldest: &Held, held: u64) -> Finding {
    let text = format!(
        "queue {} has {held} messages that are not settled, and no more than {LOOK_AHEAD} are looked at; the oldest \
         {}",
        oldest.queue,
        doing(oldest)
    );
    Finding::new(Cause::LookAheadFull, Affects::Some, text).counted(held, LOOK_AHEAD)
}

pub(super) fn lane_blocked(head: &Held, waiting: u64) -> Finding {
    let text = format!(
        "{} behind the first of their lane, which {}",
        messages(waiting, "waits", "wait"),
        doing(head)
    );
    Finding { count: Some(waiting), ..Finding::new(Cause::LaneBlocked, Affects::Some, text) }
}

pub(super) fn more_lanes(count: u64) -> Finding {
    let text = format!("{count} more lanes wait behind their first message, fewer messages in each");
    Finding { count: Some(count), ..Finding::new(Cause::LaneBlocked, Affects::Some, text) }
}

pub(super) fn retrying(count: u64, first: &Held) -> Finding {
    let until = first.until().map(|due| format!("; the next is due at {due}")).unwrap_or_default();
    let text = format!("{} for another attempt after a failure{until}", messages(count, "waits", "wait"));
    Finding { count: Some(count), ..Finding::new(Cause::Retrying, Affects::Some, text) }
}

pub(super) fn leased(count: u64, first: &Held) -> Finding {
    let text = format!(
        "{} leased and not settled; the one whose lease ends first {}",
        messages(count, "is", "are"),
        doing(first)
    );
    Finding { count: Some(count), ..Finding::new(Cause::Leased, Affects::None, text) }
}

pub(super) fn filter_excludes((topic, filter): (&TopicName, &Filter), sample: Sample) -> Finding {
    let Sample { looked, excluded } = sample;
    let (affects, how_many) = if excluded == looked {
        (Affects::Some, format!("all of the last {looked}"))
    } else {
        (Affects::None, format!("{excluded} of the last {looked}"))
    };
    let text = format!("the filter '{}' excludes {how_many} messages of '{topic}'", filter.expression());
    Finding::new(Cause::FilterExcludes, affects, text).counted(excluded, looked)
}

pub(super) fn scheduled((topic, count): (&TopicName, u64), due: Timestamp, id: MessageId) -> Finding {
    let text = format!(
        "{} in '{topic}' for the time to be ready; the next is due at {due}",
        messages(count, "waits", "wait")
    );
    let finding = Finding::new(Cause::Scheduled, Affects::None, text);
    Finding { count: Some(count), id: Some(id.to_string()), until: Some(due.to_string()), ..finding }
}

pub(super) fn empty(topic: &TopicName, was_any: bool) -> Finding {
    let text = if was_any {
        format!("the group has nothing left in '{topic}': all there is was settled or passed over")
    } else {
        format!("nothing was ever produced to '{topic}'")
    };
    Finding::new(Cause::Empty, Affects::None, text)
}

pub(super) fn ready(topic: &TopicName, count: u64, upper_bound: bool) -> Finding {
    let text = if upper_bound {
        format!(
            "up to {} ready in '{topic}'; the filter has not seen all of them yet",
            messages(count, "is", "are")
        )
    } else {
        format!("{} ready in '{topic}'", messages(count, "is", "are"))
    };
    Finding { count: Some(count), ..Finding::new(Cause::Ready, Affects::None, text) }
}

/// When nothing else is worth naming first.
pub(super) fn all_well(others: &[Finding]) -> Finding {
    let waits = others.iter().any(|finding| finding.code == Cause::Ready);
    let text = if waits {
        "nothing stands in the way: what is ready goes to whoever asks next"
    } else {
        "nothing stands in the way: the group gets what comes"
    };
    Finding::new(Cause::AllWell, Affects::None, text)
}

/// "1 message waits", "2 messages wait".
fn messages(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 message {one}") } else { format!("{count} messages {many}") }
}

/// What is happening to a message that others wait for.
fn doing(held: &Held) -> String {
    match &held.state {
        ItemState::Leased(lease) => {
            format!("is leased to '{}' until {}", lease.client.escape_debug(), lease.until)
        }
        ItemState::Retrying { due } => format!("is retried at {due}"),
        ItemState::Ready => "is ready".to_owned(),
        ItemState::Parked => "waits behind its lane".to_owned(),
    }
}
