//! Which clients pipeline. One that is blocked for each write would have each
//! command of its pipeline wait for an fsync of its own; such a client is
//! served by one fsync at the end of a pass of the event loop instead.
//!
//! The host doesn't show what a client has sent beyond the command that runs.
//! But a client that waits for each reply can't have sent its next command
//! when it is released, so one whose next write runs in the very pass of its
//! release pipelines. It is taken for one that doesn't any more once it has
//! sent single writes for a while; longer, each time that this was wrong.
//!
//! Redis 7.0 runs what a released client has sent after the hook, where every
//! write needs an fsync of its own: there the host is asked, before a client
//! is blocked for the first times and now and then later, whether more of it
//! has arrived. So it happens only to the rest of a pipeline that came in
//! pieces, or from a client that hadn't pipelined for long. (The question
//! takes some microseconds, and elsewhere saves one fsync at most.) A whole
//! transaction or script among that rest would be split: that host doesn't
//! tell when it ends, so each of its writes is synced by itself, and a crash
//! in between shows half of it. So there nobody is blocked at all while
//! transactions or scripts write durable keys, and for some seconds after.

use std::collections::BTreeMap;

use crate::ffi::Ctx;
use crate::guard;
use crate::state::{self, Exclusive, IN_WINDOW, SYNC_EACH};

/// So many passes with a single write make a client one that doesn't
/// pipeline, at first.
const FEW: u32 = 16;
/// And at most.
const MANY: u32 = 1 << 20;
/// So many sweeps without a transaction or script must have passed before
/// Redis 7.0 may block clients.
const CALM: u32 = 100;
/// Clients that haven't written for so many sweeps are forgotten.
const SWEEPS: u32 = 600;

/// How a write is to be served.
struct Service {
    /// Its reply is held back.
    hold: bool,
    /// Whether it is time to ask the host whether more of its client has come.
    ask: bool,
    /// Whether it is the first of its client in this pass.
    first: bool,
}

/// What is known of a client.
#[derive(Debug)]
struct Client {
    /// It is served at the end of the pass.
    pipelines: bool,
    /// The pass of its last write, and how many there were in it.
    pass: u64,
    in_pass: u32,
    /// Passes with a single write, in a row, and how many it takes.
    single: u32,
    enough: u32,
    /// Writes whose reply was held back.
    held: u32,
    /// The pass of its last release.
    released: u64,
    /// Sweeps without a write.
    idle: u32,
}

struct Clients {
    by_id: BTreeMap<u64, Client>,
    /// The number of this pass.
    pass: u64,
    /// Sweeps since a transaction or script wrote durable keys.
    since_unit: u32,
}

static CLIENTS: Exclusive<Clients> = Exclusive::new(Clients {
    by_id: BTreeMap::new(),
    pass: 1,
    since_unit: 0,
});

/// A new pass of the event loop.
pub fn next_pass() {
    CLIENTS.with(|all| all.pass += 1);
}

/// A client that was blocked goes on.
pub fn released(id: u64) {
    CLIENTS.with(|all| all.release(id));
}

/// A transaction or script has written durable keys. Whether its reply may
/// leave before the end of the pass, since its client has more to take than
/// it took so far.
pub fn unit_is_overtaking(ctx: Ctx<'_>, flags: u32) -> bool {
    let id = guard::client_behind(ctx, flags);
    let first = CLIENTS.with(|all| {
        all.since_unit = 0;
        id != 0 && all.decide(id).first
    });
    first == Some(true) && ctx.client_state(id).is_some_and(|client| client.is_writing)
}

/// Whether the reply to this client's write, which may be held back, should
/// be; otherwise an fsync at the end of the pass comes before it.
pub fn should_hold(ctx: Ctx<'_>, args: &[&[u8]]) -> bool {
    // There is no end of the pass to wait for: replies leave before it.
    if state::get(&SYNC_EACH) {
        return true;
    }
    let id = ctx.client_id();
    let late = !guard::tells_ends();
    let known = CLIENTS.with(|all| {
        let mut service = all.decide(id);
        if late && all.since_unit < CALM {
            service.hold = false;
        }
        service
    });
    let Some(Service { hold, ask, first }) = known else {
        return true;
    };
    if !hold {
        // What is still on its way to this client may take the reply along in
        // the middle of the pass. Asked once, since only its end changes that.
        return first && ctx.client_state(id).is_none_or(|client| client.is_writing);
    }
    let more = ask
        && late
        && !state::get(&IN_WINDOW)
        && ctx
            .client_state(id)
            .is_some_and(|client| client.arrived > length(args) && !client.is_writing);
    if more {
        CLIENTS.with(|all| all.pipelines(id));
    }
    !more
}

/// How long a command is as clients send it, in bytes. A routed one was
/// shorter; a few bytes more than its own then look like none.
fn length(args: &[&[u8]]) -> usize {
    let digits = |n: usize| n.checked_ilog10().unwrap_or(0) as usize + 1;
    let arg = |arg: &&[u8]| arg.len() + digits(arg.len()) + 5;
    args.iter().map(arg).sum::<usize>() + digits(args.len()) + 3
}

/// Forgets clients that write no more; to be called some ten times a second.
pub fn sweep() {
    CLIENTS.with(|all| {
        all.since_unit = all.since_unit.saturating_add(1);
        all.by_id.retain(|_, client| {
            client.idle += 1;
            client.idle <= SWEEPS
        });
    });
}

impl Clients {
    /// Notes a write, and says how to serve it.
    fn decide(&mut self, id: u64) -> Service {
        let pass = self.pass;
        let client = self.by_id.entry(id).or_insert(Client {
            pipelines: false,
            pass: 0,
            in_pass: 0,
            single: 0,
            enough: FEW,
            held: 0,
            released: 0,
            idle: 0,
        });
        client.idle = 0;
        if !client.pipelines && client.released == pass {
            client.pipelines = true;
            client.single = 0;
        }
        if client.pass == pass {
            client.in_pass += 1;
            client.single = 0;
        } else {
            if client.in_pass == 1 {
                client.single += 1;
            }
            (client.pass, client.in_pass) = (pass, 1);
        }
        if client.pipelines && client.single >= client.enough {
            client.pipelines = false;
            client.enough = (client.enough * 2).min(MANY);
        }
        let hold = !client.pipelines;
        client.held = client.held.wrapping_add(u32::from(hold));
        Service {
            hold,
            ask: client.held <= 3 || client.held.is_multiple_of(64),
            first: client.in_pass == 1,
        }
    }

    fn release(&mut self, id: u64) {
        if let Some(client) = self.by_id.get_mut(&id) {
            client.released = self.pass;
        }
    }

    fn pipelines(&mut self, id: u64) {
        if let Some(client) = self.by_id.get_mut(&id) {
            client.pipelines = true;
            client.single = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients() -> Clients {
        Clients {
            by_id: BTreeMap::new(),
            pass: 1,
            since_unit: 0,
        }
    }

    #[test]
    fn a_command_is_as_long_as_in_resp() {
        let sent = b"*3\r\n$3\r\nSET\r\n$10\r\n0123456789\r\n$0\r\n\r\n";
        assert_eq!(length(&[b"SET", b"0123456789", b""]), sent.len());
    }

    #[test]
    fn one_at_a_time_is_held() {
        let mut all = clients();
        for _ in 0..100 {
            assert!(all.decide(7).hold);
            all.pass += 1;
            // Its release, and the reply.
            all.release(7);
            all.pass += 1;
        }
    }

    #[test]
    fn what_follows_a_release_in_its_pass_is_a_pipeline() {
        let mut all = clients();
        assert!(all.decide(7).hold);
        all.pass += 1;
        all.release(7);
        for _ in 0..15 {
            assert!(!all.decide(7).hold);
        }
        // Another pipeline.
        all.pass += 1;
        assert!(!all.decide(7).hold);
        assert!(!all.decide(7).hold);
        // Somebody else.
        assert!(all.decide(8).hold);
    }

    #[test]
    fn single_writes_end_it_later_each_time() {
        let mut all = clients();
        let mut turns = Vec::new();
        for _ in 0..3 {
            all.decide(7);
            all.pipelines(7);
            let mut turn = 0;
            loop {
                all.pass += 1;
                turn += 1;
                if all.decide(7).hold {
                    break;
                }
            }
            turns.push(turn);
        }
        assert!(turns[0] >= FEW && turns[1] > turns[0] && turns[2] > turns[1]);
    }
}
