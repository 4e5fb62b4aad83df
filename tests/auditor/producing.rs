//! What is sent, plainly or under a key, and what must become of it when it is sent again (I3, I20).

use std::sync::Arc;

use whimbrel::machine::{
    Accepted, Delay, NewMessage, OWN_ENTRY, ProduceOutcome, ProduceRequest, Refusal, Terms,
};
use whimbrel::model::{Attributes, KeyHash, Message, Millis, Position, RequestKey, Timestamp};

use super::super::{Checked, Model, Seen, Sent, WINDOWS_MS, ensure, name};

/// A message that goes out, and what the model has to know of it.
#[derive(Clone)]
struct New {
    message: NewMessage,
    key: Option<String>,
    tag: Option<&'static str>,
    colour: Option<&'static str>,
    size: Option<usize>,
    body: String,
}

/// A request that was carried out under a key.
#[derive(Clone)]
pub(crate) struct CarriedOut {
    key: RequestKey,
    topic: usize,
    news: Vec<New>,
    /// Index of its entry, and its answers.
    index: u64,
    answers: Vec<Accepted>,
    at: Timestamp,
}

impl CarriedOut {
    fn window(&self) -> Millis {
        WINDOWS_MS[self.topic]
    }

    /// The key must still be known.
    fn is_promised(&self, now: Timestamp) -> bool {
        now < self.at.plus(self.window())
    }

    /// The key must be forgotten: a quarter of the window is all that it may be kept longer.
    fn is_over(&self, now: Timestamp) -> bool {
        now >= self.at.plus(self.window() + self.window() / 4)
    }
}

impl Model {
    pub(crate) fn produce(&mut self) -> Checked {
        let topic = self.below(2);
        let news: Vec<New> = (0..1 + self.below(4)).map(|at| self.compose(at)).collect();
        let number = self.carried_out.len() as u64;
        let key = (self.below(3) == 0)
            .then(|| RequestKey { key: KeyHash(u128::from(number + 1) << 3), fingerprint: number });
        self.send(topic, news, key)
    }

    /// Sends a request again that was carried out under a key: the same one, or by mistake another one.
    pub(crate) fn send_again(&mut self) -> Checked {
        if self.carried_out.is_empty() {
            return Ok(());
        }
        let which = self.below(self.carried_out.len());
        let before = self.carried_out[which].clone();
        if self.below(4) == 0 && before.is_promised(self.world.now) {
            let key = RequestKey { fingerprint: before.key.fingerprint ^ 1, ..before.key };
            let (answer, _) = self.ask(before.topic, &before.news, Some(key), false);
            return ensure(answer == Err(Refusal::IdempotencyMismatch), || {
                format!("I20: another request with a used key: {answer:?}")
            });
        }
        self.send(before.topic, before.news, Some(before.key))
    }

    fn compose(&mut self, at: usize) -> New {
        let key = (self.below(3) > 0).then(|| format!("k{}", self.below(3)));
        let tag = [None, Some("red"), Some("blue")][self.below(3)];
        let colour = [None, Some("red"), Some("red"), Some("blue")][self.below(4)];
        let size = [None, Some(1), Some(2), Some(3), Some(20)][self.below(5)];
        let properties = colour.map(|colour| ("colour".into(), colour.into()));
        let properties =
            properties.into_iter().chain(size.map(|n: usize| ("size".into(), n.to_string().into())));
        let ttl_ms = (self.below(5) == 0).then_some(1_500);
        let delay = if self.below(5) == 0 { Delay::For(2_000) } else { Delay::None };
        let body = format!("m{}", self.sent.len() + at);
        let attributes = Attributes {
            tag: tag.map(Into::into),
            ordering_key: key.as_deref().map(Into::into),
            properties: properties.collect(),
            ..Attributes::default()
        };
        let message = Arc::new(Message { body: body.clone().into(), attributes });
        New { message: NewMessage { message, queue: None, delay, ttl_ms }, key, tag, colour, size, body }
    }

    /// Has a request decided; with `twice` a second time in the same entry.
    fn ask(
        &mut self,
        topic: usize,
        news: &[New],
        key: Option<RequestKey>,
        twice: bool,
    ) -> (Result<ProduceOutcome, Refusal>, u64) {
        let messages = news.iter().map(|new| new.message.clone()).collect();
        let request = ProduceRequest { topic: name(topic), auto_create: false, messages };
        let terms = Terms { atomic: self.below(2) == 0, key, keys_max: 1_000_000 };
        let ((first, second), index) = self.world.decide(|draft, _| {
            let first = draft.produce_on(&request, &terms);
            (first, twice.then(|| draft.produce_on(&request, &terms)))
        });
        if let (Ok(ProduceOutcome::Now(answers)), Some(second)) = (&first, second) {
            let Ok(ProduceOutcome::Before(at)) = second else { panic!("I20: stored twice in one entry") };
            assert_eq!(at.index, OWN_ENTRY);
            let answers: Vec<Accepted> = answers.iter().flatten().copied().collect();
            assert_eq!(self.world.first_answers(Position { index, ..at }), answers, "I20: in one entry");
        }
        (first, index)
    }

    fn send(&mut self, topic: usize, news: Vec<New>, key: Option<RequestKey>) -> Checked {
        let now = self.world.now;
        let twice = key.is_some() && self.below(3) == 0;
        let (answer, index) = self.ask(topic, &news, key, twice);
        // A key that was forgotten may be used again; what counts is the last time.
        let known = self.carried_out.iter().rev().find(|known| Some(known.key) == key);
        match answer.map_err(|refusal| refusal.to_string())? {
            ProduceOutcome::Before(at) => {
                let known = known.ok_or("I20: a new request taken for an old one")?;
                ensure(!known.is_over(now), || {
                    "I20: a key outlived its window by more than a quarter".into()
                })?;
                ensure(at.index == known.index, || "I20: the answer of another request".into())?;
                let said = self.world.first_answers(at);
                ensure(said == known.answers, || format!("I20: {said:?}, at first {:?}", known.answers))?;
                let mut pinned = false;
                self.world.machine.for_each_pin(|position| pinned |= position == at);
                ensure(pinned, || "I14: what answers a request is not pinned".into())
            }
            ProduceOutcome::Now(answers) => {
                ensure(known.is_none_or(|known| !known.is_promised(now)), || {
                    "I20: stored twice within the window".into()
                })?;
                let answers: Vec<Accepted> =
                    answers.into_iter().collect::<Result<_, _>>().map_err(|refusal| refusal.to_string())?;
                for (accepted, new) in answers.iter().zip(&news) {
                    self.accepted(topic, index, *accepted, new)?;
                }
                if let Some(key) = key {
                    self.carried_out.push(CarriedOut { key, topic, news, index, answers, at: now });
                }
                Ok(())
            }
        }
    }

    fn accepted(&mut self, topic: usize, index: u64, accepted: Accepted, new: &New) -> Checked {
        let at_end = self.end(topic, accepted.queue);
        ensure(accepted.offset.is_none_or(|offset| offset == at_end), || "I4: offset".into())?;
        let seen = Seen::not_yet(accepted.offset);
        self.sent.push(Sent {
            position: Position { index, slot: accepted.slot },
            topic,
            queue: accepted.queue,
            offset: accepted.offset,
            due: accepted.due.unwrap_or(self.world.now),
            cancelled: false,
            ttl_ms: new.message.ttl_ms,
            tag: new.tag,
            colour: new.colour,
            size: new.size,
            key: new.key.clone(),
            body: new.body.clone(),
            by_group: vec![seen; self.groups.len()],
        });
        Ok(())
    }
}
