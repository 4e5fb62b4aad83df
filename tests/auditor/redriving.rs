//! What goes back from the dead letters, by id or as a job, and what goes on to another topic: each once (I1, I3, I8).

use std::sync::Arc;

use whimbrel::machine::{JobEnd, ProducedAs, RedriveOrder};
use whimbrel::model::{DeadLetterFilter, JobId, MessageId, Position};

use super::super::{Checked, Model, Seen, Sent, State, ensure, name};

impl Model {
    pub(crate) fn redrive(&mut self) -> Checked {
        let group = self.below(self.groups.len());
        match self.below(4) {
            0 => self.redrive_all(group, None),
            1 => {
                let to = self.below(2);
                self.redrive_all(group, Some(to))
            }
            _ => self.redrive_first(group),
        }
    }

    /// The places in `sent` of the group's dead letters.
    fn dead(&self, group: usize) -> Vec<usize> {
        let is_dead = |at: &usize| self.sent[*at].by_group[group].state == State::Dead;
        (0..self.sent.len()).filter(is_dead).collect()
    }

    fn redrive_first(&mut self, group: usize) -> Checked {
        let Some(at) = self.dead(group).first().copied() else { return Ok(()) };
        self.rise(group, at);
        let (group_name, position) = (self.groups[group].name.parse().unwrap(), self.sent[at].position);
        let (answer, _) = self.world.decide(|draft, _| draft.redrive(&group_name, &[position]));
        ensure(matches!(answer.as_deref(), Ok([Ok(())])), || format!("I8: no such dead letter: {answer:?}"))
    }

    /// Behind everything of its queue, in a new round.
    fn rise(&mut self, group: usize, at: usize) {
        let (topic, queue) = (self.sent[at].topic, self.sent[at].queue);
        let turn = self.groups[group].turns.entry((topic, queue)).or_default();
        *turn += 1;
        let place = (self.end(topic, queue) - 1, self.groups[group].turns[&(topic, queue)]);
        let seen = &mut self.sent[at].by_group[group];
        *seen = Seen {
            state: State::Ready,
            failures: 0,
            place,
            never_expires: true,
            ran_out: None,
            nacked: None,
            ..*seen
        };
    }

    /// A job from its start to its end, in steps of random length, each offered twice.
    fn redrive_all(&mut self, group: usize, to: Option<usize>) -> Checked {
        let dead = self.dead(group);
        let order = RedriveOrder {
            group: self.groups[group].name.parse().unwrap(),
            filter: Arc::new(DeadLetterFilter::default()),
            to: to.map(name),
            rate_per_s: None,
        };
        let (started, _) = self.world.decide(|draft, _| draft.start_redrive(&order));
        let id: JobId = started.map_err(|refusal| refusal.to_string())?;
        loop {
            let looks = 1 + self.below(4);
            let Some(step) = self.world.job_step(id, looks) else { break };
            let (taken, index) =
                self.world.decide(|draft, _| (draft.advance_job(&step), draft.advance_job(&step)));
            ensure(taken == (true, false), || format!("I3: one step of a job, taken twice: {taken:?}"))?;
            if let Some(topic) = to {
                self.went_on(group, topic, index)?;
            }
        }
        if to.is_none() {
            dead.iter().for_each(|at| self.rise(group, *at));
        }
        let job = self.world.machine.job(id).ok_or("a job is forgotten")?;
        let is_done = matches!(job.ended, Some((JobEnd::Done, _)));
        ensure(is_done && job.failed == 0 && job.moved == dead.len() as u64, || {
            format!("I8: of {} dead letters a job moved {job:?}", dead.len())
        })
    }

    /// The entry at `index` accepted letters of `group` anew in `topic`.
    fn went_on(&mut self, group: usize, topic: usize, index: u64) -> Checked {
        let entry = Position { index, slot: 0 }..=Position { index, slot: u16::MAX };
        let copies: Vec<_> = self.world.messages.range(entry).map(|(at, it)| (*at, it.clone())).collect();
        for (position, produced) in copies {
            let origin =
                produced.message.attributes.properties.get("dlq_origin_id").ok_or("I2: no origin")?;
            let origin: MessageId = origin.parse().map_err(|_| "I2: an origin that is no id")?;
            let at =
                self.sent.iter().position(|sent| sent.position == origin.position).ok_or("I2: no letter")?;
            let letter = &mut self.sent[at].by_group[group];
            ensure(letter.state == State::Dead, || format!("I3: moved from {:?}", letter.state))?;
            // It is gone, as if it were acked: a seek reads it again.
            (letter.state, letter.ran_out, letter.nacked) = (State::Acked, None, None);
            let ProducedAs::Ready { offset } = produced.state else {
                return Err("I13: moved for later".into());
            };
            ensure(offset == self.end(topic, produced.queue), || "I4: offset".into())?;
            let body = String::from_utf8(produced.message.body.to_vec()).unwrap();
            ensure(body == self.sent[at].body, || "I2: another body".into())?;
            let Sent { tag, colour, size, .. } = self.sent[at];
            let key = self.sent[at].key.clone();
            self.sent.push(Sent {
                position,
                topic,
                queue: produced.queue,
                offset: Some(offset),
                due: self.world.now,
                cancelled: false,
                ttl_ms: None,
                tag,
                colour,
                size,
                key,
                body,
                by_group: vec![Seen::not_yet(Some(offset)); self.groups.len()],
            });
        }
        Ok(())
    }
}
