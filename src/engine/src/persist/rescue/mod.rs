//! Another, sound data set is made of files that a start refuses, or the one
//! that was at an earlier moment: by the offline tool, and, if
//! `persist.on-corruption` says so, by a start.
//!
//! - [`plan`]: what of the files can be kept, up to which sequence number.
//! - [`names`]: a manifest again, from the files themselves.
//! - [`lost`]: what is left out.
//! - [`mod@carry`]: the kept parts as a new log, of a new history.
//! - [`salvage`]: everything that can be verified, in memory; [`gaps`]: the
//!   log's part of that; [`mod@renew`]: it as a new log.
//! - [`reseal`]: commands that somebody else wrote as a log of ours.

pub mod carry;
pub mod gaps;
pub mod lost;
pub mod names;
pub mod plan;
pub mod renew;
pub mod reseal;
pub mod salvage;

pub use carry::carry;
pub use lost::Lost;
pub use plan::{Plan, Until};
pub use renew::renew;
pub use reseal::Reseal;
pub use salvage::{Report, Salvaged};

#[cfg(test)]
mod reseal_tests;
#[cfg(test)]
mod tests;
