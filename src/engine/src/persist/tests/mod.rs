//! Attacks on everything durable. See each file for what it attacks.
//!
//! `ROUNDS=n` makes the random ones n times as long, `SEED=n` begins with
//! another seed; a failure prints the seed that repeats it.

mod cancel;
mod content;
mod corrupt;
mod crash;
mod driver;
mod faults;
mod forged;
mod fsync;
mod judge;
mod model;
mod online;
mod recovery;
mod room;
mod salvage;
mod stages;
mod traffic;
mod watched;
