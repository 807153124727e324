//! Bytes and numbers as people and JSON see them.

/// A number of bytes, short.
pub fn bytes(n: u64) -> String {
    indicatif::HumanBytes(n).to_string()
}
