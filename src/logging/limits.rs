//! At most so many lines of a kind. A kind is a place in the source: there is a fixed number of them, so all of it is
//! bounded, whoever causes it.
//!
//! What somebody asked for, debug and trace, is not limited. What is left out is counted and told later in one line.

use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};

/// Lines of one kind that are written within [`STRETCH`].
const LINES_MAX: u32 = 20;

/// How long a stretch is.
const STRETCH: Duration = Duration::from_secs(10);

/// The target of the lines that tell what was left out; they are not limited themselves.
const TARGET: &str = "whimbrel::log";

/// Counts lines by kind, for all threads.
#[derive(Clone, Debug, Default)]
pub(super) struct Limits(Arc<Mutex<HashMap<Identifier, Kind>>>);

/// A place in the source that writes lines.
#[derive(Debug)]
struct Kind {
    /// Since when the stretch runs.
    since: Instant,
    written: u32,
    left_out: u64,
    /// The words of a line that was left out.
    words: String,
}

impl Limits {
    fn kinds(&self) -> MutexGuard<'_, HashMap<Identifier, Kind>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a line of this kind may be written at `now`; else it is counted.
    fn admits(&self, event: &Event<'_>, now: Instant) -> bool {
        let mut kinds = self.kinds();
        let new = || Kind { since: now, written: 0, left_out: 0, words: String::new() };
        let kind = kinds.entry(event.metadata().callsite()).or_insert_with(new);
        if now.duration_since(kind.since) >= STRETCH {
            (kind.since, kind.written) = (now, 0);
        }
        if kind.written < LINES_MAX {
            kind.written += 1;
            return true;
        }
        if kind.left_out == 0 {
            kind.words.clear();
            event.record(&mut Words(&mut kind.words));
        }
        kind.left_out += 1;
        false
    }

    /// Writes a line for each kind of which some were left out since the last time.
    pub(super) fn tell(&self) {
        let take = |kind: &mut Kind| {
            let told = (std::mem::take(&mut kind.left_out), std::mem::take(&mut kind.words));
            (told.0 > 0).then_some(told)
        };
        // The lock is free again when the lines are written: they come by here themselves.
        let told: Vec<(u64, String)> = self.kinds().values_mut().filter_map(take).collect();
        for (more, words) in told {
            tracing::warn!(target: TARGET, more, "lines left out of the log, {more} like this one: {words}");
        }
    }
}

impl<S: Subscriber> Filter<S> for Limits {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // Levels compare by how much they say: what is above INFO was asked for.
        *metadata.level() > Level::INFO || metadata.target() == TARGET || self.admits(event, Instant::now())
    }
}

/// Puts the message and the fields of an event into a text.
struct Words<'a>(&'a mut String);

impl Visit for Words<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let gap = if self.0.is_empty() { "" } else { " " };
        // Writing to memory cannot fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{gap}{value:?}"),
            name => write!(self.0, "{gap}{name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::{Layer, fmt, registry};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Written {
        type Writer = Written;

        fn make_writer(&'a self) -> Written {
            self.clone()
        }
    }

    fn lines(work: impl FnOnce(&Limits)) -> Vec<String> {
        let (limits, written) = (Limits::default(), Written::default());
        let layer = fmt::layer().with_writer(written.clone()).with_ansi(false).with_filter(limits.clone());
        tracing::subscriber::with_default(registry().with(layer), || work(&limits));
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_flood_is_cut_short_and_counted_and_others_are_heard() {
        let lines = lines(|limits| {
            for number in 0..1_000 {
                tracing::warn!(number, "rubbish came");
            }
            tracing::error!("something else");
            limits.tell();
            limits.tell();
        });
        let rubbish =
            lines.iter().filter(|line| line.contains(": rubbish came") && !line.contains("left out"));
        assert_eq!(rubbish.count(), 20, "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("something else")));
        let told: Vec<&String> = lines.iter().filter(|line| line.contains("left out")).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("980 like this one: rubbish came number=20"), "{told:?}");
    }

    #[test]
    fn what_was_asked_for_is_all_written() {
        let lines = lines(|_| (0..100).for_each(|number| tracing::debug!(number, "asked for")));
        assert_eq!(lines.len(), 100);
    }

    #[test]
    fn after_a_while_there_is_room_again() {
        let limits = Limits::default();
        let began = Instant::now();
        // One event, shown to the limits again and again.
        struct Asking(Limits, Instant, Arc<Mutex<Vec<bool>>>);
        impl<S: Subscriber> Layer<S> for Asking {
            fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
                let mut answers = self.2.lock().unwrap();
                answers.extend((0..30).map(|_| self.0.admits(event, self.1)));
                answers.extend((0..30).map(|_| self.0.admits(event, self.1 + STRETCH)));
            }
        }
        let answers = Arc::new(Mutex::default());
        let subscriber = registry().with(Asking(limits, began, Arc::clone(&answers)));
        tracing::subscriber::with_default(subscriber, || tracing::warn!("once"));
        let answers = answers.lock().unwrap();
        let admitted = |stretch: &[bool]| stretch.iter().filter(|admitted| **admitted).count();
        assert_eq!((admitted(&answers[..30]), admitted(&answers[30..])), (20, 20));
    }
}
