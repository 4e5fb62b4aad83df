//! Subscriptions of one socket: opened, given credit, delivered from, closed.

use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::api::frame::{self, Re, Subscribe};
use crate::api::message_out::BodyEncoding;
use crate::api::problem::{Code, Problem};
use crate::api::receive::compare_filter;
use crate::broker::{
    Broker, BrokerError, CloseHow, Connected, Loaded, Loading, Pushed, SubscribeRequest, Subscription,
};
use crate::model::{GroupId, GroupName};

use super::output::Output;

/// Most subscriptions of one socket.
pub(super) const SUBSCRIPTIONS_MAX: usize = 100;
/// Messages whose bodies are read at a time, so that little is read for an output that is full.
const LOADED_AT_ONCE: usize = 64;

type Opened = Result<Subscription, BrokerError>;

/// One subscription.
struct Named {
    sub: Box<str>,
    group: GroupName,
    state: State,
    /// Pushed and not yet loaded, and how many of it are.
    rest: Option<(Pushed, usize)>,
    /// What is written next.
    loading: Option<Loading>,
}

enum State {
    Opening(Opening),
    Open(Subscription),
}

/// A subscription on its way, and what the client asked of it meanwhile.
struct Opening {
    re: Re,
    call: Pin<Box<dyn Future<Output = Opened> + Send>>,
    /// Credit, added up.
    messages: u32,
    bytes: Option<u64>,
    paused: bool,
}

/// What became of one look at a subscription.
enum Look {
    /// It wrote something; look again.
    Busy,
    /// Nothing to do now.
    Idle,
    /// It is over.
    Over,
}

/// The subscriptions of one socket.
pub(super) struct Subscriptions {
    broker: Broker,
    auto_create: bool,
    named: Vec<Named>,
    /// Unsubscribed before they were open; they are given back when they are.
    abandoned: Vec<Pin<Box<dyn Future<Output = Opened> + Send>>>,
    /// Names of the groups that receipts on this socket come from.
    groups: HashMap<GroupId, GroupName>,
    encoding: BodyEncoding,
    /// Who is looked at first; moves on, so that subscriptions take turns.
    turn: usize,
    delivered: u64,
}

impl Subscriptions {
    /// `auto_create`: whether missing topics are made; `encoding`: how bodies are shown.
    pub(super) fn new(broker: Broker, auto_create: bool, encoding: BodyEncoding) -> Subscriptions {
        Subscriptions {
            broker,
            auto_create,
            named: Vec::new(),
            abandoned: Vec::new(),
            groups: HashMap::new(),
            encoding,
            turn: 0,
            delivered: 0,
        }
    }

    /// The group a receipt names.
    pub(super) fn group_name(&self, id: GroupId) -> Option<GroupName> {
        self.groups.get(&id).cloned().or_else(|| self.broker.group_name(id))
    }

    /// How many messages were written since the last call.
    pub(super) fn take_delivered(&mut self) -> u64 {
        std::mem::take(&mut self.delivered)
    }

    /// Begins a subscription; `client` names the member when the frame does not.
    ///
    /// # Errors
    /// The name is taken, there are too many, or the filter is not the group's.
    pub(super) fn open(
        &mut self,
        re: Re,
        wish: Subscribe,
        (client, connected): (&Arc<str>, &Connected),
    ) -> Result<(), Problem> {
        if self.named.iter().any(|named| named.sub == wish.sub) {
            let text = format!("this socket has a subscription '{}' already", wish.sub.escape_debug());
            return Err(Problem::new(Code::Conflict, text));
        }
        if self.named.len() + self.abandoned.len() >= SUBSCRIPTIONS_MAX {
            let text = format!("a socket has at most {SUBSCRIPTIONS_MAX} subscriptions");
            return Err(Problem::new(Code::LimitReached, text));
        }
        if let Some(filter) = &wish.filter {
            compare_filter(&self.broker, &wish.group, wish.topic.as_ref(), filter)?;
        }
        let request = SubscribeRequest {
            group: wish.group.clone(),
            topic: wish.topic,
            auto_create: self.auto_create,
            mode: wish.mode,
            lease_ms: wish.lease_ms,
            client: wish.client.map_or_else(|| Arc::clone(client), Arc::from),
            socket: Some((connected.socket(), wish.sub.clone())),
        };
        let broker = self.broker.clone();
        let call = Box::pin(async move { broker.subscribe(request).await });
        let opening = Opening { re, call, messages: 0, bytes: None, paused: false };
        self.named.push(Named {
            sub: wish.sub,
            group: wish.group,
            state: State::Opening(opening),
            rest: None,
            loading: None,
        });
        Ok(())
    }

    /// Gives credit.
    ///
    /// # Errors
    /// No such subscription.
    pub(super) fn credit(&mut self, sub: &str, messages: u32, bytes: Option<u64>) -> Result<(), Problem> {
        match &mut self.find(sub)?.state {
            State::Opening(opening) => {
                opening.messages = opening.messages.saturating_add(messages);
                opening.bytes = match (opening.bytes, bytes) {
                    (Some(sum), Some(more)) => Some(sum.saturating_add(more)),
                    (known, new) => known.or(new),
                };
            }
            State::Open(subscription) => subscription.credit(messages, bytes),
        }
        Ok(())
    }

    /// Stops pushing for a while, or goes on.
    ///
    /// # Errors
    /// No such subscription.
    pub(super) fn pause(&mut self, sub: &str, paused: bool) -> Result<(), Problem> {
        match &mut self.find(sub)?.state {
            State::Opening(opening) => opening.paused = paused,
            State::Open(subscription) => subscription.pause(paused),
        }
        Ok(())
    }

    /// Ends a subscription in order.
    ///
    /// # Errors
    /// No such subscription.
    pub(super) fn unsubscribe(&mut self, sub: &str) -> Result<(), Problem> {
        self.find(sub)?;
        if let Some(at) = self.named.iter().position(|named| &*named.sub == sub) {
            match self.named.swap_remove(at).state {
                State::Opening(opening) => self.abandoned.push(opening.call),
                State::Open(mut subscription) => subscription.close(CloseHow::GiveBack),
            }
        }
        Ok(())
    }

    /// Ends all of them.
    pub(super) fn close(&mut self, how: CloseHow) {
        for named in self.named.drain(..) {
            if let State::Open(mut subscription) = named.state {
                subscription.close(how);
            }
        }
    }

    /// Stops pushing; what is pushed already stays unwritten and is given back at the end.
    pub(super) fn drain(&mut self) {
        for named in &mut self.named {
            if let State::Open(subscription) = &named.state {
                subscription.pause(true);
            }
        }
    }

    fn find(&mut self, sub: &str) -> Result<&mut Named, Problem> {
        self.named.iter_mut().find(|named| &*named.sub == sub).ok_or_else(|| {
            let text = format!("this socket has no subscription '{}'", sub.escape_debug());
            Problem::new(Code::NotFound, text)
        })
    }

    /// Opens what is answered and writes what is pushed, as far as the output has room; whether anything happened.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, output: &mut Output) -> bool {
        self.abandoned.retain_mut(|call| match call.as_mut().poll(cx) {
            Poll::Pending => true,
            Poll::Ready(opened) => {
                if let Ok(mut subscription) = opened {
                    subscription.close(CloseHow::GiveBack);
                }
                false
            }
        });
        let mut any = false;
        let count = self.named.len();
        self.turn = self.turn.wrapping_add(1);
        let mut over = false;
        for step in 0..count {
            if output.is_full() {
                break;
            }
            let Some(named) = self.named.get_mut(self.turn.wrapping_add(step) % count) else { break };
            let mut pen = Pen { output, encoding: self.encoding, delivered: &mut self.delivered };
            let look = match &mut named.state {
                State::Opening(_) => named.poll_opening(cx, &mut pen),
                State::Open(_) => named.poll_pushed(cx, &mut pen, &mut self.groups),
            };
            match look {
                Look::Busy => any = true,
                Look::Idle => {}
                Look::Over => {
                    named.sub = "".into();
                    over = true;
                }
            }
        }
        if over {
            // Clients cannot choose an empty name: it marks what is over.
            self.named.retain(|named| !named.sub.is_empty());
        }
        any
    }
}

/// What writing a delivery needs.
struct Pen<'a> {
    output: &'a mut Output,
    encoding: BodyEncoding,
    delivered: &'a mut u64,
}

impl Pen<'_> {
    fn write(&mut self, sub: &str, loaded: Loaded) {
        match loaded {
            Ok(messages) => {
                *self.delivered += u64::try_from(messages.len()).unwrap_or(0);
                let output = &mut *self.output;
                frame::messages(sub, self.encoding, &messages, |frame| output.push(frame));
            }
            // Their leases run out by time; giving them back at once would only bring the same fault again.
            Err(error) => self.output.push(frame::error(None, Some(sub), &error.into(), false)),
        }
    }
}

impl Named {
    fn poll_opening(&mut self, cx: &mut Context<'_>, pen: &mut Pen<'_>) -> Look {
        let State::Opening(opening) = &mut self.state else { return Look::Idle };
        let opened = match opening.call.as_mut().poll(cx) {
            Poll::Pending => return Look::Idle,
            Poll::Ready(opened) => opened,
        };
        match opened {
            Ok(subscription) => {
                pen.output.push(frame::subscribed(opening.re.as_deref(), &self.sub));
                if opening.paused {
                    subscription.pause(true);
                }
                if opening.messages > 0 || opening.bytes.is_some() {
                    subscription.credit(opening.messages, opening.bytes);
                }
                self.state = State::Open(subscription);
                Look::Busy
            }
            Err(error) => {
                let frame = frame::error(opening.re.as_deref(), Some(&self.sub), &error.into(), false);
                pen.output.push(frame);
                Look::Over
            }
        }
    }

    fn poll_pushed(
        &mut self,
        cx: &mut Context<'_>,
        pen: &mut Pen<'_>,
        groups: &mut HashMap<GroupId, GroupName>,
    ) -> Look {
        let State::Open(subscription) = &mut self.state else { return Look::Idle };
        if let Some(loading) = &mut self.loading {
            let Poll::Ready(loaded) = Pin::new(loading).poll(cx) else { return Look::Idle };
            self.loading = None;
            pen.write(&self.sub, loaded);
            return Look::Busy;
        }
        let (pushed, loaded) = match self.rest.take() {
            Some(rest) => rest,
            None => match pin!(subscription.next()).poll(cx) {
                Poll::Pending => return Look::Idle,
                Poll::Ready(Some(pushed)) => (pushed, 0),
                Poll::Ready(None) => {
                    let problem = Problem::new(Code::NotReady, "the subscription ended; subscribe again");
                    pen.output.push(frame::error(None, Some(&self.sub), &problem, false));
                    return Look::Over;
                }
            },
        };
        if loaded == 0 {
            groups.entry(pushed.group).or_insert_with(|| self.group.clone());
        }
        let until = (loaded + LOADED_AT_ONCE).min(pushed.leased.len());
        let part = Pushed {
            group: pushed.group,
            index: pushed.index,
            leased: pushed.leased.get(loaded..until).unwrap_or_default().to_vec(),
        };
        match subscription.load(&part) {
            Loading::Loaded(messages) => pen.write(&self.sub, Ok(messages)),
            reading => self.loading = Some(reading),
        }
        if until < pushed.leased.len() {
            self.rest = Some((pushed, until));
        }
        Look::Busy
    }
}
