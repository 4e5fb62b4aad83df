//! Clients as they are shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::machine::Machine;
use crate::model::{ClientId, GroupName};

use super::super::handle::Broker;
use super::super::subscription::CreditMode;
use super::super::views::{ClientGroupView, ClientView, Page};
use super::{AskedFor, Caller, ClientSocket, Connected, Dismissed, Known, Listing, Receiving};

/// Most messages that one page looks at to count what is in flight over HTTP.
const COUNT_MAX: usize = 200_000;

/// Leases over HTTP by group and name; none for a group with too many to count.
type Counts = BTreeMap<GroupName, Option<BTreeMap<Arc<str>, u64>>>;

impl Broker {
    /// Takes a WebSocket in among the clients. `name` is what the member is called, `peer` its address.
    #[must_use]
    pub fn connect(&self, name: Arc<str>, peer: Arc<str>) -> Connected {
        self.core.clients.connect(name, peer)
    }

    /// Notes that a client receives over HTTP, for as long as the answer is held.
    #[must_use]
    pub fn receiving(&self, name: &Arc<str>, peer: Arc<str>, group: &GroupName) -> Receiving {
        self.core.clients.receiving(name, peer, group)
    }

    /// Clients by id, which is the order in which they came, behind `after`; those of one group, or all.
    #[must_use]
    pub fn clients(
        &self,
        after: Option<ClientId>,
        group: Option<&GroupName>,
        limit: usize,
    ) -> Page<ClientView> {
        let mut known = self.core.clients.list(after, group, limit.saturating_add(1));
        let is_more = known.len() > limit;
        known.truncate(limit);
        let counts = counts(&self.core.machine.snapshot(), &known);
        let rows: Vec<ClientView> = known.into_iter().map(|known| shown(known, &counts)).collect();
        let next_cursor = rows.last().filter(|_| is_more).map(|row| row.id.to_string());
        Page { rows, next_cursor }
    }

    /// Closes a client's WebSocket; its leases are given back.
    #[must_use]
    pub fn dismiss(&self, id: ClientId) -> Dismissed {
        self.core.clients.dismiss(id)
    }
}

/// Counts the leases in those groups that somebody on the page receives from over HTTP.
fn counts(machine: &Machine, known: &[Known]) -> Counts {
    let mut budget = COUNT_MAX;
    let mut counts = Counts::new();
    for known in known {
        let Known::Caller { groups, .. } = known else { continue };
        for asked in groups {
            if !counts.contains_key(&asked.group) {
                let leases = match machine.group(&asked.group) {
                    Some((_, group)) => group.http_leases(&mut budget),
                    None => Some(BTreeMap::new()),
                };
                let owned = |leases: BTreeMap<&str, u64>| {
                    leases.into_iter().map(|(client, count)| (Arc::from(client), count)).collect()
                };
                counts.insert(asked.group.clone(), leases.map(owned));
            }
        }
    }
    counts
}

fn shown(known: Known, counts: &Counts) -> ClientView {
    match known {
        Known::Socket(socket, subscriptions) => of_socket(&socket, subscriptions),
        Known::Caller { caller, peer, groups } => of_caller(&caller, peer, groups, counts),
    }
}

fn of_socket(socket: &ClientSocket, subscriptions: Vec<Listing>) -> ClientView {
    let of_group = |listing: Listing| ClientGroupView {
        group: listing.group,
        mode: match listing.mode {
            CreditMode::Prefetch(_) => "prefetch",
            CreditMode::Credit => "credit",
        },
        client: listing.client,
        in_flight: Some(listing.gauge.in_flight()),
        sub: Some(listing.sub),
        topic: listing.topic,
        credit: Some(listing.gauge.room()),
        paused: Some(listing.gauge.is_paused()),
        waiting: None,
    };
    ClientView {
        id: socket.id,
        name: Arc::clone(&socket.name),
        kind: "socket",
        peer: Arc::clone(&socket.peer),
        since: socket.since,
        last_seen: socket.last_seen(),
        slow: socket.is_slow(),
        groups: subscriptions.into_iter().map(of_group).collect(),
    }
}

fn of_caller(caller: &Caller, peer: Arc<str>, groups: Vec<AskedFor>, counts: &Counts) -> ClientView {
    let last_seen = groups.iter().map(|asked| asked.last).max().unwrap_or(caller.since);
    let of_group = |asked: AskedFor| {
        let leases = counts.get(&asked.group).and_then(Option::as_ref);
        ClientGroupView {
            mode: "receive",
            client: Arc::clone(&caller.name),
            in_flight: leases.map(|leases| leases.get(&caller.name).copied().unwrap_or(0)),
            sub: None,
            topic: None,
            credit: None,
            paused: None,
            waiting: Some(asked.waiting),
            group: asked.group,
        }
    };
    ClientView {
        id: caller.id,
        name: Arc::clone(&caller.name),
        kind: "http",
        peer,
        since: caller.since,
        last_seen,
        slow: false,
        groups: groups.into_iter().map(of_group).collect(),
    }
}
