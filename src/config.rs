//! Every server option with its default.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::parse_duration;
use crate::observe::notify::Network;

mod alerting;
/// A TOML file, then the environment, then flags.
mod sources;

pub use sources::{ConfigError, Origin, Resolved, Setting, resolve};

/// Said at the end of `--help` of the commands that read settings.
pub const SOURCES: &str = "\
Every setting can also stand in the file of --config, under its name with _ instead of - (listen = \"127.0.0.1:9090\"),
and in the environment (WHIMBREL_LISTEN). Flags win over the environment, that wins over the file. An unknown name is an
error. `whimbrel config` prints what is in force, and where each setting comes from.
Exit codes: 0 stopped in order, 1 could not start or a fault, 2 wrong usage or settings.";

/// The smallest log segment: less would be mostly headers and footers.
const SEGMENT_BYTES_MIN: u64 = 4 << 10;

/// What `whimbrel serve` is told: settings, and a file with more of them.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeCommand {
    /// A TOML file with settings
    #[arg(long, env = "WHIMBREL_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The settings given as flags.
    #[command(flatten)]
    pub flags: ServeArgs,
}

/// Settings of `whimbrel serve`. Every default is visible here and in `--help`.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    /// Where to listen. Beyond loopback there is no access control yet, so `--insecure` must be said.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// The data directory; made when missing.
    #[arg(long, value_name = "DIR", default_value = "./data")]
    pub data: PathBuf,
    /// Accept that anyone who reaches a non-loopback address may read and write everything.
    #[arg(long, value_name = "YES", default_value_t = false, default_missing_value = "true", num_args = 0..=1)]
    #[arg(require_equals = true, action = clap::ArgAction::Set)]
    pub insecure: bool,
    /// Whether a missing topic is made when it is named.
    #[arg(long, value_name = "YES", default_value_t = true, action = clap::ArgAction::Set)]
    pub auto_create_topics: bool,
    /// Most idempotency keys remembered at a time, about 40 bytes each; beyond it a keyed request is told 503.
    #[arg(long, value_name = "N", default_value_t = 4_000_000)]
    pub idempotency_keys_max: usize,
    /// Longest wait that a receive may ask for, at most 60s; below 60s also the longest time and the default of a tail.
    #[arg(long, value_name = "DURATION", value_parser = wait, default_value = "60s")]
    pub max_wait: Duration,
    /// How long a write may take before its caller is told 503 (not submitted) or 504 (outcome unknown).
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    pub request_timeout: Duration,
    /// How long a stop waits for open requests.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    pub drain_timeout: Duration,
    /// Most open connections.
    #[arg(long, value_name = "N", value_parser = count, default_value = "16384")]
    pub max_connections: usize,
    /// Most open WebSockets, of all connections.
    #[arg(long, value_name = "N", value_parser = count, default_value = "10000")]
    pub max_sockets: usize,
    /// How long a connection may take to send its first byte, and each request its head.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    pub header_timeout: Duration,
    /// How long a connection may stay silent between requests.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "60s")]
    pub idle_timeout: Duration,
    /// How long one request body may take, and how long an answer may wait for a client that does not read it.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "60s")]
    pub transfer_timeout: Duration,
    /// How long a WebSocket client may read nothing while something waits for it.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    pub stall_timeout: Duration,
    /// An origin (`https://app.example.com`) whose pages may call this broker; none by default, several may be given.
    #[arg(long = "allowed-origin", value_name = "ORIGIN", value_parser = origin)]
    pub allowed_origins: Vec<String>,
    /// Size of a log segment, at least 4KiB.
    #[arg(long, value_name = "SIZE", value_parser = segment_bytes, default_value = "128MiB")]
    pub segment_bytes: u64,
    /// Take an image when the log since the last one holds this many bytes.
    #[arg(long, value_name = "SIZE", value_parser = bytes, default_value = "128MiB")]
    pub image_bytes: u64,
    /// Take an image when the log since the last one holds this many facts.
    #[arg(long, value_name = "N", default_value_t = 500_000)]
    pub image_facts: u64,
    /// How often the leader holds the rules of alerts against what it sees, 1s to 60s.
    #[arg(long, value_name = "DURATION", value_parser = alert_interval, default_value = "5s")]
    pub alert_interval: Duration,
    /// A network that notifications of alerts may go to although it is not public, such as 10.0.0.0/8 or 127.0.0.1;
    /// none by default, several may be given, with commas or one by one.
    #[arg(long, value_name = "NETWORK", value_delimiter = ',', value_parser = network)]
    pub webhook_allow: Vec<Network>,
    /// Where people reach this broker's pages, for the links in notifications; http:// and the address it listens on
    /// when it is empty.
    #[arg(long, value_name = "URL", value_parser = external_url, default_value = "")]
    pub external_url: String,
    /// How the log on standard error is written; `RUST_LOG` chooses what is in it.
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    pub log_format: String,
}

/// Reads a human duration for a flag.
fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map(Duration::from_millis)
}

/// Reads how many of something there may be. More than a million connections is a typing mistake.
fn count(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=1_000_000).contains(number));
    number.ok_or_else(|| "must be 1 to 1000000".to_owned())
}

/// Reads how often rules are evaluated. Seldom is no alert, and more often tells nobody anything sooner.
fn alert_interval(text: &str) -> Result<Duration, String> {
    let every = duration(text)?;
    let bounds = Duration::from_secs(1)..=Duration::from_secs(60);
    if bounds.contains(&every) { Ok(every) } else { Err("must be 1s to 60s".to_owned()) }
}

/// Reads where pages are reached, with or without a path in front of them; nothing is also an answer.
fn external_url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/[]%".contains(&byte);
    match rest {
        _ if text.is_empty() => Ok(String::new()),
        Some(host) if !host.is_empty() && host.bytes().all(is_plain) => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err("write it as https://mq.example.com, or with a path behind it".to_owned()),
    }
}

/// Reads a network.
fn network(text: &str) -> Result<Network, String> {
    text.parse()
}

/// Reads the longest wait: what a receive may ask for ends at 60 s, so more would be a promise that is not kept.
fn wait(text: &str) -> Result<Duration, String> {
    let wait = duration(text)?;
    if wait > Duration::from_secs(60) {
        return Err("a receive waits at most 60s".to_owned());
    }
    Ok(wait)
}

/// Reads an origin as browsers send it (RFC 6454, section 7): scheme, host, and a port that is not the scheme's own.
fn origin(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match rest {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ', '*']) => {
            Ok(text.to_owned())
        }
        _ => {
            Err("an origin is scheme://host or scheme://host:port, such as https://app.example.com"
                .to_owned())
        }
    }
}

/// Reads the size of a segment.
fn segment_bytes(text: &str) -> Result<u64, String> {
    let size = bytes(text)?;
    if size < SEGMENT_BYTES_MIN {
        return Err("a log segment has at least 4KiB".to_owned());
    }
    Ok(size)
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

    #[test]
    fn a_flag_that_could_not_be_kept_is_refused() {
        assert!(wait("60s").is_ok() && wait("61s").is_err());
        assert!(segment_bytes("4KiB").is_ok() && segment_bytes("4095").is_err());
        assert!(
            alert_interval("1s").is_ok()
                && alert_interval("999ms").is_err()
                && alert_interval("61s").is_err()
        );
        assert_eq!(external_url("https://a.example/mq/").as_deref(), Ok("https://a.example/mq"));
        assert_eq!(external_url("").as_deref(), Ok(""));
        for bad in ["a.example", "https://", "ftp://a", "https://a b", "https://a/?x", "javascript:1"] {
            assert!(external_url(bad).is_err(), "{bad}");
        }
        for good in ["https://app.example.com", "http://localhost:3000", "http://[::1]:8080"] {
            assert_eq!(origin(good).as_deref(), Ok(good));
        }
        for bad in ["", "*", "app.example.com", "https://", "https://a.example/", "https://*.example", "null"]
        {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}
