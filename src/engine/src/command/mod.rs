//! What a client can say: each command declared once, beside its handler.
//!
//! [`table::COMMANDS`] holds every [`Spec`]; registration with the host, key
//! specs, ACL categories, arity checks, what replay accepts, the README's
//! table and the example tests all derive from it.

pub mod args;
pub mod bitmap;
pub mod element_scan;
pub mod error;
pub mod geo;
pub mod hash;
pub mod hll;
pub mod key;
pub mod list;
pub mod reply;
pub mod set;
pub mod sort;
pub mod spec;
pub mod stream;
pub mod string;
pub mod syntax;
pub mod table;
pub mod tape;
pub mod wait;
pub mod zset;

pub use error::CommandError;
pub use reply::Reply;
pub use spec::{Flags, Group, KeyAccess, KeySpec, Spec};

use crate::keyspace::keys::Keys;

/// What a handler works with.
pub struct Cx<'a> {
    /// The keyspace.
    pub ks: Keys<'a>,
    /// Where the reply goes. A handler that returns an error has written nothing.
    pub reply: &'a mut dyn Reply,
    /// The command that runs.
    pub spec: &'static Spec,
    /// Whether a command that only looks may keep what it found out in the
    /// value, which is a logged change; see [`Flags::CACHES`].
    pub may_cache: bool,
    /// Whether XREAD's and XREADGROUP's BLOCK is an error, as in scripts of
    /// Redis before 7.4; else it means nothing where nobody can wait.
    pub refuses_block: bool,
    /// For a blocking command of a client that can wait.
    pub waiter: Option<&'a mut wait::Waiter>,
}

impl Cx<'_> {
    /// Logs the command as it was given, under its canonical name.
    #[inline]
    pub fn log_verbatim(&mut self, args: &[&[u8]]) {
        self.ks
            .effect(self.spec.name.as_bytes(), args.get(1..).unwrap_or_default());
    }
}

/// Runs a command whose arguments are `args`, its name first.
///
/// # Errors
/// What the client is told; nothing was changed and nothing replied then.
#[inline]
pub fn execute(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    if !cx.spec.accepts(args.len()) {
        return Err(CommandError::Arity(cx.spec.name));
    }
    (cx.spec.run)(cx, args)
}

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
