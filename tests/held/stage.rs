//! A server whose disk can be made slow or bad, and what its trace says.

use std::path::PathBuf;
use std::time::Duration;

use persist_tools::preload::{Call, Faults, Preload, read_trace};
use persist_tools::raw::RawClient;
use persist_tools::server::{Builder, Server, wait_until};

pub const LIMIT: Duration = Duration::from_secs(30);
/// Long enough for a client to get in between on a loaded machine.
pub const SLOW_MS: u64 = 700;

/// A server whose disk can be made slow or bad, with a trace.
pub struct Stage {
    pub server: Server,
    dir: tempfile::TempDir,
}

impl Stage {
    pub fn new(policy: &str, more: impl FnOnce(Builder) -> Builder) -> Stage {
        let dir = tempfile::tempdir().unwrap();
        let preload = Preload::new()
            .control(&dir.path().join("control"))
            .trace(&dir.path().join("trace"))
            .trace_data(16384)
            .fail_path("persist-aof")
            .slow_path("persist-aof");
        let builder = Server::builder()
            .with_module()
            .config("persist.appendfsync", policy)
            .config("enable-debug-command", "yes")
            .preload(preload);
        let server = more(builder).start().unwrap();
        Stage { server, dir }
    }

    pub fn control(&self) -> PathBuf {
        self.dir.path().join("control")
    }

    pub fn slow(&self, ms: u64) {
        let faults = Faults {
            slow_fsync_ms: ms,
            ..Faults::default()
        };
        faults.apply(&self.control()).unwrap();
    }

    pub fn client(&self) -> RawClient {
        self.server.raw().unwrap()
    }

    pub fn trace(&self) -> Vec<Call> {
        read_trace(&self.dir.path().join("trace")).unwrap()
    }

    /// Waits until this host blocks clients: Redis 7.0 doesn't for some seconds after a start. The disk is so slow then that
    /// the event loop doesn't sync by itself.
    pub fn until_it_holds(&self) {
        self.slow(10);
        let (mut client, mut other) = (self.client(), self.client());
        wait_until("a client is held", LIMIT, || {
            client.send(&["PERSIST.SET", "warm", "up"])?;
            let held = other.words("INFO clients")?.text().unwrap_or_default();
            client.read()?;
            Ok(held.contains("blocked_clients:1"))
        })
        .unwrap();
    }
}

/// Whether an fsync of the log came between the write of `value` to it and `reply`.
pub fn is_durable_before(calls: &[Call], value: &str, reply: &Call) -> bool {
    let log = |call: &&Call| call.path.ends_with(".incr.aof");
    let write = calls
        .iter()
        .filter(log)
        .find(|c| c.is_write() && c.data.contains(value));
    let write = write.unwrap_or_else(|| panic!("{value} isn't in the log"));
    calls
        .iter()
        .filter(log)
        .any(|c| c.is_sync() && write.before(c) && c.before(reply))
}

/// Makes the server deaf for a while, so that what clients send meanwhile comes in one pass.
pub fn sleep(stage: &Stage) -> RawClient {
    let mut client = stage.client();
    client.send(&["DEBUG", "SLEEP", "0.4"]).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    client
}
