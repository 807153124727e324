//! Whose replies are held back under `appendfsync always`: what the host knows
//! of clients, handed to [`persist_engine::pipelines`].

use persist_engine::pipelines::{Clients, length};

use crate::ffi::Ctx;
use crate::gate;
use crate::guard;
use crate::state::{ALONE, CROWDED, Exclusive, FAST, HOLDS, IN_WINDOW, SYNC_EACH, get, set};

static CLIENTS: Exclusive<Clients> = Exclusive::new(Clients::new());

/// A new pass of the event loop.
pub fn next_pass() {
    CLIENTS.with(Clients::next_pass);
}

/// A client that was blocked goes on.
pub fn released(id: u64) {
    CLIENTS.with(|all| all.release(id));
}

/// A transaction or script has written durable keys.
pub fn unit_wrote() {
    CLIENTS.with(Clients::unit_wrote);
}

/// A transaction or script has written durable keys. Whether its reply may
/// leave before the end of the pass, since its client has more to take than
/// it took so far.
pub fn unit_is_overtaking(ctx: Ctx<'_>, flags: u32) -> bool {
    let id = guard::client_behind(ctx, flags);
    unit_wrote();
    if id == 0 {
        gate::serves_caller();
        return CLIENTS.with(|all| all.is_caller_behind(|ids| behind(ctx, ids))) == Some(true);
    }
    if CLIENTS.with(|all| all.decide(id, get(&FAST)).first) == Some(true) {
        // A script may let the host send more before it ends: this doesn't
        // count for others.
        let state = ctx.client_state(id);
        let is_behind = state.as_ref().is_none_or(|client| client.is_writing);
        CLIENTS.with(|all| all.note_unit(id, is_behind));
        if let Some(client) = state.filter(|_| !is_behind) {
            gate::note(&client);
            gate::serves(id);
        }
    }
    CLIENTS.with(|all| all.is_unit_behind(id)) == Some(true)
}

/// Who has still to take something, of these clients or of all, and whether a
/// script may be its last command; `None` if the host doesn't say.
fn behind(ctx: Ctx<'_>, ids: Option<&[u64]>) -> Option<Vec<(u64, bool)>> {
    let mut found = Vec::new();
    let told = ctx.client_states(ids, |client| {
        if client.is_writing {
            found.push((client.id, client.runs_others));
        }
    });
    told.then_some(found)
}

/// The host has sent something in the middle of this pass.
pub fn others_were_served() {
    CLIENTS.with(Clients::others_were_served);
}

/// Whether this client has still to take something it was sent before; `None`
/// if the host doesn't say.
fn is_behind(ctx: Ctx<'_>, id: u64) -> Option<bool> {
    if let Some(known) = CLIENTS.with(|all| all.is_behind(id)).flatten() {
        return Some(known);
    }
    let ids = CLIENTS.with(|all| all.ask_for(id))?;
    let mut own = None;
    let told = ctx.client_states(Some(&ids), |client| {
        CLIENTS.with(|all| all.note(client.id, client.is_writing));
        gate::note(&client);
        if client.id == id {
            own = Some(client.is_writing);
        }
    });
    told.then_some(own).flatten()
}

/// The host may have sent something in the middle of this pass.
pub fn more_is_sent() {
    CLIENTS.with(Clients::more_is_sent);
}

/// What the reply to a write waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// For the end of the pass, before which there is an fsync.
    Pass,
    /// For an fsync in the background; it is held back.
    Disk,
}

/// What the reply to this client's write, which may be held back, should wait
/// for.
pub fn wait(ctx: Ctx<'_>, args: &[&[u8]]) -> Wait {
    // There is no end of the pass to wait for: replies leave before it.
    if get(&SYNC_EACH) {
        return Wait::Disk;
    }
    let id = ctx.client_id();
    let late = !guard::tells_ends();
    let known = CLIENTS.with(|all| {
        let nobody = get(&FAST) || get(&ALONE) || (late && !all.is_calm());
        all.decide(id, nobody)
    });
    let Some(service) = known else {
        return Wait::Disk;
    };
    if !service.hold {
        // What is still on its way to this client may take the reply along in
        // the middle of the pass. Asked once, since only its end changes that.
        if service.first {
            if is_behind(ctx, id) != Some(false) {
                return Wait::Disk;
            }
            gate::serves(id);
        }
        return Wait::Pass;
    }
    if service.ask
        && late
        && !get(&IN_WINDOW)
        && let Some(client) = ctx.client_state(id)
        && client.arrived > length(args)
        && !client.is_writing
    {
        CLIENTS.with(|all| all.pipelines(id));
        gate::note(&client);
        gate::serves(id);
        return Wait::Pass;
    }
    Wait::Disk
}

/// Whether this client pipelines, and the fsync at the end of this pass serves
/// it.
pub fn goes_on(id: u64) -> bool {
    CLIENTS.with(|all| all.goes_on(id)) == Some(true)
}

/// Another client has connected.
pub fn came() {
    set(&ALONE, false);
}

/// With more clients than this, a question about all of them takes longer than
/// what it is good for in [`gate`].
const CROWD: u64 = 1_000;

/// Forgets clients that write no more, and asks how many there are; to be
/// called some ten times a second.
pub fn sweep(ctx: Ctx<'_>) {
    CLIENTS.with(Clients::sweep);
    let clients = || {
        ctx.info(c"clients", c"connected_clients")?
            .parse::<u64>()
            .ok()
    };
    let clients = if get(&HOLDS) { clients() } else { None };
    set(&ALONE, clients == Some(1));
    set(&CROWDED, clients > Some(CROWD));
}
