use std::time::{Duration, Instant};

use super::duration;
use super::error::CliError;
use super::http::{Answer, Call, Client};

/// The first pause; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// No pause is longer, unless the broker asks for it.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long a command goes on trying.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct RetryArgs {
    /// How long to go on trying when no broker can be reached, it says "not now" (503, 429), or an answer is lost; 0
    /// gives up at once
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub retry_for: Duration,
}

/// Sends a call until it is done, cannot succeed, or the time for trying is over. What was certainly not done is tried
/// again; what nobody knows is tried again only when the call is repeatable.
///
/// # Errors
/// The error of the last try.
pub async fn send(client: &mut Client, call: Call, args: RetryArgs) -> Result<Answer, CliError> {
    let mut patience = Patience::new(args);
    loop {
        let error = match client.send(call.clone()).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let again = error.was_not_done() || (call.repeatable && error.outcome_is_unknown());
        if !again {
            return Err(error);
        }
        patience.pause(error).await?;
        client.try_next_address();
    }
}

/// Pauses that grow, until the time is over.
#[derive(Debug)]
pub struct Patience {
    until: Instant,
    next: Duration,
    said: bool,
}

impl Patience {
    /// The time starts now.
    #[must_use]
    pub fn new(args: RetryArgs) -> Patience {
        Patience { until: Instant::now() + args.retry_for, next: PAUSE_FIRST, said: false }
    }

    /// Pauses before the next try, for at least as long as the broker asks; says why once.
    ///
    /// # Errors
    /// `error` itself when the pause would end after the time for trying.
    pub async fn pause(&mut self, error: CliError) -> Result<(), CliError> {
        let asked = match &error {
            CliError::Refused(problem) => problem.retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        // Many clients that were turned away together must not come back together.
        let pause = self.next.mul_f64(rand::random_range(0.5..1.0)).max(asked);
        let left = self.until.saturating_duration_since(Instant::now());
        if pause > left {
            return Err(error);
        }
        if !std::mem::replace(&mut self.said, true) {
            let first_line = error.to_string().lines().next().unwrap_or_default().to_owned();
            eprintln!("whimbrel: {first_line}; trying again for {} s", left.as_secs());
        }
        tokio::time::sleep(pause).await;
        self.next = (self.next * 2).min(PAUSE_MAX);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::cli::tests::FakeBroker;

    const PATIENT: RetryArgs = RetryArgs { retry_for: Duration::from_secs(60) };

    async fn tries(first: (u16, &'static str), call: Call) -> (Result<Answer, CliError>, usize) {
        let asked = AtomicUsize::new(0);
        let broker = FakeBroker::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
            0 => (first.0, first.1.to_owned()),
            _ => (200, String::new()),
        })
        .await;
        let mut client = Client::new(broker.url.parse().unwrap(), Duration::from_secs(5));
        let answer = send(&mut client, call, PATIENT).await;
        (answer, broker.seen().len())
    }

    #[tokio::test]
    async fn what_was_not_done_is_tried_again() {
        let (answer, tries) = tries((503, r#"{"code":"overloaded"}"#), Call::post("/", "x")).await;
        assert_eq!((answer.unwrap().status, tries), (200, 2));
    }

    #[tokio::test]
    async fn what_nobody_knows_is_tried_again_only_when_it_is_repeatable() {
        // A proxy's 503 has no code: whether the broker saw the request is not known.
        for unknown in [(504, r#"{"code":"outcome_unknown"}"#), (503, "busy"), (502, "")] {
            let (answer, once) = tries(unknown, Call::post("/", "x")).await;
            assert_eq!((answer.is_err(), once), (true, 1), "{unknown:?}");
            let (answer, twice) = tries(unknown, Call::post("/", "x").repeatable()).await;
            assert_eq!((answer.is_ok(), twice), (true, 2), "{unknown:?}");
        }
    }

    #[tokio::test]
    async fn a_refusal_is_final_and_patience_ends() {
        let (answer, once) = tries((400, r#"{"code":"invalid_request"}"#), Call::get("/")).await;
        assert_eq!((answer.unwrap_err().exit_code(), once), (1, 1));
        let broker = FakeBroker::start(|_| (503, r#"{"code":"not_ready"}"#.to_owned())).await;
        let mut client = Client::new(broker.url.parse().unwrap(), Duration::from_secs(5));
        let short = RetryArgs { retry_for: Duration::from_millis(300) };
        let error = send(&mut client, Call::get("/"), short).await.unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(broker.seen().len() > 1);
    }

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_cannot_be_reached() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let broker = FakeBroker::start(|_| (200, String::new())).await;
        let urls = format!("http://{free},{}", broker.url);
        let mut client = Client::new(urls.parse().unwrap(), Duration::from_secs(5));
        for _ in 0..2 {
            client.send(Call::get("/")).await.unwrap();
        }
        assert_eq!(broker.seen().len(), 2);
        let nobody = format!("http://{free},http://{free}");
        let error = Client::new(nobody.parse().unwrap(), Duration::from_secs(5)).send(Call::get("/")).await;
        assert!(error.unwrap_err().to_string().contains(" or "));
    }
}
