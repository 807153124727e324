//! The gate before clients that an fsync on the event loop serves: which they
//! are, and how they are kept out. When is [`persist_engine::gate`]'s to say.
//!
//! A client is kept out by telling the system not to report what comes on its
//! socket (`SO_RCVLOWAT`). The host notices nothing of it, nor does the client;
//! whoever ends its connection meanwhile is reported. It works for TCP, not for
//! unix domain sockets, nor for what TLS has decrypted already: those aren't
//! kept out.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use persist_engine::gate::{Gate, Look};

use crate::client::{ClientSocket, ClientState};
use crate::ffi::Ctx;
use crate::state::{self, ALONE, Exclusive, FAST, SYNC_EACH, get, set};

static GATE: Exclusive<Gate<ClientSocket>> = Exclusive::new(Gate::new());

/// Whether a script of this pass waits for the fsync on the event loop whose
/// caller the host doesn't tell (Redis 7.0).
static SERVES_CALLERS: AtomicBool = AtomicBool::new(false);

/// After the gate was opened those behind it come in the next pass; until then
/// no background fsync begins, in us.
const ONE_PASS_US: u64 = 1_000;

/// Whether there is anybody for whom it is worth it: others than the one who
/// waits for the fsync, and an end of the pass that it waits for.
fn is_useful() -> bool {
    !get(&FAST) && !get(&ALONE) && !get(&SYNC_EACH)
}

/// The host has told of this client.
pub fn note(client: &ClientState) {
    if is_useful() {
        GATE.with(|gate| gate.note(client.id, client.socket));
    }
}

/// The next fsync on the event loop serves this client, of which the host has
/// told in this pass.
pub fn serves(id: u64) {
    GATE.with(|gate| gate.serves(id));
}

/// The same for the caller of the script that runs.
pub fn serves_caller() {
    set(&SERVES_CALLERS, true);
}

/// A new pass of the event loop.
pub fn next_pass() {
    GATE.with(Gate::next_pass);
    set(&SERVES_CALLERS, false);
}

/// An fsync on the event loop took so long: closes the gate.
pub fn synced(ctx: Ctx<'_>, took: Duration) {
    if get(&SERVES_CALLERS) && is_useful() {
        ctx.client_states(None, |client| {
            if client.runs_others && client.is_answered {
                note(&client);
                serves(client.id);
            }
        });
    }
    GATE.with(|gate| {
        gate.kept_out().for_each(ClientSocket::let_go);
        let closed = gate.synced(Instant::now(), took);
        closed.filter(|_| is_useful()).for_each(ClientSocket::hold);
    });
}

/// A pass has ended, or the I/O thread has `woken` the event loop.
pub fn look(woken: bool) {
    let look = |busy| {
        GATE.with(|gate| gate.look(Instant::now(), woken, busy, ClientSocket::has_sent))
    };
    state::with(None, |engine, _| match look(engine.is_log_in_hand()) {
        None | Some(Look::IsOpen | Look::Later(None)) => {}
        Some(Look::Later(Some(pause))) => {
            let us = pause.as_micros() as u64;
            engine.put_off_sync(us + ONE_PASS_US);
            engine.wake_in(us);
        }
        Some(Look::Opens) => {
            engine.put_off_sync(ONE_PASS_US);
            GATE.with(|gate| gate.open().for_each(ClientSocket::let_go));
        }
    });
}
