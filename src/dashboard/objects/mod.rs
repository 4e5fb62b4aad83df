//! Topics and groups: lists, one of each, and the forms that change them.

mod cells;
mod group_form;
mod groups;
mod seek;
mod topic_form;
mod topics;

use axum::Router;

use super::desk::Desk;

/// Rows of a list. What a row shows beyond the settings is looked up for these alone.
const ROWS: usize = 50;

pub(super) fn routes() -> Router<Desk> {
    topics::routes().merge(groups::routes())
}
