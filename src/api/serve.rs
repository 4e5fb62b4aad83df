//! The accept loop: our own, because `axum::serve` has no deadlines and no bound on connections.
//!
//! HTTP/1.1 with keep-alive. Requests that a client pipelines on one connection are answered one after the other, so
//! what it produces that way is accepted in the order sent.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{AnswerBody, Meter, RequestBody, Watched};
use super::edge::Edge;
use super::extract::Caller;
use super::linger;
use super::options::Options;
use super::problem::{Code, Problem};
use super::quiet::Quiet;
use super::router::Routes;
use super::unasked;

/// How a stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut because they were not done in time.
    pub cut: usize,
}

/// Refused connections that are closed with care at a time; more are closed at once.
const FAREWELLS_MAX: usize = 256;

/// Serves until `shutdown` completes, then drains: no new connections, waiting receives answer empty at once, requests
/// under way are finished, and what is not done within the drain timeout is cut.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    options: Arc<Options>,
    shutdown: impl Future<Output = ()>,
) -> Drained {
    let full = format!("{} connections are open, the most this node holds", options.max_connections);
    let loop_state = Accept {
        edge: Arc::new(Edge::new(routes, options.clone())),
        full: unasked::whole_answer(&Problem::new(Code::Overloaded, full)),
        places: Arc::new(Semaphore::new(options.max_connections)),
        farewells: Arc::new(Semaphore::new(FAREWELLS_MAX)),
        connections: TaskTracker::new(),
        cut: CancellationToken::new(),
        options,
    };
    tokio::select! {
        () = shutdown => {}
        () = loop_state.accept(&listener) => {}
    }
    drop(listener);
    loop_state.drain().await
}

struct Accept {
    edge: Arc<Edge>,
    /// The answer to a connection too many.
    full: Vec<u8>,
    /// One permit per connection.
    places: Arc<Semaphore>,
    /// One permit per refused connection whose close is under way.
    farewells: Arc<Semaphore>,
    connections: TaskTracker,
    /// Cancelled when the drain timeout has passed.
    cut: CancellationToken,
    options: Arc<Options>,
}

impl Accept {
    /// Accepts for ever.
    async fn accept(&self, listener: &TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) => {
                    // Out of file descriptors, most likely: give the open connections a moment to end.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            self.options.door.refuse();
            self.turn_away(stream);
            return;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let home = Home { edge: self.edge.clone(), options: self.options.clone(), cut: self.cut.clone() };
        let inside = self.options.door.enter();
        self.connections.spawn(async move {
            connection(&home, stream, peer).await;
            drop((place, inside));
        });
    }

    /// Tells a connection too many so.
    fn turn_away(&self, stream: TcpStream) {
        // Best effort: a fresh socket's buffer takes these few bytes, and nothing waits for it.
        let _ = stream.try_write(&self.full);
        let Ok(place) = self.farewells.clone().try_acquire_owned() else { return };
        let draining = self.options.draining.clone();
        self.connections.spawn(async move {
            tokio::select! {
                _ = linger::close(stream) => {}
                () = draining.cancelled() => {}
            }
            drop(place);
        });
    }

    async fn drain(&self) -> Drained {
        self.options.draining.cancel();
        self.connections.close();
        self.options.open.close();
        let all = async {
            self.connections.wait().await;
            self.options.open.wait().await;
        };
        if tokio::time::timeout(self.options.drain_timeout, all).await.is_ok() {
            return Drained { cut: 0 };
        }
        let cut = self.connections.len() + self.options.open.len();
        self.cut.cancel();
        self.connections.wait().await;
        Drained { cut }
    }
}

/// What a connection knows of the node.
struct Home {
    edge: Arc<Edge>,
    options: Arc<Options>,
    /// Cancelled when the drain timeout has passed.
    cut: CancellationToken,
}

/// What may happen to a connection besides its requests.
enum Aside {
    /// It outlived a deadline, or the drain timeout.
    Over,
    /// The node stops.
    Draining,
}

/// One connection, from its first byte to its last.
async fn connection(home: &Home, stream: TcpStream, peer: SocketAddr) {
    let meter = Meter::new();
    let caller = &Caller { peer: Arc::from(peer.to_string()) };
    let answering = meter.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let busy = answering.begin();
        let request = request.map(|body| Body::new(RequestBody::new(body, answering.clone())));
        async move {
            let response = home.edge.answer(request, caller).await;
            Ok::<_, Infallible>(response.map(|body| AnswerBody::new(body, busy)))
        }
    });
    let io = TokioIo::new(Watched::new(stream, meter.clone()));
    // Not `pipeline_flush`: it holds an answer back while the next head is incomplete or malformed.
    let http = hyper::server::conn::http1::Builder::new()
        .max_buf_size(256 << 10)
        .serve_connection(io, service)
        .with_upgrades();
    let mut http = std::pin::pin!(http);
    let over = async || {
        tokio::select! {
            () = meter.watch(&home.options) => {}
            () = home.cut.cancelled() => {}
        }
    };
    let aside = std::pin::pin!(async {
        tokio::select! {
            () = over() => Aside::Over,
            () = home.options.draining.cancelled() => Aside::Draining,
        }
    });
    let happened = tokio::select! {
        biased;
        ended = http.as_mut() => return note(ended),
        happened = Quiet::new(aside) => happened,
    };
    if matches!(happened, Aside::Over) || meter.is_idle() {
        return;
    }
    http.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        ended = http => note(ended),
        () = over() => {}
    }
}

/// Connections end in every way there is; none of it is our fault or worth more than a debug line.
fn note(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}
