use std::time::{Duration, Instant};

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite};

use super::sending::Sending;
use crate::cli::error::CliError;
use crate::cli::ndjson::Batcher;
use crate::model::BODY_BYTES_MAX;

/// How long a line waits for company before its batch is sent.
const LINGER: Duration = Duration::from_millis(20);
/// Messages that are early by less than this go at once: a sleep is no finer.
const EARLY: Duration = Duration::from_millis(10);
/// Time that was lost is made up for, but at most this much of it.
const LATE_MAX: Duration = Duration::from_secs(1);

/// When the next message is due, for --rate.
#[derive(Debug)]
pub(super) struct Pace {
    gap: Duration,
    due: Instant,
}

impl Pace {
    /// `rate` messages a second from now on; no limit without it.
    pub(super) fn new(rate: Option<u32>) -> Pace {
        let gap = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate);
        Pace { gap, due: Instant::now() }
    }

    /// How long to sleep before the next message, which this counts.
    pub(super) fn ahead(&mut self) -> Duration {
        self.ahead_at(Instant::now())
    }

    fn ahead_at(&mut self, now: Instant) -> Duration {
        let earliest = now.checked_sub(LATE_MAX).unwrap_or(now);
        let due = self.due.max(earliest);
        self.due = due + self.gap;
        let ahead = due.saturating_duration_since(now);
        if ahead < EARLY { Duration::ZERO } else { ahead }
    }
}

/// Reads lines to the end of the input and sends them in batches.
pub(super) async fn pump_lines(
    mut input: impl AsyncBufRead + Unpin,
    mut batcher: Batcher,
    pace: &mut Pace,
    (sending, output): (&mut Sending<'_>, &mut (impl AsyncWrite + Unpin)),
) -> Result<(), CliError> {
    let mut line = Vec::new();
    loop {
        let more = if batcher.is_empty() {
            read_line(&mut input, &mut line).await?
        } else {
            // Reading a line can be given up in the middle: what was read stays in `line`.
            match tokio::time::timeout(LINGER, read_line(&mut input, &mut line)).await {
                Ok(more) => more?,
                Err(_) => {
                    sending.send(batcher.take(), output).await?;
                    continue;
                }
            }
        };
        if !more {
            return sending.send(batcher.take(), output).await;
        }
        let ahead = pace.ahead();
        if !ahead.is_zero() {
            sending.send(batcher.take(), output).await?;
            tokio::time::sleep(ahead).await;
        }
        let full = batcher.add(&line)?;
        sending.progress.read(line.len() as u64 + 1);
        line.clear();
        sending.send(full, output).await?;
    }
}

/// Appends the rest of a line without its `\n` to `line`; false at the end of the input with nothing read.
async fn read_line(input: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> Result<bool, CliError> {
    loop {
        let available = input.fill_buf().await.map_err(CliError::io("reading the input"))?;
        if available.is_empty() {
            return Ok(!line.is_empty());
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let (text, _) = available.split_at(end.unwrap_or(available.len()));
        if line.len() + text.len() > BODY_BYTES_MAX {
            let limit = format!("a line is longer than a message may be ({BODY_BYTES_MAX} bytes)");
            return Err(CliError::Usage(limit));
        }
        line.extend_from_slice(text);
        let used = text.len() + usize::from(end.is_some());
        input.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_and_lost_time_is_made_up_for_by_a_second_at_most() {
        let start = Instant::now();
        let mut pace = Pace { gap: Duration::from_millis(100), due: start };
        let sent_by =
            |pace: &mut Pace, now: Instant| (0..100).take_while(|_| pace.ahead_at(now).is_zero()).count();
        assert_eq!(sent_by(&mut pace, start), 1);
        // The one that was turned away above has been counted, as its sender now sleeps for it.
        assert_eq!(sent_by(&mut pace, start + Duration::from_millis(300)), 2);
        assert_eq!(sent_by(&mut pace, start + Duration::from_secs(3_600)), 11);
        let mut free = Pace::new(None);
        assert_eq!((0..1_000).filter(|_| !free.ahead().is_zero()).count(), 0);
    }
}
