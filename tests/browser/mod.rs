//! A real browser for tests: headless Chromium, told what to do over the DevTools protocol
//! (<https://chromedevtools.github.io/devtools-protocol/>), with real clicks and real keys.
//!
//! A [`Page`] notes everything that no page of the dashboard may do: messages of the level "error" on the console,
//! exceptions, violations of the Content Security Policy, dialogs, requests to another origin. [`Page::assert_clean`]
//! fails the test when there was any. Waiting is bounded and never sleeps blindly: what is waited for is asked for
//! until it is there.

// Every target that includes this folder uses a part of it.
#![allow(dead_code, unreachable_pub)]

mod chromium;
mod devtools;
mod page;

pub use chromium::Browser;
pub use page::{Media, Page};
