//! `/`: how the broker is, in words and numbers, with where to click.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::desk::Desk;
use super::format::filters;
use super::frame::{Frame, Section};
use super::visit::Visit;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
    address: String,
    uptime_ms: Option<u64>,
    log_bytes: Option<u64>,
    free_bytes: Option<u64>,
    is_empty: bool,
}

/// `GET /`
pub(super) async fn show(State(desk): State<Desk>, visit: Visit) -> Response {
    let about = desk.about.clone();
    let gather = move |broker: &crate::broker::Broker, frame, _: &Visit| {
        let node = broker.node();
        Ok(OverviewPage {
            frame,
            address: about.address().to_owned(),
            uptime_ms: about.uptime_ms(),
            // A log is never empty: it holds at least how it began.
            log_bytes: Some(node.log_bytes).filter(|bytes| *bytes > 0),
            free_bytes: Some(node.free_bytes).filter(|bytes| *bytes > 0),
            is_empty: broker.topics(None, 1).rows.is_empty(),
        })
    };
    visit.show(&desk, Section::Overview, gather).await
}
