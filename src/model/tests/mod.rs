//! Fuzzing of what this folder reads, and the driver that the others use.

pub(crate) mod fuzz;
mod targets;
