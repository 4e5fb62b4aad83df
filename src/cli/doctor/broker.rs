use std::time::{Duration, Instant};

use hyper::header::DATE;
use serde::Deserialize;

use super::Row;
use crate::cli::ConnectArgs;
use crate::cli::error::CliError;
use crate::cli::http::{Answer, BaseUrl, Call, Client};

/// Clocks that differ by more are worth a word; `Date` itself is only exact to the second.
const SKEW_WARNED: Duration = Duration::from_secs(5);
/// Clocks that differ by more make schedules and times in answers useless.
const SKEW_FAILED: Duration = Duration::from_secs(3_600);

/// What `/readyz?verbose` answers, as far as it is of interest.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Readiness {
    checks: Vec<Check>,
}

#[derive(Debug, Deserialize)]
struct Check {
    name: String,
    passed: bool,
    found: String,
}

#[derive(Debug, Deserialize)]
struct Version {
    version: String,
}

/// Asks every address.
pub(super) async fn examine(connect: &ConnectArgs) -> Vec<Row> {
    let mut rows = Vec::new();
    for url in connect.url.all() {
        rows.extend(examine_one(url, connect.timeout).await);
    }
    rows
}

async fn examine_one(url: &BaseUrl, timeout: Duration) -> Vec<Row> {
    const MEANS: &str = "Without an answer nothing can be sent or received at this address.";
    const FIX: &str = "whimbrel serve    (or name the right address: whimbrel doctor --url http://HOST:PORT)";
    let mut client = Client::new(url.clone().into(), timeout);
    let asked = Instant::now();
    let answer = match client.send(Call::get("/v1/version")).await {
        Ok(answer) => answer,
        Err(CliError::Unreachable { url, reason }) => {
            return vec![Row::new("reach", format!("{url}: {reason}"), MEANS, FIX).failed_if(true)];
        }
        Err(error) => return vec![Row::new("reach", error.to_string(), MEANS, FIX).failed_if(true)],
    };
    let took = asked.elapsed().as_secs_f64() * 1e3;
    let mut rows = vec![Row::new("reach", format!("{url} answers in {took:.1} ms"), MEANS, FIX)];
    rows.push(version(&answer));
    rows.extend(clock(&answer));
    match readiness(&mut client).await {
        Ok(readiness) => rows.extend(readiness.checks.iter().map(of_the_broker)),
        Err(error) => {
            let means = "Nobody can say whether the broker takes work.";
            let fix =
                "whimbrel doctor --url http://HOST:PORT    (is this really a broker, or a proxy before one?)";
            rows.push(Row::new("ready", error.to_string(), means, fix).failed_if(true));
        }
    }
    rows
}

/// A broker that is not ready answers 503, with its checks all the same.
async fn readiness(client: &mut Client) -> Result<Readiness, CliError> {
    match client.exchange(Call::get("/readyz?verbose")).await? {
        answer if matches!(answer.status, 200 | 503) => answer.json(),
        answer => Err(CliError::Failed(format!("/readyz answered {}", answer.status))),
    }
}

fn version(answer: &Answer) -> Row {
    let own = env!("CARGO_PKG_VERSION");
    let broker = answer.json::<Version>().map_or_else(|_| "unknown".to_owned(), |version| version.version);
    let same = broker == own;
    let found =
        if same { format!("both are {own}") } else { format!("this is {own}, the broker is {broker}") };
    let means = "A client of another version may not know what the broker knows, or ask for what it refuses.";
    Row::new(
        "version",
        found,
        means,
        format!("whimbrel --version    (install {broker} here, or {own} there)"),
    )
    .warned_if(!same)
}

/// The broker's clock against ours, from the `Date` of its answer (RFC 9110, section 6.6.1).
fn clock(answer: &Answer) -> Option<Row> {
    let date = answer.headers.get(DATE)?.to_str().ok()?;
    let broker = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    Some(clock_row(jiff::Timestamp::now().as_millisecond().abs_diff(broker.as_millisecond())))
}

fn clock_row(skew_ms: u64) -> Row {
    let skew = Duration::from_millis(skew_ms);
    let found = match skew {
        skew if skew > SKEW_WARNED => format!("the broker's clock and ours differ by {} s", skew.as_secs()),
        _ => "the broker's clock and ours agree".to_owned(),
    };
    let means = "Times that are given (deliver at, seek) and times that are shown are the broker's.";
    Row::new("skew", found, means, "timedatectl set-ntp true    (on the host that is wrong)")
        .failed_if(skew > SKEW_FAILED)
        .warned_if(skew > SKEW_WARNED)
}

/// A check that the broker made itself, with what it means to people.
fn of_the_broker(check: &Check) -> Row {
    let (means, fix) = match check.name.as_str() {
        "serving" => (
            "Work is taken only while the node leads and serves; everything else gets 503.",
            "whimbrel doctor --ready    (again, until it has recovered; its log says what it is doing)",
        ),
        "disk" => (
            "When free space falls under the reserve producers are refused (507); consumers go on.",
            "df -h    (give the data directory more space, or whimbrel topic delete TOPIC --force)",
        ),
        "index" => (
            "Messages are found through the index; what is not in it yet is delivered later.",
            "stop the broker, rm -r DATA/index, start it again    (the index is made anew from the log)",
        ),
        "clock" => (
            "Log time follows the host's clock only slowly, so schedules and TTL are off until it has caught up.",
            "timedatectl set-ntp true",
        ),
        "log" => (
            "A record does not match its checksum. It is never served; what else it holds is safe.",
            "stop the broker, cp -a DATA DATA.damaged, and read docs/STORAGE.md before anything else",
        ),
        "held" => (
            "These live in memory. At the bound schedules are refused (503) and no group looks at new messages.",
            "whimbrel group list    (settle; or whimbrel dlq redrive GROUP --all; or whimbrel dlq purge GROUP)",
        ),
        "images" => (
            "A damaged image is not used; the next start reads more of the log and takes longer.",
            "smartctl -H /dev/DISK    (a disk that damages one file damages others)",
        ),
        _ => (
            "A check that this version of the client does not know.",
            "whimbrel --version    (and update it)",
        ),
    };
    let row = Row::new(&check.name, check.found.as_str(), means, fix);
    // Only these two leave the promises whole.
    let harmless = matches!(check.name.as_str(), "clock" | "images");
    row.failed_if(!check.passed && !harmless).warned_if(!check.passed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Verdict;
    use crate::cli::tests::FakeBroker;

    async fn rows(status: u16, checks: &'static str) -> Vec<Row> {
        let broker = FakeBroker::start(move |seen| match seen.path.as_str() {
            "/v1/version" => (200, format!(r#"{{"version":"{}"}}"#, env!("CARGO_PKG_VERSION"))),
            _ => (status, format!(r#"{{"ready":false,"checks":[{checks}]}}"#)),
        })
        .await;
        examine_one(&broker.url.parse().unwrap(), Duration::from_secs(5)).await
    }

    #[tokio::test]
    async fn a_broker_that_is_not_ready_says_why() {
        let checks = r#"{"name":"serving","passed":false,"found":"starting"},{"name":"images","passed":false,"found":"x"},
            {"name":"held","passed":false,"found":"all"},{"name":"new","passed":true,"found":"y"}"#;
        let rows = rows(503, checks).await;
        let verdicts: Vec<(&str, Verdict)> =
            rows.iter().map(|row| (row.check.as_str(), row.verdict)).collect();
        let expected = [
            ("reach", Verdict::Ok),
            ("version", Verdict::Ok),
            ("skew", Verdict::Ok),
            ("serving", Verdict::Failed),
            ("images", Verdict::Warning),
            ("held", Verdict::Failed),
            ("new", Verdict::Ok),
        ];
        assert_eq!(verdicts, expected);
        let unknown = rows.iter().filter(|row| row.means.contains("does not know"));
        assert_eq!(unknown.map(|row| row.check.as_str()).collect::<Vec<_>>(), ["new"]);
    }

    #[tokio::test]
    async fn what_is_no_broker_is_said() {
        assert_eq!(rows(404, "").await.last().unwrap().check, "ready");
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = format!("http://{free}").parse().unwrap();
        let rows = examine_one(&url, Duration::from_secs(5)).await;
        assert_eq!((rows.len(), rows[0].verdict), (1, Verdict::Failed));
    }

    #[test]
    fn clocks_may_differ_a_little() {
        let verdict = |seconds: u64| clock_row(seconds * 1_000).verdict;
        assert_eq!(
            [verdict(5), verdict(6), verdict(3_601)],
            [Verdict::Ok, Verdict::Warning, Verdict::Failed]
        );
    }
}
