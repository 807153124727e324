//! Ends connections on which the next reply would be a lie.

use crate::ffi::Ctx;

/// Ends the connections of these clients, before anything more is sent on
/// them. 0 stands for the caller of a script, where the host doesn't say who
/// that is (Redis 7.0): for all who have run one and wait for the reply.
pub fn cut_off(ctx: Ctx<'_>, ids: &[u64]) {
    for client in silenced(ctx, ids) {
        ctx.kill_client(client);
    }
}

/// As [`cut_off`], but the clients stay, deaf and mute: in the middle of a
/// command, which may be theirs.
pub fn silence(ctx: Ctx<'_>, ids: &[u64]) {
    silenced(ctx, ids);
}

/// Whose sockets were shut down.
fn silenced(ctx: Ctx<'_>, ids: &[u64]) -> Vec<u64> {
    if ids.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    ctx.client_states(None, |client| {
        let called = ids.contains(&0) && client.is_answered && client.runs_others;
        if called || ids.contains(&client.id) {
            // A client in the middle of a command is closed only later, and
            // I/O threads may send what it was answered until then.
            client.socket.shut_down();
            found.push(client.id);
        }
    });
    found
}
