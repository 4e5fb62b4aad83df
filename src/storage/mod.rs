//! Disk: the commit log, the vote, images, and everything that keeps a promise across a power cut.
//!
//! Synchronous code on std threads. Nothing here knows Raft, topics or messages: it keeps numbered records of opaque
//! parts. Formats, crash assumptions and recovery rules are written down in docs/STORAGE.md.

pub mod backup;
mod cache;
mod engine;
mod error;
mod hold;
mod images;
pub mod index;
mod judge;
mod log;
mod node;
mod poison;
mod read;
mod record;
mod recover;
mod reserve;
mod scrub;
mod secret;
mod segment;
mod shared;
mod space;
mod span;
mod tail;
mod trail;
pub mod vfs;
mod vote;
mod walk;
mod wire;
mod writer;

pub use error::StorageError;
pub use images::{IMAGE_CHUNK_BYTES_MAX, Image, ImageChunks, ImageMeta, Images, NewestImage};
pub use judge::TornTail;
pub use log::{Log, LogOptions};
pub use node::{DataDir, FORMAT_VERSION, NodeIdentity};
pub use record::{Record, RecordId, RecordKind};
pub use recover::Recovered;
pub use secret::Secret;
pub use segment::SegmentInfo;
pub use shared::Done;
pub use space::Space;
pub use trail::{Touches, Trail};
pub use vote::Vote;

#[cfg(test)]
mod tests;
