use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::CliError;

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
