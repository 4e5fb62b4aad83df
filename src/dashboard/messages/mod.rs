//! `/messages`: searching, following and looking at messages; `/send`: sending one.

mod curl;
mod one;
mod page;
mod payload;
mod saved;
mod search;
mod send;

use axum::Router;
use axum::routing::{get, post};

use super::desk::Desk;
pub(super) use one::{Attribute, attributes, properties};
pub(super) use payload::{Payload, PayloadForm, Piece};
pub(super) use search::MessageRow;

pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/messages", get(page::index))
        .route("/messages/saved", post(page::save))
        .route("/messages/tail", get(page::tail))
        .route("/messages/{id}", get(page::show))
        .route("/send", get(page::send_form).post(page::send))
}
