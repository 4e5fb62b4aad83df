use std::fmt;

use serde::Serialize;

use super::disk::Disk;
use super::host::Host;
use super::plan::{Pace, Plan};
use super::tally::{KeptPace, Measured};
use super::{Transport, Workload};

/// What the figures mean by "stored".
const DURABILITY: &str = "an answer means fdatasync on a quorum of voters";
/// The same in memory.
const DURABILITY_OF_MEMORY: &str = "none: the data directory is in memory";
/// Names the JSON; goes with [`VERSION`].
pub(super) const FORMAT: &str = "whimbrel-bench";
/// Grows when a field changes its meaning or is gone; new fields keep it.
pub(super) const VERSION: u32 = 1;

/// The figures of one run and everything needed to judge them. What does not apply is null.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    format: &'static str,
    version: u32,
    workload: Workload,
    transport: Transport,
    connections: usize,
    size_bytes: usize,
    batch: usize,
    keyed: bool,
    pipeline_depth: usize,
    rate_per_s: Option<u64>,
    interval_ms: Option<u64>,
    groups: usize,
    delay_ms: Option<u64>,
    backlog_messages: Option<u64>,
    duration_s: f64,
    warmup_s: f64,
    threads: usize,
    /// A topic that was given and keeps the messages.
    topic: Option<String>,
    url: String,
    whimbrel_version: &'static str,
    broker_version: String,
    durability: &'static str,
    messages: u64,
    elapsed_s: f64,
    messages_per_s: f64,
    megabytes_per_s: f64,
    latency_ms: Latency,
    schedule: Option<Schedule>,
    early_messages: Option<u64>,
    remaining_messages: Option<u64>,
    left_behind: Vec<String>,
    host: Host,
    disk: Option<Disk>,
    command: Vec<String>,
}

/// Quantiles in milliseconds.
#[derive(Clone, Debug, Serialize)]
struct Latency {
    of: &'static str,
    samples: u64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

/// How a load with fixed sending times kept to them.
#[derive(Clone, Debug, Serialize)]
struct Schedule {
    due: u64,
    unfinished: u64,
    patience_s: f64,
    late: u64,
    behind_max_ms: f64,
}

impl From<KeptPace> for Schedule {
    fn from(kept: KeptPace) -> Schedule {
        Schedule {
            due: kept.due,
            unfinished: kept.unfinished,
            patience_s: kept.patience.as_secs_f64(),
            late: kept.late,
            behind_max_ms: kept.behind_max.as_secs_f64() * 1e3,
        }
    }
}

impl Latency {
    fn new(measured: &Measured, of: &'static str) -> Latency {
        let quantile = |quantile: f64| measured.latency_us(quantile) / 1e3;
        Latency {
            of,
            samples: measured.latency.len(),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: measured.latency.max() as f64 / 1e6,
        }
    }
}

/// From where to where a latency is measured.
fn latency_of(plan: &Plan) -> &'static str {
    match (plan.workload, plan.pace, plan.transport) {
        (Workload::Produce, Pace::Rate(_), _) => "scheduled send to stored",
        (Workload::Produce, _, _) => "send to stored",
        (Workload::Pipeline | Workload::FanOut, Pace::Rate(_), _) => "scheduled send to delivered",
        (Workload::Pipeline | Workload::FanOut, _, _) => "send to delivered",
        (Workload::Delay, _, _) => "due to delivered",
        (Workload::Consume, _, Transport::Http) => "asked for to acked, one receive",
        (Workload::Consume, _, Transport::Ws) => "delivered to acked, one frame",
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Report {
    /// Puts the figures together with what they were measured on. `disk` is `None` for a broker on another host.
    #[must_use]
    pub fn new(plan: &Plan, measured: &Measured, disk: Option<Disk>, broker_version: String) -> Report {
        let in_memory = disk.as_ref().is_some_and(Disk::is_memory);
        let consumes = plan.workload == Workload::Consume;
        let delays = plan.workload == Workload::Delay;
        let (rate_per_s, interval_ms) = match plan.pace {
            Pace::Closed => (None, None),
            Pace::Spaced(interval) => (None, Some(millis(interval))),
            Pace::Rate(rate) => (Some(rate), None),
        };
        Report {
            format: FORMAT,
            version: VERSION,
            workload: plan.workload,
            transport: plan.transport,
            connections: plan.connections,
            size_bytes: plan.size,
            batch: plan.batch,
            keyed: plan.keyed,
            pipeline_depth: plan.depth,
            rate_per_s,
            interval_ms,
            groups: if plan.receives() { plan.groups } else { 0 },
            delay_ms: delays.then(|| millis(plan.delay)),
            backlog_messages: consumes.then_some(plan.backlog),
            duration_s: plan.duration.as_secs_f64(),
            warmup_s: plan.warmup.as_secs_f64(),
            threads: plan.threads,
            topic: plan.topic.clone(),
            url: plan.url.to_string(),
            whimbrel_version: env!("CARGO_PKG_VERSION"),
            broker_version,
            durability: if in_memory { DURABILITY_OF_MEMORY } else { DURABILITY },
            messages: measured.messages,
            elapsed_s: measured.elapsed.as_secs_f64(),
            messages_per_s: measured.rate(),
            megabytes_per_s: measured.rate() * plan.size as f64 / 1e6,
            latency_ms: Latency::new(measured, latency_of(plan)),
            schedule: measured.kept_pace.map(Schedule::from),
            early_messages: delays.then_some(measured.early),
            remaining_messages: consumes.then_some(measured.remaining),
            left_behind: measured.left_behind.clone(),
            host: Host::look(),
            disk,
            command: std::env::args().collect(),
        }
    }

    fn headline(&self) -> String {
        let what = match self.workload {
            Workload::Produce => "produce".to_owned(),
            Workload::Consume => format!("receive → ack of {} messages", self.backlog_messages.unwrap_or(0)),
            Workload::Pipeline => "produce → deliver → ack".to_owned(),
            Workload::FanOut => format!("produce → deliver → ack in {} groups", self.groups),
            Workload::Delay => format!("scheduled {} ms ahead → deliver → ack", self.delay_ms.unwrap_or(0)),
        };
        let how = match self.transport {
            Transport::Http => "HTTP",
            Transport::Ws => "WebSocket",
        };
        let (connections, size, batch, depth) =
            (self.connections, self.size_bytes, self.batch, self.pipeline_depth);
        let keyed = if self.keyed { ", each with an Idempotency-Key" } else { "" };
        let rate = self.rate_per_s.map_or_else(String::new, |rate| format!(", {rate} messages/s"));
        format!(
            "{what} over {how}: {connections} connections, {size} bytes, batch {batch}, depth {depth}{rate}{keyed}"
        )
    }

    fn figures(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = match self.workload {
            Workload::Produce => "messages",
            Workload::FanOut => "deliveries acked",
            Workload::Consume | Workload::Pipeline | Workload::Delay => "messages acked",
        };
        let (rate, bytes) = (self.messages_per_s, self.megabytes_per_s);
        writeln!(out, "  rate        {rate:.0} messages/s, {bytes:.1} MB/s of bodies")?;
        let latency = &self.latency_ms;
        writeln!(
            out,
            "  latency     p50 {:.3} ms, p90 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms, max {:.3} ms ({})",
            latency.p50, latency.p90, latency.p99, latency.p999, latency.max, latency.of
        )?;
        let (elapsed, warmup, threads) = (self.elapsed_s, self.warmup_s, self.threads);
        let messages = self.messages;
        writeln!(
            out,
            "  measured    {messages} {done} in {elapsed:.3} s after {warmup} s, {threads} threads"
        )?;
        if let Some(schedule) = &self.schedule {
            let Schedule { due, unfinished, patience_s, late, behind_max_ms } = schedule;
            writeln!(
                out,
                "  on time     of {due} due {unfinished} were unfinished {patience_s} s after the end;"
            )?;
            writeln!(
                out,
                "              {late} sent more than 1 ms late, the latest {behind_max_ms:.1} ms late"
            )?;
        }
        if let Some(early) = self.early_messages {
            writeln!(out, "  early       {early} messages came before they were due")?;
        }
        match self.remaining_messages {
            None | Some(0) => Ok(()),
            Some(remaining) => writeln!(out, "  remaining   {remaining} messages when the time was over"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.headline())?;
        self.figures(out)?;
        let version =
            if self.broker_version.is_empty() { "(version not said)" } else { &self.broker_version };
        let topic = match &self.topic {
            Some(topic) => format!("topic {topic}, which keeps what was sent"),
            None => "topic of its own, deleted".to_owned(),
        };
        writeln!(out, "  broker      {} {version}, {topic}", self.url)?;
        for thing in &self.left_behind {
            writeln!(out, "  left behind {thing}")?;
        }
        writeln!(out, "  durability  {}", self.durability)?;
        let host = &self.host;
        let (name, cores, cpu) = (&host.name, host.cores, &host.cpu);
        writeln!(
            out,
            "  host        {name}, {cores} × {cpu}, {} MiB, kernel {}",
            host.memory_mib, host.kernel
        )?;
        match &self.disk {
            Some(disk) => {
                let (directory, device) = (disk.directory.display(), &disk.device);
                writeln!(out, "  disk        {directory} on {} {device} ({})", disk.file_system, disk.flags)?;
                writeln!(out, "  fdatasync   p50 {:.3} ms for 1 KiB", disk.fdatasync_p50_us / 1e3)?;
            }
            None => writeln!(out, "  disk        not measured: the broker is on another host")?,
        }
        writeln!(out, "  command     {}", self.command.join(" "))
    }
}
