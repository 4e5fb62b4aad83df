//! The browser as a process.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::devtools::DevTools;
use super::page::Page;

/// Names under which distributions install it.
const NAMES: [&str; 5] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chromium-headless-shell"];

/// How long it may take to start on a busy machine.
const START: Duration = Duration::from_secs(90);

const MISSING: &str = "these tests drive a real browser, and Chromium is not installed: run \
                       `apt-get install --no-install-recommends chromium` as root, or name a Chromium in WHIMBREL_CHROMIUM";

/// Quiet, alone, and without a screen. `--no-sandbox`: root in a container has none; only our own pages are opened.
const FLAGS: [&str; 14] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-default-apps",
    "--force-color-profile=srgb",
    "--remote-debugging-port=0",
    "--lang=en-US",
];

/// A running Chromium with a profile of its own. Gone when this is dropped.
pub struct Browser {
    devtools: DevTools,
    _process: Child,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts one.
    pub async fn start() -> Browser {
        let profile = tempfile::tempdir().expect("a temporary directory");
        let mut process = Command::new(binary())
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            // Not everything that it writes outside its profile goes by that flag.
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Chromium starts");
        let stderr = process.stderr.take().expect("its stderr");
        let address = tokio::time::timeout(START, address(stderr)).await.expect("Chromium starts in time");
        let devtools = DevTools::connect(&address).await;
        Browser { devtools, _process: process, _profile: profile }
    }

    /// A new tab, as wide as a laptop, in light colours, with cookies and storage of its own.
    pub async fn page(&self) -> Page {
        let context = self.devtools.call(None, "Target.createBrowserContext", json!({})).await;
        let wanted = json!({"url": "about:blank", "browserContextId": context["browserContextId"]});
        let target = self.devtools.call(None, "Target.createTarget", wanted).await;
        let wanted = json!({"targetId": target["targetId"], "flatten": true});
        let attached = self.devtools.call(None, "Target.attachToTarget", wanted).await;
        Page::attach(self.devtools.clone(), attached["sessionId"].as_str().expect("a session")).await
    }
}

fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("WHIMBREL_CHROMIUM") {
        return PathBuf::from(named);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let candidates = NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.into_iter().find(|candidate| candidate.is_file()).expect(MISSING)
}

/// Where it listens, which it says on stderr; what it says behind that is read and dropped, so that it never waits.
async fn address(stderr: tokio::process::ChildStderr) -> String {
    let mut lines = BufReader::new(stderr).lines();
    let mut said = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some((_, address)) = line.split_once("DevTools listening on ") {
            let address = address.trim().to_owned();
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return address;
        }
        said.push(line);
    }
    panic!("Chromium ended: {}", said.join("\n"));
}
