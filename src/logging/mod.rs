//! The log of the process: text or JSON on standard error, one line an event.
//!
//! `RUST_LOG` says what is written, `info` when it does not. Whoever sends rubbish must not fill the disk with it, so a
//! place in the source that would write again and again is cut short and counted (`limits`). With the feature `otlp`
//! the spans of requests go to a collector as well.

mod limits;
#[cfg(feature = "otlp")]
mod otlp;

use std::io::IsTerminal;
use std::time::Duration;

use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

use limits::Limits;

/// How often it is told what was left out.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What writes the log. Dropping it sends what was not sent yet, so that should not happen on an async thread.
#[must_use = "what was gathered is sent when this is dropped"]
pub struct Logging {
    #[cfg(feature = "otlp")]
    _sending: Option<otlp::Sending>,
}

/// Begins to write the log. Within a runtime, if spans are to be sent.
pub fn start(format: &str) -> Logging {
    let wanted = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,openraft=warn"));
    let limits = Limits::default();
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let lines = if format == "json" { lines.json().boxed() } else { lines.boxed() };
    let log = registry().with(lines.with_filter(wanted.and(limits.clone())));
    #[cfg(feature = "otlp")]
    let (log, sending) = {
        let (spans, sending) = otlp::layer().unzip();
        (log.with(spans), sending)
    };
    // A second call keeps the first.
    if log.try_init().is_ok() {
        tell_on(limits);
    }
    Logging {
        #[cfg(feature = "otlp")]
        _sending: sending,
    }
}

/// Tells what is left out, on a thread of its own: what it tells of may be that the others are busy.
fn tell_on(limits: Limits) {
    let telling = move || loop {
        std::thread::sleep(TELL_EVERY);
        limits.tell();
    };
    if let Err(error) = std::thread::Builder::new().name("log".to_owned()).spawn(telling) {
        tracing::warn!(%error, "nobody will tell how many lines are left out of the log");
    }
}
