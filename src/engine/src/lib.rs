//! The engine of redis-persist: a durable keyspace with its own commands,
//! snapshots and append-only log. Pure Rust: it knows no server, and time,
//! randomness and the disk are handed in.
//!
//! A module knows only those above it in this list.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod base;
pub mod data;
pub mod io;
pub mod keyspace;

pub mod command;
pub mod format;
pub mod host;
pub mod route;
pub mod settings;

pub mod blocked;
pub mod gate;
pub mod persist;
pub mod pipelines;
pub mod queued;
mod touch;
mod undurable;
mod watch;

pub mod engine;

#[cfg(test)]
mod testing;
