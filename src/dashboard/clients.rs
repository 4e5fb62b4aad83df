//! `/clients`: who uses this node: WebSockets, and whoever received over HTTP lately.

use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};

use super::assets::{ASSETS, Assets};
use super::desk::Desk;
use super::fields::{Asked, address};
use super::form::Form;
use super::format::filters;
use super::visible::visible;
use super::{oops, page};
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
    assets: &'a Assets,
    token: &'a str,
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

async fn list(State(desk): State<Desk>, Asked(asked): Asked, headers: HeaderMap) -> Response {
    let read =
        asked.parsed::<GroupName>("group").and_then(|group| Ok((group, asked.parsed::<ClientId>("cursor")?)));
    let (group, cursor) = match read {
        Ok(read) => read,
        Err(error) => return oops::refused(StatusCode::BAD_REQUEST, &error.text),
    };
    let named = group.as_ref().map(ToString::to_string).unwrap_or_default();
    let found = desk.broker.look(move |broker| Ok(broker.clients(cursor, group.as_ref(), ROWS))).await;
    let found = match found {
        Ok(found) => found,
        Err(error) => return oops::failed(&error),
    };
    let row = |view: ClientView| ClientRow { name: visible(&view.name).into_owned(), view };
    let clients: Vec<ClientRow> = found.rows.into_iter().map(row).collect();
    let pairs =
        |cursor: &str| address("/clients", [("group", Some(named.as_str())), ("cursor", Some(cursor))]);
    let next = found.next_cursor.as_deref().map(pairs);
    let form = desk.csrf.token(&headers);
    let template =
        ClientsTemplate { assets: &ASSETS, token: &form.token, group: &named, clients: &clients, next };
    form.with(page::respond(page::render(&template)))
}

async fn disconnect(State(desk): State<Desk>, Path(id): Path<String>, form: Form) -> Response {
    let gone = || oops::refused(StatusCode::NOT_FOUND, "This client is not there, or not any more.");
    let Ok(id) = id.parse::<ClientId>() else { return gone() };
    match desk.broker.dismiss(id) {
        Dismissed::Done => {
            Redirect::to(&address("/clients", [("group", form.fields.one("group"))])).into_response()
        }
        Dismissed::NoSocket => {
            let text = "This client speaks plain HTTP: between two calls there is nothing to disconnect.";
            oops::refused(StatusCode::CONFLICT, text)
        }
        Dismissed::Unknown => gone(),
    }
}
