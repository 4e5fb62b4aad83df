use std::fmt;

use serde::Serialize;

use super::disk::Disk;
use super::host::Host;
use super::load::{Measured, Plan};
use super::{Transport, Workload};

/// What the figures mean by "stored".
const DURABILITY: &str = "an answer means fdatasync on a quorum of voters";

/// The figures of one run and everything needed to judge them.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    workload: Workload,
    transport: Transport,
    connections: usize,
    size_bytes: usize,
    batch: usize,
    keyed: bool,
    pipeline_depth: usize,
    interval_ms: Option<u64>,
    duration_s: f64,
    warmup_s: f64,
    threads: usize,
    topic: String,
    url: String,
    broker_version: String,
    durability: &'static str,
    messages: u64,
    messages_per_s: f64,
    megabytes_per_s: f64,
    latency_ms: Latency,
    host: Host,
    disk: Option<Disk>,
    command: Vec<String>,
}

/// Quantiles in milliseconds.
#[derive(Clone, Debug, Serialize)]
struct Latency {
    of: &'static str,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Report {
    /// Puts the figures together with what they were measured on. `disk` is `None` for a broker on another host.
    #[must_use]
    pub fn new(plan: &Plan, measured: &Measured, disk: Option<Disk>, broker_version: String) -> Report {
        let quantile = |quantile: f64| measured.latency_us(quantile) / 1e3;
        let of = match plan.workload {
            Workload::Produce => "send to stored",
            Workload::Pipeline => "send to delivered",
        };
        Report {
            workload: plan.workload,
            transport: plan.transport,
            connections: plan.connections,
            size_bytes: plan.size,
            batch: plan.batch,
            keyed: plan.keyed,
            pipeline_depth: plan.depth,
            interval_ms: plan
                .interval
                .map(|interval| u64::try_from(interval.as_millis()).unwrap_or(u64::MAX)),
            duration_s: plan.duration.as_secs_f64(),
            warmup_s: plan.warmup.as_secs_f64(),
            threads: plan.threads,
            topic: plan.topic.clone(),
            url: plan.url.to_string(),
            broker_version,
            durability: DURABILITY,
            messages: measured.messages,
            messages_per_s: measured.rate(),
            megabytes_per_s: measured.rate() * plan.size as f64 / 1e6,
            latency_ms: Latency {
                of,
                p50: quantile(0.5),
                p90: quantile(0.9),
                p99: quantile(0.99),
                p999: quantile(0.999),
                max: measured.latency.max() as f64 / 1e6,
            },
            host: Host::look(),
            disk,
            command: std::env::args().collect(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, how) = match (self.workload, self.transport) {
            (Workload::Produce, Transport::Http) => ("produce", "HTTP"),
            (Workload::Produce, Transport::Ws) => ("produce", "WebSocket"),
            (Workload::Pipeline, Transport::Http) => ("produce → deliver → ack", "HTTP"),
            (Workload::Pipeline, Transport::Ws) => ("produce → deliver → ack", "WebSocket"),
        };
        let (connections, size, batch, depth) =
            (self.connections, self.size_bytes, self.batch, self.pipeline_depth);
        let keyed = if self.keyed { ", each with an Idempotency-Key" } else { "" };
        writeln!(
            out,
            "{what} over {how}: {connections} connections, {size} bytes, batch {batch}, depth {depth}{keyed}"
        )?;
        writeln!(
            out,
            "  rate        {:.0} messages/s, {:.1} MB/s of bodies",
            self.messages_per_s, self.megabytes_per_s
        )?;
        let latency = &self.latency_ms;
        writeln!(
            out,
            "  latency     p50 {:.3} ms, p90 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms, max {:.3} ms ({})",
            latency.p50, latency.p90, latency.p99, latency.p999, latency.max, latency.of
        )?;
        let (duration, warmup, threads) = (self.duration_s, self.warmup_s, self.threads);
        writeln!(
            out,
            "  measured    {} messages in {duration} s after {warmup} s, {threads} threads",
            self.messages
        )?;
        let version =
            if self.broker_version.is_empty() { "(version not said)" } else { &self.broker_version };
        writeln!(out, "  broker      {} {version}, topic {}", self.url, self.topic)?;
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
