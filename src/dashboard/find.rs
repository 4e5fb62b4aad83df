//! `/search`: from a name or an id to its page.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use super::desk::Desk;
use super::format::filters;
use super::frame::{Frame, Section};
use super::visit::Visit;
use super::words::Objects;
use crate::broker::Broker;
use crate::model::{GroupName, MessageId, TopicName};

/// Names that are looked at, and those of them that are shown.
const NAMES_MAX: usize = 100_000;
const SHOWN: usize = 50;

#[derive(Template)]
#[template(path = "search.html")]
struct SearchPage {
    frame: Frame,
    words: &'static Objects,
    text: String,
    topics: Vec<TopicName>,
    groups: Vec<GroupName>,
    /// Whether there are more than are shown.
    is_cut: bool,
}

/// `GET /search?q=…`: the page of what has this very name or id, else a list of what it may mean.
pub(super) async fn show(State(desk): State<Desk>, visit: Visit) -> Response {
    let text = visit.fields.one("q").unwrap_or_default().trim().to_owned();
    // A name may be that of a topic and of a group: then both are listed.
    let topic = text.parse::<TopicName>().ok().filter(|name| desk.broker.topic_settings(name).is_ok());
    let group = text.parse::<GroupName>().ok().filter(|name| desk.broker.group_settings(name).is_ok());
    match (topic, group) {
        (Some(name), None) => return Redirect::to(&format!("/topics/{name}")).into_response(),
        (None, Some(name)) => return Redirect::to(&format!("/groups/{name}")).into_response(),
        _ => {}
    }
    if let Ok(id) = text.parse::<MessageId>() {
        return Redirect::to(&format!("/messages/{id}")).into_response();
    }
    let gather = move |broker: &Broker, frame, visit: &Visit| {
        let small = text.to_lowercase();
        let fits = |name: &str| name.to_lowercase().contains(&small);
        let topics = broker.topic_names(NAMES_MAX).into_iter().filter(|name| fits(name.as_str()));
        let groups = broker.group_names(NAMES_MAX).into_iter().filter(|name| fits(name.as_str()));
        // Those of this very name come first, so that a common part of a name does not hide them.
        let (mut topics, mut groups): (Vec<TopicName>, Vec<GroupName>) = (topics.collect(), groups.collect());
        topics.sort_by_key(|name| name.as_str() != text);
        groups.sort_by_key(|name| name.as_str() != text);
        let is_cut = topics.len() > SHOWN || groups.len() > SHOWN;
        topics.truncate(SHOWN);
        groups.truncate(SHOWN);
        Ok(SearchPage { frame, words: Objects::of(visit.lang), text, topics, groups, is_cut })
    };
    visit.show(&desk, Section::Elsewhere, gather).await
}
