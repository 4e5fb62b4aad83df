//! Produce requests on terms: all or nothing, once under a key. The plain one is in `handle.rs`.

use tokio::time::Instant;

use crate::machine::{Accepted, Fact, OWN_ENTRY, ProduceOutcome, ProduceRequest, ProducedAs, Terms};
use crate::machine::{Refusal, decode_message};
use crate::model::{MessageId, Position};

use super::core::Core;
use super::error::BrokerError;
use super::handle::{Broker, ProduceAnswer, ProducedMessage};

/// What became of a produce request on terms.
#[derive(Clone, Debug)]
pub struct ProducedOn {
    /// One answer a message, in input order.
    pub answers: Vec<ProduceAnswer>,
    /// The request had been carried out before; these are the answers of that time.
    pub replayed: bool,
}

impl Broker {
    /// Accepts messages on terms. When this answers Ok, the accepted ones are on disk on a quorum; under a key that was
    /// used before they already were, and the first answer is given again.
    ///
    /// The order and the checks are those of [`Broker::produce`]. How many keys may be remembered is the node's own
    /// setting, whatever the terms say.
    ///
    /// # Errors
    /// See [`BrokerError`]; `OutcomeUnknown` is the only one after which something may be stored by this request, and
    /// sending it again under the same key is safe.
    pub async fn produce_on(
        &self,
        mut request: ProduceRequest,
        mut terms: Terms,
    ) -> Result<ProducedOn, BrokerError> {
        let has_room = self.core.may_produce();
        if !has_room && terms.key.is_none() {
            return Err(no_room());
        }
        request.auto_create &= self.core.options.auto_create_topics;
        terms.keys_max = self.core.options.idempotency_keys_max;
        let bytes = request.messages.iter().map(|new| new.message.body.len() + 256).sum();
        let began = Instant::now();
        let decided = self.decide(bytes, move |draft| match &terms.key {
            // What was carried out before needs no room to be said again.
            Some(key) if !has_room => Ok(draft.carried_out(&request.topic, key)?.map(ProduceOutcome::Before)),
            _ => draft.produce_on(&request, &terms).map(Some),
        });
        match decided.await? {
            (None, _) => Err(no_room()),
            (Some(ProduceOutcome::Now(answers)), index) => {
                self.core.traffic.produce.observe_micros(began.elapsed());
                let answers =
                    answers.into_iter().map(|answer| answer.map(|accepted| stored(accepted, index)));
                Ok(ProducedOn { answers: answers.collect(), replayed: false })
            }
            (Some(ProduceOutcome::Before(at)), index) => {
                // Carried out in the very entry in which it was asked for again.
                let index = if at.index == OWN_ENTRY { index } else { at.index };
                let at = Position { index, ..at };
                let answers = self.look(move |broker| first_answers(&broker.core, at)).await?;
                Ok(ProducedOn { answers, replayed: true })
            }
        }
    }
}

/// Why nothing is stored while free disk space is under the reserve.
pub(super) fn no_room() -> BrokerError {
    BrokerError::DiskFull(
        "free disk space is under the reserve; receive and settle still work, and producing goes on once there is space"
            .to_owned(),
    )
}

/// An accepted message, once the index of its entry is known.
pub(super) fn stored(accepted: Accepted, index: u64) -> ProducedMessage {
    ProducedMessage {
        id: MessageId::new(Position { index, slot: accepted.slot }),
        queue: accepted.queue,
        offset: accepted.offset,
        due: accepted.due,
    }
}

/// The answers that were given to the request whose fact stands at `at`, as the log has them. What is remembered is
/// pinned, so that anything missing is damage.
fn first_answers(core: &Core, at: Position) -> Result<Vec<ProduceAnswer>, BrokerError> {
    let fault = |what: &dyn std::fmt::Display| {
        BrokerError::Fault(format!("the first answer under this key cannot be read: {what}"))
    };
    let part = |slot: u16| {
        let part = core.replication.log().part(at.index, usize::from(slot) + 1);
        part.map_err(|error| fault(&error))?.ok_or_else(|| fault(&"it is not in the log"))
    };
    let fact = Fact::decode(&part(at.slot)?).map_err(|error| fault(&error))?;
    let Fact::Remembered(remembered) = fact else { return Err(fault(&"another fact stands there")) };
    let mut slots = at.slot.saturating_sub(remembered.messages)..at.slot;
    let mut refused = remembered.refused.into_iter().peekable();
    let count = usize::from(remembered.messages) + refused.len();
    let mut answers = Vec::with_capacity(count);
    for number in 0..count {
        if let Some((_, refused)) = refused.next_if(|(refused, _)| usize::from(*refused) == number) {
            answers.push(Err(Refusal::from(refused)));
            continue;
        }
        let Some(slot) = slots.next() else { return Err(fault(&"it does not add up")) };
        let (_, meta) = decode_message(&part(slot)?).map_err(|error| fault(&error))?;
        let (offset, due) = match meta.state {
            ProducedAs::Ready { offset } => (Some(offset), None),
            ProducedAs::Scheduled { due } => (None, Some(due)),
        };
        answers.push(Ok(stored(Accepted { slot, queue: meta.queue, offset, due }, at.index)));
    }
    Ok(answers)
}
