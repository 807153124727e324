//! Recovery: which files win, and reading them.
//!
//! | log | snapshot | then |
//! |---|---|---|
//! | complete, ends at or after the snapshot's position, same history | any | the log |
//! | complete, ends before it, same history | there | the snapshot; the log is moved aside |
//! | none | there | the snapshot |
//! | none | none | empty |
//! | complete, another history | there | refuse: somebody must choose |
//! | files without a manifest, a listed file missing, damage | any | refuse |
//!
//! Looking decides everything first; only then, and only if a start is
//! possible, anything on disk is changed.

use std::path::{Path, PathBuf};

use super::files::Files;
use super::replay::Replay;
use super::restore;
use crate::base::hash::Seed;
use crate::data::value::Limits;
use crate::format::group::{GroupScanner, ScanStart, Tail, highest_mark};
use crate::format::manifest::{IncrFile, Manifest};
use crate::format::snapshot::{HEADER_LEN, SnapshotHeader, SnapshotReader};
use crate::format::{FormatError, HistoryId};
use crate::io::{Disk, DiskError, OnPath, read_file};
use crate::keyspace::Keyspace;

/// What recovery found and read.
pub struct Recovered {
    /// The data.
    pub space: Keyspace,
    /// Seed of its hash.
    pub seed: Seed,
    /// Its history.
    pub history: HistoryId,
    /// Sequence number of the last effect in it.
    pub seq: u64,
    /// Where it came from.
    pub source: Source,
    /// The log's manifest, if the log is in order and can be continued.
    pub manifest: Option<Manifest>,
    /// Checksum of the log's last group.
    pub last_crc: u64,
    /// When the snapshot in place was begun, unix ms.
    pub snapshot_time_ms: Option<u64>,
    /// Position of the snapshot in place.
    pub snapshot_seq: Option<u64>,
    /// What must be done to the files before the log goes on.
    pub repairs: Vec<Repair>,
    /// Lines for the server's log.
    pub remarks: Vec<String>,
    /// Bytes of the files that were read.
    pub bytes: u64,
}

/// Where the data came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Nowhere: the keyspace is empty.
    Nothing,
    /// The snapshot.
    Snapshot,
    /// The log.
    Log,
}

/// A change of the files that recovery calls for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repair {
    /// Keep what stands from `at` on in quarantine, then cut the file there.
    Cut {
        /// The file.
        path: PathBuf,
        /// Bytes that stay.
        at: u64,
    },
    /// Move a file into quarantine.
    SetAside(PathBuf),
    /// Move the log's whole folder into quarantine.
    SetLogAside,
    /// Remove a file that a crash left behind, or that is replaced.
    Remove(PathBuf),
}

/// Why there is no start: what, where, and what to do.
#[derive(Debug)]
pub struct LoadError(pub String);

impl From<DiskError> for LoadError {
    fn from(e: DiskError) -> Self {
        LoadError(e.to_string())
    }
}

fn damaged(path: &Path, why: &FormatError, advice: &str) -> LoadError {
    LoadError(format!(
        "{}: {why}. Nothing was changed on disk. {advice}",
        path.display()
    ))
}

const RESTORE_ADVICE: &str =
    "Restore this file from a backup, or move it out of the folder to start without it.";

/// Reports how far loading has come: bytes read of all.
pub type Progress<'a> = &'a mut dyn FnMut(u64);

/// What to read with.
pub struct Loader<'a> {
    /// The disk.
    pub disk: &'a dyn Disk,
    /// Where things are.
    pub files: &'a Files,
    /// When values become large.
    pub limits: &'a Limits,
    /// Whether a torn end of the log may be cut.
    pub truncated_ok: bool,
    /// History and seed of a keyspace that begins now.
    pub fresh: (HistoryId, Seed),
}

/// An incr file that was judged: how much of it counts.
struct Judged {
    path: PathBuf,
    bytes: Vec<u8>,
    start: ScanStart,
    /// Bytes that count.
    end: usize,
}

/// A log whose files verify.
struct VerifiedLog {
    manifest: Manifest,
    incrs: Vec<Judged>,
    last_seq: u64,
    last_crc: u64,
    repairs: Vec<Repair>,
    remarks: Vec<String>,
}

impl Loader<'_> {
    /// Decides and reads. Changes nothing on disk.
    ///
    /// # Errors
    /// Why there is no start.
    pub fn load(&self, progress: Progress<'_>) -> Result<Recovered, LoadError> {
        let snapshot = self.snapshot_header()?;
        let log = self.log()?;
        let mut repairs = self.leftovers()?;
        let mut recovered = match (log, snapshot) {
            (Some(log), Some(head)) if log.manifest.history != head.history => {
                return Err(LoadError(format!(
                    "{} belongs to history {} and {} to history {}: they are different data sets. Move one of them out of the folder to choose the other. Nothing was changed on disk.",
                    self.files.manifest.display(),
                    log.manifest.history,
                    self.files.snapshot.display(),
                    head.history,
                )));
            }
            (Some(log), Some(head)) if log.last_seq < head.seq => {
                let mut r = self.from_snapshot(progress)?;
                r.remarks.push(format!(
                    "the snapshot (sequence {}) is newer than the end of the log ({}); the log is moved to {}",
                    head.seq,
                    log.last_seq,
                    self.files.quarantine.display()
                ));
                r.repairs.push(Repair::SetLogAside);
                r
            }
            (Some(log), _) => self.from_log(log, progress)?,
            (None, Some(_)) => self.from_snapshot(progress)?,
            (None, None) => self.empty(),
        };
        recovered.snapshot_time_ms = snapshot.map(|s| s.created_ms);
        recovered.snapshot_seq = snapshot.map(|s| s.seq);
        repairs.append(&mut recovered.repairs);
        recovered.repairs = repairs;
        Ok(recovered)
    }

    fn empty(&self) -> Recovered {
        let (history, seed) = self.fresh;
        Recovered {
            space: Keyspace::new(seed.into()),
            seed,
            history,
            seq: 0,
            source: Source::Nothing,
            manifest: None,
            last_crc: 0,
            snapshot_time_ms: None,
            snapshot_seq: None,
            repairs: Vec::new(),
            remarks: Vec::new(),
            bytes: 0,
        }
    }

    fn snapshot_header(&self) -> Result<Option<SnapshotHeader>, LoadError> {
        let path = &self.files.snapshot;
        if !self.disk.exists(path).on("stat", path)? {
            return Ok(None);
        }
        let file = self.disk.open(path).on("open", path)?;
        let mut head = [0; HEADER_LEN];
        let mut n = 0;
        while n < HEADER_LEN {
            match file.read_at(&mut head[n..], n as u64).on("read", path)? {
                0 => break,
                more => n += more,
            }
        }
        SnapshotHeader::parse(&head[..n])
            .map(Some)
            .map_err(|e| damaged(path, &e, RESTORE_ADVICE))
    }

    fn from_snapshot(&self, progress: Progress<'_>) -> Result<Recovered, LoadError> {
        let path = &self.files.snapshot;
        let (space, head, bytes) = self.read_snapshot(path, progress)?;
        Ok(Recovered {
            space,
            seed: Seed(head.seed),
            history: head.history,
            seq: head.seq,
            source: Source::Snapshot,
            bytes,
            ..self.empty()
        })
    }

    fn read_snapshot(
        &self,
        path: &Path,
        progress: Progress<'_>,
    ) -> Result<(Keyspace, SnapshotHeader, u64), LoadError> {
        let file = self.disk.open(path).on("open", path)?;
        let len = file.len().on("stat", path)?;
        let advice = |e: &dyn std::fmt::Display| {
            LoadError(format!(
                "{}: {e}. Nothing was changed on disk. {RESTORE_ADVICE}",
                path.display()
            ))
        };
        let mut reader =
            SnapshotReader::begin(std::io::BufReader::with_capacity(1 << 20, file), len)
                .map_err(|e| advice(&e))?;
        let head = reader.header;
        let mut space = Keyspace::new(Seed(head.seed).into());
        restore::snapshot(&mut reader, &mut space, progress).map_err(|e| advice(&e))?;
        if space.len() as u64 != reader.keys() {
            return Err(advice(&format!(
                "{} keys where the trailer tells of {}",
                space.len(),
                reader.keys()
            )));
        }
        Ok((space, head, len))
    }

    /// Reads and verifies the log without replaying it; `None` when there is
    /// none.
    fn log(&self) -> Result<Option<VerifiedLog>, LoadError> {
        let names = if self
            .disk
            .exists(&self.files.log_dir)
            .on("stat", &self.files.log_dir)?
        {
            self.disk
                .list(&self.files.log_dir)
                .on("list", &self.files.log_dir)?
        } else {
            Vec::new()
        };
        let path = &self.files.manifest;
        if !self.disk.exists(path).on("stat", path)? {
            let log_file = names
                .iter()
                .find(|n| self.files.is_log_file(n) && !Files::is_temp(n));
            if let Some(name) = log_file
                && !self.is_empty_file(name)?
            {
                return Err(LoadError(format!(
                    "{} has files of a log ({name}) but no manifest {}. Restore the manifest from the same backup, or move the folder away to start without this log. Nothing was changed on disk.",
                    self.files.log_dir.display(),
                    path.display()
                )));
            }
            return Ok(None);
        }
        let bytes = read_file(self.disk, path)?;
        let manifest = Manifest::parse(&bytes).map_err(|e| {
            damaged(path, &e, "Restore the manifest from a backup of the same folder, or move the folder away to start without this log.")
        })?;
        for name in manifest.needed() {
            let file = self.files.in_log(name);
            if !self.disk.exists(&file).on("stat", &file)? {
                return Err(LoadError(format!(
                    "{} is listed in {} but missing. Restore it from a backup, or move the folder away to start without this log. Nothing was changed on disk.",
                    file.display(),
                    path.display()
                )));
            }
        }
        self.verify(manifest, &names).map(Some)
    }

    fn is_empty_file(&self, name: &str) -> Result<bool, LoadError> {
        let path = self.files.in_log(name);
        Ok(self.disk.len(&path).on("stat", &path)? == 0)
    }

    fn verify(&self, mut manifest: Manifest, names: &[String]) -> Result<VerifiedLog, LoadError> {
        let mut repairs = Vec::new();
        let mut remarks = Vec::new();
        for file in &manifest.replaced {
            repairs.push(Repair::Remove(self.files.in_log(&file.name)));
        }
        for name in names.iter().filter(|n| self.files.is_log_file(n)) {
            let path = self.files.in_log(name);
            let listed = manifest.needed().any(|n| n == name)
                || manifest.replaced.iter().any(|r| r.name == *name);
            if path == self.files.manifest || listed {
                continue;
            }
            if self.is_empty_file(name)? {
                repairs.push(Repair::Remove(path));
            } else {
                remarks.push(format!(
                    "{} isn't in the manifest; it is moved to quarantine",
                    path.display()
                ));
                repairs.push(Repair::SetAside(path));
            }
        }
        // A log that was turned off goes no further than its mark; files made
        // ready for turning it on again, whose base never came, don't count.
        if manifest.closed_at.is_some() {
            for file in manifest.incrs.iter().filter(|f| f.start.is_none()) {
                repairs.push(Repair::SetAside(self.files.in_log(&file.name)));
            }
            manifest.incrs.retain(|f| f.start.is_some());
        }
        let base = manifest
            .base
            .as_ref()
            .ok_or_else(|| LoadError("the manifest names no base".into()))?;
        let mut due = (base.covers + 1, None);
        let mut incrs: Vec<Judged> = Vec::new();
        let mut images = Vec::new();
        for file in &manifest.incrs {
            let path = self.files.in_log(&file.name);
            images.push((read_file(self.disk, &path)?, path));
        }
        // What later files prove durable, known before a file is judged.
        let marks: Vec<u64> = images
            .iter()
            .map(|(b, _)| highest_mark(b, Some(manifest.history)))
            .collect();
        // Where each file ends at most: before the first effect of the next.
        let firsts = manifest.incrs.iter().zip(&images).map(|(file, (b, _))| {
            let first_group = || {
                let first = GroupScanner::new(b, ScanStart::default()).next();
                first.map(|group| group.header.first_seq)
            };
            file.start.map(|start| start.first).or_else(first_group)
        });
        let mut ends: Vec<u64> = Vec::new();
        let mut next = None;
        for first in firsts.rev() {
            ends.push(next.map_or(u64::MAX, |first: u64| first.saturating_sub(1)));
            next = first.or(next);
        }
        ends.reverse();
        let count = manifest.incrs.len();
        for (i, (file, (bytes, path))) in manifest.incrs.iter().zip(images).enumerate() {
            let later = marks
                .get(i + 1..)
                .unwrap_or_default()
                .iter()
                .copied()
                .max()
                .unwrap_or(0);
            // A mark may stand for what is in the files after this one.
            let later = later.min(ends.get(i).copied().unwrap_or(u64::MAX));
            let judged = self.judge(
                file,
                bytes,
                path,
                due,
                later,
                i + 1 == count,
                &mut repairs,
                &mut remarks,
            )?;
            due = (judged.1, judged.2.or(due.1));
            incrs.push(judged.0);
        }
        let last_seq = due.0 - 1;
        if let Some(closed) = manifest.closed_at
            && closed != last_seq
        {
            return Err(LoadError(format!(
                "{}: the log was closed at sequence {closed} but ends at {last_seq}. {RESTORE_ADVICE} Nothing was changed on disk.",
                self.files.manifest.display()
            )));
        }
        Ok(VerifiedLog {
            manifest,
            incrs,
            last_seq,
            last_crc: due.1.unwrap_or(0),
            repairs,
            remarks,
        })
    }

    /// Verifies one incr file: the file, the sequence number due after it,
    /// and the checksum of its last group if it has one.
    #[allow(clippy::too_many_arguments)]
    fn judge(
        &self,
        file: &IncrFile,
        bytes: Vec<u8>,
        path: PathBuf,
        due: (u64, Option<u64>),
        later: u64,
        is_last: bool,
        repairs: &mut Vec<Repair>,
        remarks: &mut Vec<String>,
    ) -> Result<(Judged, u64, Option<u64>), LoadError> {
        let advice = RESTORE_ADVICE;
        if let Some(start) = file.start
            && start.first != due.0
        {
            let found = format!("sequence {}", start.first);
            let error = FormatError::new(0, format!("a file from sequence {} on", due.0), found);
            return Err(damaged(&path, &error, advice));
        }
        let start = ScanStart {
            history: Some(file.history),
            first_seq: Some(due.0),
            prev_crc: file.start.map(|s| s.prev_crc).or(due.1),
            durable: file.end.map_or(later, |end| end.last),
        };
        // Bytes behind the end that the manifest gives were given up on.
        let counts = match file.end {
            Some(end) => match usize::try_from(end.len).ok().and_then(|n| bytes.get(..n)) {
                Some(counted) => counted,
                None => {
                    let found = format!("{} bytes", bytes.len());
                    let error =
                        FormatError::new(0, format!("a closed file of {} bytes", end.len), found);
                    return Err(damaged(&path, &error, advice));
                }
            },
            None => &bytes[..],
        };
        let mut scanner = GroupScanner::new(counts, start);
        let mut groups = 0u64;
        while scanner.next().is_some() {
            groups += 1;
        }
        let end = scanner.end() as usize;
        match scanner.tail() {
            Some(Tail::Clean) => {}
            Some(Tail::Torn { at, why }) if is_last && file.end.is_none() => {
                if !self.truncated_ok {
                    return Err(damaged(
                        &path,
                        why,
                        "The end of the log is torn, as a crash leaves it. Set persist.aof-load-truncated yes to cut it (what is cut is kept in quarantine).",
                    ));
                }
                remarks.push(format!(
                    "!!! Warning: short read while loading the AOF file {}!!! {} bytes from offset {at} on are moved to quarantine: {why}",
                    path.display(),
                    bytes.len() as u64 - at
                ));
                repairs.push(Repair::Cut {
                    path: path.clone(),
                    at: *at,
                });
            }
            Some(Tail::Torn { why, .. } | Tail::Corrupt { why, .. }) => {
                return Err(damaged(&path, why, advice));
            }
            None => {
                return Err(LoadError(format!(
                    "{}: the scan didn't end",
                    path.display()
                )));
            }
        }
        let next = scanner.next_seq().unwrap_or(due.0);
        let crc = (groups > 0)
            .then(|| scanner.last_crc())
            .flatten()
            .or(file.start.map(|s| s.prev_crc));
        if let Some(expected) = file.end
            && (expected.last + 1 != next || crc.is_some_and(|crc| crc != expected.crc))
        {
            let found = format!("sequence {}", next - 1);
            let error = FormatError::new(
                end as u64,
                format!("an end at sequence {}", expected.last),
                found,
            );
            return Err(damaged(&path, &error, advice));
        }
        Ok((
            Judged {
                path,
                bytes,
                start,
                end,
            },
            next,
            crc,
        ))
    }

    fn from_log(&self, log: VerifiedLog, progress: Progress<'_>) -> Result<Recovered, LoadError> {
        let VerifiedLog {
            manifest,
            incrs,
            last_seq,
            last_crc,
            repairs,
            remarks,
        } = log;
        let mut r = self.empty();
        if let Some(base) = &manifest.base {
            let path = self.files.in_log(&base.name);
            if base.name.ends_with(".rdb") {
                let (space, head, bytes) = self.read_snapshot(&path, progress)?;
                if (head.history, head.seq) != (base.history, base.covers) {
                    let error = FormatError::new(
                        32,
                        format!(
                            "a base at sequence {} of history {}",
                            base.covers, base.history
                        ),
                        format!("{} of {}", head.seq, head.history),
                    );
                    return Err(damaged(&path, &error, RESTORE_ADVICE));
                }
                (r.space, r.seed, r.bytes) = (space, Seed(head.seed), bytes);
            } else {
                let bytes = read_file(self.disk, &path)?;
                let expect = base.end.map(|(len, _)| len);
                if expect.is_some_and(|len| len != bytes.len() as u64) {
                    let error = FormatError::new(
                        0,
                        format!("a base of {} bytes", expect.unwrap_or(0)),
                        format!("{} bytes", bytes.len()),
                    );
                    return Err(damaged(&path, &error, RESTORE_ADVICE));
                }
                let start = ScanStart {
                    history: Some(base.history),
                    first_seq: Some(1),
                    prev_crc: Some(0),
                    durable: 0,
                };
                let crc = self.replay(&mut r.space, &path, &bytes, start, progress)?;
                if base.end.is_some_and(|(_, want)| want != crc) {
                    let error = FormatError::new(
                        bytes.len() as u64,
                        "the base's last group",
                        format!("{crc:016x}"),
                    );
                    return Err(damaged(&path, &error, RESTORE_ADVICE));
                }
                r.bytes = bytes.len() as u64;
            }
        }
        for file in &incrs {
            self.replay(
                &mut r.space,
                &file.path,
                &file.bytes[..file.end],
                file.start,
                progress,
            )?;
            r.bytes += file.end as u64;
        }
        Ok(Recovered {
            history: manifest.history,
            seq: last_seq,
            source: Source::Log,
            manifest: Some(manifest),
            last_crc,
            repairs,
            remarks,
            ..r
        })
    }

    /// Replays groups that end where `bytes` does; gives the last checksum.
    fn replay(
        &self,
        space: &mut Keyspace,
        path: &Path,
        bytes: &[u8],
        start: ScanStart,
        progress: Progress<'_>,
    ) -> Result<u64, LoadError> {
        let mut scanner = GroupScanner::new(bytes, start);
        let mut replay = Replay::new(space, self.limits);
        for group in scanner.by_ref() {
            replay
                .group(&group)
                .map_err(|e| damaged(path, &e, RESTORE_ADVICE))?;
            progress(group.end());
        }
        match scanner.tail() {
            Some(Tail::Clean) => Ok(scanner.last_crc().unwrap_or(0)),
            Some(Tail::Torn { why, .. } | Tail::Corrupt { why, .. }) => {
                Err(damaged(path, why, RESTORE_ADVICE))
            }
            None => Ok(0),
        }
    }

    /// Temporary files of writers that died.
    fn leftovers(&self) -> Result<Vec<Repair>, LoadError> {
        let mut repairs = Vec::new();
        for dir in [&self.files.dir, &self.files.log_dir] {
            if !self.disk.exists(dir).on("stat", dir)? {
                continue;
            }
            for name in self.disk.list(dir).on("list", dir)? {
                if Files::is_temp(&name) {
                    repairs.push(Repair::Remove(dir.join(name)));
                }
            }
        }
        Ok(repairs)
    }
}

/// Carries out what recovery calls for; each step is durable before the next.
///
/// # Errors
/// The disk's.
pub fn carry_out(
    disk: &dyn Disk,
    files: &Files,
    repairs: &[Repair],
    stamp: u64,
) -> Result<(), DiskError> {
    for repair in repairs {
        match repair {
            Repair::Remove(path) => {
                if disk.exists(path).on("stat", path)? {
                    disk.remove(path).on("remove", path)?;
                }
            }
            Repair::SetAside(path) => set_aside(disk, files, path, stamp)?,
            Repair::SetLogAside => {
                make_quarantine(disk, files)?;
                let name = format!("log-{stamp}");
                let to = files.quarantine.join(name);
                disk.rename(&files.log_dir, &to)
                    .on("rename", &files.log_dir)?;
                disk.sync_dir(&files.quarantine)
                    .on("fsync", &files.quarantine)?;
                disk.sync_dir(&files.dir).on("fsync", &files.dir)?;
            }
            Repair::Cut { path, at } => cut(disk, files, path, *at, stamp)?,
        }
    }
    Ok(())
}

fn quarantine_name(path: &Path, stamp: u64, more: &str) -> String {
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    format!("{name}.{stamp}{more}")
}

/// The folder's own name is durable before anything is moved into it.
fn make_quarantine(disk: &dyn Disk, files: &Files) -> Result<(), DiskError> {
    let path = &files.quarantine;
    disk.create_dir(path).on("create", path)?;
    disk.sync_dir(&files.dir).on("fsync", &files.dir)
}

fn set_aside(disk: &dyn Disk, files: &Files, path: &Path, stamp: u64) -> Result<(), DiskError> {
    make_quarantine(disk, files)?;
    let to = files.quarantine.join(quarantine_name(path, stamp, ""));
    disk.rename(path, &to).on("rename", path)?;
    disk.sync_dir(&files.quarantine)
        .on("fsync", &files.quarantine)?;
    let dir = path.parent().unwrap_or(&files.dir);
    disk.sync_dir(dir).on("fsync", dir)
}

/// Keeps the tail in quarantine, durably, before the file is cut, durably,
/// before anything is appended anywhere: a group must never stand behind
/// bytes that a later start could take for damage.
fn cut(disk: &dyn Disk, files: &Files, path: &Path, at: u64, stamp: u64) -> Result<(), DiskError> {
    make_quarantine(disk, files)?;
    let bytes = read_file(disk, path)?;
    let tail = bytes.get(at as usize..).unwrap_or_default();
    let kept = files
        .quarantine
        .join(quarantine_name(path, stamp, &format!(".tail-at-{at}")));
    crate::io::replace::replace_file(disk, &kept, &files.tag(), tail).map_err(|e| e.error)?;
    disk.truncate(path, at).on("truncate", path)
}
