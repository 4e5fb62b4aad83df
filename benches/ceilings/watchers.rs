//! Who looks on while the broker works: one scraper and five people with the overview open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use whimbrel::cli::CliError;
use whimbrel::cli::http::{BaseUrl, Call, Client};

/// Between two looks of each.
const EVERY: Duration = Duration::from_secs(1);
/// What is looked at: a scrape, and five open dashboards.
const LOOKS: [&str; 6] = ["/metrics", "/", "/", "/", "/", "/"];
/// Topics and groups that there are to look at.
const OBJECTS: usize = 50;

/// Looks until it is dropped.
pub(crate) struct Watchers {
    stop: Arc<AtomicBool>,
    seen: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Watchers {
    /// Makes topics and groups, as there would be on a broker that somebody watches.
    pub(crate) fn furnish(url: &BaseUrl) -> Result<(), CliError> {
        let mut client = client(url);
        runtime()?.block_on(async {
            for number in 0..OBJECTS {
                client.send(Call::put(format!("/v1/topics/shown-{number}"), "{}")).await?;
                let group = format!(r#"{{"subscriptions":[{{"topic":"shown-{number}"}}]}}"#);
                client.send(Call::put(format!("/v1/groups/shown-{number}"), group)).await?;
            }
            Ok(())
        })
    }

    /// Begins to look.
    pub(crate) fn start(url: &BaseUrl) -> Watchers {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let begin = |path: &'static str| {
            let (stop, seen, mut client) = (Arc::clone(&stop), Arc::clone(&seen), client(url));
            thread::spawn(move || {
                let Ok(runtime) = runtime() else { return };
                while !stop.load(Ordering::Relaxed) {
                    match runtime.block_on(client.send(Call::get(path))) {
                        Ok(_) => drop(seen.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => eprintln!("  {path}: {error}"),
                    }
                    thread::park_timeout(EVERY);
                }
            })
        };
        let threads = LOOKS.into_iter().map(begin).collect();
        Watchers { stop, seen, threads }
    }

    /// Ends, and says how often somebody looked.
    pub(crate) fn finish(mut self) -> u64 {
        self.halt();
        self.seen.load(Ordering::Relaxed)
    }

    fn halt(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Drop for Watchers {
    fn drop(&mut self) {
        self.halt();
    }
}

fn client(url: &BaseUrl) -> Client {
    Client::new(url.clone().into(), Duration::from_secs(20))
}

fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(crate::process::io("starting a runtime"))
}
