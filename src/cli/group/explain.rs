use std::io::Write;

use serde_json::Value;

use crate::cli::error::CliError;
use crate::cli::http::{Call, Client};
use crate::cli::output::{Column, Format, Printer, cell};
use crate::model::GroupName;

const COLUMNS: [Column; 3] = [
    Column::new("keeps back", |finding| match cell(finding, "affects").as_str() {
        "none" => "-".to_owned(),
        affects => affects.to_owned(),
    }),
    Column::new("finding", |finding| cell(finding, "code")),
    Column::new("which means", |finding| cell(finding, "text")),
];

/// `whimbrel group explain`: one row for each finding.
pub(super) async fn run(
    client: &mut Client,
    group: &GroupName,
    printer: &mut Printer<impl Write>,
) -> Result<(), CliError> {
    let answer = client.send(Call::get(format!("/v1/groups/{group}/explain"))).await?;
    if printer.format() != Format::Table {
        return printer.one(answer.text()?, &[]);
    }
    let explanation: Value = answer.json()?;
    let findings = explanation.get("findings").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let rows: Vec<String> = findings.iter().map(Value::to_string).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    printer.page(&rows, &COLUMNS)?;
    let left_out = explanation.get("left_out").and_then(Value::as_u64).unwrap_or(0);
    if left_out > 0 {
        eprintln!("whimbrel: {left_out} more findings are left out");
    }
    Ok(())
}
