use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::AsyncWrite;

use super::progress::Progress;
use super::{ProduceArgs, Stored, keys, print};
use crate::cli::error::CliError;
use crate::cli::http::{Call, Client};
use crate::cli::ndjson::Batch;
use crate::cli::retry::Patience;

/// Ids are printed one a line up to this many messages; beyond, a count says more.
const PRINTED_MAX: usize = 20;

#[derive(Deserialize)]
struct BatchAnswer {
    results: Vec<Box<RawValue>>,
}

/// One connection and what came of it so far.
pub(super) struct Sending<'a> {
    args: &'a ProduceArgs,
    client: Client,
    pub(super) progress: Progress,
    stored: usize,
    /// Certainly not stored.
    refused: usize,
    /// Stored or not, nobody knows.
    unknown: usize,
    /// The lines to print while there are few.
    printed: String,
}

impl<'a> Sending<'a> {
    pub(super) fn new(args: &'a ProduceArgs, progress: Progress) -> Sending<'a> {
        let client = args.connect.client();
        Sending { args, client, progress, stored: 0, refused: 0, unknown: 0, printed: String::new() }
    }

    /// Sends a batch. What the broker did not take now is sent again for a while, what it refuses is counted.
    pub(super) async fn send(
        &mut self,
        batch: Option<Batch>,
        output: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), CliError> {
        let Some(mut batch) = batch else { return Ok(()) };
        let mut patience = Patience::new(self.args.retry);
        loop {
            let call = self.call(&batch);
            let answer = keys::deliver(&mut self.client, call, self.args).await?;
            let answer: BatchAnswer = answer.json()?;
            if answer.results.len() != batch.messages {
                let (sent, answered) = (batch.messages, answer.results.len());
                return Err(CliError::Failed(format!(
                    "the broker answered {answered} results for {sent} messages"
                )));
            }
            let not_now = self.count(&answer.results, output).await?;
            self.progress.show(self.stored);
            let Some((_, first)) = not_now.first() else { return Ok(()) };
            let why = CliError::Refused(Box::new(first.problem.clone()));
            if patience.pause(why).await.is_err() {
                not_now.iter().for_each(|(_, result)| self.refuse(result));
                return Ok(());
            }
            batch = batch.only(&not_now.iter().map(|(place, _)| *place).collect::<Vec<_>>());
        }
    }

    fn call(&self, batch: &Batch) -> Call {
        let path = format!("/v1/topics/{}/messages/batch", self.args.topic);
        let ndjson = HeaderValue::from_static("application/x-ndjson");
        Call::post(path, batch.body.clone()).header(CONTENT_TYPE, ndjson)
    }

    /// Counts the results; returns those that may be sent again, with their places in the batch.
    async fn count(
        &mut self,
        results: &[Box<RawValue>],
        output: &mut (impl AsyncWrite + Unpin),
    ) -> Result<Vec<(usize, Stored)>, CliError> {
        let mut not_now = Vec::new();
        let mut json = String::new();
        for (place, raw) in results.iter().enumerate() {
            let result: Stored = serde_json::from_str(raw.get()).map_err(CliError::odd)?;
            if result.id.is_none() && matches!(result.problem.status, 429 | 503) {
                not_now.push((place, result));
                continue;
            }
            if self.args.output.is_json() {
                json.push_str(&format!("{}\n", raw.get()));
            }
            if result.id.is_some() {
                self.stored += 1;
                if self.stored <= PRINTED_MAX {
                    self.printed.push_str(&result.line());
                }
            } else {
                self.refuse(&result);
            }
        }
        if !json.is_empty() {
            print(output, &json).await?;
        }
        Ok(not_now)
    }

    fn refuse(&mut self, result: &Stored) {
        if result.problem.status == 504 {
            self.unknown += 1;
        } else {
            self.refused += 1;
        }
        if self.refused + self.unknown <= PRINTED_MAX {
            let number = self.stored + self.refused + self.unknown;
            eprintln!("whimbrel: message {number}: {}", result.problem);
        }
    }

    /// Says what came of it all.
    pub(super) async fn finish(
        mut self,
        outcome: Result<(), CliError>,
        output: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), CliError> {
        self.progress.clear();
        if !self.args.output.is_json() {
            let count = format!("{} messages stored in {}\n", self.stored, self.args.topic);
            let summary = if self.stored <= PRINTED_MAX { &self.printed } else { &count };
            print(output, summary).await?;
        }
        let mut bad = Vec::new();
        if self.refused > 0 {
            bad.push(format!("{} messages were refused", self.refused));
        }
        if self.unknown > 0 {
            bad.push(format!("{} messages may or may not be stored", self.unknown));
        }
        match outcome {
            Err(error) => {
                let (stored, refused) = (self.stored, self.refused);
                eprintln!("whimbrel: {stored} messages were stored and {refused} refused before this:");
                Err(error)
            }
            Ok(()) if !bad.is_empty() => Err(CliError::Failed(bad.join(", "))),
            Ok(()) => Ok(()),
        }
    }
}
