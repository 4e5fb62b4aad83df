//! What the interface needs to know from the command line, and the two handles that end it.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::door::Door;
use super::problem::Row;
use crate::broker::Broker;
use crate::model::{EXPORTS_MAX, SOCKETS_MAX};

/// Settings of the interface. Shared by the routes and the accept loop.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether a missing topic is made when it is named.
    pub auto_create_topics: bool,
    /// Most idempotency keys the broker remembers, for people.
    pub idempotency_keys_max: usize,
    /// Longest wait of a receive.
    pub max_wait: Duration,
    /// How long a stop waits for open requests.
    pub drain_timeout: Duration,
    /// Most open connections.
    pub max_connections: usize,
    /// How long a connection may take to send its first byte, and each request its head.
    pub header_timeout: Duration,
    /// How long a connection may stay silent between requests.
    pub idle_timeout: Duration,
    /// How long one request body may take, and how long a write may wait for a client that does not read.
    pub transfer_timeout: Duration,
    /// How long a WebSocket may take nothing of what waits for it.
    pub stall_timeout: Duration,
    /// Origins (`scheme://host[:port]`) that browsers may call from besides our own.
    pub allowed_origins: Vec<String>,
    /// Whether we listen on loopback, where a foreign `Host` means DNS rebinding.
    pub loopback: bool,
    /// Pages for people.
    pub pages: Pages,
    /// The settings in force, for `/v1/config`: objects of `key`, `value`, `origin` and `source`.
    pub settings: Arc<[serde_json::Value]>,
    /// Cancelled when draining begins: what waits answers at once.
    pub draining: CancellationToken,
    /// Whoever outlives its connection (a WebSocket) holds a token of this until it is done.
    pub open: TaskTracker,
    /// Most open WebSockets.
    pub max_sockets: usize,
    /// One permit per WebSocket; as many as `max_sockets`.
    pub sockets: Arc<Semaphore>,
    /// One permit per export of dead letters.
    pub exports: Arc<Semaphore>,
    /// Counts the connections.
    pub door: Arc<Door>,
}

impl Options {
    /// How many WebSockets are open.
    pub(super) fn open_sockets(&self) -> u64 {
        let open = self.max_sockets.saturating_sub(self.sockets.available_permits());
        u64::try_from(open).unwrap_or(u64::MAX)
    }
}

/// The defaults of `whimbrel serve`, for tests and for embedding.
impl Default for Options {
    fn default() -> Options {
        Options {
            auto_create_topics: true,
            idempotency_keys_max: 4_000_000,
            max_wait: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(10),
            max_connections: 16_384,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            transfer_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(10),
            allowed_origins: Vec::new(),
            loopback: true,
            pages: Pages::default(),
            settings: Arc::default(),
            draining: CancellationToken::new(),
            open: TaskTracker::new(),
            max_sockets: SOCKETS_MAX,
            sockets: Arc::new(Semaphore::new(SOCKETS_MAX)),
            exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
            door: Arc::default(),
        }
    }
}

/// Pages for people that the interface shows; they are drawn elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Pages {
    /// A kind of problem, for a browser.
    pub problem: fn(&Row) -> Response,
    /// The whole interface.
    pub docs: fn() -> Response,
}

/// No pages: the same in plain text, for embedding.
impl Default for Pages {
    fn default() -> Pages {
        Pages {
            problem: |row| row.text().into_response(),
            docs: || "the whole interface is in /openapi.yaml\n".into_response(),
        }
    }
}

/// What every handler gets. The routes clone it several times a request, so that it is one count and not one for each
/// part: all threads share these counts.
#[derive(Clone, Debug)]
pub(super) struct Api(Arc<Parts>);

/// What an [`Api`] holds.
#[derive(Debug)]
pub(super) struct Parts {
    /// The broker.
    pub(super) broker: Broker,
    /// The settings.
    pub(super) options: Arc<Options>,
}

impl Api {
    /// Puts the parts together.
    pub(super) fn new(broker: Broker, options: Arc<Options>) -> Api {
        Api(Arc::new(Parts { broker, options }))
    }
}

impl Deref for Api {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
