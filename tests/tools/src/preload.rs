//! The preloaded library that slows, fails, leaves out and traces a server's system calls, ends it at one of them, and
//! shifts its clock: `tests/preload/faults.c`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::server::workspace;
use crate::{Error, Result};

/// What the library is to do. Everything is off at first.
#[derive(Clone, Debug, Default)]
pub struct Preload {
    env: Vec<(&'static str, OsString)>,
}

impl Preload {
    /// A library that does nothing.
    pub fn new() -> Self {
        Self::default()
    }

    fn set(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    /// Each fsync and fdatasync takes this much longer.
    pub fn slow_fsync_ms(self, ms: u64) -> Self {
        self.set("SLOW_FSYNC_MS", ms.to_string())
    }

    /// Only those of files whose path contains `text`.
    pub fn slow_path(self, text: &str) -> Self {
        self.set("SLOW_PATH", text)
    }

    /// Only while there is no file of this name: one that waits goes on when it is made.
    pub fn slow_until(self, file: &Path) -> Self {
        self.set("SLOW_UNTIL", file)
    }

    /// After `good` ones, each fsync of a file whose path contains `path` fails with EIO.
    pub fn fail_fsync_after(self, good: u64, path: &str) -> Self {
        self.set("FAIL_FSYNC_AFTER", good.to_string())
            .set("FAIL_PATH", path)
    }

    /// Faults, of fsync and of write, hit only files whose path contains `text`.
    pub fn fail_path(self, text: &str) -> Self {
        self.set("FAIL_PATH", text)
    }

    /// A file that switches faults while the server runs; see [`Faults`].
    pub fn control(self, file: &Path) -> Self {
        self.set("FAULT_CONTROL", file)
    }

    /// Each call leaves a line in this file; see [`read_trace`].
    pub fn trace(self, file: &Path) -> Self {
        self.set("TRACE_FILE", file)
    }

    /// Calls of this kind (`fsync`: of files; `dirsync`: of folders) on paths that match `glob` are neither made nor
    /// traced, as if they weren't in the code: the `nth` of them, or all for 0.
    pub fn swallow(self, kind: &str, glob: &str, nth: u64) -> Self {
        self.set("SWALLOW", format!("{kind} {glob} {nth}"))
    }

    /// SIGKILL just before the `nth` change of a file, folder or name whose path contains `path`.
    pub fn kill_at(self, nth: u64, path: &str) -> Self {
        self.set("KILL_AT", nth.to_string()).kill_path(path)
    }

    /// Which paths count for [`Preload::kill_at`] and [`Faults::kill_at`].
    pub fn kill_path(self, text: &str) -> Self {
        self.set("KILL_PATH", text)
    }

    /// When the server is killed at a write, half of it is written.
    pub fn kill_torn(self) -> Self {
        self.set("KILL_TORN", "1")
    }

    /// The server's real-time clock is so many seconds ahead.
    pub fn clock_shift(self, seconds: i64) -> Self {
        self.set("CLOCK_SHIFT_S", seconds.to_string())
    }

    /// How many bytes of what is written the trace keeps (64 if not said, 16384 at most).
    pub fn trace_data(self, bytes: u64) -> Self {
        self.set("TRACE_DATA", bytes.to_string())
    }

    /// The server's environment, with the library compiled into `dir`.
    pub(crate) fn environment(&self, dir: &Path) -> Result<Vec<(OsString, OsString)>> {
        let library = compile(dir)?;
        let mut env = vec![(OsString::from("LD_PRELOAD"), library.into_os_string())];
        env.extend(
            self.env
                .iter()
                .map(|(name, value)| ((*name).into(), value.clone())),
        );
        Ok(env)
    }
}

/// Faults that are switched while the server runs, through the file given to [`Preload::control`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Each fsync takes this much longer.
    pub slow_fsync_ms: u64,
    /// Each fsync fails with EIO.
    pub fail_fsync: bool,
    /// Each write to a file fails with this errno; 0 for none.
    pub fail_write: i32,
    /// The server is killed just before its so-manieth change on disk from now on; 0 for never.
    pub kill_at: u64,
    /// The real-time clock is so many seconds ahead, or behind.
    pub clock_shift_s: i64,
}

impl Faults {
    /// From now on these faults, and no others.
    pub fn apply(&self, control: &Path) -> Result<()> {
        let text = format!(
            "slow_fsync_ms={}\nfail_fsync={}\nfail_write={}\nkill_at={}\nclock_shift_s={}\n",
            self.slow_fsync_ms,
            u8::from(self.fail_fsync),
            self.fail_write,
            self.kill_at,
            self.clock_shift_s
        );
        // In one step, so that the server never reads half of it.
        let new = control.with_extension("new");
        std::fs::write(&new, text)?;
        Ok(std::fs::rename(new, control)?)
    }
}

/// The library in `dir`; compiled once, then copied.
pub fn compile(dir: &Path) -> Result<PathBuf> {
    static COMPILED: Mutex<Option<Vec<u8>>> = Mutex::new(None);
    let library = dir.join("faults.so");
    if library.exists() {
        return Ok(library);
    }
    let mut compiled = COMPILED
        .lock()
        .map_err(|_| Error::new("a thread that compiled faults.c panicked"))?;
    if let Some(bytes) = &*compiled {
        std::fs::write(&library, bytes)?;
        return Ok(library);
    }
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let output = Command::new(&compiler)
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(workspace().join("tests/preload/faults.c"))
        .output()
        .map_err(|error| Error::new(format!("{}: {error}", compiler.display())))?;
    if output.status.success() {
        *compiled = Some(std::fs::read(&library)?);
        return Ok(library);
    }
    Err(Error::new(format!(
        "faults.c does not compile:\n{}",
        String::from_utf8_lossy(&output.stderr)
    )))
}

/// One traced call.
#[derive(Clone, Debug)]
pub struct Call {
    /// When it began, in ns of the monotonic clock.
    pub begin: u64,
    /// When it returned.
    pub end: u64,
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// `write`, `send`, `fsync`, `rename`, `create` ...; the library's source lists them.
    pub op: String,
    /// What it returned; `-errno` when it failed.
    pub result: i64,
    /// The file's path, `socket:[1234]`, or `old -> new`.
    pub path: String,
    /// The start of what was written, with `\xNN` for what is not printable; of what was made, the permissions in octal.
    pub data: String,
}

impl Call {
    /// Did this call return before the other one began?
    pub fn before(&self, other: &Call) -> bool {
        self.end <= other.begin
    }

    /// Is it an fsync or fdatasync that succeeded?
    pub fn is_sync(&self) -> bool {
        matches!(self.op.as_str(), "fsync" | "fdatasync") && self.result == 0
    }

    /// Is it a write, of any kind, of at least one byte to a file or socket?
    pub fn is_write(&self) -> bool {
        let writes = [
            "write",
            "pwrite",
            "writev",
            "pwritev",
            "send",
            "sendmsg",
            "copy_file_range",
        ];
        writes.contains(&self.op.as_str()) && self.result > 0
    }

    /// Is it on a socket?
    pub fn is_socket(&self) -> bool {
        self.path.starts_with("socket:")
    }
}

/// Reads a trace: the calls in the order in which they ended. A call's line is written after the call, so a reply may be
/// seen before its line is there, above all where I/O threads send it; that is waited for.
pub fn read_trace(file: &Path) -> Result<Vec<Call>> {
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        let mut calls = read_lines(file)?;
        if !is_replying(&calls) || Instant::now() > until {
            calls.retain(|call| call.op != BEGIN_REPLY);
            calls.sort_by_key(|call| call.end);
            return Ok(calls);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

const BEGIN_REPLY: &str = "begin reply";

/// Whether a thread that lives has begun to send something, and its line isn't there.
fn is_replying(calls: &[Call]) -> bool {
    let mut open = BTreeMap::<(u32, u32), bool>::new();
    for call in calls.iter().filter(|call| call.is_socket()) {
        open.insert((call.pid, call.tid), call.op == BEGIN_REPLY);
    }
    let lives = |pid: u32, tid: u32| Path::new(&format!("/proc/{pid}/task/{tid}")).exists();
    open.iter()
        .any(|(&(pid, tid), &is_open)| is_open && lives(pid, tid))
}

fn read_lines(file: &Path) -> Result<Vec<Call>> {
    let text = String::from_utf8_lossy(&std::fs::read(file)?).into_owned();
    // A process that was killed may have left half a line, at the end.
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    text[..whole]
        .lines()
        .map(|line| parse_call(line).ok_or_else(|| Error::new(format!("bad trace line {line:?}"))))
        .collect()
}

/// Now, by the clock of traces.
pub fn monotonic_ns() -> u64 {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: clock_gettime(2) fills the structure that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

fn parse_call(line: &str) -> Option<Call> {
    let mut fields = line.splitn(8, '\t');
    Some(Call {
        begin: fields.next()?.parse().ok()?,
        end: fields.next()?.parse().ok()?,
        pid: fields.next()?.parse().ok()?,
        tid: fields.next()?.parse().ok()?,
        op: fields.next()?.to_owned(),
        result: fields.next()?.parse().ok()?,
        path: fields.next()?.to_owned(),
        data: fields.next()?.to_owned(),
    })
}
