//! The auditor is tested too: a clean history passes, and each kind of broken promise is noticed by its number.

use std::time::{Duration, Instant};

use crate::history::{Delivery, Events, Group, History, Key, Op, Outcome, Place, Settled, body_of};
use crate::judge::complaints;

const SEED: u64 = 7;

/// A history under construction, with one ordered group that reads the topic `t`.
struct Story {
    history: History,
    receipts: u64,
}

fn key(seq: u32) -> Key {
    Key { producer: 1, seq }
}

fn place(offset: u64) -> Place {
    Place { id: format!("id{offset}"), queue: 0, offset }
}

impl Story {
    fn new() -> Story {
        let mut group = Group::new("g", &["t"]);
        group.ordered = true;
        group.max_attempts = 3;
        Story { history: History::new(SEED, vec![group]), receipts: 0 }
    }

    fn events(&self) -> std::sync::MutexGuard<'_, Events> {
        self.history.events()
    }

    fn send(&mut self, seq: u32, outcome: Outcome) {
        self.events().sending(key(seq), "t", Some("a".to_owned()));
        self.events().answered(key(seq), outcome);
    }

    fn accept(&mut self, seq: u32) {
        self.send(seq, Outcome::Acknowledged(place(u64::from(seq))));
    }

    /// Delivers under a fresh receipt, which it returns.
    fn deliver(&mut self, seq: u32, attempt: u64) -> String {
        self.receipts += 1;
        let receipt = format!("r{}", self.receipts);
        self.deliver_as(seq, attempt, &receipt);
        receipt
    }

    fn deliver_as(&mut self, seq: u32, attempt: u64, receipt: &str) {
        let asked = self.history.now();
        let delivery = Delivery {
            round: 1,
            attempt,
            receipt: receipt.to_owned(),
            place: place(u64::from(seq)),
            asked,
            seen: 0,
            lease_until: Some(Instant::now() + Duration::from_secs(60)),
        };
        assert!(self.events().delivered(0, &body_of(SEED, key(seq)), delivery).is_some());
    }

    fn kill(&self) {
        self.events().killing();
        self.events().killed();
    }

    fn settle(&mut self, seq: u32, receipt: &str, op: Op, outcome: Settled) {
        let mut events = self.events();
        let at = events.settling(0, key(seq), receipt, op);
        if outcome != Settled::Unknown {
            events.settled(0, key(seq), at, outcome);
        }
    }

    fn ack(&mut self, seq: u32, receipt: &str) {
        self.settle(seq, receipt, Op::Ack, Settled::Ok);
    }

    #[track_caller]
    fn is_fine(&self) {
        assert_eq!(complaints(&self.events(), true), Vec::<String>::new());
    }

    #[track_caller]
    fn breaks(&self, what: &str) {
        let found = complaints(&self.events(), true);
        assert!(found.iter().any(|complaint| complaint.contains(what)), "no '{what}' in {found:#?}");
    }
}

#[test]
fn a_clean_history_passes() {
    let mut story = Story::new();
    story.accept(0);
    story.accept(1);
    story.send(2, Outcome::Unknown);
    story.send(3, Outcome::Refused);
    let first = story.deliver(0, 1);
    story.settle(0, &first, Op::Nack, Settled::Ok);
    let second = story.deliver(0, 2);
    story.settle(0, &second, Op::Ack, Settled::Unknown);
    story.settle(0, &second, Op::Ack, Settled::Already);
    let other = story.deliver(1, 1);
    story.settle(1, &other, Op::Extend, Settled::Ok);
    story.ack(1, &other);
    let unknown = story.deliver(2, 1);
    story.ack(2, &unknown);
    story.is_fine();
}

#[test]
fn lost_messages_are_noticed() {
    let mut story = Story::new();
    story.accept(0);
    story.breaks("I1: p1/0 never reached its end in group g, it came 0 times");
    story.deliver(0, 1);
    story.breaks("it came 1 times");
}

#[test]
fn messages_nobody_sent_are_noticed() {
    let mut story = Story::new();
    story.accept(0);
    let receipt = story.deliver(0, 1);
    story.ack(0, &receipt);
    let mut delivery = story.events().groups[0].journeys[&key(0)].deliveries[0].clone();
    delivery.receipt = "other".to_owned();
    let changed = format!("{}x", body_of(SEED, key(0)));
    assert!(story.events().delivered(0, &changed, delivery.clone()).is_none());
    story.breaks("I2: a body nobody sent");
    story.events().wrong.clear();
    assert!(story.events().delivered(0, &body_of(SEED, key(9)), delivery).is_some());
    story.breaks("I2: nobody sent this");
}

#[test]
fn refused_and_doubled_messages_are_noticed() {
    let mut story = Story::new();
    story.send(0, Outcome::Refused);
    let receipt = story.deliver(0, 1);
    story.ack(0, &receipt);
    story.breaks("I3: refused, and still there");

    let mut story = Story::new();
    story.send(0, Outcome::Acknowledged(place(5)));
    let receipt = story.deliver(0, 1);
    story.ack(0, &receipt);
    story.breaks("I3: two messages from one publish");
}

#[test]
fn offsets_that_repeat_or_fall_are_noticed() {
    let mut story = Story::new();
    story.send(0, Outcome::Acknowledged(place(4)));
    story.send(1, Outcome::Acknowledged(place(4)));
    story.breaks("I4: t, queue 0, offset 4 holds");

    let mut story = Story::new();
    story.send(0, Outcome::Acknowledged(place(4)));
    story.send(1, Outcome::Acknowledged(place(3)));
    story.breaks("I5: p1/0 at offset 4 was sent before p1/1 at offset 3");
}

#[test]
fn a_successor_that_comes_too_early_is_noticed() {
    let mut story = Story::new();
    story.accept(0);
    story.accept(1);
    let first = story.deliver(0, 1);
    let second = story.deliver(1, 1);
    story.ack(0, &first);
    story.ack(1, &second);
    story.breaks("I5: p1/1 came in group g before p1/0");
}

#[test]
fn acks_that_are_undone_are_noticed() {
    let mut story = Story::new();
    story.accept(0);
    let first = story.deliver(0, 1);
    story.ack(0, &first);
    story.is_fine();
    let second = story.deliver(0, 2);
    story.breaks("I6: acked at attempt 1, and came again as attempt 2");
    story.ack(0, &second);
    story.breaks("I6: acked 2 times");
}

#[test]
fn an_answer_about_nothing_is_noticed() {
    let mut story = Story::new();
    story.accept(0);
    let first = story.deliver(0, 1);
    story.settle(0, &first, Op::Ack, Settled::Already);
    story.breaks("I6: 'already'");
}

/// Another receipt's nack leaves the message unsettled; the receipt's own is what 'already' says.
#[test]
fn only_what_settles_explains_an_already() {
    let mut story = Story::new();
    story.accept(0);
    let first = story.deliver(0, 1);
    story.settle(0, &first, Op::Nack, Settled::Ok);
    story.settle(0, &first, Op::Extend, Settled::Already);
    let second = story.deliver(0, 2);
    story.ack(0, &second);
    story.is_fine();

    let mut story = Story::new();
    story.accept(0);
    let first = story.deliver(0, 1);
    story.settle(0, &first, Op::Nack, Settled::Ok);
    let second = story.deliver(0, 2);
    story.settle(0, &second, Op::Extend, Settled::Already);
    story.breaks("I6: 'already'");
}

#[test]
fn an_expired_receipt_of_an_acked_message_is_noticed() {
    let mut story = Story::new();
    story.accept(0);
    let first = story.deliver(0, 1);
    let second = story.deliver(0, 2);
    story.ack(0, &second);
    story.settle(0, &first, Op::Ack, Settled::Expired);
    story.breaks("I6: 'expired' for something that was acked");
}

#[test]
fn a_late_ack_may_cross_the_ack_of_the_next_holder() {
    let mut story = Story::new();
    story.accept(0);
    let first = story.deliver(0, 1);
    let late = story.events().settling(0, key(0), &first, Op::Ack);
    let second = story.deliver(0, 2);
    story.ack(0, &second);
    story.events().settled(0, key(0), late, Settled::Already);
    story.is_fine();
}

#[test]
fn stale_receipts_and_broken_leases_are_noticed() {
    let mut story = Story::new();
    story.accept(0);
    let first = story.deliver(0, 1);
    let second = story.deliver(0, 2);
    story.settle(0, &first, Op::Nack, Settled::Ok);
    story.ack(0, &second);
    story.breaks("I7: Nack by the stale receipt of attempt 1 was done");

    let mut story = Story::new();
    story.accept(0);
    let first = story.deliver(0, 1);
    story.settle(0, &first, Op::Extend, Settled::Expired);
    story.breaks("I7: the lease of attempt 1 ended before its time");
    story.settle(0, &first, Op::Ack, Settled::Invalid);
    story.breaks("I7: a receipt of this group was called invalid");

    let mut story = Story::new();
    story.accept(0);
    let first = story.deliver(0, 1);
    story.deliver(0, 1);
    story.breaks("I7: attempt 1 was leased twice");
    story.deliver_as(0, 2, &first);
    story.breaks("I7: delivered twice under one receipt");
}

#[test]
fn attempts_that_fall_or_pass_the_limit_are_noticed() {
    let mut story = Story::new();
    story.accept(0);
    story.deliver(0, 2);
    story.deliver(0, 1);
    story.breaks("I8: attempt 1 came after attempt 2");
    story.deliver(0, 4);
    story.breaks("I8: attempt 4 of 3");

    let mut story = Story::new();
    story.accept(0);
    story.deliver(0, 3);
    story.breaks("I8: 2 attempts nobody saw before attempt 3, with 0 kills");
}

/// A kill explains one attempt that nobody saw, of those that could have been on their way.
#[test]
fn attempts_that_a_kill_does_not_explain_are_noticed() {
    let mut story = Story::new();
    story.accept(0);
    story.kill();
    story.deliver(0, 1);
    let last = story.deliver(0, 3);
    story.ack(0, &last);
    story.breaks("I8: 1 attempts nobody saw before attempt 3, with 0 kills");

    let mut story = Story::new();
    story.accept(0);
    story.deliver(0, 1);
    story.kill();
    let last = story.deliver(0, 3);
    story.ack(0, &last);
    story.is_fine();

    let mut story = Story::new();
    story.accept(0);
    story.kill();
    let last = story.deliver(0, 3);
    story.ack(0, &last);
    story.breaks("I8: 2 attempts nobody saw before attempt 3, with 1 kills");

    let mut story = Story::new();
    story.accept(0);
    story.kill();
    story.deliver(0, 1);
    story.events().dead_letters(0, &["id0".to_owned()]);
    story.breaks("I8: dead-lettered after attempt 1 of 3");
    story.kill();
    story.kill();
    story.is_fine();
}

#[test]
fn dead_letters_that_are_early_or_double_are_noticed() {
    let mut story = Story::new();
    story.accept(0);
    let first = story.deliver(0, 1);
    story.settle(0, &first, Op::Nack, Settled::Ok);
    story.events().dead_letters(0, &["id0".to_owned(), "id0".to_owned()]);
    story.breaks("I8: dead-lettered 2 times");
    story.breaks("I8: dead-lettered after attempt 1 of 3");
    story.settle(0, &first, Op::Ack, Settled::Ok);
    story.breaks("I6: acked and dead-lettered");
    story.events().dead_letters(0, &["id7".to_owned()]);
    story.breaks("I2: the dead letter id7");
}
