//! Agreement as a whole, on real files, with the real log and openraft.

mod faults;
mod fuzz;
mod images;
mod restart;
mod suite;
mod support;
