//! A log whose files were edited by hand, or appended to by a stock server:
//! their commands under fresh group lines, with a new history.
//!
//! Group lines that are still there are believed in one thing: when their
//! group was written. Every command is done on the data set before it is
//! taken, so what comes out can be loaded.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::carry::{begin, copy, finish, mark, settle, write};
use super::names;
use crate::base::hash::Seed;
use crate::base::number;
use crate::format::group::{Group, GroupHeader, GroupScanner, ScanStart, UnverifiedGroup};
use crate::format::manifest::{BaseFile, IncrFile, IncrStart, Manifest};
use crate::format::resp::{CommandReader, push_command};
use crate::format::{FormatError, HistoryId, ReadError, decimal};
use crate::io::{Disk, DiskError, File, OnPath, read_file};
use crate::keyspace::{Keyspace, MAX_DATABASES};
use crate::persist::dump::{self, Subject};
use crate::persist::files::Files;
use crate::persist::loader::{Loader, Progress};
use crate::persist::log::{Log, LogFile};
use crate::persist::refusal::{LoadError, damaged};
use crate::persist::replay::Replay;

const EDIT_ADVICE: &str = "Correct the file there, or take the command out, and try again.";

/// What the files come to.
#[derive(Debug)]
pub struct Reseal {
    /// What the log starts from; without one, from nothing.
    base: Option<BaseFile>,
    /// The files whose commands follow, and how many bytes of them count.
    files: Vec<(PathBuf, usize)>,
    /// Sequence number of the last effect.
    pub seq: u64,
    /// Effects behind the base.
    pub effects: u64,
    /// How often each command is among them.
    pub commands: BTreeMap<String, u64>,
    /// Where a whole database is emptied: file and offset.
    pub flushes: Vec<(PathBuf, u64)>,
    /// Keys in the data set.
    pub keys: u64,
    /// What the operator should know of how this came about.
    pub remarks: Vec<String>,
    last_time_ms: u64,
}

/// Takes everything and keeps nothing.
struct Nowhere;

impl File for Nowhere {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn len(&self) -> io::Result<u64> {
        Ok(0)
    }
    fn truncate(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

impl Reseal {
    /// Reads base and files, and tries their commands out. Changes nothing.
    ///
    /// # Errors
    /// What can't be read or done, and where.
    pub fn read(loader: &Loader<'_>, progress: Progress<'_>) -> Result<Reseal, LoadError> {
        let mut reseal = Reseal {
            base: None,
            files: Vec::new(),
            seq: 0,
            effects: 0,
            commands: BTreeMap::new(),
            flushes: Vec::new(),
            keys: 0,
            remarks: Vec::new(),
            last_time_ms: 0,
        };
        reseal.find_files(loader)?;
        let mut space = Keyspace::new(loader.fresh.1.into());
        if let Some(base) = &reseal.base {
            match loader.base_alone(base, progress) {
                Ok(found) => space = found,
                Err(e) if base.name.ends_with(".rdb") => return Err(e),
                // Commands, and edited: they are taken like the others.
                Err(_) => {
                    let path = loader.files.in_log(&base.name);
                    reseal.remarks.push(format!(
                        "the base {} was edited: its commands become the begin of the log",
                        path.display()
                    ));
                    let len = loader.disk.len(&path).on("stat", &path)?;
                    reseal.files.insert(0, (path, len as usize));
                    (reseal.base, reseal.seq) = (None, 0);
                }
            }
        }
        let target = LogFile {
            file: Arc::new(Nowhere),
            path: PathBuf::new(),
            seq: 1,
        };
        // Any history will do to try.
        let mut log = reseal.log(target, loader.fresh.0);
        let mut replay = Replay::new(Some(&mut space), loader.limits);
        for (path, len) in reseal.files.clone() {
            let bytes = read_file(loader.disk, &path)?;
            progress.begin(&path, len as u64);
            let bytes = bytes.get(..len).unwrap_or(&bytes);
            let mut trying = Try {
                history: loader.fresh.0,
                replay: &mut replay,
                reseal: &mut reseal,
                path: &path,
                progress,
            };
            commands(bytes, &mut log, &mut |at, db, argv, time_ms| {
                trying.command(at, db, argv, time_ms)
            })
            .map_err(|e| match e {
                ReadError::Format(e) => damaged(&path, &e, EDIT_ADVICE),
                ReadError::Io(e) => LoadError::new(e.to_string()),
            })?;
        }
        reseal.keys = space.len() as u64;
        Ok(reseal)
    }

    fn log(&self, target: LogFile, history: HistoryId) -> Log {
        let covers = self.base.as_ref().map_or(0, |base| base.covers);
        Log::new(target, history, covers, 0, 0)
    }

    fn find_files(&mut self, loader: &Loader<'_>) -> Result<(), LoadError> {
        let path = &loader.files.manifest;
        let missing = || {
            LoadError::new(format!(
                "{} is missing: without it nobody knows which files follow which",
                path.display()
            ))
        };
        if !loader.disk.exists(path).on("stat", path)? {
            return Err(missing());
        }
        let bytes = read_file(loader.disk, path)?;
        let (base, files) = match Manifest::parse(&bytes) {
            Ok(mut manifest) => {
                if manifest.closed_at.is_some() {
                    manifest.incrs.retain(|file| file.start.is_some());
                }
                let mut due = manifest.base.as_ref().map(|base| base.covers + 1);
                let last = manifest.incrs.len().saturating_sub(1);
                let mut files = Vec::new();
                for (i, file) in manifest.incrs.iter().enumerate() {
                    let path = loader.files.in_log(&file.name);
                    let len = counts(loader, file, &path, &mut due, i == last)?;
                    files.push((path, len));
                }
                (manifest.base, files)
            }
            Err(why) if why.intact => return Err(damaged(path, &why, "Restore the manifest.")),
            Err(why) => {
                let listed = names::stock(loader, &bytes)?
                    .ok_or_else(|| damaged(path, &why, "Restore the manifest."))?;
                self.remarks.push(format!(
                    "{}: {why}; it is read as Redis does",
                    path.display()
                ));
                let mut files = Vec::new();
                for path in listed.1 {
                    let len = loader.disk.len(&path).on("stat", &path)?;
                    files.push((path, len as usize));
                }
                (listed.0, files)
            }
        };
        self.seq = base.as_ref().map_or(0, |base| base.covers);
        (self.base, self.files) = (base, files);
        Ok(())
    }

    /// Writes the log into the folder of `files`, which may be the one that
    /// was read; then what isn't part of it any more is moved to quarantine.
    /// `numbers` are the first free ones for a base and an incr file.
    ///
    /// # Errors
    /// The disk's, or the files have changed since they were read.
    pub fn carry(
        &self,
        loader: &Loader<'_>,
        disk: &dyn Disk,
        files: &Files,
        (base_seq, incr_seq): (u64, u64),
        (history, seed): (HistoryId, Seed),
        now_ms: u64,
    ) -> Result<Manifest, LoadError> {
        let old = begin(disk, files)?;
        let mut manifest = Manifest::new(history);
        let rdb = self
            .base
            .as_ref()
            .is_none_or(|base| base.name.ends_with(".rdb"));
        let name = files.base_name(base_seq, rdb);
        let base = match &self.base {
            Some(base) => {
                copy(
                    disk,
                    &loader.files.in_log(&base.name),
                    0,
                    None,
                    &files.in_log(&name),
                )?;
                BaseFile {
                    name,
                    seq: base_seq,
                    ..base.clone()
                }
            }
            None => {
                write(
                    disk,
                    &files.in_log(&name),
                    &empty_base(history, seed, now_ms)?,
                )?;
                BaseFile {
                    name,
                    seq: base_seq,
                    history,
                    covers: 0,
                    end: None,
                    seed: None,
                }
            }
        };
        manifest.base = Some(base);
        manifest.next_base_seq = base_seq + 1;
        let mut start = IncrStart {
            first: self.base.as_ref().map_or(0, |base| base.covers) + 1,
            prev_crc: 0,
        };
        let mut seq = incr_seq;
        if self.effects > 0 {
            let name = files.incr_name(seq);
            let path = files.in_log(&name);
            let file = disk.create_new(&path).on("create", &path)?;
            let target = LogFile {
                file,
                path: path.clone(),
                seq,
            };
            let mut log = self.log(target, history);
            for (from, len) in &self.files {
                let bytes = read_file(loader.disk, from)?;
                let bytes = bytes.get(..*len).unwrap_or(&bytes);
                commands(bytes, &mut log, &mut |_, _, _, _| Ok(())).map_err(|e| match e {
                    ReadError::Format(e) => damaged(from, &e, EDIT_ADVICE),
                    ReadError::Io(e) => LoadError::new(e.to_string()),
                })?;
            }
            log.target.file.sync().on("fsync", &path)?;
            let end = log.written();
            if end.seq != self.seq {
                return Err(LoadError::new(
                    "the files have changed since they were read",
                ));
            }
            manifest.incrs.push(IncrFile {
                name,
                seq,
                history,
                start: Some(start),
                end: Some(end.end()),
            });
            start = IncrStart {
                first: end.seq + 1,
                prev_crc: end.crc,
            };
            seq += 1;
        }
        let name = files.incr_name(seq);
        write(
            disk,
            &files.in_log(&name),
            &mark(start, history, now_ms.max(self.last_time_ms)),
        )?;
        manifest.incrs.push(IncrFile {
            name,
            seq,
            history,
            start: Some(start),
            end: None,
        });
        manifest.next_incr_seq = seq + 1;
        settle(disk, files)?;
        finish(disk, files, &manifest, &old, now_ms)?;
        Ok(manifest)
    }
}

/// A snapshot of nothing.
fn empty_base(history: HistoryId, seed: Seed, now_ms: u64) -> Result<Vec<u8>, DiskError> {
    let mut bytes = Vec::new();
    let subject = Subject {
        seq: 0,
        history,
        seed,
        now_ms,
        compress: true,
        checksums: true,
    };
    dump::snapshot(
        &Keyspace::new(seed.into()),
        &mut bytes,
        &subject,
        &mut |_| {},
    )
    .on("write", Path::new("the base"))?;
    Ok(bytes)
}

/// How many bytes of a file count. What stands behind the end of one that is
/// sound was given up on when its disk failed; but only if another follows:
/// behind the last one's end a stock server appends.
fn counts(
    loader: &Loader<'_>,
    file: &IncrFile,
    path: &Path,
    due: &mut Option<u64>,
    is_last: bool,
) -> Result<usize, LoadError> {
    let bytes = read_file(loader.disk, path)?;
    let first = std::mem::replace(due, file.end.map(|end| end.last + 1));
    let Some(end) = file.end.filter(|_| !is_last) else {
        return Ok(bytes.len());
    };
    let Some(part) = bytes.get(..end.len as usize) else {
        return Ok(bytes.len());
    };
    let start = ScanStart {
        history: Some(file.history),
        first_seq: first,
        prev_crc: file.start.map(|start| start.prev_crc),
        durable: end.last,
    };
    let mut scanner = GroupScanner::new(part, start);
    while scanner.next().is_some() {}
    let sound = scanner.end() == end.len && scanner.last_crc() == Some(end.crc);
    Ok(if sound { part.len() } else { bytes.len() })
}

/// Tries commands out and counts them.
struct Try<'a, 'r> {
    /// Of no meaning to what commands do.
    history: HistoryId,
    replay: &'a mut Replay<'r>,
    reseal: &'a mut Reseal,
    path: &'a Path,
    progress: Progress<'a>,
}

impl Try<'_, '_> {
    fn command(
        &mut self,
        at: u64,
        db: u32,
        argv: &[&[u8]],
        time_ms: u64,
    ) -> Result<(), FormatError> {
        let name = argv.first().copied().unwrap_or_default();
        let shown = name.escape_ascii().to_string();
        if needs_more_than_the_log(argv) {
            let expected = "a command that does the same whenever it is done";
            return Err(FormatError::new(at, expected, shown));
        }
        let mut payload = Vec::new();
        push_command(&mut payload, &[b"SELECT", db.to_string().as_bytes()]);
        push_command(&mut payload, argv);
        let group = Group {
            header: GroupHeader {
                single_key: false,
                base: false,
                first_seq: self.reseal.seq + 1,
                effects: 1,
                time_ms,
                prev_crc: 0,
                durable: 0,
                history: self.history,
            },
            crc: 0,
            offset: at,
            payload: &payload,
        };
        self.replay
            .group(&group)
            .map_err(|e| FormatError { offset: at, ..e })?;
        if name == b"FLUSHALL" || name == b"FLUSHDB" {
            self.reseal.flushes.push((self.path.to_path_buf(), at));
        }
        self.reseal.seq += 1;
        self.reseal.effects += 1;
        self.reseal.last_time_ms = self.reseal.last_time_ms.max(time_ms);
        *self.reseal.commands.entry(shown).or_default() += 1;
        self.progress.at(at);
        Ok(())
    }
}

/// Whether what a command does depends on when it is done, or on chance.
/// Neither the module nor Redis logs such; a hand may have written them.
fn needs_more_than_the_log(argv: &[&[u8]]) -> bool {
    let word = |words: &[&str], from: usize| {
        let args = argv.get(from..).unwrap_or_default();
        args.iter()
            .any(|arg| words.iter().any(|w| arg.eq_ignore_ascii_case(w.as_bytes())))
    };
    match argv.first().copied().unwrap_or_default() {
        b"EXPIRE" | b"PEXPIRE" | b"SETEX" | b"PSETEX" | b"HEXPIRE" | b"HPEXPIRE" | b"SPOP" => true,
        b"SET" => word(&["EX", "PX"], 3),
        b"GETEX" => word(&["EX", "PX"], 2),
        b"HSETEX" | b"HGETEX" => {
            let fields = argv.iter().position(|a| a.eq_ignore_ascii_case(b"FIELDS"));
            let options = argv
                .get(2..fields.unwrap_or(argv.len()))
                .unwrap_or_default();
            let relative =
                |a: &&[u8]| a.eq_ignore_ascii_case(b"EX") || a.eq_ignore_ascii_case(b"PX");
            options.iter().any(relative)
        }
        b"RESTORE" => argv.get(2).is_some_and(|ttl| *ttl != b"0") && !word(&["ABSTTL"], 4),
        // The id is the first that looks like one; a field may look so, too.
        b"XADD" => argv
            .iter()
            .skip(2)
            .find(|arg| looks_like_id(arg))
            .is_some_and(|id| id.ends_with(b"*")),
        _ => false,
    }
}

fn looks_like_id(arg: &[u8]) -> bool {
    arg == b"*" || (arg.contains(&b'-') && arg.first().is_some_and(u8::is_ascii_digit))
}

/// What takes a command: its offset, its database, its words with the name in
/// upper case, and when it was written.
type Take<'a> = &'a mut dyn FnMut(u64, u32, &[&[u8]], u64) -> Result<(), FormatError>;

/// Puts the commands of a file into groups of `log`, which are those of the
/// file where its lines are still there.
fn commands(bytes: &[u8], log: &mut Log, take: Take<'_>) -> Result<(), ReadError> {
    let mut reader = CommandReader::new(bytes, 0);
    let mut argv = Vec::new();
    let (mut db, mut atomic, mut time_ms) = (0, false, 0);
    loop {
        let at = reader.offset() as usize;
        if let Some(time) = annotated_time(bytes, at)? {
            if !atomic {
                flush(log, time_ms)?;
            }
            time_ms = time_ms.max(time);
        }
        let Some(at) = reader.next(&mut argv)? else {
            break;
        };
        let name = argv
            .first()
            .copied()
            .unwrap_or_default()
            .to_ascii_uppercase();
        match &name[..] {
            b"SELECT" => {
                let n = argv.get(1).and_then(|n| number::parse_i64(n));
                match n.and_then(|n| u32::try_from(n).ok()) {
                    Some(n) if n < MAX_DATABASES => db = n,
                    _ => {
                        let error =
                            FormatError::new(at, "SELECT with a database number", "another");
                        return Err(error.into());
                    }
                }
            }
            b"MULTI" if !atomic => {
                // An own group, so that none of it stands half in another.
                flush(log, time_ms)?;
                atomic = true;
            }
            b"EXEC" if atomic => {
                atomic = false;
                flush(log, time_ms)?;
            }
            b"MULTI" | b"EXEC" => {
                let found = String::from_utf8_lossy(&name).into_owned();
                return Err(FormatError::new(at, "MULTI and EXEC in turns", found).into());
            }
            _ => {
                let words: Vec<&[u8]> = std::iter::once(&name[..])
                    .chain(argv.iter().skip(1).copied())
                    .collect();
                take(at, db, &words, time_ms)?;
                log.effect(db, &name, words.get(1..).unwrap_or_default(), atomic, false);
                if !atomic && log.is_full() {
                    flush(log, time_ms)?;
                }
            }
        }
    }
    if atomic {
        let error = FormatError::new(bytes.len() as u64, "EXEC", "the end of the file");
        return Err(error.into());
    }
    flush(log, time_ms).map_err(Into::into)
}

fn flush(log: &mut Log, time_ms: u64) -> io::Result<()> {
    log.seal(time_ms, false);
    log.write()
        .map_err(|e| io::Error::new(e.source.kind(), e.to_string()))?;
    log.forget_written();
    Ok(())
}

/// The time in the annotation lines that stand at a place in a file, unix ms:
/// of a group line, or of Redis's `#TS:`.
///
/// # Errors
/// One is of a newer version: of what its commands mean nothing is known.
fn annotated_time(bytes: &[u8], mut at: usize) -> Result<Option<u64>, FormatError> {
    let mut time = None;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.starts_with(b"#")) {
        let end = rest
            .iter()
            .position(|&b| b == b'\n')
            .unwrap_or(rest.len() - 1);
        if rest.starts_with(b"#PG") {
            match UnverifiedGroup::parse_line(rest, at as u64) {
                Ok(line) => time = time.max(Some(line.time_ms())),
                Err(why) if why.intact => return Err(why),
                // Edited.
                Err(_) => {}
            }
        } else if let Some(s) = rest.get(..end).and_then(|line| line.strip_prefix(b"#TS:")) {
            let s = decimal(s.strip_suffix(b"\r").unwrap_or(s));
            time = time.max(s.and_then(|s| s.checked_mul(1000)));
        }
        at += end + 1;
    }
    Ok(time)
}
