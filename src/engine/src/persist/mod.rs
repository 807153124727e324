//! Durability: the log, snapshots, rewrites and recovery, composed of
//! `io` and `format`.

pub mod executor;
