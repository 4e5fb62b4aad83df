//! Rules, evaluated: what objects are measured by, how their values are held against a rule, and what becomes of the
//! alert.

mod phase;
mod windows;

pub use phase::{FLAPPING_FIRINGS, FLAPPING_HOLD_MS, FLAPPING_WITHIN_MS, Memory, Phase, Timing, Truth, step};
pub use windows::Windows;
