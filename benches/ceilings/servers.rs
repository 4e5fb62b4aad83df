//! The ceilings: servers that speak just enough of the broker's interface for the same load, and do as little as
//! possible.

use std::io::Read;
use std::path::Path;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use whimbrel::cli::CliError;

use crate::commit::{self, Queue, Waiter};

/// What a ceiling does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Ceiling {
    /// An axum handler that reads the body and answers 201
    Empty,
    /// The same, answering after a bare group commit; over WebSocket with JSON read and written
    Commit,
    /// A WebSocket that answers at once and looks at nothing but the id
    Echo,
}

const STORED: &str = r#"{"id":"0000000000000","topic":"bench","queue":0,"offset":0,"state":"ready"}"#;
const WELCOME: &str = r#"{"type":"welcome"}"#;
/// Answers written before the socket is flushed.
const ANSWERS_AT_ONCE: usize = 512;

/// Serves until standard input ends, which it does with the program that started this one.
pub(crate) fn serve(ceiling: Ceiling, directory: &Path) -> Result<(), CliError> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |source| CliError::Io { what, source }
    };
    let queue = commit::start(directory).map_err(failed("the log"))?;
    let router = match ceiling {
        Ceiling::Empty => Router::new().route("/v1/topics/{topic}/messages", post(empty)),
        Ceiling::Echo => Router::new().route("/v1/ws", get(|upgrade| open(upgrade, echo))),
        Ceiling::Commit => Router::new()
            .route("/v1/topics/{topic}/messages", post(store))
            .route(
                "/v1/ws",
                get(|upgrade, State(queue): State<Queue>| open(upgrade, |socket| publish(socket, queue))),
            )
            .with_state(queue),
    };
    let runtime = tokio::runtime::Runtime::new().map_err(failed("the runtime"))?;
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(failed("listening"))?;
        let address = listener.local_addr().map_err(failed("listening"))?;
        println!("listening on http://{address}");
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, router).await.map_err(failed("serving"))
    })
}

async fn empty(_body: Bytes) -> Response {
    created()
}

async fn store(State(queue): State<Queue>, body: Bytes) -> Response {
    let (sender, stored) = oneshot::channel();
    if queue.send((body, Waiter::Post(sender))).is_err() || stored.await.is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    created()
}

fn created() -> Response {
    (StatusCode::CREATED, [(header::CONTENT_TYPE, "application/json")], STORED).into_response()
}

async fn open<F>(upgrade: WebSocketUpgrade, talk: impl FnOnce(WebSocket) -> F + Send + 'static) -> Response
where
    F: Future<Output = Option<()>> + Send + 'static,
{
    upgrade.protocols(["mq.v1.json"]).on_upgrade(async |socket| {
        talk(socket).await;
    })
}

fn published(id: &str) -> Message {
    Message::Text(
        format!(r#"{{"type":"published","re":"{id}","id":"0000000000000","queue":0,"offset":0}}"#).into(),
    )
}

/// Answers every frame at once. The load wants its id back, so that much is looked for.
async fn echo(socket: WebSocket) -> Option<()> {
    let (mut writer, reader) = socket.split();
    writer.send(Message::Text(WELCOME.into())).await.ok()?;
    let mut frames = reader.ready_chunks(ANSWERS_AT_ONCE);
    while let Some(chunk) = frames.next().await {
        for frame in chunk {
            let Message::Text(text) = frame.ok()? else { continue };
            let id = text.split_once("\"id\":\"")?.1.split_once('"')?.0;
            writer.feed(published(id)).await.ok()?;
        }
        writer.flush().await.ok()?;
    }
    Some(())
}

/// A publish as the broker must read it.
#[derive(Deserialize)]
struct Publish<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    topic: &'a str,
    #[serde(borrow)]
    body: std::borrow::Cow<'a, str>,
}

/// Reads JSON, stores by group commit, answers JSON.
async fn publish(socket: WebSocket, queue: Queue) -> Option<()> {
    let (mut writer, mut reader) = socket.split();
    writer.send(Message::Text(WELCOME.into())).await.ok()?;
    let (answers, mut stored) = mpsc::unbounded_channel::<String>();
    let writing = tokio::spawn(async move {
        let mut ids = Vec::with_capacity(ANSWERS_AT_ONCE);
        while stored.recv_many(&mut ids, ANSWERS_AT_ONCE).await > 0 {
            for id in ids.drain(..) {
                writer.feed(published(&id)).await.ok()?;
            }
            writer.flush().await.ok()?;
        }
        Some(())
    });
    while let Some(frame) = reader.next().await {
        let Message::Text(text) = frame.ok()? else { continue };
        let (id, body) = read(&text)?;
        queue.send((body, Waiter::Publish(answers.clone(), id))).ok()?;
    }
    drop(answers);
    writing.await.ok()?
}

fn read(text: &Utf8Bytes) -> Option<(String, Bytes)> {
    let publish: Publish<'_> = serde_json::from_str(text.as_str()).ok()?;
    let known = publish.kind == "publish" && !publish.topic.is_empty();
    known.then(|| (publish.id.to_owned(), Bytes::copy_from_slice(publish.body.as_bytes())))
}
