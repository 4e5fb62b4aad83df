//! `/config`: the settings in force and where they come from, the checks of the node, and what this program is.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::desk::Desk;
use super::format::filters;
use super::frame::{Frame, Section};
use super::gather::About;
use super::visit::Visit;
use super::words::Overview;
use crate::broker::{Broker, NodeView, Readiness};

#[derive(Template)]
#[template(path = "config.html")]
struct ConfigPage {
    frame: Frame,
    words: &'static Overview,
    about: About,
    node: NodeView,
    readiness: Readiness,
    uptime_ms: Option<u64>,
}

/// `GET /config`
pub(super) async fn show(State(desk): State<Desk>, visit: Visit) -> Response {
    let about = desk.about.clone();
    let gather = move |broker: &Broker, frame, visit: &Visit| {
        let words = Overview::of(visit.lang);
        let (node, readiness, uptime_ms) = (broker.node(), broker.readiness(), about.uptime_ms());
        Ok(ConfigPage { frame, words, about, node, readiness, uptime_ms })
    };
    visit.show(&desk, Section::Config, gather).await
}
