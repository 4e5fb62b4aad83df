use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use serde_json::Value;

use super::error::CliError;
use crate::model::write_duration;

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns or lines for people; may change
    Table,
    /// One JSON value, as the broker answered it
    Json,
    /// One JSON value a line
    Ndjson,
}

/// The flag of every command that prints an answer.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct OutputArgs {
    /// How to print the answer
    #[arg(short = 'o', long = "output", value_enum, default_value = "table", value_name = "FORMAT")]
    pub format: Format,
}

impl OutputArgs {
    /// Whether a program reads the output.
    pub(crate) fn is_json(self) -> bool {
        self.format != Format::Table
    }
}

/// One column of a table, or one line of a single thing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    title: &'static str,
    cell: fn(&Value) -> String,
}

impl Column {
    /// A column; `cell` reads what it shows out of the broker's JSON.
    pub(crate) const fn new(title: &'static str, cell: fn(&Value) -> String) -> Column {
        Column { title, cell }
    }
}

/// A field as a cell: text as it is, numbers and truths as JSON, a missing one or null as `-`.
pub(crate) fn cell(value: &Value, name: &str) -> String {
    match value.get(name) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => visible(text),
        Some(other) => other.to_string(),
    }
}

/// The keys of a message.
pub(crate) fn keys(message: &Value) -> String {
    let keys = message.get("keys").and_then(Value::as_array).into_iter().flatten();
    let keys: Vec<String> = keys.filter_map(Value::as_str).map(visible).collect();
    if keys.is_empty() { "-".to_owned() } else { keys.join(",") }
}

/// A field of milliseconds as people write it: `3d`, `1h30m`, `250ms`.
pub(crate) fn span(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_u64).map_or_else(|| "-".to_owned(), write_duration)
}

/// Text without anything that could play with a terminal or break a row: control characters are escaped.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() { shown.extend(character.escape_default()) } else { shown.push(character) }
    }
    shown
}

/// Whether standard output is a terminal whose reader wants emphasis (<https://no-color.org>).
pub(crate) fn wants_colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    !refused && !dumb && std::io::stdout().is_terminal()
}

/// Where answers go, and how.
#[derive(Debug)]
pub(crate) struct Printer<W> {
    out: W,
    format: Format,
    colour: bool,
    /// Widths of the columns so far.
    widths: Vec<usize>,
    rows: u64,
}

impl Printer<std::io::Stdout> {
    /// To standard output.
    pub(crate) fn stdout(args: OutputArgs) -> Printer<std::io::Stdout> {
        Printer { colour: wants_colour(), ..Printer::new(std::io::stdout(), args.format) }
    }
}

impl<W: Write> Printer<W> {
    /// To `out`, without colours.
    pub(crate) fn new(out: W, format: Format) -> Printer<W> {
        Printer { out, format, colour: false, widths: Vec::new(), rows: 0 }
    }

    /// What is asked for.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// One thing that the broker answered: in a table one line a field, else its JSON.
    pub(crate) fn one(&mut self, json: &str, fields: &[Column]) -> Result<(), CliError> {
        if self.format != Format::Table {
            return self.line(&one_line(json));
        }
        let value = parse(json)?;
        let width = fields.iter().map(|field| field.title.len()).max().unwrap_or(0);
        for field in fields {
            let title = self.bold(&format!("{:width$}", field.title));
            let text = (field.cell)(&value);
            self.line(&format!("{title}  {text}"))?;
        }
        Ok(())
    }

    /// Something that was done: `said` in a table, else the JSON.
    pub(crate) fn done(&mut self, said: &str, json: &str) -> Result<(), CliError> {
        let text = if self.format == Format::Table { said.to_owned() } else { one_line(json) };
        self.line(&text)
    }

    /// The body of a message under the fields of [`Printer::one`]; only in a table, as JSON holds it already.
    pub(crate) fn body(&mut self, message: &Value) -> Result<(), CliError> {
        if self.format != Format::Table {
            return Ok(());
        }
        self.line(&format!("body ({})", cell(message, "encoding")))?;
        for line in message.get("body").and_then(Value::as_str).unwrap_or_default().lines() {
            self.line(&format!("  {}", visible(line)))?;
        }
        Ok(())
    }

    /// Begins a list that is `plural` in JSON.
    pub(crate) fn begin(&mut self, plural: &str) -> Result<(), CliError> {
        match self.format {
            Format::Json => self.line(&format!("{{\"{plural}\":[")),
            Format::Table | Format::Ndjson => Ok(()),
        }
    }

    /// The next page of a list.
    pub(crate) fn page(&mut self, rows: &[&str], columns: &[Column]) -> Result<(), CliError> {
        if self.format == Format::Table {
            return self.table(rows, columns);
        }
        for row in rows {
            let comma = if self.format == Format::Json && self.rows > 0 { "," } else { "" };
            self.line(&format!("{comma}{}", one_line(row)))?;
            self.rows += 1;
        }
        Ok(())
    }

    /// Ends the list; `next_cursor` says that there is more.
    pub(crate) fn end(&mut self, next_cursor: Option<&str>) -> Result<(), CliError> {
        match self.format {
            Format::Json => self.line(&format!("],\"next_cursor\":{}}}", Value::from(next_cursor))),
            Format::Table | Format::Ndjson => Ok(()),
        }
    }

    /// Rows under their titles. Later pages keep the widths of earlier ones unless something is wider.
    fn table(&mut self, rows: &[&str], columns: &[Column]) -> Result<(), CliError> {
        let mut lines: Vec<Vec<String>> = Vec::with_capacity(rows.len());
        for row in rows {
            let value = parse(row)?;
            lines.push(columns.iter().map(|column| (column.cell)(&value)).collect());
        }
        let titles: Vec<String> = columns.iter().map(|column| column.title.to_uppercase()).collect();
        self.widths.resize(columns.len(), 0);
        for line in lines.iter().chain([&titles]) {
            for (width, cell) in self.widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        if self.rows == 0 {
            let titles = self.padded(&titles);
            let titles = self.bold(&titles);
            self.line(&titles)?;
        }
        for line in &lines {
            let line = self.padded(line);
            self.line(&line)?;
        }
        self.rows += rows.len() as u64;
        Ok(())
    }

    fn padded(&self, cells: &[String]) -> String {
        let padded: Vec<String> = cells
            .iter()
            .zip(&self.widths)
            .map(|(cell, width)| format!("{cell:<width$}", width = *width))
            .collect();
        padded.join("  ").trim_end().to_owned()
    }

    fn bold(&self, text: &str) -> String {
        if self.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Writes one line and hands it on at once.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), CliError> {
        let written = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
        written.map_err(CliError::io("writing to standard output"))
    }
}

fn parse(json: &str) -> Result<Value, CliError> {
    serde_json::from_str(json).map_err(CliError::odd)
}

/// The broker writes JSON without line ends; a proxy that pretties it must not break the lines of NDJSON.
fn one_line(json: &str) -> String {
    match json.contains('\n').then(|| serde_json::from_str::<Value>(json)) {
        Some(Ok(value)) => value.to_string(),
        _ => json.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 2] =
        [Column::new("name", |row| cell(row, "name")), Column::new("age", |row| span(row, "age_ms"))];

    fn printed(format: Format) -> String {
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, format);
        printer.begin("things").unwrap();
        printer.page(&[r#"{"name":"a\nb","age_ms":90000}"#], &COLUMNS).unwrap();
        printer.page(&["{\"name\":\n\"longer name\"}"], &COLUMNS).unwrap();
        printer.end(None).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_list_in_each_format() {
        assert_eq!(printed(Format::Table), "NAME  AGE\na\\nb  1m30s\nlonger name  -\n");
        let lines = "{\"name\":\"a\\nb\",\"age_ms\":90000}\n{\"name\":\"longer name\"}\n";
        assert_eq!(printed(Format::Ndjson), lines);
        let value: Value = serde_json::from_str(&printed(Format::Json)).unwrap();
        assert_eq!(value["things"][1]["name"], "longer name");
    }

    #[test]
    fn one_thing_in_each_format() {
        let print = |format| {
            let mut out = Vec::new();
            Printer::new(&mut out, format).one(r#"{"name":"a","age_ms":0}"#, &COLUMNS).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(print(Format::Table), "name  a\nage   0s\n");
        assert_eq!(print(Format::Json), "{\"name\":\"a\",\"age_ms\":0}\n");
    }
}
