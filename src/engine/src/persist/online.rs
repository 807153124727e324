//! PERSIST.VERIFY: all files are read and checked while the server goes on.
//! What to check is noted on the event loop; the reading is done by a thread
//! that the host starts, which shares nothing with the loop but its progress
//! and its end.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Persist;
use super::files::Files;
use super::loader::Loader;
use super::log::Mark;
use super::reading::{Reading, SoundFile};
use super::refusal::{LoadError, RESTORE_ADVICE, damaged};
use crate::base::hash::Seed;
use crate::command::CommandError;
use crate::data::value::Limits;
use crate::format::group::{GroupStream, ScanStart};
use crate::format::manifest::{IncrFile, Manifest};
use crate::format::{FormatError, HistoryId, ReadError};
use crate::host::{Host, Level};
use crate::io::{Disk, OnPath};

/// What the thread tells.
#[derive(Default)]
struct Shared {
    /// Bytes read and checked.
    done: AtomicU64,
    /// Bytes to be read.
    total: AtomicU64,
    /// How it ended: how many files were checked, or what is wrong.
    end: Mutex<Option<Result<usize, String>>>,
}

/// The work of one verification, for a thread.
pub struct Task {
    disk: Arc<dyn Disk>,
    files: Files,
    limits: Limits,
    fresh: (HistoryId, Seed),
    manifest: Option<Manifest>,
    /// How far the log was durable: what follows is being written.
    durable: Option<Mark>,
    shared: Arc<Shared>,
}

/// How the last one ended.
enum Status {
    None,
    Ok,
    Damaged(String),
    /// Files were replaced meanwhile.
    Interrupted,
}

/// Verifications, as the event loop knows them.
pub struct Verifications {
    /// The present one: since when (unix ms), and which files it reads.
    current: Option<(Arc<Shared>, u64, Vec<String>)>,
    status: Status,
    /// When the last one ended, unix s, and how long it took, in s.
    last: Option<(u64, u64)>,
}

impl Default for Verifications {
    fn default() -> Self {
        Verifications {
            current: None,
            status: Status::None,
            last: None,
        }
    }
}

/// Counts bytes over all files.
struct Count<'a> {
    shared: &'a Shared,
    at: u64,
}

impl Reading for Count<'_> {
    fn begin(&mut self, _: &Path, _: u64) {
        self.at = 0;
    }
    fn at(&mut self, bytes: u64) {
        let more = bytes.saturating_sub(self.at);
        self.at = bytes;
        self.shared.done.fetch_add(more, Ordering::Relaxed);
    }
    fn sound(&mut self, file: SoundFile) {
        self.at(file.counted);
    }
}

impl Shared {
    fn end(&self, end: Result<usize, String>) {
        // A panic in between can't leave an Option half written.
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }

    fn take(&self) -> Option<Result<usize, String>> {
        self.end
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl Task {
    /// Does it; blocks for as long as reading takes.
    pub fn run(&self) {
        self.shared.end(self.check().map_err(|e| e.text));
    }

    /// It can't be done, or broke off.
    pub fn failed(&self, why: &str) {
        self.shared.end(Err(why.into()));
    }

    fn check(&self) -> Result<usize, LoadError> {
        let disk = &*self.disk;
        let mut checked = 0;
        let mut total = 0;
        let snapshot = &self.files.snapshot;
        let has_snapshot = disk.exists(snapshot).on("stat", snapshot)?;
        if has_snapshot {
            total += disk.len(snapshot).on("stat", snapshot)?;
        }
        let base = self.manifest.as_ref().and_then(|m| m.base.as_ref());
        if let Some(base) = base {
            let path = self.files.in_log(&base.name);
            total += disk.len(&path).on("stat", &path)?;
        }
        let parts = self.parts();
        total += parts.iter().map(|(_, end)| end.len).sum::<u64>();
        self.shared.total.store(total, Ordering::Relaxed);
        let mut count = Count {
            shared: &self.shared,
            at: 0,
        };
        let loader = Loader {
            disk,
            files: &self.files,
            limits: &self.limits,
            truncated_ok: true,
            fresh: self.fresh,
        };
        if has_snapshot {
            loader.inspect_snapshot(&mut count)?;
            checked += 1;
        }
        if let Some(base) = base {
            loader.inspect_base(base, &mut count)?;
            checked += 1;
        }
        for (file, end) in parts {
            self.incr(file, end, &mut count)?;
            checked += 1;
        }
        Ok(checked)
    }

    /// The incr files, and how much of each must be sound by now.
    fn parts(&self) -> Vec<(&IncrFile, Mark)> {
        let files = self.manifest.iter().flat_map(|m| &m.incrs);
        let part = |file: &'_ IncrFile| {
            let closed = file.end.map(|end| Mark {
                file: file.seq,
                seq: end.last,
                len: end.len,
                crc: end.crc,
            });
            closed.or(self.durable.filter(|mark| mark.file == file.seq))
        };
        files
            .filter_map(|file| part(file).map(|end| (file, end)))
            .collect()
    }

    fn incr(&self, file: &IncrFile, end: Mark, count: &mut Count<'_>) -> Result<(), LoadError> {
        let path: PathBuf = self.files.in_log(&file.name);
        let source = self.disk.open(&path).on("open", &path)?;
        let len = source.len().on("stat", &path)?;
        count.begin(&path, end.len);
        if len < end.len {
            let expected = format!("a file of {} bytes", end.len);
            let error = FormatError::new(len, expected, "its end");
            return Err(damaged(&path, &error, RESTORE_ADVICE));
        }
        let start = ScanStart {
            history: Some(file.history),
            first_seq: file.start.map(|start| start.first),
            prev_crc: file.start.map(|start| start.prev_crc),
            durable: 0,
        };
        let mut groups = GroupStream::new(source, end.len, start);
        let mut last = file.start.map_or(0, |start| start.first - 1);
        loop {
            match groups.next_group() {
                Ok(Some(group)) => {
                    last = group.header.next_seq().unwrap_or(u64::MAX) - 1;
                    count.at(group.end());
                }
                Ok(None) => break,
                Err(ReadError::Io(e)) => return Err(e).on("read", &path).map_err(Into::into),
                Err(ReadError::Format(e)) => return Err(damaged(&path, &e, RESTORE_ADVICE)),
            }
        }
        let crc = groups.last_crc().unwrap_or(end.crc);
        if end.len > 0 && (last, crc) != (end.seq, end.crc) {
            let expected = format!("an end at sequence {}", end.seq);
            let error = FormatError::new(end.len, expected, format!("sequence {last}"));
            return Err(damaged(&path, &error, RESTORE_ADVICE));
        }
        Ok(())
    }
}

fn names(manifest: Option<&Manifest>) -> Vec<String> {
    let needed = manifest.into_iter().flat_map(Manifest::needed);
    needed.map(str::to_string).collect()
}

impl Persist {
    /// Notes what is to be checked, for a thread to do.
    ///
    /// # Errors
    /// One is under way.
    pub fn verify(&mut self, limits: &Limits) -> Result<Task, CommandError> {
        if self.verifications.current.is_some() {
            return Err(CommandError::text(
                "ERR Background verification already in progress",
            ));
        }
        let shared = Arc::new(Shared::default());
        let names = names(self.manifest.as_ref());
        self.verifications.current = Some((shared.clone(), self.now_ms(), names));
        Ok(Task {
            disk: self.disk.clone(),
            files: self.files.clone(),
            limits: *limits,
            fresh: (self.history, self.seed),
            manifest: self.manifest.clone(),
            durable: self.log.as_ref().map(|log| log.durable()),
            shared,
        })
    }

    /// Notices the end of a verification.
    pub(super) fn verification_ended(&mut self, host: &mut dyn Host) {
        let Some((shared, since_ms, files)) = self.verifications.current.take() else {
            return;
        };
        let Some(end) = shared.take() else {
            self.verifications.current = Some((shared, since_ms, files));
            return;
        };
        let now = self.now_ms();
        let took_ms = now.saturating_sub(since_ms);
        self.verifications.last = Some((now / 1000, took_ms / 1000));
        let bytes = shared.done.load(Ordering::Relaxed);
        self.verifications.status = match end {
            Ok(checked) => {
                let seconds = took_ms as f64 / 1e3;
                host.log(
                    Level::Notice,
                    &format!("Background verification: {checked} files, {bytes} bytes in {seconds:.3} seconds, all in order."),
                );
                Status::Ok
            }
            // A rewrite removes what it replaces.
            Err(_) if names(self.manifest.as_ref()) != files => {
                host.log(
                    Level::Notice,
                    "Background verification was interrupted: a rewrite has replaced the files.",
                );
                Status::Interrupted
            }
            Err(why) => {
                host.log(
                    Level::Warning,
                    &format!("Background verification found damage: {why} The keyspace in memory is whole: take it to new files with PERSIST.REWRITE and PERSIST.SAVE."),
                );
                Status::Damaged(why)
            }
        };
    }

    /// The fields about verifications.
    pub(super) fn info_verify(&self, p: &mut dyn FnMut(&str, &str)) {
        let v = &self.verifications;
        let (done, total) = v.current.as_ref().map_or((0, 0), |(shared, ..)| {
            let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
            (load(&shared.done), load(&shared.total))
        });
        p(
            "verify_in_progress",
            if v.current.is_some() { "1" } else { "0" },
        );
        p("verify_bytes_done", &done.to_string());
        p("verify_bytes_total", &total.to_string());
        let (at, took) = v.last.map_or((0, -1), |(at, took)| {
            (at, i64::try_from(took).unwrap_or(-1))
        });
        p(
            "verify_last_status",
            match v.status {
                Status::None => "none",
                Status::Ok => "ok",
                Status::Damaged(_) => "err",
                Status::Interrupted => "interrupted",
            },
        );
        p("verify_last_time", &at.to_string());
        p("verify_last_time_sec", &took.to_string());
        if let Status::Damaged(why) = &v.status {
            p("verify_last_error", &why.replace(['\r', '\n'], " "));
        }
    }
}
