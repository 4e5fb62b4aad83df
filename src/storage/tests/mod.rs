//! Tests of the log as a whole.
#![allow(clippy::cast_possible_truncation)] // Test data is made of small numbers.

mod backup;
mod basics;
mod behaviour;
mod codec;
mod crash;
mod cut;
mod damage;
mod full;
mod fuzz;
mod images;
mod random;
mod rig;
mod seeded_bugs;
mod trails;
