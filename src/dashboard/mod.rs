//! Pages for people. A page is a plain struct, filled from the broker's views, and a template that shows it; nothing
//! here decides anything.
//!
//! # How to add a page
//! 1. `src/dashboard/thing.rs`: a struct with `frame: Frame` and what the page shows, its template beside it in
//!    `templates/thing.html` (`{% extends "layout.html" %}`, its parts from `macros.html`), and a handler
//!    `async fn show(State(desk): State<Desk>, visit: Visit)` that ends in `visit.show(&desk, Section::…,
//!    |broker, frame, visit| …)`. The closure runs where reading the index and the log may block, and asks the
//!    broker's views: pages never call the HTTP interface of their own node. What needs no such place is answered with
//!    `visit.page(&Template { frame: visit.frame(&desk, Section::…), … })`, and what cannot be shown with
//!    `visit.oops(&desk, …)`.
//! 2. Its route in [`router`], and when the navigation is to list it, a line in `frame::SECTIONS`.
//! 3. Its texts in a table of their own in `words/`, named in the test there.
//! 4. What it shows of time and numbers goes through the filters of `format`, so that it looks the same everywhere, and
//!    an unknown number is "–" and never 0. Texts of strangers go through `visible`.
//!
//! # How to add a form
//! The template puts `{% call m::token(frame) %}` into it. The handler takes a `Form`, which only arrives when it was
//! sent from a page of ours (`csrf`); when it is done it answers `form.visit.lead_on(path, note)`, and when it cannot
//! be done it shows the page again (`Visit::again`) with what was filled in and what is wrong. What destroys
//! something asks for its name (`m::confirm`).
//!
//! # Script
//! Everything works without. A part of a page that is marked `live` is fetched anew while somebody looks at it.
//!
//! docs/DASHBOARD.md lists the pages, their bounds, and what they do not do.

mod alerts;
mod assets;
mod chart;
mod clients;
mod config;
mod contract;
mod csrf;
mod dead_letters;
mod desk;
mod docs;
mod fields;
mod find;
mod form;
mod format;
mod frame;
mod gather;
mod jobs;
mod messages;
mod objects;
mod oops;
mod overview;
mod page;
mod runbooks;
mod scheduled;
mod settings;
mod visible;
mod visit;
mod words;

use axum::Router;
use axum::routing::get;

use crate::broker::Broker;
use desk::Desk;

pub use docs::{ProblemPage, docs_page};
pub use gather::{About, SettingShown};
pub use page::RenderError;

/// The pages and their static files, to merge into the node's router.
pub fn router<S: Clone + Send + Sync + 'static>(broker: Broker, about: About) -> Router<S> {
    let pages = Router::new()
        .route("/", get(overview::show))
        .route("/config", get(config::show))
        .route("/search", get(find::show))
        .route("/runbooks/{rule}", get(runbooks::show))
        .merge(objects::routes())
        .merge(alerts::routes())
        .merge(messages::routes())
        .merge(dead_letters::routes())
        .merge(scheduled::routes())
        .merge(jobs::routes())
        .merge(clients::routes());
    page::guarded(pages.with_state(Desk::new(broker, about)).merge(assets::router()))
}
