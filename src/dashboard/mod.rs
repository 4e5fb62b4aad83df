//! Pages for people. Each page is a plain struct of numbers that its caller fills from the broker's views, and a
//! template that shows them; nothing here asks, waits or decides.
//!
//! What it does not do (yet): only the status page at `/` exists; it is a snapshot, made anew on each load.

mod assets;
mod format;
mod page;
mod status;

pub use assets::router;
pub use page::{RenderError, respond};
pub use status::{GroupRow, NodeFacts, ROWS_MAX, StatusPage, TopicRow};
