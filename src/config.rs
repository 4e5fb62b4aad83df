//! Every server option with its default.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::parse_duration;

/// Options of `whimbrel serve`. Every default is visible here and in `--help`.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    /// Where to listen. Beyond loopback there is no access control yet, so `--insecure` must be said.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// The data directory; made when missing.
    #[arg(long, default_value = "./data")]
    pub data: PathBuf,
    /// Accept that anyone who reaches a non-loopback address may read and write everything.
    #[arg(long)]
    pub insecure: bool,
    /// Whether a missing topic is made when it is named.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub auto_create_topics: bool,
    /// Longest wait of a receive.
    #[arg(long, value_parser = duration, default_value = "60s")]
    pub max_wait: Duration,
    /// How long a write may take before its caller is told 503 (not submitted) or 504 (outcome unknown).
    #[arg(long, value_parser = duration, default_value = "30s")]
    pub request_timeout: Duration,
    /// How long a stop waits for open requests.
    #[arg(long, value_parser = duration, default_value = "10s")]
    pub drain_timeout: Duration,
    /// Most open connections.
    #[arg(long, default_value_t = 16_384)]
    pub max_connections: usize,
    /// How long a connection may take to send its first byte, and each request its head.
    #[arg(long, value_parser = duration, default_value = "10s")]
    pub header_timeout: Duration,
    /// How long a connection may stay silent between requests.
    #[arg(long, value_parser = duration, default_value = "60s")]
    pub idle_timeout: Duration,
    /// Origins (`scheme://host:port`) that browsers may call from; none by default.
    #[arg(long = "allowed-origin")]
    pub allowed_origins: Vec<String>,
    /// Size of a log segment.
    #[arg(long, value_parser = bytes, default_value = "128MiB")]
    pub segment_bytes: u64,
    /// Take an image when the log since the last one holds this many bytes.
    #[arg(long, value_parser = bytes, default_value = "128MiB")]
    pub image_bytes: u64,
    /// Take an image when the log since the last one holds this many facts.
    #[arg(long, default_value_t = 500_000)]
    pub image_facts: u64,
    /// Log format: text or json.
    #[arg(long, default_value = "text", value_parser = ["text", "json"])]
    pub log_format: String,
}

/// Starts logging to standard error. `RUST_LOG` chooses what is shown; `info` when it is not set.
pub fn start_logging(format: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,openraft=warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call (tests start several nodes in one process) keeps the first.
    let _ = if format == "json" { builder.json().try_init() } else { builder.try_init() };
}

/// Reads a human duration for a flag.
fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map(Duration::from_millis)
}

/// Reads a size with a binary unit: `4096`, `64KiB`, `128MiB`, `1GiB`.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("write a size such as 4096, 64KiB, 128MiB or 1GiB".to_owned()),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| "write a size such as 4096, 64KiB, 128MiB or 1GiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_with_binary_units() {
        assert_eq!(bytes("128MiB"), Ok(134_217_728));
        assert_eq!(bytes("4096"), Ok(4_096));
        for bad in ["", "MiB", "1MB", "1.5GiB", "99999999999GiB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
