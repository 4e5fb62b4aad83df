//! Who uses this node: every WebSocket, and whoever received over plain HTTP lately. What is known of a client is kept
//! in memory only, on the node that it talks to, and never decides anything.
//!
//! A receive costs one look into a sharded table; what changes with every message (credit, messages in flight) is read
//! from the counters of the subscription when somebody asks.

mod view;

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::model::{CLIENTS_MAX, ClientId, GroupName, Timestamp, TopicName};

use super::clock::wall_time;
use super::subscription::{CreditMode, Gauge};

/// A client without an open wait is known this long after its last receive.
pub(super) const MEMBER_FOR: Duration = Duration::from_secs(60);
/// Parts of the table, each under a lock of its own.
const SHARDS: usize = 16;
/// Most groups that are remembered of one client over HTTP; one more takes the place of the one not asked for longest.
const GROUPS_OF_ONE_MAX: usize = 32;

type Shard = HashMap<Arc<str>, Arc<Caller>>;

/// Everybody who is known.
pub(super) struct Clients {
    next: AtomicU64,
    sockets: Mutex<BTreeMap<ClientId, Arc<ClientSocket>>>,
    /// Clients over HTTP by name.
    callers: [Mutex<Shard>; SHARDS],
    callers_count: AtomicUsize,
    hasher: RandomState,
}

/// An open WebSocket.
#[derive(Debug)]
pub struct ClientSocket {
    pub(super) id: ClientId,
    pub(super) name: Arc<str>,
    pub(super) peer: Arc<str>,
    pub(super) since: Timestamp,
    seen_ms: AtomicU64,
    slow: AtomicBool,
    dismissed: CancellationToken,
    subscriptions: Mutex<BTreeMap<u64, Listing>>,
}

/// A subscription as it is listed.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    pub(super) sub: Box<str>,
    pub(super) group: GroupName,
    pub(super) topic: Option<TopicName>,
    pub(super) client: Arc<str>,
    pub(super) mode: CreditMode,
    pub(super) gauge: Arc<Gauge>,
}

/// Somebody who receives over plain HTTP.
pub(super) struct Caller {
    pub(super) id: ClientId,
    pub(super) name: Arc<str>,
    pub(super) since: Timestamp,
    state: Mutex<Asking>,
}

/// What it asked for.
struct Asking {
    peer: Arc<str>,
    groups: Vec<AskedFor>,
}

/// One group that a client over HTTP receives from.
#[derive(Clone, Debug)]
pub(super) struct AskedFor {
    pub(super) group: GroupName,
    /// Receives that wait now.
    pub(super) waiting: u32,
    /// When it received last, as it is shown.
    pub(super) last: Timestamp,
    /// The same on the clock that nobody sets: whether it is a member is told by this.
    heard: Instant,
}

impl AskedFor {
    fn is_member(&self, now: Instant) -> bool {
        self.waiting > 0 || now.saturating_duration_since(self.heard) <= MEMBER_FOR
    }

    fn hear(&mut self, waiting: u32) {
        (self.waiting, self.last, self.heard) = (waiting, wall_time(), Instant::now());
    }
}

/// An open WebSocket's place among the clients; it leaves when this is dropped.
pub struct Connected {
    clients: Arc<Clients>,
    socket: Arc<ClientSocket>,
}

/// A receive that is going on; its end is noted when this is dropped.
pub struct Receiving {
    caller: Option<(Arc<Caller>, GroupName)>,
}

/// A subscription's place in the list of its socket; it leaves when this is dropped.
#[derive(Debug)]
pub(super) struct Listed {
    socket: Arc<ClientSocket>,
    session: u64,
}

/// One client, as it was at a moment.
pub(super) enum Known {
    Socket(Arc<ClientSocket>, Vec<Listing>),
    Caller { caller: Arc<Caller>, peer: Arc<str>, groups: Vec<AskedFor> },
}

/// What became of the wish to disconnect a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dismissed {
    /// Its WebSocket is being closed.
    Done,
    /// It speaks plain HTTP: there is nothing to close.
    NoSocket,
    /// Nobody has this id.
    Unknown,
}

/// The members of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Members {
    /// Clients.
    pub(super) count: u64,
    /// Those that would take a message now: receives that wait, and subscriptions with room.
    pub(super) hungry: u64,
    /// Those that received over HTTP lately; they come and go.
    pub(super) callers: u64,
}

impl Clients {
    pub(super) fn new() -> Arc<Clients> {
        Arc::new(Clients {
            // Begins at random, so that an id of an earlier process is nobody's.
            next: AtomicU64::new(u64::from(rand::random::<u32>()) << 16),
            sockets: Mutex::default(),
            callers: Default::default(),
            callers_count: AtomicUsize::new(0),
            hasher: RandomState::new(),
        })
    }

    fn new_id(&self) -> ClientId {
        ClientId::new(self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn connect(self: &Arc<Clients>, name: Arc<str>, peer: Arc<str>) -> Connected {
        let now = wall_time();
        let socket = Arc::new(ClientSocket {
            id: self.new_id(),
            name,
            peer,
            since: now,
            seen_ms: AtomicU64::new(now.0),
            slow: AtomicBool::new(false),
            dismissed: CancellationToken::new(),
            subscriptions: Mutex::default(),
        });
        lock(&self.sockets).insert(socket.id, Arc::clone(&socket));
        Connected { clients: Arc::clone(self), socket }
    }

    /// Notes that `name` receives from `group`. When as many clients are known as may be, a new one is not noted.
    pub(super) fn receiving(&self, name: &Arc<str>, peer: Arc<str>, group: &GroupName) -> Receiving {
        let Some(shard) = self.shard(name) else { return Receiving { caller: None } };
        // Held to the end, so that a sweep does not take one for idle that is just coming.
        let mut shard = lock(shard);
        let known = shard.get(name).cloned().or_else(|| self.new_caller(name, &mut shard));
        let Some(caller) = known else { return Receiving { caller: None } };
        caller.asks(peer, group);
        Receiving { caller: Some((caller, group.clone())) }
    }

    fn new_caller(&self, name: &Arc<str>, shard: &mut Shard) -> Option<Arc<Caller>> {
        let one_more = |count| (count < CLIENTS_MAX).then_some(count + 1);
        self.callers_count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        let state = Mutex::new(Asking { peer: Arc::from(""), groups: Vec::new() });
        let (id, since) = (self.new_id(), wall_time());
        let caller = Arc::new(Caller { id, name: Arc::clone(name), since, state });
        shard.insert(Arc::clone(name), Arc::clone(&caller));
        Some(caller)
    }

    fn shard(&self, name: &str) -> Option<&Mutex<Shard>> {
        let hash = usize::try_from(self.hasher.hash_one(name) % SHARDS as u64).unwrap_or(0);
        self.callers.get(hash)
    }

    /// Forgets clients over HTTP that are no members any more.
    pub(super) fn sweep(&self, now: Instant) {
        for shard in &self.callers {
            let mut shard = lock(shard);
            let before = shard.len();
            shard.retain(|_, caller| caller.is_member(now));
            self.callers_count.fetch_sub(before - shard.len(), Ordering::Relaxed);
        }
    }

    /// Closes a client's WebSocket.
    pub(super) fn dismiss(&self, id: ClientId) -> Dismissed {
        if let Some(socket) = lock(&self.sockets).get(&id).filter(|socket| !socket.is_dismissed()) {
            socket.dismissed.cancel();
            return Dismissed::Done;
        }
        let is_caller = |shard: &Mutex<Shard>| {
            lock(shard).values().any(|caller| caller.id == id && caller.is_member(Instant::now()))
        };
        if self.callers.iter().any(is_caller) { Dismissed::NoSocket } else { Dismissed::Unknown }
    }

    /// Up to `limit` clients by id, behind `after`, and only those that are members of `group` if one is named.
    pub(super) fn list(
        &self,
        after: Option<ClientId>,
        group: Option<&GroupName>,
        limit: usize,
    ) -> Vec<Known> {
        let now = Instant::now();
        let mut found: BTreeMap<ClientId, Known> = BTreeMap::new();
        let mut note = |id: ClientId, known: &dyn Fn() -> Option<Known>| {
            let is_beyond = found.len() >= limit && found.keys().next_back().is_some_and(|last| *last < id);
            if after.is_some_and(|after| id <= after) || is_beyond {
                return;
            }
            if let Some(known) = known() {
                found.insert(id, known);
                if found.len() > limit {
                    found.pop_last();
                }
            }
        };
        for socket in self.open_sockets() {
            note(socket.id, &|| {
                let subscriptions: Vec<Listing> = lock(&socket.subscriptions).values().cloned().collect();
                let is_asked = group.is_none_or(|group| subscriptions.iter().any(|of| of.group == *group));
                is_asked.then(|| Known::Socket(Arc::clone(&socket), subscriptions))
            });
        }
        for caller in self.known_callers() {
            note(caller.id, &|| {
                let (peer, groups) = caller.groups(now);
                let is_asked = group.is_none_or(|group| groups.iter().any(|of| of.group == *group));
                let is_known = is_asked && !groups.is_empty();
                is_known.then(|| Known::Caller { caller: Arc::clone(&caller), peer, groups })
            });
        }
        found.into_values().collect()
    }

    /// The members of every group that has any.
    pub(super) fn members(&self) -> BTreeMap<GroupName, Members> {
        let now = Instant::now();
        let mut members: BTreeMap<GroupName, Members> = BTreeMap::new();
        for socket in self.open_sockets() {
            let subscriptions = lock(&socket.subscriptions);
            // A socket with several subscriptions to a group is one member, and hungry when one of them is.
            let mut groups: BTreeMap<&GroupName, bool> = BTreeMap::new();
            for listing in subscriptions.values() {
                *groups.entry(&listing.group).or_default() |= listing.gauge.room() > 0;
            }
            for (group, hungry) in groups {
                let of_group = members.entry(group.clone()).or_default();
                of_group.count += 1;
                of_group.hungry += u64::from(hungry);
            }
        }
        for caller in self.known_callers() {
            for asked in caller.groups(now).1 {
                let of_group = members.entry(asked.group).or_default();
                of_group.count += 1;
                of_group.callers += 1;
                of_group.hungry += u64::from(asked.waiting > 0);
            }
        }
        members
    }

    fn open_sockets(&self) -> Vec<Arc<ClientSocket>> {
        let sockets = lock(&self.sockets);
        sockets.values().filter(|socket| !socket.is_dismissed()).cloned().collect()
    }

    fn known_callers(&self) -> impl Iterator<Item = Arc<Caller>> + '_ {
        self.callers.iter().flat_map(|shard| lock(shard).values().cloned().collect::<Vec<_>>())
    }
}

impl Asking {
    fn add(&mut self, asked: AskedFor) {
        if self.groups.len() >= GROUPS_OF_ONE_MAX {
            let oldest = self.groups.iter().enumerate().filter(|(_, asked)| asked.waiting == 0);
            match oldest.min_by_key(|(_, asked)| asked.heard).map(|(at, _)| at) {
                Some(at) => drop(self.groups.swap_remove(at)),
                None => return,
            }
        }
        self.groups.push(asked);
    }
}

impl Caller {
    fn asks(&self, peer: Arc<str>, group: &GroupName) {
        let mut state = lock(&self.state);
        state.peer = peer;
        match state.groups.iter_mut().find(|asked| asked.group == *group) {
            Some(asked) => asked.hear(asked.waiting + 1),
            None => {
                let (last, heard) = (wall_time(), Instant::now());
                state.add(AskedFor { group: group.clone(), waiting: 1, last, heard });
            }
        }
    }

    fn is_member(&self, now: Instant) -> bool {
        lock(&self.state).groups.iter().any(|asked| asked.is_member(now))
    }

    /// Its address, and the groups that it is a member of.
    fn groups(&self, now: Instant) -> (Arc<str>, Vec<AskedFor>) {
        let state = lock(&self.state);
        let groups = state.groups.iter().filter(|asked| asked.is_member(now)).cloned().collect();
        (Arc::clone(&state.peer), groups)
    }
}

impl ClientSocket {
    fn is_dismissed(&self) -> bool {
        self.dismissed.is_cancelled()
    }

    pub(super) fn last_seen(&self) -> Timestamp {
        Timestamp(self.seen_ms.load(Ordering::Relaxed))
    }

    pub(super) fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed)
    }

    pub(super) fn list(self: Arc<ClientSocket>, session: u64, listing: Listing) -> Listed {
        lock(&self.subscriptions).insert(session, listing);
        Listed { socket: self, session }
    }
}

impl Connected {
    /// The socket, for its subscriptions.
    #[must_use]
    pub fn socket(&self) -> Arc<ClientSocket> {
        Arc::clone(&self.socket)
    }

    /// Notes that something came from it.
    pub fn heard(&self) {
        self.socket.seen_ms.store(wall_time().0, Ordering::Relaxed);
    }

    /// Notes whether it leaves unread what waits for it.
    pub fn set_slow(&self, slow: bool) {
        self.socket.slow.store(slow, Ordering::Relaxed);
    }

    /// Cancelled when an operator wants it gone.
    #[must_use]
    pub fn dismissed(&self) -> CancellationToken {
        self.socket.dismissed.clone()
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        lock(&self.clients.sockets).remove(&self.socket.id);
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        let Some((caller, group)) = self.caller.take() else { return };
        let mut state = lock(&caller.state);
        if let Some(asked) = state.groups.iter_mut().find(|asked| asked.group == group) {
            asked.hear(asked.waiting.saturating_sub(1));
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        lock(&self.socket.subscriptions).remove(&self.session);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
