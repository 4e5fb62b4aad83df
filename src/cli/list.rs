//! Lists of the interface, page by page.

use std::collections::BTreeMap;
use std::io::Write;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::value::RawValue;

use super::error::CliError;
use super::http::{Call, Client};
use super::output::{Column, Printer};

/// Rows asked for at once.
const PAGE: u64 = 1_000;

/// The flag of every list.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct LimitArgs {
    /// Most rows to print; 0 for all there are
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    pub limit: u64,
}

/// One page as the broker answered it.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) rows: Vec<Box<RawValue>>,
    pub(crate) next_cursor: Option<String>,
    /// The broker says that rows may be missing, because its index is being made.
    pub(crate) incomplete: bool,
}

/// Reads one page of the list at `path` (which may hold a query), which is called `plural` in the answer.
///
/// # Errors
/// See [`Client::send`]; [`CliError::Failed`] for an answer without the list.
pub(crate) async fn page(
    client: &mut Client,
    path: &str,
    plural: &str,
    rows: u64,
    cursor: Option<&str>,
) -> Result<Page, CliError> {
    let more = if path.contains('?') { '&' } else { '?' };
    let mut path = format!("{path}{more}limit={rows}");
    if let Some(cursor) = cursor {
        path.push_str(&format!("&cursor={}", utf8_percent_encode(cursor, NON_ALPHANUMERIC)));
    }
    let answer = client.send(Call::get(path)).await?;
    let mut fields: BTreeMap<String, Box<RawValue>> = answer.json()?;
    let list = fields.remove(plural).ok_or_else(|| CliError::odd(format!("no '{plural}'")))?;
    let rows = serde_json::from_str(list.get()).map_err(CliError::odd)?;
    let next_cursor = match fields.get("next_cursor") {
        Some(cursor) => serde_json::from_str(cursor.get()).map_err(CliError::odd)?,
        None => None,
    };
    let incomplete = fields.get("index_complete").is_some_and(|complete| complete.get() == "false");
    Ok(Page { rows, next_cursor, incomplete })
}

/// Prints the list at `path`, at most `limit` rows, and says when there are more.
///
/// # Errors
/// See [`page`].
pub(crate) async fn print(
    client: &mut Client,
    (path, plural): (&str, &str),
    columns: &[Column],
    limit: LimitArgs,
    printer: &mut Printer<impl Write>,
) -> Result<(), CliError> {
    let mut left = if limit.limit == 0 { u64::MAX } else { limit.limit };
    let (mut cursor, mut incomplete) = (None, false);
    printer.begin(plural)?;
    loop {
        let page = page(client, path, plural, left.min(PAGE), cursor.as_deref()).await?;
        let rows: Vec<&str> = page.rows.iter().map(|row| row.get()).collect();
        printer.page(&rows, columns)?;
        left = left.saturating_sub(rows.len() as u64);
        cursor = page.next_cursor;
        incomplete |= page.incomplete;
        if cursor.is_none() || left == 0 {
            break;
        }
    }
    printer.end(cursor.as_deref())?;
    if incomplete {
        eprintln!(
            "whimbrel: the broker's index is being made, so some may be missing; ask again once /readyz says it is"
        );
    }
    if cursor.is_some() {
        eprintln!(
            "whimbrel: there are more than {} {}; --limit 0 prints all",
            limit.limit,
            plural.replace('_', " ")
        );
    }
    Ok(())
}
