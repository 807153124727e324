//! Sorted set commands against a naive model.
