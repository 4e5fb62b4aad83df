//! What is measured in each case. The names of series here are the ones that `table` judges.

use std::time::Duration;

use whimbrel::cli::CliError;
use whimbrel::cli::bench::{Pace, Plan, Transport, Workload, disk, measure};
use whimbrel::cli::http::BaseUrl;

use crate::process::{Server, directory, io};
use crate::servers::Ceiling;
use crate::table::Samples;
use crate::watchers::Watchers;
use crate::{Args, commit, measured_time};

/// Messages of one request in case b.
const BATCH: usize = 100;
/// Connections of case b.
const BATCH_CONNECTIONS: usize = 16;
/// Unanswered publishes of case c: as many as a broker reads ahead.
const DEPTH: usize = 1_000;
/// Between two sends of case e: long enough that the disk is idle again.
const IDLE: Duration = Duration::from_millis(5);
/// Connections of case f.
const WATCHED_CONNECTIONS: usize = 64;
/// Before each measurement.
const WARMUP: Duration = Duration::from_millis(500);

/// One thing to measure in a case.
#[derive(Clone, Copy)]
enum Subject {
    Broker,
    /// The broker while nobody looks on.
    Unwatched,
    Server(Ceiling),
    RawAppend,
    Fdatasync,
    /// With the pauses of case e: what the disk takes when it has come to rest.
    IdleFdatasync,
}

impl Subject {
    fn name(self) -> &'static str {
        match self {
            Subject::Broker => "broker",
            Subject::Unwatched => "unwatched",
            Subject::Server(Ceiling::Empty) => "empty handler",
            Subject::Server(Ceiling::Commit) => "group commit",
            Subject::Server(Ceiling::Echo) => "echo",
            Subject::RawAppend => "raw append",
            Subject::Fdatasync => "fdatasync",
            Subject::IdleFdatasync => "idle fdatasync",
        }
    }
}

/// Measures everything of one case once.
pub(crate) fn run(case: char, args: &Args, reverse: bool, samples: &mut Samples) -> Result<(), CliError> {
    match case {
        'a' => args
            .connections
            .iter()
            .try_for_each(|connections| single_posts(*connections, args, reverse, samples)),
        'b' => each(args, reverse, &[Subject::Broker, Subject::RawAppend], |subject, url| {
            let plan = |url| Plan { connections: BATCH_CONNECTIONS, batch: BATCH, ..plan(args, url) };
            measure_one("b", subject, url.map(plan), args, samples)
        }),
        'c' => {
            let subjects =
                [Subject::Broker, Subject::Server(Ceiling::Commit), Subject::Server(Ceiling::Echo)];
            each(args, reverse, &subjects, |subject, url| {
                let plan = |url| Plan { transport: Transport::Ws, depth: DEPTH, ..plan(args, url) };
                measure_one("c", subject, url.map(plan), args, samples)
            })
        }
        'd' => each(args, reverse, &[Subject::Broker], |subject, url| {
            let plan = |url| Plan {
                workload: Workload::Pipeline,
                transport: Transport::Ws,
                connections: args.pipeline_connections,
                depth: args.pipeline_depth,
                ..plan(args, url)
            };
            measure_one("d", subject, url.map(plan), args, samples)
        }),
        'f' => watched_posts(args, reverse, samples),
        _ => each(
            args,
            reverse,
            &[Subject::Broker, Subject::Fdatasync, Subject::IdleFdatasync],
            |subject, url| {
                let plan = |url| Plan {
                    workload: Workload::Pipeline,
                    transport: Transport::Ws,
                    pace: Pace::Spaced(IDLE),
                    ..plan(args, url)
                };
                measure_one("e", subject, url.map(plan), args, samples)
            },
        ),
    }
}

fn single_posts(
    connections: usize,
    args: &Args,
    reverse: bool,
    samples: &mut Samples,
) -> Result<(), CliError> {
    let mut subjects =
        vec![Subject::Broker, Subject::Server(Ceiling::Commit), Subject::Server(Ceiling::Empty)];
    if connections == 1 {
        subjects.push(Subject::Fdatasync);
    }
    let case = format!("a {connections}");
    each(args, reverse, &subjects, |subject, url| {
        let plan = |url| Plan { connections, ..plan(args, url) };
        measure_one(&case, subject, url.map(plan), args, samples)
    })
}

fn watched_posts(args: &Args, reverse: bool, samples: &mut Samples) -> Result<(), CliError> {
    each(args, reverse, &[Subject::Broker, Subject::Unwatched], |subject, url| {
        let Some(url) = url else { return Ok(()) };
        Watchers::furnish(&url)?;
        let watchers = matches!(subject, Subject::Broker).then(|| Watchers::start(&url));
        let plan = Plan { connections: WATCHED_CONNECTIONS, ..plan(args, url) };
        measure_one("f", subject, Some(plan), args, samples)?;
        match watchers.map(Watchers::finish) {
            Some(0) => Err(CliError::Failed("nobody looked while the broker was watched".to_owned())),
            _ => Ok(()),
        }
    })
}

/// One connection, one message at a time: cases change what they need.
fn plan(args: &Args, url: BaseUrl) -> Plan {
    Plan {
        url,
        workload: Workload::Produce,
        transport: Transport::Http,
        topic: Some("bench".to_owned()),
        connections: 1,
        size: args.size,
        keyed: false,
        batch: 1,
        depth: 1,
        pace: Pace::Closed,
        groups: 1,
        delay: Duration::ZERO,
        backlog: 0,
        duration: measured_time(args),
        warmup: WARMUP,
        threads: args.threads,
        timeout: Duration::from_secs(20),
    }
}

/// Starts each server in turn, and only one at a time, so that nothing but it and the load runs.
fn each(
    args: &Args,
    reverse: bool,
    subjects: &[Subject],
    mut measure: impl FnMut(Subject, Option<BaseUrl>) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut subjects = subjects.to_vec();
    if reverse {
        subjects.reverse();
    }
    for subject in subjects {
        let server = match subject {
            Subject::Broker | Subject::Unwatched if args.ceilings_only => continue,
            Subject::Broker | Subject::Unwatched => Some(Server::broker(args)?),
            Subject::Server(ceiling) => Some(Server::ceiling(args, ceiling)?),
            Subject::RawAppend | Subject::Fdatasync | Subject::IdleFdatasync => None,
        };
        measure(subject, server.as_ref().map(|server| server.url.clone()))?;
    }
    Ok(())
}

fn measure_one(
    case: &str,
    subject: Subject,
    plan: Option<Plan>,
    args: &Args,
    samples: &mut Samples,
) -> Result<(), CliError> {
    let name = subject.name();
    match (subject, plan) {
        (_, Some(plan)) => {
            let measured = measure(&plan)?;
            samples.add(case, name, "messages_per_s", measured.rate());
            samples.add(case, name, "p50_us", measured.latency_us(0.5));
            samples.add(case, name, "p99_us", measured.latency_us(0.99));
            samples.add(case, name, "bytes_per_s", measured.rate() * plan.size as f64);
        }
        (Subject::Fdatasync | Subject::IdleFdatasync, None) => {
            let home = directory(args)?;
            let idle = if matches!(subject, Subject::Fdatasync) { Duration::ZERO } else { IDLE };
            let p50 = disk::fdatasync_p50(home.path(), args.size, idle)?;
            samples.add(case, name, "p50_us", p50.as_secs_f64() * 1e6);
        }
        (_, None) => {
            let home = directory(args)?;
            let rate = commit::raw_append(home.path(), args.sync_bytes, measured_time(args));
            samples.add(case, name, "bytes_per_s", rate.map_err(io("the raw append"))?);
        }
    }
    Ok(())
}
