//! The structures that values are made of.

pub mod chunks;
pub mod order;
