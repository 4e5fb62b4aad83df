//! `GET /v1/ws`: one WebSocket, many publishes, subscriptions and settles.
//!
//! One task owns one socket and does everything for it in turns:
//!
//! ```text
//!   socket ──read what has arrived──▶ frames ──▶ publishes  (runs of one topic: one broker call, answered in order)
//!                                          ├──▶ settles    (one broker call for each group)
//!                                          └──▶ subscriptions (pushed messages, never beyond credit)
//!   socket ◀──many frames, one flush── output ◀── answers, messages, pings
//! ```
//!
//! Nothing is locked and nothing is handed from task to task. A turn takes all that the socket has buffered before it
//! calls the broker, so publishes and acks that arrived together become few calls; this is what makes one socket fast.
//! When the output is full, or too much is unanswered, the turn does not read, and TCP slows the client down.

mod ending;
mod heartbeat;
mod output;
mod publishes;
mod session;
mod settles;
mod subscriptions;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::HeaderMap;

use super::extract::{Answer, Call, Caller, client_name, peer};
use super::message_out::BodyEncoding;
use super::options::Api;
use super::problem::{Code, Problem};
use crate::model::BATCH_BYTES_MAX;
use session::Session;

/// The only subprotocol so far, spoken also when none is offered.
const SUBPROTOCOL: &str = "mq.v1.json";
/// What one read takes from the kernel, and what an idle socket keeps.
const READ_BUFFER_BYTES: usize = 8 << 10;
/// Written frames gather up to this before they are handed to the kernel.
const WRITE_BUFFER_BYTES: usize = 32 << 10;
/// A body of 4 MiB control characters takes six times its size as JSON; that, its attributes, and what was gathered
/// before it must fit.
const MAX_WRITE_BUFFER_BYTES: usize = 32 << 20;

/// `GET /v1/ws`. Host and Origin were judged before ([`super::browser`]).
pub(super) async fn upgrade(
    State(api): State<Api>,
    mut call: Call,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Answer {
    let encoding = call.query.parse_as::<BodyEncoding>("encoding")?.unwrap_or_default();
    call.query.finish()?;
    let caller = caller.map(|Extension(caller)| caller);
    let who = (client_name(&headers, caller.as_ref())?, peer(caller.as_ref()));
    let upgrade = upgrade.map_err(|error| {
        let text = format!("this is a WebSocket, call it with a WebSocket client: {}", error.body_text());
        Problem::new(Code::InvalidRequest, text)
    })?;
    let upgrade = upgrade.protocols([SUBPROTOCOL]);
    if upgrade.selected_protocol().is_none() && upgrade.requested_protocols().next().is_some() {
        let text = format!("the only subprotocol is {SUBPROTOCOL}; it is also spoken when none is offered");
        return Err(Problem::header("Sec-WebSocket-Protocol", text));
    }
    if api.options.draining.is_cancelled() {
        return Err(Problem::new(Code::NotReady, "this node is stopping"));
    }
    let Ok(place) = api.options.sockets.clone().try_acquire_owned() else {
        return Err(Problem::new(
            Code::Overloaded,
            format!("{} WebSockets are open, the most this node holds", api.options.max_sockets),
        ));
    };
    let token = api.options.open.token();
    Ok(upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(MAX_WRITE_BUFFER_BYTES)
        .max_message_size(BATCH_BYTES_MAX)
        .max_frame_size(BATCH_BYTES_MAX)
        .on_upgrade(async move |socket| {
            Session::new(&api, socket, who, encoding).run().await;
            // The socket counts until here: among the sockets, among the connections, and for a stop that waits.
            drop((place, token, caller));
        }))
}
