//! Ends connections on which the next reply would be a lie.

use crate::ffi::{ClientSocket, Ctx, RUNNERS};

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
    let list = ctx.call(c"CLIENT", &[b"LIST"]);
    let list = String::from_utf8_lossy(list.text().unwrap_or_default()).into_owned();
    let mut found = Vec::new();
    for client in list.lines().filter_map(read) {
        let called = ids.contains(&0) && client.replies && client.runs;
        if called || ids.contains(&client.id) {
            // A client in the middle of a command is closed only later, and
            // I/O threads may send what it was answered until then.
            client.socket.shut_down();
            found.push(client.id);
        }
    }
    found
}

struct Client {
    id: u64,
    socket: ClientSocket,
    /// Its last command is one of [`RUNNERS`].
    runs: bool,
    /// Some reply hasn't left yet.
    replies: bool,
}

/// One line of CLIENT LIST.
fn read(line: &str) -> Option<Client> {
    let field = |name: &str| {
        line.split(' ')
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    };
    let some = |name: &str| field(name).is_some_and(|n| n != "0");
    Some(Client {
        id: field("id")?.parse().ok()?,
        socket: ClientSocket::new(field("fd")?.parse().ok()?),
        runs: RUNNERS.contains(&field("cmd")?.as_bytes()),
        replies: some("obl") || some("oll"),
    })
}
