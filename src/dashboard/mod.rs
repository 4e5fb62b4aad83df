//! Pages for people. A page is a plain struct of numbers, filled from the broker's views, and a template that shows it;
//! nothing here decides anything.
//!
//! What it does not do (yet): there is the status page at `/`, a snapshot made anew on each load, and what the
//! interface shows people: `/docs` and `/problems/{code}`.

mod assets;
mod contract;
mod docs;
mod format;
mod gather;
mod page;
mod status;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::broker::Broker;

pub use docs::{ProblemPage, docs_page};
pub use gather::About;
pub use page::RenderError;
pub use status::{GroupRow, NodeFacts, ROWS_MAX, StatusPage, TopicRow};

/// The pages and their static files, to merge into the node's router.
pub fn router<S: Clone + Send + Sync + 'static>(broker: Broker, about: About) -> Router<S> {
    let about = Arc::new(about);
    let status = move || {
        let (broker, about) = (broker.clone(), Arc::clone(&about));
        async move {
            // Lag is counted from the index, and for groups with an SQL filter from the log.
            match broker.look(move |broker| Ok(StatusPage::gather(broker, &about).render())).await {
                Ok(page) => page::respond(page),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
            }
        }
    };
    page::guarded(Router::new().route("/", get(status)).merge(assets::router()))
}
