//! For the offline tool: another, sound data set is made of files that a
//! start refuses, or the one that was at an earlier moment. Nothing here runs
//! in a server.
//!
//! - [`plan`]: what of the files can be kept, up to which sequence number.
//! - [`names`]: a manifest again, from the files themselves.
//! - [`lost`]: what is left out.
//! - [`carry`]: the kept parts as a new log, of a new history.
//! - [`reseal`]: commands that somebody else wrote as a log of ours.

pub mod carry;
pub mod lost;
pub mod names;
pub mod plan;
pub mod reseal;

pub use carry::carry;
pub use lost::Lost;
pub use plan::{Plan, Until};
pub use reseal::Reseal;

#[cfg(test)]
mod reseal_tests;
#[cfg(test)]
mod tests;
