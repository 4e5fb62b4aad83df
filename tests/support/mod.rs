//! What the tests of the real binary share: a broker process, clients that speak plain HTTP/1.1 and WebSocket, chance
//! from a seed. Nothing here uses the broker's own code: a client that shared a mistake with the server would hide it.

// Every target that includes this folder uses a part of it.
#![allow(dead_code, unreachable_pub)]

pub mod calls;
pub mod dice;
pub mod http;
pub mod proc_fs;
pub mod process;
pub mod socket;
