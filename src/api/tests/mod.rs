//! Fuzzing of everything that a client may send.

mod fuzz;
mod fuzz_alerts;
mod fuzz_messages;
