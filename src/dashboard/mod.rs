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
//! sent from a page of ours (`csrf`); when it is done it answers `form.visit.lead_on(path)`, and when it cannot
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
mod editor;
mod fields;
mod find;
mod form;
mod format;
mod frame;
mod gather;
mod jobs;
mod messages;
mod named;
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
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use crate::broker::Broker;
use desk::Desk;

pub use docs::{ProblemPage, docs_page};
pub use gather::{About, SettingShown};
pub use page::RenderError;

/// The pages and their static files, to merge into the node's router. `secret` seals the forms: the same one after a
/// restart takes those that were open.
pub fn router<S: Clone + Send + Sync + 'static>(broker: Broker, about: About, secret: [u8; 32]) -> Router<S> {
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
        .merge(clients::routes())
        .method_not_allowed_fallback(elsewhere);
    page::guarded(pages.with_state(Desk::new(broker, about, secret)).merge(assets::router()))
}

/// Whoever opens the address that a form was sent to (it stands in the browser's line after a form that was refused or
/// only looked at) comes to the page of what the form is about.
async fn elsewhere(method: Method, uri: Uri) -> Response {
    if method == Method::GET {
        return Redirect::to(page_above(uri.path())).into_response();
    }
    StatusCode::METHOD_NOT_ALLOWED.into_response()
}

fn page_above(path: &str) -> &str {
    // Of these only the list has a page.
    const LISTS: [&str; 4] = ["/alerts/silences", "/alerts/deliveries", "/alerts/receivers", "/clients"];
    let above = path.rsplit_once('/').map_or("/", |(above, _)| above);
    match LISTS.into_iter().find(|list| path.starts_with(list)) {
        Some(list) => list,
        None if path == "/alerts/routing" => "/alerts/receivers",
        None if above.is_empty() => "/",
        None => above,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_form_was_sent_leads_to_a_page() {
        for (sent, page) in [
            ("/topics/orders/settings", "/topics/orders"),
            ("/dead-letters/g/redrive", "/dead-letters/g"),
            ("/alerts/rules/Lag/settings", "/alerts/rules/Lag"),
            ("/alerts/silences/7/end", "/alerts/silences"),
            ("/alerts/receivers/ops/test", "/alerts/receivers"),
            ("/alerts/routing", "/alerts/receivers"),
            ("/messages/saved", "/messages"),
            ("/clients/5/disconnect", "/clients"),
        ] {
            assert_eq!(page_above(sent), page);
        }
    }
}
