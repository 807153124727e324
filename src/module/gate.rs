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

use persist_engine::gate::{FIRST_LOOK, Gate, LEAST_FSYNC, Look};
use persist_engine::host::Level;

use crate::client::{self, ClientSocket, ClientState};
use crate::executor;
use crate::ffi::Ctx;
use crate::state::{self, ALONE, CROWDED, Exclusive, FAST, IO_THREADS, get, set};
use crate::timer::Timer;

static GATE: Exclusive<Gate<ClientSocket>> = Exclusive::new(Gate::new());

/// Whether a script of this pass waits for the fsync on the event loop whose
/// caller the host doesn't tell (Redis 7.0).
static SERVES_CALLERS: AtomicBool = AtomicBool::new(false);

/// Turns the event loop for the next look; none if clients can't be kept out.
static TIMER: OnceLock<Option<Timer>> = OnceLock::new();

/// Whether it has gone off since the last look.
static RANG: AtomicBool = AtomicBool::new(false);

/// If no pass has ended so long after it went off, none does for a while.
const NO_PASS: Duration = Duration::from_millis(50);

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

/// This client is gone, and its socket may be another's, or the host's own.
pub fn gone(id: u64) {
    GATE.with(|gate| gate.gone(id));
}

/// An fsync on the event loop took so long: closes the gate.
pub fn synced(ctx: Ctx<'_>, took: Duration) {
    let timer = match is_useful() && took >= LEAST_FSYNC {
        true => timer(ctx),
        false => None,
    };
    if timer.is_some() && get(&SERVES_CALLERS) && !get(&CROWDED) {
        ctx.client_states(None, |client| {
            if client.runs_others && client.is_answered {
                note(&client);
                serves(client.id);
            }
        });
    }
    GATE.with(|gate| {
        let took = timer.map_or(Duration::ZERO, |_| took);
        let (kept_out, let_in) = gate.synced(Instant::now(), took);
        // The end of this pass may have come before, or be far off.
        if let Some(timer) = timer.filter(|_| !kept_out.is_empty()) {
            timer.set(FIRST_LOOK, NO_PASS);
        }
        kept_out.into_iter().for_each(ClientSocket::hold);
        let_in.into_iter().for_each(ClientSocket::let_go);
    });
}

/// The timer, if the system can keep clients out, as a try has shown.
fn timer(ctx: Ctx<'_>) -> Option<&'static Timer> {
    let timer = TIMER.get_or_init(|| {
        if !client::can_be_held() {
            ctx.log(
                Level::Notice,
                "this system can't keep clients out during an fsync (SO_RCVLOWAT): others may wait for two fsyncs beside clients that pipeline or run transactions and scripts",
            );
            return None;
        }
        match Timer::new(rings) {
            Ok(timer) => Some(timer),
            Err(e) => {
                ctx.log(
                    Level::Notice,
                    &format!("no timer for those who are kept out during an fsync: {e}. Others may wait for two fsyncs beside clients that pipeline or run transactions and scripts"),
                );
                None
            }
        }
    });
    timer.as_ref()
}

/// The timer has gone off. The end of the pass looks; unless that doesn't come,
/// since a script runs for long or data are loaded: then whoever sends something
/// is to be told so.
fn rings() {
    let no_pass = RANG.swap(true, Ordering::Relaxed);
    let is_open = GATE.with(|gate| {
        if no_pass {
            gate.open().for_each(ClientSocket::let_go);
        }
        gate.is_open()
    });
    if is_open == Some(true)
        && let Some(Some(timer)) = TIMER.get()
    {
        timer.stop();
    }
}

/// A pass has ended, after its fsync if there was one.
pub fn look() {
    let look = |busy| {
        let rang = RANG.swap(false, Ordering::Relaxed);
        GATE.with(|gate| gate.look(Instant::now(), rang, busy, ClientSocket::has_sent))
    };
    state::with(None, |engine, _| match look(engine.is_log_in_hand()) {
        None | Some(Look::IsOpen | Look::Later(None)) => {}
        Some(Look::Later(Some(pause))) => {
            engine.put_off_sync(pause.as_micros() as u64 + ONE_PASS_US);
            let mut first = pause;
            if pause.is_zero() {
                executor::turn_soon();
                first = NO_PASS;
            }
            if let Some(Some(timer)) = TIMER.get() {
                timer.set(first, NO_PASS);
            }
        }
        Some(Look::Opens) => {
            engine.put_off_sync(ONE_PASS_US);
            GATE.with(|gate| gate.open().for_each(ClientSocket::let_go));
        }
    });
}
