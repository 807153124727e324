//! The engine of redis-persist: a durable keyspace with its own commands,
//! snapshots and append-only log. Pure Rust: it knows no server, and time,
//! randomness and the disk are handed in.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod base;
pub mod format;
pub mod io;
