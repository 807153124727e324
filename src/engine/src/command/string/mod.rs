//! Strings.

pub mod get;
pub mod lcs;
pub mod number;
pub mod range;
pub mod set;

#[cfg(test)]
mod tests;
