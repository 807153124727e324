//! The structures that values are made of.

pub mod order;
