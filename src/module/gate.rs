//! The gate before clients that an fsync on the event loop serves: which they
//! are, and how they are kept out. When is [`persist_engine::gate`]'s to say.
//!
//! A client is kept out by telling the system not to report what comes on its
//! socket (`SO_RCVLOWAT`). The host notices nothing of it, nor does the client;
//! whoever ends its connection meanwhile is reported. It works for TCP, not for
//! unix domain sockets, nor for what TLS has decrypted already: those aren't
//! kept out.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use persist_engine::gate::{Gate, LEAST_FSYNC, Look};
use persist_engine::host::Level;

use crate::client::{self, ClientSocket, ClientState};
use crate::executor;
use crate::ffi::Ctx;
use crate::state::{self, ALONE, Exclusive, FAST, IO_THREADS, get, set};

static GATE: Exclusive<Gate<ClientSocket>> = Exclusive::new(Gate::new());

/// Whether a script of this pass waits for the fsync on the event loop whose
/// caller the host doesn't tell (Redis 7.0).
static SERVES_CALLERS: AtomicBool = AtomicBool::new(false);

/// Whether the I/O thread has woken the event loop since the last look.
static WOKEN: AtomicBool = AtomicBool::new(false);

/// After the gate was opened those behind it come in the next pass; until then
/// no background fsync begins, in us.
const ONE_PASS_US: u64 = 1_000;

/// Whether there is anybody for whom it is worth it: others than the one who
/// waits for the fsync. Not where threads of the host hand over one client
/// after the other: they have read some already when the gate is closed, and
/// don't come in one pass when it is opened.
fn is_useful() -> bool {
    !get(&FAST) && !get(&ALONE) && !get(&IO_THREADS)
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

/// An fsync on the event loop took so long: closes the gate. Not if the I/O
/// thread is `busy`: it has to see to it that the gate is opened in time.
pub fn synced(ctx: Ctx<'_>, took: Duration, busy: bool) {
    let closes = is_useful() && !busy && took >= LEAST_FSYNC && can_be_held(ctx);
    if closes && get(&SERVES_CALLERS) {
        ctx.client_states(None, |client| {
            if client.runs_others && client.is_answered {
                note(&client);
                serves(client.id);
            }
        });
    }
    GATE.with(|gate| {
        let took = if closes { took } else { Duration::ZERO };
        let (kept_out, let_in) = gate.synced(Instant::now(), took);
        kept_out.into_iter().for_each(ClientSocket::hold);
        let_in.into_iter().for_each(ClientSocket::let_go);
    });
}

/// Whether the system can keep clients out, as a try has shown.
fn can_be_held(ctx: Ctx<'_>) -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let can = client::can_be_held();
        if !can {
            ctx.log(
                Level::Notice,
                "this system can't keep clients out during an fsync (SO_RCVLOWAT): others may wait for two fsyncs beside clients that pipeline or run transactions and scripts",
            );
        }
        can
    })
}

/// The I/O thread has woken the event loop.
pub fn woken() {
    set(&WOKEN, true);
}

/// A pass has ended, after its fsync if there was one; or a script has taken so
/// long that the host serves others meanwhile.
pub fn look() {
    let look = |busy| {
        let woken = WOKEN.swap(false, Ordering::Relaxed);
        GATE.with(|gate| gate.look(Instant::now(), woken, busy, ClientSocket::has_sent))
    };
    state::with(None, |engine, _| match look(engine.is_log_in_hand()) {
        None | Some(Look::IsOpen | Look::Later(None)) => {}
        Some(Look::Later(Some(pause))) => {
            let us = pause.as_micros() as u64;
            engine.put_off_sync(us + ONE_PASS_US);
            match us {
                0 => executor::turn_soon(),
                _ => engine.wake_in(us),
            }
        }
        Some(Look::Opens) => {
            engine.put_off_sync(ONE_PASS_US);
            GATE.with(|gate| gate.open().for_each(ClientSocket::let_go));
        }
    });
}
