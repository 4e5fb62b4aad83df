//! The command line as a whole, and a hand-made broker that the tests of the commands talk to.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::*;

/// One request as the fake broker saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

type Answers = dyn Fn(&Seen) -> (u16, String) + Send + Sync;

/// Answers every request by a closure and remembers it.
#[derive(Clone)]
pub(crate) struct FakeBroker {
    answers: Arc<Answers>,
    seen: Arc<Mutex<Vec<Seen>>>,
    pub(crate) url: String,
}

impl FakeBroker {
    pub(crate) async fn start(
        answers: impl Fn(&Seen) -> (u16, String) + Send + Sync + 'static,
    ) -> FakeBroker {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let broker = FakeBroker { answers: Arc::new(answers), seen: Arc::default(), url };
        let router = Router::new().fallback(answer).with_state(broker.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        broker
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer(
    State(broker): State<FakeBroker>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let seen = Seen { method: method.to_string(), path: uri.to_string(), headers, body };
    broker.seen.lock().unwrap().push(seen.clone());
    let (status, body) = (broker.answers)(&seen);
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}

/// A client of the fake broker.
pub(crate) fn client(broker: &FakeBroker) -> http::Client {
    http::Client::new(broker.url.parse().unwrap(), Duration::from_secs(5))
}

/// Parses a command line that must be right.
pub(crate) fn parsed(line: &[&str]) -> ClientCommand {
    let words = std::iter::once("whimbrel").chain(line.iter().copied());
    match Cli::try_parse_from(words).unwrap().command {
        Command::Client(command) => command,
        other => panic!("not a client command: {other:?}"),
    }
}

#[test]
fn the_command_line_is_consistent() {
    use clap::CommandFactory;
    Cli::command().debug_assert();
}

#[test]
fn wrong_usage_is_refused_with_code_two() {
    for line in [
        vec!["produce"],
        vec!["produce", "no/slash", "x"],
        vec!["produce", "t", "x", "--delay", "soon"],
        vec!["produce", "t", "x", "--property", "novalue"],
        vec!["produce", "t", "x", "--whole"],
        vec!["produce", "t", "x", "--url", "ftp://a"],
        vec!["consume"],
        vec!["consume", "g", "--lease", "13h"],
        vec!["consume", "g", "--exec", "true", "--no-ack"],
        vec!["consume", "g", "--concurrency", "2"],
        vec!["consume", "g", "--exec", "true", "--concurrency", "65"],
        vec!["produce", "t", "x", "--file", "f"],
        vec!["produce", "t", "--rate", "0"],
        vec!["produce", "t", "x", "--url", "http://a:1,"],
        vec!["topic"],
        vec!["topic", "create", "t", "--replace", "--if-missing"],
        vec!["topic", "list", "-o", "xml"],
        vec!["group", "create", "g"],
        vec!["group", "create", "g", "--topic", "no/slash"],
        vec!["group", "seek", "g", "--topic", "t"],
        vec!["group", "seek", "g", "--topic", "t", "--to", "soon"],
        vec!["dlq", "redrive", "g"],
        vec!["dlq", "redrive", "g", "no-id"],
        vec!["message", "no-id"],
        vec!["message"],
        vec!["message", "search"],
        vec!["message", "search", "t", "--from", "soon"],
        vec!["tail"],
        vec!["tail", "t", "--max-events", "0"],
        vec!["tail", "t", "--from", "yesterday"],
        vec!["doctor", "--ready", "--data", "d"],
        vec!["completions", "csh"],
        vec!["consume", "g", "--topic", "t", "--max", "0"],
        vec!["consume", "g", "--topic", "t", "--wait", "61s"],
        vec!["backup"],
        vec!["restore", "a.tar"],
        vec!["restore", "a.tar", "--check", "--data", "d"],
        vec!["nonsense"],
    ] {
        let words = std::iter::once("whimbrel").chain(line.iter().copied());
        assert_eq!(Cli::try_parse_from(words).unwrap_err().exit_code(), 2, "{line:?}");
    }
}

#[test]
fn serve_has_its_defaults() {
    let Command::Serve(command) = Cli::try_parse_from(["whimbrel", "serve"]).unwrap().command else {
        panic!()
    };
    assert_eq!(command.flags.data, std::path::Path::new("./data"));
}

#[test]
fn every_outcome_has_its_exit_code() {
    let refused = |status| CliError::Refused(Box::new(problem::Problem { status, ..Default::default() }));
    let unreachable = CliError::Unreachable { url: String::new(), reason: String::new() };
    for (error, code) in [
        (CliError::Usage(String::new()), 2),
        (unreachable, 3),
        (CliError::TimedOut { what: String::new(), waited: Duration::ZERO }, 4),
        (CliError::NothingCame(String::new()), 4),
        (CliError::Broken { what: String::new(), reason: String::new() }, 1),
        (CliError::Unhealthy(String::new()), 3),
        (refused(400), 1),
        (refused(507), 1),
        (refused(503), 3),
        (refused(504), 4),
        (CliError::Failed(String::new()), 1),
    ] {
        assert_eq!(error.exit_code(), code, "{error:?}");
    }
}

#[tokio::test]
async fn nobody_listening_is_said_as_unreachable() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}").parse().unwrap();
    let error =
        http::Client::new(url, Duration::from_secs(5)).send(http::Call::post("/", "")).await.unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("whimbrel serve"));
}

#[tokio::test]
async fn silence_is_said_as_timed_out() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let error =
        http::Client::new(url, Duration::from_millis(50)).send(http::Call::post("/x", "")).await.unwrap_err();
    assert_eq!(error.exit_code(), 4);
    assert!(error.to_string().contains("POST /x"));
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let broker = FakeBroker::start(|seen| (200, seen.headers["host"].to_str().unwrap().to_owned())).await;
    let mut client = http::Client::new(broker.url.parse().unwrap(), Duration::from_secs(5));
    for _ in 0..3 {
        let answer = client.send(http::Call::post("/a?b=c", "x")).await.unwrap();
        assert_eq!(answer.body, broker.url.trim_start_matches("http://"));
    }
    assert_eq!(broker.seen().iter().filter(|seen| seen.path == "/a?b=c").count(), 3);
}
