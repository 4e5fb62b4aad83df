//! Publishes of one socket: submitted in the order sent, answered in the order sent, many in one broker call.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::api::frame::{self, Publish, PublishedBody, Re};
use crate::api::problem::{Place, Problem};
use crate::broker::{Broker, BrokerError, ProduceAnswer};
use crate::machine::NewMessage;
use crate::model::{BATCH_BYTES_MAX, BATCH_MESSAGES_MAX, TopicName};

use super::output::Output;

/// Most publishes without an answer; beyond it the socket is not read.
pub(super) const UNANSWERED_MAX: usize = 1_000;
/// Most bytes without an answer, for the same purpose.
const UNANSWERED_BYTES_MAX: usize = BATCH_BYTES_MAX;
/// What a message counts besides its body, so that a million empty ones are not free.
const MESSAGE_OVERHEAD_BYTES: usize = 256;
/// A run is closed at this size: about a log entry.
const RUN_BYTES: usize = 1 << 20;

type Answers = Result<Vec<ProduceAnswer>, BrokerError>;

/// Publishes that arrived together for one topic.
#[derive(Default)]
struct Run {
    /// None as long as it holds only refused publishes.
    topic: Option<TopicName>,
    messages: Vec<NewMessage>,
    bytes: usize,
    frames: Vec<Waiting>,
}

/// One publish that has no answer yet.
struct Waiting {
    re: Re,
    shape: Shape,
}

/// What its answer will be made of.
enum Shape {
    /// The next answer of the call.
    One,
    /// One result each; None takes the next answer of the call, the others never got there.
    Many(Vec<Option<Problem>>),
    /// Refused before any call.
    Refused(Problem),
}

/// A run that was submitted.
struct Flying {
    topic: Option<TopicName>,
    frames: Vec<Waiting>,
    bytes: usize,
    call: Call,
}

enum Call {
    Open(Pin<Box<dyn Future<Output = Answers> + Send>>),
    Done(Answers),
}

/// The publishes of one socket.
pub(super) struct Publishes {
    broker: Broker,
    auto_create: bool,
    gathering: Run,
    flying: VecDeque<Flying>,
    unanswered: usize,
    bytes: usize,
}

impl Publishes {
    /// `auto_create`: whether missing topics are made.
    pub(super) fn new(broker: Broker, auto_create: bool) -> Publishes {
        let (gathering, flying) = (Run::default(), VecDeque::new());
        Publishes { broker, auto_create, gathering, flying, unanswered: 0, bytes: 0 }
    }

    /// Whether so much is unanswered that the socket should not be read.
    pub(super) fn is_full(&self) -> bool {
        self.unanswered >= UNANSWERED_MAX || self.bytes >= UNANSWERED_BYTES_MAX
    }

    /// Whether everything is answered.
    pub(super) fn is_empty(&self) -> bool {
        self.unanswered == 0
    }

    /// Takes a publish in. It joins the run being gathered when that is for the same topic, else begins the next.
    pub(super) fn add(&mut self, cx: &mut Context<'_>, re: Re, publish: Publish) {
        let Publish { topic, body } = publish;
        let new_messages = match &body {
            PublishedBody::One(_) => 1,
            PublishedBody::Many(messages) => messages.len(),
        };
        let run = &self.gathering;
        let other_topic = run.topic.as_ref().is_some_and(|gathered| *gathered != topic);
        if other_topic || run.bytes >= RUN_BYTES || run.messages.len() + new_messages > BATCH_MESSAGES_MAX {
            self.submit(cx);
        }
        let run = &mut self.gathering;
        run.topic.get_or_insert(topic);
        let before = run.bytes;
        let shape = match body {
            PublishedBody::One(message) => {
                run.take(message);
                Shape::One
            }
            PublishedBody::Many(messages) => Shape::Many(
                messages.into_iter().map(|message| message.map(|message| run.take(message)).err()).collect(),
            ),
        };
        self.bytes += run.bytes - before;
        run.frames.push(Waiting { re, shape });
        self.unanswered += 1;
    }

    /// Takes in a publish that was refused when it was read: its answer keeps its place in the order.
    pub(super) fn refuse(&mut self, re: Re, problem: Problem) {
        self.gathering.frames.push(Waiting { re, shape: Shape::Refused(problem) });
        self.unanswered += 1;
    }

    /// Hands the gathered run to the broker. Polling the call once puts it in the broker's queue, which is what keeps
    /// the order; after that only the oldest call needs to be watched.
    pub(super) fn submit(&mut self, cx: &mut Context<'_>) {
        if self.gathering.frames.is_empty() {
            return;
        }
        let run = std::mem::take(&mut self.gathering);
        let call = match run.topic.clone() {
            Some(topic) if !run.messages.is_empty() => {
                let (broker, auto_create) = (self.broker.clone(), self.auto_create);
                let mut call: Pin<Box<dyn Future<Output = Answers> + Send>> =
                    Box::pin(async move { broker.produce(topic, auto_create, run.messages).await });
                match call.as_mut().poll(cx) {
                    Poll::Ready(answers) => Call::Done(answers),
                    Poll::Pending => Call::Open(call),
                }
            }
            _ => Call::Done(Ok(Vec::new())),
        };
        self.flying.push_back(Flying { topic: run.topic, frames: run.frames, bytes: run.bytes, call });
    }

    /// Writes the answers that are there, oldest first; whether there was any.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, output: &mut Output) -> bool {
        let mut any = false;
        while let Some(flying) = self.flying.front_mut() {
            if let Call::Open(call) = &mut flying.call {
                match call.as_mut().poll(cx) {
                    Poll::Ready(answers) => flying.call = Call::Done(answers),
                    Poll::Pending => break,
                }
            }
            let Some(Flying { topic, frames, bytes, call: Call::Done(answers) }) = self.flying.pop_front()
            else {
                break;
            };
            self.unanswered = self.unanswered.saturating_sub(frames.len());
            self.bytes = self.bytes.saturating_sub(bytes);
            answer(topic.as_ref(), &frames, &answers, output);
            any = true;
        }
        any
    }
}

impl Run {
    fn take(&mut self, message: NewMessage) {
        self.bytes += message.message.body.len() + MESSAGE_OVERHEAD_BYTES;
        self.messages.push(message);
    }
}

/// Splits the answers of one call up again.
fn answer(topic: Option<&TopicName>, frames: &[Waiting], answers: &Answers, output: &mut Output) {
    let failed = answers.as_ref().err().map(|error| Problem::from(error.clone()));
    let missing = Problem::from(BrokerError::OutcomeUnknown);
    let mut next = answers.as_deref().unwrap_or_default().iter();
    for Waiting { re, shape } in frames {
        let re = re.as_deref();
        output.push(match (shape, topic, &failed) {
            (Shape::One, _, None) => match next.next() {
                Some(Ok(produced)) => frame::published(re, produced),
                Some(Err(refusal)) => {
                    let at = |field| Place::Pointer(format!("/{field}"));
                    frame::error(re, None, &Problem::of_message(refusal, at), false)
                }
                None => frame::error(re, None, &missing, false),
            },
            (Shape::Many(results), Some(topic), failed) => {
                let results = results.iter().map(|refused| match (refused, failed) {
                    (Some(problem), _) | (None, Some(problem)) => Err(problem),
                    (None, None) => next.next().ok_or(&missing),
                });
                frame::published_many(re, topic, results)
            }
            (Shape::Refused(problem), _, _) | (Shape::One, _, Some(problem)) => {
                frame::error(re, None, problem, false)
            }
            (Shape::Many(_), None, _) => frame::error(re, None, &missing, false),
        });
    }
}
