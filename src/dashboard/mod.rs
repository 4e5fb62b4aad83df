//! Pages for people. A page is a plain struct of numbers, filled from the broker's views, and a template that shows it;
//! nothing here decides anything.
//!
//! A page is asked for with `GET` and is made anew each time; what changes something is a form (`form.rs`), which only
//! our own pages may send (`csrf.rs`). What strangers wrote goes through `visible.rs` and is escaped by the templates.
//! docs/DASHBOARD.md lists the pages, their bounds, and what they do not do.

mod assets;
mod clients;
mod contract;
mod csrf;
mod dead_letters;
mod desk;
mod docs;
mod fields;
mod form;
mod format;
mod gather;
mod jobs;
mod messages;
mod oops;
mod page;
mod scheduled;
mod status;
mod visible;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use crate::broker::Broker;
use desk::Desk;

pub use docs::{ProblemPage, docs_page};
pub use gather::About;
pub use page::RenderError;
pub use status::{GroupRow, NodeFacts, ROWS_MAX, StatusPage, TopicRow};

/// The pages and their static files, to merge into the node's router.
pub fn router<S: Clone + Send + Sync + 'static>(broker: Broker, about: About) -> Router<S> {
    let pages = Router::new()
        .route("/", get(status))
        .merge(messages::routes())
        .merge(dead_letters::routes())
        .merge(scheduled::routes())
        .merge(jobs::routes())
        .merge(clients::routes());
    page::guarded(pages.with_state(Desk::new(broker, about)).merge(assets::router()))
}

async fn status(State(desk): State<Desk>) -> Response {
    let shared = desk.clone();
    // Lag is counted from the index, and for groups with an SQL filter from the log.
    let page = desk.broker.look(move |broker| Ok(StatusPage::gather(broker, &shared.about).render())).await;
    page.map_or_else(|error| oops::failed(&error), page::respond)
}
