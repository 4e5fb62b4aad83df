use std::path::PathBuf;
use std::time::Duration;

use super::plan::{Pace, Plan};
use super::{Transport, Workload, template};
use crate::cli::{CliError, ConnectArgs, duration};
use crate::model::{BATCH_BYTES_MAX, BATCH_MESSAGES_MAX, BODY_BYTES_MAX, DELAY_MS_MAX, TopicName};

/// Most connections of one run: the broker's own limit of open sockets.
const CONNECTIONS_MAX: u64 = 10_000;
/// Unanswered publishes on one socket after which a broker stops reading.
const DEPTH_MAX: usize = 1_000;
/// Messages on their way over a WebSocket unless --pipeline-depth says otherwise.
const DEPTH_DEFAULT: usize = 100;
/// Messages of one receive over HTTP unless --batch says otherwise.
const RECEIVE_DEFAULT: usize = 100;
/// Most messages a second that may be asked for.
const RATE_MAX: u64 = 10_000_000;
/// Messages a second of the delay workload unless --rate says otherwise.
const DELAY_RATE_DEFAULT: u64 = 1_000;
/// Most messages that are scheduled at a time: a tenth of what a node holds.
const SCHEDULED_MAX: u128 = 1_000_000;
/// Groups of the fan-out workload unless --groups says otherwise.
const GROUPS_DEFAULT: u64 = 4;
/// Most groups of a fan-out.
const GROUPS_MAX: u64 = 1_000;
/// Messages of the consume workload unless --messages says otherwise.
const BACKLOG_DEFAULT: u64 = 100_000;
/// Time before the measured time unless --warmup says otherwise.
const WARMUP_DEFAULT: Duration = Duration::from_secs(1);

/// Said under the flags.
pub(crate) const HELP: &str = "\
Two ways to load a broker:
  Without --rate each connection sends again as soon as it is answered. That finds the highest rate; the latencies
  are those at the limit, and hide what would have waited.
  With --rate messages are sent at times fixed in advance, and their time counts from then, however late they were
  really sent. That is what users at this rate see, also while the broker pauses (no coordinated omission).

Examples:
  whimbrel bench produce                                  the most this machine and its disk can store
  whimbrel bench produce --rate 5000 --json > now.json    the latency of sending at 5,000 a second
  whimbrel bench pipeline --transport ws                  produce, deliver and ack over WebSocket
  whimbrel bench consume --messages 1000000               how fast a backlog is worked off
  whimbrel bench fan-out --groups 10                      one topic, ten groups that each get everything
  whimbrel bench delay --delay 5s --rate 2000             how late scheduled messages come (never early)
  whimbrel bench --compare before.json now.json --tolerance 10

Exit codes: 0 done, 1 failed, messages came early, or worse than --tolerance allows; 2 wrong usage, 3 no healthy
broker, 4 timed out. What the figures mean: docs/PERFORMANCE.md.";

/// Options of `whimbrel bench`.
#[derive(Clone, Debug, clap::Args)]
pub struct BenchArgs {
    /// What to measure
    #[arg(value_enum, required_unless_present = "compare", conflicts_with = "compare")]
    pub workload: Option<Workload>,
    /// How to speak to the broker
    #[arg(long, value_enum, default_value = "http")]
    pub transport: Transport,
    /// Connections at the same time; over HTTP some of them send and the others receive
    #[arg(long, default_value_t = 16, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub connections: u64,
    /// Bytes in one message body
    #[arg(long, default_value_t = 1_024, value_name = "BYTES")]
    pub size: usize,
    /// How long to measure, after the warm-up; consume ends sooner when nothing is left
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub duration: Duration,
    /// How long to run before measuring [default: 1s; consume has none]
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub warmup: Option<Duration>,
    /// Send this many messages a second at times fixed in advance, and count from then [delay: 1000]
    #[arg(long, value_name = "N", value_parser = rate, conflicts_with = "interval")]
    pub rate: Option<u64>,
    /// Send at most one message (or batch) in this time on each connection: latency without load
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub interval: Option<Duration>,
    /// Messages in one request (HTTP): in one NDJSON batch, or asked for in one receive of consume [default: 1; 100]
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// Give every request an Idempotency-Key of its own (HTTP)
    #[arg(long)]
    pub keyed: bool,
    /// Messages on their way per connection; 1 to 1000, default 100 (WebSocket) or one request (HTTP)
    #[arg(long, value_name = "N")]
    pub pipeline_depth: Option<usize>,
    /// Groups that each get every message (fan-out) [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=GROUPS_MAX))]
    pub groups: Option<u64>,
    /// How far ahead messages are scheduled (delay) [default: 1s]
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub delay: Option<Duration>,
    /// Messages that are put there to be consumed (consume) [default: 100000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub messages: Option<u64>,
    /// Threads that make the load
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64))]
    pub threads: u64,
    /// Use this topic, which keeps the messages; without it a topic is made and deleted again
    #[arg(long)]
    pub topic: Option<TopicName>,
    /// The broker's data directory, to measure its disk when the broker runs here
    #[arg(long, default_value = "./data", value_name = "DIR")]
    pub data: PathBuf,
    /// Measure also when the data directory is in memory, where nothing is durable
    #[arg(long)]
    pub allow_memory: bool,
    /// Print one JSON object; keep it for --compare
    #[arg(long)]
    pub json: bool,
    /// Compare two results of --json instead of measuring
    #[arg(long, num_args = 2, value_names = ["BEFORE", "AFTER"])]
    pub compare: Option<Vec<PathBuf>>,
    /// End with exit code 1 when rate, p50, p90 or p99 got worse by more than this many percent
    #[arg(long, value_name = "PERCENT", value_parser = percent, requires = "compare")]
    pub tolerance: Option<f64>,
    /// The broker.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Reads `500` or `500/s`.
fn rate(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text).parse().unwrap_or(0);
    if (1..=RATE_MAX).contains(&number) {
        return Ok(number);
    }
    Err(format!("expected messages a second, 1 to {RATE_MAX}, such as 500 or 500/s"))
}

/// Reads `10` or `10%`.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse().unwrap_or(f64::NAN);
    if (0.0..=1_000.0).contains(&number) {
        Ok(number)
    } else {
        Err("expected percent, such as 10".to_owned())
    }
}

fn refuse(text: impl Into<String>) -> CliError {
    CliError::Usage(text.into())
}

impl BenchArgs {
    /// What is to be run.
    ///
    /// # Errors
    /// [`CliError::Usage`] naming the flag that is out of range or does not go with another.
    pub fn plan(&self) -> Result<Plan, CliError> {
        let workload = self.workload.ok_or_else(|| refuse("say what to measure, such as: bench produce"))?;
        self.check_belongings(workload)?;
        let batch = self.check_sizes(workload)?;
        let (depth, pace) = (self.check_depth(workload, batch)?, self.pace(workload)?);
        let [url] = self.connect.url.all() else {
            return Err(refuse("one broker is measured: give one --url"));
        };
        let consumes = workload == Workload::Consume;
        let backlog = if consumes { self.messages.unwrap_or(BACKLOG_DEFAULT) } else { 0 };
        let delay = if workload == Workload::Delay { self.delay_or_default() } else { Duration::ZERO };
        let plan = Plan {
            url: url.clone(),
            workload,
            transport: self.transport,
            topic: self.topic.as_ref().map(ToString::to_string),
            connections: usize::try_from(self.connections).unwrap_or(1),
            size: self.size,
            batch,
            keyed: self.keyed,
            depth,
            pace,
            groups: self.groups_of(workload),
            delay,
            backlog,
            duration: self.duration,
            warmup: if consumes { Duration::ZERO } else { self.warmup.unwrap_or(WARMUP_DEFAULT) },
            threads: usize::try_from(self.threads).unwrap_or(1),
            timeout: self.connect.timeout,
        };
        check_connections(&plan)?;
        Ok(plan)
    }

    /// A flag that another workload or transport has is refused, not ignored.
    fn check_belongings(&self, workload: Workload) -> Result<(), CliError> {
        let (ws, http) = (self.transport == Transport::Ws, self.transport == Transport::Http);
        let consumes = workload == Workload::Consume;
        let misplaced = [
            (self.groups.is_some() && workload != Workload::FanOut, "--groups is for fan-out"),
            (self.delay.is_some() && workload != Workload::Delay, "--delay is for delay"),
            (self.messages.is_some() && !consumes, "--messages is for consume"),
            (
                self.warmup.is_some() && consumes,
                "--warmup is not for consume, which counts from the first receive",
            ),
            (self.rate.is_some() && consumes, "--rate is not for consume, which takes what is there"),
            (self.interval.is_some() && consumes, "--interval is not for consume, which takes what is there"),
            (
                self.interval.is_some() && workload == Workload::Delay,
                "--interval is not for delay; use --rate",
            ),
            (self.keyed && consumes, "--keyed is not for consume, which sends nothing while it measures"),
            (
                self.batch.is_some_and(|batch| batch > 1) && ws,
                "--batch is for HTTP; over WebSocket use --pipeline-depth",
            ),
            (self.keyed && ws, "--keyed is for HTTP; a publish frame has no key"),
            (
                http && !matches!(workload, Workload::Pipeline | Workload::FanOut)
                    && self.pipeline_depth.is_some_and(|depth| depth > 1),
                "--pipeline-depth is for WebSocket; over HTTP use --connections or --batch",
            ),
        ];
        match misplaced.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, why)) => Err(refuse(why)),
            None => Ok(()),
        }
    }

    /// The messages of one request, once body, batch and times are within their limits.
    fn check_sizes(&self, workload: Workload) -> Result<usize, CliError> {
        let marked = !matches!(workload, Workload::Produce | Workload::Consume);
        let smallest = if marked { template::MARK_BYTES } else { 0 };
        if self.size < smallest || self.size > BODY_BYTES_MAX {
            return Err(refuse(format!(
                "--size must be {smallest} to {BODY_BYTES_MAX} bytes for this workload"
            )));
        }
        let consumes = workload == Workload::Consume && self.transport == Transport::Http;
        let batch = self.batch.unwrap_or(if consumes { RECEIVE_DEFAULT } else { 1 });
        let fits =
            consumes || batch.saturating_mul(self.size + template::AROUND_BODY_BYTES) <= BATCH_BYTES_MAX;
        if batch == 0 || batch > BATCH_MESSAGES_MAX || !fits {
            let limit = format!("1 to {BATCH_MESSAGES_MAX} messages and at most {BATCH_BYTES_MAX} bytes");
            return Err(refuse(format!("--batch must be {limit}")));
        }
        if self.duration.is_zero() {
            return Err(refuse("--duration must be longer than nothing"));
        }
        Ok(batch)
    }

    fn check_depth(&self, workload: Workload, batch: usize) -> Result<usize, CliError> {
        if self.pipeline_depth.is_some_and(|depth| depth == 0 || depth > DEPTH_MAX) {
            return Err(refuse(format!("--pipeline-depth must be 1 to {DEPTH_MAX}")));
        }
        let ws = self.transport == Transport::Ws;
        let sends = if workload == Workload::Consume { 1 } else { batch };
        Ok(self.pipeline_depth.unwrap_or(if ws { DEPTH_DEFAULT } else { sends }))
    }

    fn pace(&self, workload: Workload) -> Result<Pace, CliError> {
        let of_delay = (workload == Workload::Delay).then_some(DELAY_RATE_DEFAULT);
        let pace = match (self.rate.or(of_delay), self.interval) {
            (Some(rate), _) => Pace::Rate(rate),
            (None, Some(interval)) => Pace::Spaced(interval),
            (None, None) => Pace::Closed,
        };
        if let (Workload::Delay, Pace::Rate(rate)) = (workload, pace) {
            let delay = self.delay_or_default();
            if delay.is_zero() || delay.as_millis() > u128::from(DELAY_MS_MAX) {
                return Err(refuse(format!("--delay must be 1 to {DELAY_MS_MAX} ms")));
            }
            let scheduled = delay.as_millis() * u128::from(rate) / 1_000;
            if scheduled > SCHEDULED_MAX {
                let text = format!("--delay times --rate are {scheduled} messages at a time");
                return Err(refuse(format!("{text}; at most {SCHEDULED_MAX} are scheduled")));
            }
        }
        Ok(pace)
    }

    fn delay_or_default(&self) -> Duration {
        self.delay.unwrap_or(Duration::from_secs(1))
    }

    fn groups_of(&self, workload: Workload) -> usize {
        let groups = if workload == Workload::FanOut { self.groups.unwrap_or(GROUPS_DEFAULT) } else { 1 };
        usize::try_from(groups).unwrap_or(1)
    }
}

/// Every group needs a connection that receives.
fn check_connections(plan: &Plan) -> Result<(), CliError> {
    let receivers = match plan.transport {
        Transport::Http => plan.connections.saturating_sub(plan.senders()),
        Transport::Ws => plan.connections,
    };
    if !plan.receives() || receivers >= plan.groups {
        return Ok(());
    }
    let (wanted, why) = match plan.transport {
        Transport::Http => (plan.groups + 1, "one sends, and each group receives on one of its own"),
        Transport::Ws => (plan.groups, "each group receives on one of its own"),
    };
    Err(refuse(format!("this needs at least --connections {wanted}: {why}")))
}
