//! What the engine asks of the process it lives in.

use crate::data::entry::Entry;
use crate::data::table::Table;
use crate::keyspace::keys::{EventClass, Garbage};

/// How important a log line is, in the host's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Of interest to developers.
    Verbose,
    /// What an operator wants to see.
    Notice,
    /// What an operator must see.
    Warning,
}

/// How a child process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildEnd {
    /// By itself, with this code; 0 is success.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

/// What a forked child does: it is handed a way to report its progress (0 to
/// 1), and returns its exit code.
pub type ChildWork<'a> = &'a mut dyn FnMut(&mut dyn FnMut(f64)) -> i32;

/// Memory that children cost by copying what the server changes meanwhile,
/// in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChildMemory {
    /// The last child that ended well.
    pub last: u64,
    /// The present child.
    pub current: u64,
    /// The present child at its worst.
    pub peak: u64,
    /// How old `current` is, in s.
    pub age_secs: u64,
}

/// The host, as the engine sees it. Everything happens on its main thread.
pub trait Host {
    /// Writes a line to the server's log.
    fn log(&mut self, level: Level, line: &str);
    /// `key` was changed: invalidate caches, fail WATCHers, notify subscribers.
    fn key_event(&mut self, db: u32, class: EventClass, event: &'static str, key: &[u8]);
    /// A whole database was emptied or exchanged: watched keys of both
    /// tables were changed.
    fn replaced(&mut self, db: u32, before: &Table<Entry>, after: &Table<Entry>);
    /// Frees `garbage` away from the event loop.
    fn discard(&mut self, garbage: Garbage);
    /// Whether a child could be forked now: none is alive, the host's own
    /// included, and no transaction or script is half done.
    fn can_fork(&mut self) -> bool;
    /// Runs `work` in a forked child, which exits with what it returns; gives
    /// the child's pid. `work` is told how to report progress (0 to 1).
    ///
    /// # Errors
    /// Why there could be no child.
    fn fork(&mut self, work: ChildWork<'_>) -> Result<i32, String>;
    /// Ends the child, whatever it is at, a stop included. Doesn't wait: its
    /// [`ChildEnd`] is told like any other.
    fn kill_child(&mut self, pid: i32);
    /// What children of ours cost.
    fn child_memory(&mut self) -> ChildMemory;
    /// A latency sample, in ms.
    fn latency(&mut self, event: &'static str, ms: u64);
}

/// What an executor gives back for a job that panicked: its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPanicked(pub String);
