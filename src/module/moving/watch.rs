//! Whether a key of the host's may have been changed by a command since
//! somebody began to look: a filter sees every command, and is there only
//! meanwhile.
//!
//! It sees words, and can't tell keys from others, nor whether a command
//! fails. That may be one change too many, and never one too few. What no
//! command names isn't seen: the end of a TTL, eviction, another module's
//! ways.

use std::collections::BTreeMap;

use persist_engine::command::{Flags, table};
use redis_module::raw;

use crate::ffi::{Ctx, host};
use crate::filtered::Filtered;
use crate::route;
use crate::state::Exclusive;

/// Transactions that are kept in mind at most. Those of one that is forgotten
/// count as changes.
const TRANSACTIONS: usize = 10_000;

/// Commands that change keys which they don't name.
const SWEEPING: [&[u8]; 4] = [b"FLUSHALL", b"FLUSHDB", b"SWAPDB", b"DEBUG"];

/// Commands that have the word and change no key of it, beside those that
/// only read. Scripts come here again with each of their commands.
const HARMLESS: [&[u8]; 14] = [
    b"EVAL",
    b"EVALSHA",
    b"EVAL_RO",
    b"EVALSHA_RO",
    b"FCALL",
    b"FCALL_RO",
    b"WATCH",
    b"PUBLISH",
    b"SPUBLISH",
    b"SUBSCRIBE",
    b"SSUBSCRIBE",
    b"ECHO",
    b"PING",
    b"CONFIG",
];

struct Watched {
    key: Vec<u8>,
    touched: bool,
    filter: *mut raw::RedisModuleCommandFilter,
    /// Clients that have said MULTI since, and whether what they queue
    /// changes the key. That runs when they say EXEC, which names nothing.
    transactions: BTreeMap<u64, bool>,
}

static WATCHED: Exclusive<Option<Watched>> = Exclusive::new(None);

/// Looks out for changes of `key` from now on, in any database. What the host
/// got before, and put off, runs before the next pass of the event loop.
///
/// # Errors
/// The host takes no filter.
pub fn begin(ctx: Ctx<'_>, key: &[u8]) -> Result<(), String> {
    let begun = WATCHED.with(|slot| {
        if let Some(watched) = slot {
            watched.key = key.into();
            watched.touched = false;
            return true;
        }
        // Not without the module's own calls: what others do when they hear
        // of these would be left out, too.
        // SAFETY: a context of the module, and a callback of the right type.
        let filter = unsafe {
            host!(RedisModule_RegisterCommandFilter(
                ctx.as_ptr(),
                Some(on_command),
                0
            ))
        };
        *slot = (!filter.is_null()).then(|| Watched {
            key: key.into(),
            touched: false,
            filter,
            transactions: BTreeMap::new(),
        });
        slot.is_some()
    });
    if begun == Some(true) {
        Ok(())
    } else {
        Err("the server refused the command filter".into())
    }
}

/// Whether the key may have been changed since.
pub fn is_touched() -> bool {
    WATCHED.with(|slot| slot.as_ref().is_some_and(|watched| watched.touched)) != Some(false)
}

/// Looks out no longer.
pub fn end(ctx: Ctx<'_>) {
    if let Some(Some(watched)) = WATCHED.with(Option::take) {
        // SAFETY: a filter of ours that is taken back once, while no command
        // is being filtered.
        unsafe {
            host!(RedisModule_UnregisterCommandFilter(
                ctx.as_ptr(),
                watched.filter
            ));
        }
    }
}

unsafe extern "C" fn on_command(filtered: *mut raw::RedisModuleCommandFilterCtx) {
    crate::guarded((), || {
        // SAFETY: the host calls with what is valid until this returns.
        let filtered = unsafe { Filtered::new(filtered) };
        WATCHED.with(|slot| {
            if let Some(watched) = slot {
                watched.look_at(filtered);
            }
        });
    });
}

fn is_one_of(name: &[u8], names: &[&[u8]]) -> bool {
    names.iter().any(|one| name.eq_ignore_ascii_case(one))
}

/// Whether this command of the host's changes no key that it names.
fn is_harmless(name: &[u8]) -> bool {
    const OURS: &[u8] = b"persist.";
    let start = name.get(..OURS.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(OURS))
        || table::find(name).is_some_and(|spec| spec.flags.has(Flags::READONLY))
        || is_one_of(name, &HARMLESS)
}

impl Watched {
    fn look_at(&mut self, filtered: Filtered) {
        let count = filtered.len();
        let name = filtered.bytes(0);
        if (1..count).any(|at| filtered.bytes(at) == self.key) {
            // Under a route, plain commands don't reach it.
            if !is_harmless(name) && !self.is_covered() {
                self.touch(filtered);
            }
        } else if count <= 1 && self.ends_transaction(filtered, name) {
            self.touched = true;
        }
        if is_one_of(name, &SWEEPING) {
            self.touch(filtered);
        }
    }

    fn is_covered(&self) -> bool {
        route::covers(&self.key) == Some(true)
    }

    fn touch(&mut self, filtered: Filtered) {
        self.touched = true;
        if let Some(client) = filtered.client()
            && let Some(changes) = self.transactions.get_mut(&client)
        {
            *changes = true;
        }
    }

    /// Hears of transactions, and whether one runs now that may change the key.
    fn ends_transaction(&mut self, filtered: Filtered, name: &[u8]) -> bool {
        let is = |word: &[u8]| name.eq_ignore_ascii_case(word);
        if !is(b"MULTI") && !is(b"EXEC") && !is(b"DISCARD") {
            return false;
        }
        let Some(client) = filtered.client() else {
            // Nobody knows what is queued (Redis 7.0). Under a route it was
            // sent on when it was.
            return is(b"EXEC") && !self.is_covered();
        };
        if is(b"MULTI") {
            if self.transactions.len() >= TRANSACTIONS {
                self.transactions.clear();
            }
            // One inside of another is an error and ends nothing.
            self.transactions.entry(client).or_insert(false);
            return false;
        }
        // One that began before this has queued whatever it has.
        let changes = self.transactions.remove(&client).unwrap_or(true);
        is(b"EXEC") && changes
    }
}
