use std::io::IsTerminal;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::CliError;
use super::output::{Format, OutputArgs};

/// The answer to a receive.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Received {
    /// Each as the broker wrote it; [`Delivered::read`] reads what a consumer needs.
    pub(crate) messages: Vec<Box<RawValue>>,
    pub(crate) paused: bool,
}

/// What is needed of a message: its body, and the receipt when it is leased.
#[derive(Debug, Deserialize)]
pub(crate) struct Delivered {
    body: Box<RawValue>,
    #[serde(default)]
    encoding: String,
    #[serde(default)]
    pub(crate) receipt: String,
}

/// The answer to a settle.
#[derive(Debug, Deserialize)]
pub(crate) struct Settled {
    results: Vec<SettleResult>,
}

#[derive(Debug, Deserialize)]
struct SettleResult {
    status: String,
}

impl Settled {
    /// How many receipts were no good any more: their messages come again.
    pub(crate) fn late(&self) -> u64 {
        let late = |result: &&SettleResult| !matches!(result.status.as_str(), "ok" | "already");
        self.results.iter().filter(late).count() as u64
    }
}

impl Delivered {
    /// Reads one message of a [`Received`].
    pub(crate) fn read(message: &RawValue) -> Result<Delivered, CliError> {
        serde_json::from_str(message.get()).map_err(CliError::odd)
    }

    /// The body as it was sent.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, CliError> {
        let odd = |why: String| CliError::Failed(format!("a body cannot be read: {why}"));
        if self.encoding == "json" {
            return Ok(self.body.get().as_bytes().to_vec());
        }
        let text: String = serde_json::from_str(self.body.get()).map_err(|error| odd(error.to_string()))?;
        match self.encoding.as_str() {
            "" | "utf8" => Ok(text.into_bytes()),
            "base64" => STANDARD.decode(text).map_err(|error| odd(error.to_string())),
            other => Err(odd(format!("unknown encoding '{}'", other.escape_debug()))),
        }
    }
}

/// How bodies are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Byte for byte.
    Bytes,
    /// Control characters made visible, so that a body cannot play with the terminal.
    Terminal,
    /// The whole message as the broker wrote it, one JSON object a line.
    Json,
}

impl Style {
    /// What is asked for, on standard output as it is.
    pub(crate) fn of(output: OutputArgs) -> Style {
        match output.format {
            Format::Json | Format::Ndjson => Style::Json,
            Format::Table if std::io::stdout().is_terminal() => Style::Terminal,
            Format::Table => Style::Bytes,
        }
    }
}

/// Writes a whole message as JSON.
pub(crate) fn write_json(out: &mut Vec<u8>, message: &str) {
    // One a line, whatever a proxy made of it: a line end inside JSON text is always escaped.
    out.extend(message.bytes().filter(|byte| *byte != b'\n'));
    out.push(b'\n');
}

/// Writes a body, and a line end behind it.
pub(crate) fn write_body(out: &mut Vec<u8>, body: &[u8], style: Style) {
    match style {
        Style::Bytes | Style::Json => out.extend_from_slice(body),
        Style::Terminal => {
            for character in String::from_utf8_lossy(body).chars() {
                if character.is_control() && !matches!(character, '\n' | '\t') {
                    out.extend(character.escape_default().map(|c| u8::try_from(c).unwrap_or(b'?')));
                } else {
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
    }
    out.push(b'\n');
}
