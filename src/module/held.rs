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
    /// Its client pipelines, and goes on together with others that do.
    in_group: bool,
}

struct Held {
    /// By what they wait for, and the order in which they came.
    replies: BTreeMap<(u64, u64), One>,
    count: u64,
    /// Whether a group may be among them.
    has_group: bool,
}

static HELD: Exclusive<Held> = Exclusive::new(Held {
    replies: BTreeMap::new(),
    count: 0,
    has_group: false,
});

/// Blocks the client of a command until every effect up to `until` is
/// durable, or its group goes on.
pub fn block(ctx: Ctx<'_>, until: u64, reply: Result<Tape, CommandError>, in_group: bool) {
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
        in_group,
    };
    hold(until, one);
}

/// Holds back the reply to a client that is blocked already.
pub fn keep(until: u64, handle: Handle, answer: Box<Answer>) {
    let one = One {
        handle,
        answer,
        in_group: false,
    };
    hold(until, one);
}

fn hold(until: u64, one: One) {
    HELD.with(|held| {
        held.count += 1;
        held.has_group |= one.in_group;
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

/// Lets those go on that pipeline and were held for their group. Their replies
/// leave at the end of the pass that runs the rest, after its fsync. Not while
/// a transaction or script runs.
pub fn release_group() {
    if HELD.with(|held| std::mem::take(&mut held.has_group)) != Some(true) {
        return;
    }
    let group = state::with(None, |engine, host| {
        HELD.with(|held| {
            let mut group = Vec::new();
            for (key, one) in std::mem::take(&mut held.replies) {
                if one.in_group {
                    engine.rely_on(key.0);
                    host.note_writer(one.answer.id);
                    group.push(one);
                } else {
                    held.replies.insert(key, one);
                }
            }
            group
        })
    });
    for One { handle, answer, .. } in group.flatten().unwrap_or_default() {
        answer::send(handle, answer);
    }
}
