use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::CommonArgs;
use super::error::CliError;
use super::http::{Call, Client};
use super::list::{self, LimitArgs};
use super::output::{Column, Printer, cell, span};
use crate::model::JobId;

/// Between two looks at a job that runs: at first, and at most.
const LOOK_MIN: Duration = Duration::from_millis(50);
const LOOK_MAX: Duration = Duration::from_secs(2);

/// `whimbrel jobs …`
#[derive(Clone, Debug, clap::Subcommand)]
pub enum JobsCommand {
    /// List jobs, the newest first
    List {
        /// How many.
        #[command(flatten)]
        limit: LimitArgs,
        /// Broker and output.
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Show one job: how far it is, and how long it may still run
    Show {
        /// Id of the job
        id: JobId,
        /// Broker and output.
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Cancel a job; what it moved stays moved
    Cancel {
        /// Id of the job
        id: JobId,
        /// Broker and output.
        #[command(flatten)]
        common: CommonArgs,
    },
}

impl JobsCommand {
    /// Runs it.
    ///
    /// # Errors
    /// See [`CliError`].
    pub async fn run(self) -> Result<(), CliError> {
        match self {
            JobsCommand::List { limit, common } => {
                let mut printer = Printer::stdout(common.output);
                let list = ("/v1/jobs", "jobs");
                list::print(&mut common.connect.client(), list, &COLUMNS, limit, &mut printer).await
            }
            JobsCommand::Show { id, common } => {
                let answer = common.connect.client().send(Call::get(format!("/v1/jobs/{id}"))).await?;
                Printer::stdout(common.output).one(answer.text()?, &FIELDS)
            }
            JobsCommand::Cancel { id, common } => {
                let answer = common.connect.client().send(Call::delete(format!("/v1/jobs/{id}"))).await?;
                let job: Value = answer.json()?;
                let said = format!("job {id} cancelled; {} dead letters had moved", cell(&job, "moved"));
                Printer::stdout(common.output).done(&said, answer.text()?)
            }
        }
    }
}

const COLUMNS: [Column; 7] = [
    Column::new("id", |job| cell(job, "id")),
    Column::new("group", |job| cell(job, "group")),
    Column::new("to", |job| cell(job, "to")),
    Column::new("state", |job| cell(job, "state")),
    Column::new("looked", |job| format!("{}/{}", cell(job, "looked"), cell(job, "total"))),
    Column::new("moved", |job| cell(job, "moved")),
    Column::new("started at", |job| cell(job, "started_at")),
];

const FIELDS: [Column; 13] = [
    Column::new("id", |job| cell(job, "id")),
    Column::new("kind", |job| cell(job, "kind")),
    Column::new("group", |job| cell(job, "group")),
    Column::new("filter", |job| job.get("filter").map_or_else(String::new, Value::to_string)),
    Column::new("to", |job| cell(job, "to")),
    Column::new("state", |job| cell(job, "state")),
    Column::new("error", |job| cell(job, "error")),
    Column::new("looked", |job| format!("{}/{}", cell(job, "looked"), cell(job, "total"))),
    Column::new("moved", |job| format!("{} ({}/s)", cell(job, "moved"), cell(job, "moved_per_s"))),
    Column::new("failed", |job| cell(job, "failed")),
    Column::new("eta", |job| span(job, "eta_ms")),
    Column::new("started at", |job| cell(job, "started_at")),
    Column::new("ended at", |job| cell(job, "ended_at")),
];

/// Waits until a job has ended and prints it; also over a restart of the broker.
///
/// # Errors
/// See [`CliError`]; [`CliError::NothingCame`] when it still runs after `limit`, [`CliError::Failed`] when it did not
/// do all of its work.
pub(crate) async fn wait(
    client: &mut Client,
    id: &str,
    limit: Duration,
    printer: &mut Printer<impl Write>,
) -> Result<(), CliError> {
    let until = Instant::now() + limit;
    let mut pause = LOOK_MIN;
    loop {
        match client.send(Call::get(format!("/v1/jobs/{id}"))).await {
            Ok(answer) => {
                let job: Value = answer.json()?;
                if cell(&job, "state") != "running" {
                    printer.one(answer.text()?, &FIELDS)?;
                    return judge(&job);
                }
            }
            Err(error) if error.was_not_done() => {}
            Err(error) => return Err(error),
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let text = format!("job {id} still runs; how far it is: whimbrel jobs show {id}");
            return Err(CliError::NothingCame(text));
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(LOOK_MAX);
    }
}

fn judge(job: &Value) -> Result<(), CliError> {
    let (id, state) = (cell(job, "id"), cell(job, "state"));
    match (state.as_str(), job.get("failed").and_then(Value::as_u64).unwrap_or(0)) {
        ("done", 0) => Ok(()),
        ("done", failed) => Err(CliError::Failed(format!(
            "{failed} dead letters could not be moved; the broker's log says why"
        ))),
        ("cancelled", _) => Err(CliError::Failed(format!("job {id} was cancelled"))),
        _ => Err(CliError::Failed(format!("job {id} failed: {}", cell(job, "error")))),
    }
}
