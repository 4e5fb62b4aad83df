//! Sending so that a retry stores nothing twice: every request has a key of its own, the same on every try.

use std::time::{Duration, Instant};

use hyper::header::{HeaderName, HeaderValue};

use super::ProduceArgs;
use crate::cli::error::CliError;
use crate::cli::http::{Answer, Call, Client};
use crate::cli::retry::{self, RetryArgs};
use crate::model::TopicSettings;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Puts a key on a request that stores messages.
fn keyed(call: Call) -> Result<Call, CliError> {
    let key = uuid::Uuid::now_v7().to_string();
    let value = HeaderValue::from_str(&key).map_err(CliError::odd)?;
    Ok(call.header(IDEMPOTENCY_KEY, value))
}

/// Sends a request that stores messages. What was certainly not stored is sent again, and so is what may be stored:
/// under its key, as long as the broker remembers that. Without keys (`--unkeyed`) what may be stored is not sent
/// again.
pub(super) async fn deliver(client: &mut Client, call: Call, args: &ProduceArgs) -> Result<Answer, CliError> {
    if args.unkeyed {
        return retry::send(client, call, args.retry).await;
    }
    let call = keyed(call)?;
    let began = Instant::now();
    let error = match retry::send(client, call.clone(), args.retry).await {
        Err(error) if error.outcome_is_unknown() => error,
        known => return known,
    };
    if args.retry.retry_for.is_zero() {
        return Err(error);
    }
    // An answer that does not come takes its time, and that is not the time for trying.
    let tries_until = Instant::now() + args.retry.retry_for;
    let left = |until: Instant| until.saturating_duration_since(Instant::now());
    let first_line = error.to_string().lines().next().unwrap_or_default().to_owned();
    eprintln!("whimbrel: {first_line}; sending it again under the same key");
    client.try_next_address();
    let patience = RetryArgs { retry_for: left(tries_until) };
    let Some(window) = window(client, args, patience).await else { return Err(error) };
    // The key is remembered from the first try that was stored, and that is not before the first.
    let until = tries_until.min(began + window);
    if left(until).is_zero() {
        return Err(error);
    }
    let patience = RetryArgs { retry_for: left(until) };
    match retry::send(client, call.repeatable(), patience).await {
        // Nobody could be asked, or not now: what became of the first try is still not known.
        Err(later) if later.was_not_done() => Err(error),
        outcome => outcome,
    }
}

/// How long the topic remembers keys, with some to spare: the broker's clock may run a little faster than ours.
async fn window(client: &mut Client, args: &ProduceArgs, patience: RetryArgs) -> Option<Duration> {
    let millis = match retry::send(client, Call::get(format!("/v1/topics/{}", args.topic)), patience).await {
        Ok(answer) => answer.json::<serde_json::Value>().ok()?.get("idempotency_window_ms")?.as_u64()?,
        // A topic that is made on the way gets what is usual.
        Err(CliError::Refused(problem)) if problem.status == 404 => {
            TopicSettings::default().idempotency_window_ms
        }
        Err(_) => return None,
    };
    Some(Duration::from_millis(millis / 10 * 9))
}
