//! The host adapter.
