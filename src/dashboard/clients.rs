//! `/clients`: who uses this node: WebSockets, and whoever received over HTTP lately.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};

use super::desk::Desk;
use super::fields::address;
use super::form::Form;
use super::format::filters;
use super::frame::{Frame, Section};
use super::named::Named;
use super::visible::visible;
use super::visit::Visit;
use super::words::Work;
use crate::broker::{ClientView, Dismissed};
use crate::model::{ClientId, GroupName};

/// Clients of one page.
const ROWS: usize = 100;

pub(super) fn routes() -> Router<Desk> {
    Router::new().route("/clients", get(list)).route("/clients/{id}/disconnect", post(disconnect))
}

#[derive(Template)]
#[template(path = "clients.html")]
struct ClientsTemplate<'a> {
    frame: Frame,
    words: &'static Work,
    /// Only members of this group, if it is filled in.
    group: &'a str,
    clients: &'a [ClientRow],
    next: Option<String>,
}

/// A client, ready to be shown.
struct ClientRow {
    view: ClientView,
    name: String,
}

async fn list(State(desk): State<Desk>, visit: Visit) -> Response {
    let read = visit
        .fields
        .parsed::<GroupName>("group")
        .and_then(|group| Ok((group, visit.fields.parsed::<ClientId>("cursor")?)));
    let (group, cursor) = match read {
        Ok(read) => read,
        Err(error) => return visit.unread(&desk, error),
    };
    let named = group.as_ref().map(ToString::to_string).unwrap_or_default();
    let found = desk.broker.look(move |broker| Ok(broker.clients(cursor, group.as_ref(), ROWS))).await;
    let found = match found {
        Ok(found) => found,
        Err(error) => return visit.failed(&desk, &error),
    };
    let row = |view: ClientView| ClientRow { name: visible(&view.name).into_owned(), view };
    let clients: Vec<ClientRow> = found.rows.into_iter().map(row).collect();
    let pairs =
        |cursor: &str| address("/clients", [("group", Some(named.as_str())), ("cursor", Some(cursor))]);
    let next = found.next_cursor.as_deref().map(pairs);
    let (frame, words) = (visit.frame(&desk, Section::Clients), Work::of(visit.lang));
    visit.page(&ClientsTemplate { frame, words, group: &named, clients: &clients, next })
}

async fn disconnect(State(desk): State<Desk>, Named(id): Named<ClientId>, form: Form) -> Response {
    let words = Work::of(form.visit.lang);
    match desk.broker.dismiss(id) {
        Dismissed::Done => form.visit.lead_on_with("/clients", [("group", form.fields.one("group"))]),
        Dismissed::NoSocket => form.visit.oops(&desk, StatusCode::CONFLICT, words.no_socket),
        Dismissed::Unknown => form.visit.oops(&desk, StatusCode::NOT_FOUND, words.no_client),
    }
}
