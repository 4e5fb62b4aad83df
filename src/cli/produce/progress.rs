use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Nothing is shown before this: short input needs no bar.
const SHOW_AFTER: Duration = Duration::from_secs(1);
/// Between two pictures.
const REDRAW: Duration = Duration::from_millis(100);
/// Characters of the bar.
const WIDTH: u64 = 24;

/// A line on standard error that says how far a long input is; only when that is a terminal.
#[derive(Debug)]
pub(super) struct Progress {
    /// Bytes of the whole input, when known.
    length: Option<u64>,
    read: u64,
    started: Instant,
    drawn: Option<Instant>,
    on: bool,
}

impl Progress {
    /// For an input of `length` bytes.
    pub(super) fn new(length: Option<u64>) -> Progress {
        let on = std::io::stderr().is_terminal();
        Progress { length, read: 0, started: Instant::now(), drawn: None, on }
    }

    /// So many bytes more are on their way.
    pub(super) fn read(&mut self, bytes: u64) {
        self.read += bytes;
    }

    /// Draws, when it is time.
    pub(super) fn show(&mut self, stored: usize) {
        let due = self.drawn.is_none_or(|drawn| drawn.elapsed() >= REDRAW);
        if self.on && due && self.started.elapsed() >= SHOW_AFTER {
            self.drawn = Some(Instant::now());
            // The cursor stays at the left, so that a complaint is written over the bar and not behind it.
            let _ = write!(std::io::stderr(), "\r\x1b[K{}\r", self.picture(stored, self.started.elapsed()));
        }
    }

    /// Takes the line away.
    pub(super) fn clear(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }

    fn picture(&self, stored: usize, elapsed: Duration) -> String {
        let rate = stored as f64 / elapsed.as_secs_f64().max(0.001);
        let counts = format!("{stored} messages, {rate:.0}/s");
        let Some(length) = self.length.filter(|length| *length > 0) else { return counts };
        let percent = (self.read.min(length)) * 100 / length;
        let full = percent * WIDTH / 100;
        let bar: String = (0..WIDTH).map(|at| if at < full { '=' } else { ' ' }).collect();
        format!("[{bar}] {percent:3} %  {counts}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_length_gives_a_bar_and_an_unknown_one_counts() {
        let mut progress = Progress::new(Some(200));
        progress.read(100);
        let two_seconds = Duration::from_secs(2);
        let bar = "[============            ]  50 %  10 messages, 5/s";
        assert_eq!(progress.picture(10, two_seconds), bar);
        progress.read(1_000);
        assert!(progress.picture(10, two_seconds).contains("100 %"));
        assert_eq!(Progress::new(None).picture(10, two_seconds), "10 messages, 5/s");
    }
}
