//! Replies that are held back until what they tell of is durable.
//!
//! Under `appendfsync always` the event loop doesn't wait for the disk: it
//! blocks the client whose write it was, and whoever reads what was written,
//! while one fsync in the background serves all of them. Clients that can't
//! be blocked (in transactions and scripts) or lose by it (those that
//! pipeline, see [`pipelines`](crate::pipelines)) are served by an fsync at
//! the end of the event loop's pass, before its replies leave; so is everybody
//! on a disk so fast that holding takes longer than an fsync, and a client that
//! is the only one: nobody else is there to wait.
//!
//! Under Redis 7.2 and later a client that is unblocked before the hook
//! ([`events`](crate::events)) gets its reply in the same pass, so the end of
//! an fsync is heard of as soon as the I/O thread wakes the loop. Redis 7.0
//! unblocks clients after the hook, so there it is all one.

use std::collections::BTreeMap;

use persist_engine::command::CommandError;
use persist_engine::command::tape::Tape;
use persist_engine::engine::Fate;
use redis_module::raw;

use crate::answer::{self, Answer, Handle};
use crate::executor;
use crate::ffi::{Ctx, host};
use crate::state::{self, Exclusive, IN_WINDOW};

const FAILED: CommandError = CommandError::text(
    "MISCONF Errors writing to the AOF file, see PERSIST.INFO: what this command did or saw is in memory, but not on disk, and may be lost when the server ends",
);

/// A reply, and who gets it.
struct One {
    handle: Handle,
    answer: Box<Answer>,
}

struct Held {
    /// By what they wait for, and the order in which they came.
    replies: BTreeMap<(u64, u64), One>,
    count: u64,
}

static HELD: Exclusive<Held> = Exclusive::new(Held {
    replies: BTreeMap::new(),
    count: 0,
});

/// Blocks the client of a command until every effect up to `until` is
/// durable.
pub fn block(ctx: Ctx<'_>, until: u64, reply: Result<Tape, CommandError>) {
    let id = ctx.client_id();
    // SAFETY: a client's context, and callbacks of the right types. Without a
    // timeout's callback CLIENT UNBLOCK leaves the client alone, as one that
    // isn't blocked.
    let handle = unsafe {
        host!(RedisModule_BlockClient(
            ctx.as_ptr(),
            Some(answer::deliver),
            None,
            Some(answer::free),
            0
        ))
    };
    let reply = reply.map(Some);
    let one = One {
        handle,
        answer: Box::new(Answer { reply, id }),
    };
    hold(until, one);
}

/// Holds back the reply to a client that is blocked already.
pub fn keep(until: u64, handle: Handle, answer: Box<Answer>) {
    hold(until, One { handle, answer });
}

fn hold(until: u64, one: One) {
    HELD.with(|held| {
        held.count += 1;
        held.replies.insert((until, held.count), one);
    });
    // The hook that begins the fsync is over for this pass, and the server
    // may sleep for long.
    if state::get(&IN_WINDOW) {
        executor::turn_soon();
    }
}

/// Lets those go whose wait is over. Not while a transaction or script runs.
pub fn release() {
    if HELD.with(|held| held.replies.is_empty()) != Some(false) {
        return;
    }
    let done = state::with(None, |engine, _| {
        HELD.with(|held| {
            let mut done = Vec::new();
            while let Some(first) = held.replies.first_entry() {
                let mut one = match engine.fate(first.key().0) {
                    Fate::Open => break,
                    Fate::Kept => {
                        done.push(first.remove());
                        continue;
                    }
                    Fate::Failed => first.remove(),
                };
                one.answer.reply = Err(FAILED);
                done.push(one);
            }
            done
        })
    });
    // The engine is free again: delivering may call back.
    for One { handle, answer, .. } in done.flatten().unwrap_or_default() {
        answer::send(handle, answer);
    }
}
