//! Which server this is.

use crate::ffi::Ctx;

/// The server's own version. (As a module host, Valkey says 7.2 for ever.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Whether it is Valkey.
    pub is_valkey: bool,
    /// The first two parts of its version; zeros if it doesn't say.
    pub number: (u32, u32),
}

impl Version {
    /// Asks the server.
    pub fn of(ctx: Ctx<'_>) -> Self {
        let valkey = ctx.info(c"server", c"valkey_version");
        let is_valkey = valkey.is_some();
        let text = valkey.or_else(|| ctx.info(c"server", c"redis_version"));
        let text = text.unwrap_or_default();
        let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        Version {
            is_valkey,
            number: (next(), next()),
        }
    }

    /// Whether it is Redis, and older than this. Valkey began with what was to
    /// be Redis 7.4.
    pub fn is_redis_before(self, major: u32, minor: u32) -> bool {
        !self.is_valkey && self.number < (major, minor)
    }
}
