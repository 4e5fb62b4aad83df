//! What a node holds in memory: messages that are scheduled, dead, or that a group has looked at and not settled.
//!
//! A failed delivery can never be refused, so the bound holds where a message comes in: nothing more is scheduled, and
//! no group looks at a message it has not looked at yet, while the node holds as many as it may. What is held already
//! is leased, retried, acked, dead-lettered and redriven as ever, which changes their number or makes it smaller.

use crate::model::HELD_MAX;

use super::draft::Draft;
use super::refusal::Refusal;
use super::state::Machine;

impl Draft {
    /// How many more messages the node may hold.
    pub(super) fn room(&self) -> u64 {
        self.held_max.saturating_sub(self.machine.held)
    }

    /// Refuses one more when the node holds as many as it may.
    pub(super) fn room_for_one(&self) -> Result<(), Refusal> {
        if self.room() == 0 { Err(Refusal::TooManyHeld(HELD_MAX)) } else { Ok(()) }
    }
}

impl Machine {
    /// How many messages it holds that are scheduled, dead, or looked at and not settled, in all groups together.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held
    }

    /// The same, counted.
    pub(super) fn count_held(&self) -> u64 {
        let scheduled = self.topics.values().map(|topic| topic.schedule.len());
        let of_groups = self.groups.values().map(|group| {
            let items = group.progress.values().map(|progress| progress.items.len());
            group.dead.len() + items.sum::<usize>()
        });
        scheduled.chain(of_groups).map(|count| count as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Candidates, Delay, NewMessage, OWN_ENTRY, ProduceRequest, PutMode, ReceiveRequest, SettleOp,
        SettleStatus, SettledAs,
    };
    use super::*;
    use crate::model::{GroupName, GroupSettings, Receipt, Subscription, Timestamp, TopicName};

    fn draft(machine: &Machine, now: u64, held_max: u64) -> Draft {
        let mut nonce = now;
        let nonces = move || {
            nonce += 1;
            nonce
        };
        let mut draft = Draft::new(machine, Timestamp(now), Box::new(nonces));
        draft.held_max = held_max;
        draft
    }

    fn group() -> GroupName {
        "g".parse().unwrap()
    }

    /// A draft with a group that keeps what expires, and so many messages produced.
    fn with_messages(held_max: u64, news: Vec<NewMessage>) -> Draft {
        let mut draft = draft(&Machine::default(), 1, held_max);
        let topic: TopicName = "t".parse().unwrap();
        let subscription = Subscription { topic: topic.clone(), filter: Default::default() };
        let settings = GroupSettings {
            subscriptions: vec![subscription],
            dead_letter_expired: true,
            ..GroupSettings::default()
        };
        draft.put_group(group(), settings, (PutMode::Upsert, true), &Candidates::default()).unwrap();
        let messages = news.into_iter().map(|new| NewMessage { queue: Some(0), ..new }).collect();
        let answers = draft.produce(&ProduceRequest { topic, auto_create: false, messages }).unwrap();
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        draft
    }

    fn receive(draft: &mut Draft) -> Vec<Receipt> {
        let request = ReceiveRequest {
            group: group(),
            topic: None,
            auto_create: false,
            max_messages: 100,
            max_bytes: 1,
            lease_ms: None,
            session: 0,
            client: "test".into(),
            turn: 0,
        };
        let received = draft.receive(&request, &Candidates::default()).unwrap();
        assert_eq!(draft.machine.check(), Ok(()));
        received.messages.iter().map(|leased| leased.receipt(received.group, OWN_ENTRY)).collect()
    }

    fn schedule(draft: &mut Draft) -> Result<(), Refusal> {
        let later = NewMessage { delay: Delay::For(5), ..NewMessage::default() };
        let topic = "t".parse().unwrap();
        let request = ProduceRequest { topic, auto_create: false, messages: vec![later] };
        draft.produce(&request).unwrap().remove(0).map(|_| ())
    }

    #[test]
    fn a_full_node_looks_at_nothing_new_and_goes_on_with_what_it_holds() {
        let mut draft = with_messages(3, vec![NewMessage::default(); 5]);
        assert_eq!(draft.machine.held(), 0, "what nobody looked at is not held");
        schedule(&mut draft).unwrap();
        let leased = receive(&mut draft);
        assert_eq!((leased.len(), draft.machine.held()), (2, 3), "as many as there is room for");
        assert_eq!(schedule(&mut draft), Err(Refusal::TooManyHeld(HELD_MAX)));
        assert!(receive(&mut draft).is_empty());
        // No failure is refused, and each is leased again although the node is full.
        let nack = SettleOp::Nack { delay_ms: Some(0), reason: None };
        let retrying = SettleStatus::Ok(SettledAs::Retrying { ready_at: Timestamp(1) });
        assert!(leased.iter().all(|receipt| draft.settle_anywhere(receipt, &nack) == retrying));
        let again = receive(&mut draft);
        assert_eq!((again.len(), draft.machine.held()), (2, 3));
        let dead = draft.settle_anywhere(&again[0], &SettleOp::DeadLetter { reason: None });
        assert_eq!((dead, draft.machine.held()), (SettleStatus::Ok(SettledAs::Dead), 3));
        assert!(receive(&mut draft).is_empty(), "a dead letter is held");
        draft.settle_anywhere(&again[1], &SettleOp::Ack);
        assert_eq!((receive(&mut draft).len(), draft.machine.held()), (1, 3), "an ack makes room");
        assert_eq!(draft.purge_dead_letters(&group()), Ok(1));
        assert_eq!(schedule(&mut draft), Ok(()));
        draft.delete_group(&group(), true).unwrap();
        draft.delete_topic(&"t".parse().unwrap(), true).unwrap();
        assert_eq!((draft.machine.held(), draft.machine.check()), (0, Ok(())));
    }

    /// Dead letters that nobody looked at before need room; those that are passed over need none.
    #[test]
    fn what_expires_unseen_becomes_a_dead_letter_only_where_there_is_room() {
        let expiring = NewMessage { ttl_ms: Some(10), ..NewMessage::default() };
        let full = with_messages(2, vec![expiring; 3]);
        let candidates = Candidates { entries: full.fresh.clone(), ..Candidates::default() };
        let mut machine = Machine::default();
        machine.apply(1, &full.finish().unwrap());
        let mut draft = draft(&machine, 100, 2);
        assert_eq!(draft.expire_sweep(&candidates), 2);
        assert_eq!((draft.expire_sweep(&candidates), draft.machine.held()), (0, 2));
        draft.purge_dead_letters(&group()).unwrap();
        let request = ReceiveRequest {
            group: group(),
            topic: None,
            auto_create: false,
            max_messages: 1,
            max_bytes: 1,
            lease_ms: None,
            session: 0,
            client: "test".into(),
            turn: 0,
        };
        draft.held_max = 0;
        draft.receive(&request, &candidates).unwrap();
        assert_eq!(draft.machine.held(), 0, "it waits");
        draft.held_max = 1;
        draft.receive(&request, &candidates).unwrap();
        assert_eq!((draft.machine.held(), draft.machine.check()), (1, Ok(())));
    }
}
