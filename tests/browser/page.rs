//! One tab: what a person does with it, and what it must not do.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::devtools::DevTools;

/// Longest time to wait for what a test waits for; only a failure takes this long.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is asked for.
const LOOK: Duration = Duration::from_millis(20);

const AXE: &str = include_str!("vendor/axe-core/axe.min.js");

/// A tab.
pub struct Page {
    devtools: DevTools,
    session: String,
    seen: Arc<Mutex<Seen>>,
}

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Media {
    /// Width and height of the window, in CSS pixels.
    pub window: (u32, u32),
    /// Dark colours are preferred.
    pub dark: bool,
}

impl Media {
    /// A laptop, light.
    pub const LIGHT: Media = Media { window: (1280, 800), dark: false };
    /// A laptop, dark.
    pub const DARK: Media = Media { window: (1280, 800), dark: true };
    /// A small phone, light.
    pub const PHONE: Media = Media { window: (360, 780), dark: false };
}

/// What the page did.
#[derive(Default)]
struct Seen {
    trouble: Vec<String>,
    requests: Vec<String>,
}

impl Seen {
    fn hear(&mut self, method: &str, told: &Value) {
        let trouble = match method {
            "Network.requestWillBeSent" => {
                self.requests.push(told["request"]["url"].as_str().unwrap_or_default().to_owned());
                return;
            }
            "Runtime.consoleAPICalled" if matches!(told["type"].as_str(), Some("error" | "assert")) => {
                format!("console: {}", told["args"])
            }
            "Runtime.exceptionThrown" => format!("exception: {}", told["exceptionDetails"]),
            "Log.entryAdded" if told["entry"]["level"] == "error" => {
                format!("log: {} {}", told["entry"]["text"], told["entry"]["url"])
            }
            "Audits.issueAdded" if told["issue"]["code"] == "ContentSecurityPolicyIssue" => {
                format!("policy: {}", told["issue"]["details"]["contentSecurityPolicyIssueDetails"])
            }
            "Page.javascriptDialogOpening" => format!("dialog: {}", told["message"]),
            _ => return,
        };
        self.trouble.push(trouble);
    }
}

impl Page {
    pub(super) async fn attach(devtools: DevTools, session: &str) -> Page {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let hearing = Arc::clone(&seen);
        devtools.listen(session, move |method, told| hearing.lock().expect("no panic").hear(method, told));
        let page = Page { devtools, session: session.to_owned(), seen };
        for domain in ["Page", "Runtime", "Network", "Log", "Audits"] {
            page.call(&format!("{domain}.enable"), json!({})).await;
        }
        page.look_as(Media::LIGHT).await;
        page
    }

    async fn call(&self, method: &str, parameters: Value) -> Value {
        self.devtools.call(Some(&self.session), method, parameters).await
    }

    /// Sets window and colours.
    pub async fn look_as(&self, media: Media) {
        let (width, height) = media.window;
        let mobile = width < 600;
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile});
        self.call("Emulation.setDeviceMetricsOverride", metrics).await;
        let scheme = if media.dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme},
                              {"name": "prefers-reduced-motion", "value": "reduce"}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features})).await;
    }

    /// Pages run no script from now on, or again.
    pub async fn forbid_script(&self, forbidden: bool) {
        self.call("Emulation.setScriptExecutionDisabled", json!({"value": forbidden})).await;
    }

    /// The policy of pages holds no more: what a page lets in would run.
    pub async fn ignore_policy(&self) {
        self.call("Page.setBypassCSP", json!({"enabled": true})).await;
    }

    /// Opens an address and waits until it has loaded.
    pub async fn open(&self, url: &str) {
        let opened = self.call("Page.navigate", json!({"url": url})).await;
        assert!(opened["errorText"].is_null(), "{url}: {}", opened["errorText"]);
        self.wait("the page has loaded", "document.readyState === 'complete'").await;
    }

    /// What an expression is worth; promises are waited for.
    pub async fn evaluate(&self, expression: &str) -> Value {
        match self.try_evaluate(expression).await {
            Ok(value) => value,
            Err(error) => panic!("{expression}: {error}"),
        }
    }

    async fn try_evaluate(&self, expression: &str) -> Result<Value, String> {
        let wanted = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.devtools.try_call(Some(&self.session), "Runtime.evaluate", wanted).await?;
        match answer.get("exceptionDetails") {
            Some(details) => Err(details.to_string()),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    /// Waits until an expression is true. A page that is just being replaced is asked again.
    pub async fn wait(&self, what: &str, expression: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            let found = self.try_evaluate(expression).await;
            if found.as_ref().is_ok_and(|value| *value == json!(true)) {
                return;
            }
            if Instant::now() >= until {
                let text = self.try_evaluate("location.href + '\\n' + document.body.innerText").await;
                panic!("waited for {what}; {found:?}\n{}", text.unwrap_or_default());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until something matches a selector.
    pub async fn wait_for(&self, selector: &str) {
        self.wait(selector, &format!("document.querySelector({}) !== null", json!(selector))).await;
    }

    /// Waits until the text that people see in a place holds `text`.
    pub async fn wait_for_text(&self, selector: &str, text: &str) {
        let seen = format!("(document.querySelector({})?.innerText ?? '')", json!(selector));
        self.wait(&format!("'{text}' in {selector}"), &format!("{seen}.includes({})", json!(text))).await;
    }

    /// The text that people see in a place.
    pub async fn text(&self, selector: &str) -> String {
        self.wait_for(selector).await;
        let text = self.evaluate(&format!("document.querySelector({}).innerText", json!(selector))).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// How many elements match.
    pub async fn count(&self, selector: &str) -> u64 {
        let count = self.evaluate(&format!("document.querySelectorAll({}).length", json!(selector))).await;
        count.as_u64().expect("a number")
    }

    /// Clicks in the middle of an element, as a mouse does: what covers it gets the click.
    pub async fn click(&self, selector: &str) {
        self.wait_for(selector).await;
        let middle = format!(
            "(() => {{ const it = document.querySelector({}); it.scrollIntoView({{block: 'center', behavior: 'instant'}}); \
             const box = it.getBoundingClientRect(); \
             return box.width > 0 && [box.x + box.width / 2, box.y + box.height / 2]; }})()",
            json!(selector)
        );
        let middle = self.evaluate(&middle).await;
        assert!(middle.is_array(), "{selector} cannot be seen");
        for (kind, buttons) in [("mousePressed", 1), ("mouseReleased", 0)] {
            let event = json!({"type": kind, "x": middle[0], "y": middle[1], "button": "left",
                               "buttons": buttons, "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event).await;
        }
    }

    /// Clicks on what leads to another page, and waits until that has loaded.
    pub async fn follow(&self, selector: &str) {
        self.wait_for(selector).await;
        self.evaluate("window.beforeFollow = true").await;
        self.click(selector).await;
        let arrived = "window.beforeFollow !== true && document.readyState === 'complete'";
        self.wait(&format!("a page behind {selector}"), arrived).await;
    }

    /// Replaces what stands in a field.
    pub async fn fill(&self, selector: &str, text: &str) {
        self.wait_for(selector).await;
        let ready = format!(
            "(() => {{ const it = document.querySelector({}); it.focus(); it.select(); }})()",
            json!(selector)
        );
        self.evaluate(&ready).await;
        if text.is_empty() {
            self.press("Delete", 46).await;
        } else {
            self.call("Input.insertText", json!({"text": text})).await;
        }
    }

    /// Chooses one of a list by its value.
    pub async fn choose(&self, selector: &str, value: &str) {
        self.wait_for(selector).await;
        let choose = format!("document.querySelector({}).value = {}", json!(selector), json!(value));
        self.evaluate(&choose).await;
    }

    /// Presses a key; for letters the code is that of the capital.
    pub async fn press(&self, key: &str, code: u32) {
        let mut down = json!({"type": "keyDown", "key": key, "windowsVirtualKeyCode": code});
        if key.chars().count() == 1 {
            down["text"] = key.into();
        }
        self.call("Input.dispatchKeyEvent", down).await;
        let up = json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code});
        self.call("Input.dispatchKeyEvent", up).await;
    }

    /// Writes what the whole page looks like, as PNG.
    pub async fn screenshot(&self, path: &Path) {
        let wanted = json!({"format": "png", "captureBeyondViewport": true});
        let shot = self.call("Page.captureScreenshot", wanted).await;
        let png = STANDARD.decode(shot["data"].as_str().expect("a picture")).expect("base64");
        std::fs::write(path, png).expect("a place for the picture");
    }

    /// What axe-core finds that keeps people out, one line each: findings of the impact serious or critical. Every rule
    /// of WCAG 2.2 up to AA is asked, and what axe-core calls best practice.
    pub async fn axe(&self) -> Vec<String> {
        // Told over DevTools, which no policy of the page concerns. Its last value cannot be sent back.
        self.evaluate(&format!("if (typeof axe === 'undefined') {{ {AXE} }}; true")).await;
        let run = "axe.run(document, {resultTypes: ['violations']}).then(found => found.violations\
                   .filter(rule => rule.impact === 'serious' || rule.impact === 'critical')\
                   .flatMap(rule => rule.nodes.map(node => rule.id + ': ' + node.target.join(' ') + ': ' \
                   + node.html.slice(0, 200) + ': ' + node.any.concat(node.all).map(check => check.message).join('; '))))";
        let found = self.evaluate(run).await;
        found
            .as_array()
            .expect("findings")
            .iter()
            .map(|one| one.as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// By how many pixels the page is wider than its window.
    pub async fn overflow(&self) -> i64 {
        let wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        self.evaluate(wider).await.as_i64().expect("a number")
    }

    /// Takes what the page did that it must not do; the test says that it knows.
    pub fn take_trouble(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().expect("no panic").trouble)
    }

    /// Fails when the page did anything that it must not do, or sent a request anywhere but to `origin`.
    pub fn assert_clean(&self, origin: &str) {
        let seen = self.seen.lock().expect("no panic");
        assert!(seen.trouble.is_empty(), "trouble:\n{}", seen.trouble.join("\n"));
        let own = |url: &&String| {
            url.strip_prefix(origin).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
        };
        let foreign: Vec<&String> = seen.requests.iter().filter(|url| !own(url)).collect();
        assert!(foreign.is_empty(), "requests to elsewhere: {foreign:?}");
        assert!(!seen.requests.is_empty(), "no request was seen at all");
    }

    /// The addresses that were asked for so far.
    pub fn requests(&self) -> Vec<String> {
        self.seen.lock().expect("no panic").requests.clone()
    }
}
