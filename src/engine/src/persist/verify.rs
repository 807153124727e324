//! Whether the log on disk is whole: its manifest, the files it names, and
//! what else stands in its folder. Looks only, changes nothing.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::files::Files;
use super::loader::{Loader, Progress};
use super::reading::{Part, SoundFile};
use super::refusal::{LoadError, RESTORE_ADVICE, damaged};
use super::repair::Repair;
use crate::format::FormatError;
use crate::format::group::{Group, ScanStart, Tail, highest_mark_of, judge};
use crate::format::manifest::{IncrEnd, IncrFile, IncrStart, Manifest};
use crate::format::snapshot::SnapshotHeader;
use crate::io::{OnPath, ReadFile, Section, read_file};

/// An incr file as it was when its log was first looked at: it may grow, and
/// lose its name.
pub(super) struct Image {
    file: Box<dyn ReadFile>,
    len: u64,
}

/// No manifest is as long, in bytes: some 300,000 files.
const MANIFEST_MAX: u64 = 64 << 20;
/// What to do about a bad one.
const MANIFEST_ADVICE: &str = "Restore the manifest from a backup of the same folder, or let `redis-persist repair` make it again in a copy.";
/// Bytes that are read at once.
const PIECE: usize = 1 << 18;

impl Image {
    /// Its first `end` bytes, from the start.
    pub(super) fn first(&self, end: u64) -> impl Read {
        BufReader::with_capacity(PIECE, Section::new(&*self.file, 0, end))
    }

    /// Some of what stands from `at` on.
    fn part(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(into, at)
    }
}

/// An incr file that was judged: how much of it counts.
pub(super) struct Judged {
    pub(super) path: PathBuf,
    pub(super) image: Image,
    pub(super) start: ScanStart,
    /// Bytes that count.
    pub(super) end: u64,
    seq: u64,
    closed: bool,
    starts: IncrStart,
    ends: IncrEnd,
}

impl Judged {
    /// Number, start and end of a file that isn't closed.
    pub(super) fn open(&self) -> Option<(u64, IncrStart, IncrEnd)> {
        (!self.closed).then_some((self.seq, self.starts, self.ends))
    }
}

/// A log whose files verify.
pub(super) struct VerifiedLog {
    pub(super) manifest: Manifest,
    pub(super) incrs: Vec<Judged>,
    pub(super) last_seq: u64,
    pub(super) last_crc: u64,
    pub(super) repairs: Vec<Repair>,
    pub(super) afterwards: Vec<Repair>,
    pub(super) remarks: Vec<String>,
}

impl VerifiedLog {
    /// Whether no effect can be missing at its end: a clean shutdown has ended
    /// its last file. Nothing was written after that, to no snapshot either.
    pub(super) fn has_everything(&self) -> bool {
        self.manifest.closed_at.is_none() && self.incrs.iter().all(|file| file.closed)
    }
}

/// What is due at the beginning of a file.
#[derive(Clone, Copy)]
struct Due {
    seq: u64,
    /// Checksum of the group before, if there was one.
    crc: Option<u64>,
    /// The highest sequence number in the file that later files know to be
    /// durable.
    mark: u64,
    /// Whether a crash may have torn the end: nothing was written behind.
    may_be_torn: bool,
}

impl Loader<'_> {
    /// Reads and verifies the log without replaying it; `None` when there is
    /// none.
    pub(super) fn log(
        &self,
        snapshot: Option<SnapshotHeader>,
        repairs: &mut Vec<Repair>,
        progress: Progress<'_>,
    ) -> Result<Option<VerifiedLog>, LoadError> {
        let dir = &self.files.log_dir;
        let mut names = Vec::new();
        if self.disk.exists(dir).on("stat", dir)? {
            names = self.disk.list(dir).on("list", dir)?;
            names.retain(|n| self.files.is_log_file(n));
        }
        let path = &self.files.manifest;
        if !self.disk.exists(path).on("stat", path)? {
            for name in &names {
                self.check_unfinished(name, snapshot)?;
                repairs.push(Repair::Remove(self.files.in_log(name)));
            }
            return Ok(None);
        }
        let len = self.disk.len(path).on("stat", path)?;
        if len > MANIFEST_MAX {
            let expected = format!("a manifest of at most {MANIFEST_MAX} bytes");
            let error = FormatError::new(0, expected, format!("{len} bytes"));
            return Err(damaged(path, &error, MANIFEST_ADVICE));
        }
        let bytes = read_file(self.disk, path)?;
        let manifest = Manifest::parse(&bytes).map_err(|e| damaged(path, &e, MANIFEST_ADVICE))?;
        for name in manifest.needed() {
            let file = self.files.in_log(name);
            if !self.disk.exists(&file).on("stat", &file)? {
                return Err(LoadError::of_damage(format!(
                    "{} is listed in {} but missing. Restore it from a backup, or move the folder away to start without this log. Nothing was changed on disk.",
                    file.display(),
                    path.display()
                )));
            }
        }
        progress.sound(SoundFile::whole(path, Part::Manifest, bytes.len() as u64));
        self.verify(manifest, &names, progress).map(Some)
    }

    /// Without a manifest a log's files are only in order if they come from a
    /// first start that was cut short, and hold nothing that isn't elsewhere:
    /// empty, or a base of nothing or of the snapshot in place.
    fn check_unfinished(
        &self,
        name: &str,
        snapshot: Option<SnapshotHeader>,
    ) -> Result<(), LoadError> {
        let path = self.files.in_log(name);
        if self.is_empty_file(name)? {
            return Ok(());
        }
        if let Ok(Some(base)) = self.header_of(&path)
            && (base.seq == 0
                || snapshot.is_some_and(|s| (s.history, s.seq) == (base.history, base.seq)))
        {
            return Ok(());
        }
        Err(LoadError::of_damage(format!(
            "{} has files of a log ({name}) but no manifest {}. Restore the manifest from the same backup, or move the folder away to start without this log. Nothing was changed on disk.",
            self.files.log_dir.display(),
            self.files.manifest.display()
        )))
    }

    fn is_empty_file(&self, name: &str) -> Result<bool, LoadError> {
        let path = self.files.in_log(name);
        Ok(self.disk.len(&path).on("stat", &path)? == 0)
    }

    fn verify(
        &self,
        mut manifest: Manifest,
        names: &[String],
        progress: Progress<'_>,
    ) -> Result<VerifiedLog, LoadError> {
        let (mut repairs, mut afterwards, mut remarks) = (Vec::new(), Vec::new(), Vec::new());
        self.strangers(&manifest, names, &mut repairs, &mut remarks)?;
        // A log that was turned off goes no further than its mark; files made
        // ready for turning it on again, whose base never came, don't count.
        // They stay until no manifest names them: else a second start would
        // miss them.
        if manifest.closed_at.is_some() {
            for file in manifest.incrs.iter().filter(|f| f.start.is_none()) {
                afterwards.push(match self.is_empty_file(&file.name)? {
                    true => Repair::Remove(self.files.in_log(&file.name)),
                    false => Repair::SetAside(self.files.in_log(&file.name)),
                });
            }
            manifest.incrs.retain(|f| f.start.is_some());
        }
        let base = manifest
            .base
            .as_ref()
            .ok_or_else(|| LoadError::new("the manifest names no base"))?;
        let mut images = Vec::new();
        for file in &manifest.incrs {
            let path = self.files.in_log(&file.name);
            let file = self.disk.open(&path).on("open", &path)?;
            let len = file.len().on("stat", &path)?;
            images.push(Image { file, len });
        }
        // What later files prove durable, known before a file is judged. Of the
        // first nobody asks.
        let mut marks = vec![0; images.len()];
        for ((mark, image), file) in marks.iter_mut().zip(&images).zip(&manifest.incrs).skip(1) {
            let part = |at, into: &mut [u8]| image.part(at, into);
            let found = highest_mark_of(image.first(image.len), image.len, manifest.history, part);
            *mark = found.on("read", &self.files.in_log(&file.name))?;
        }
        let used = images.iter().rposition(|image| image.len > 0);
        let mut due = Due {
            seq: base.covers + 1,
            crc: None,
            mark: 0,
            may_be_torn: false,
        };
        let mut incrs: Vec<Judged> = Vec::new();
        for (i, (file, image)) in manifest.incrs.iter().zip(images).enumerate() {
            let later = marks.get(i + 1..).unwrap_or_default();
            // Later marks tell of later files, too: of this one only up to
            // where the next sets in.
            let next = manifest.incrs.get(i + 1).and_then(|next| next.start);
            let last = next.map_or(0, |start| start.first - 1);
            due.mark = later.iter().copied().max().unwrap_or(0).min(last);
            due.may_be_torn = used.is_none_or(|used| i >= used) && file.end.is_none();
            progress.begin(&self.files.in_log(&file.name), image.len);
            let judged = self.judge(file, image, due, &mut repairs, &mut remarks, progress)?;
            due.seq = judged.ends.last + 1;
            due.crc = Some(judged.ends.crc);
            incrs.push(judged);
        }
        let last_seq = due.seq - 1;
        if let Some(closed) = manifest.closed_at
            && closed != last_seq
        {
            return Err(LoadError::of_damage(format!(
                "{}: the log was closed at sequence {closed} but ends at {last_seq}. {RESTORE_ADVICE} Nothing was changed on disk.",
                self.files.manifest.display()
            )));
        }
        Ok(VerifiedLog {
            manifest,
            incrs,
            last_seq,
            last_crc: due.crc.unwrap_or(0),
            repairs,
            afterwards,
            remarks,
        })
    }

    /// Files in the folder that the manifest doesn't list are never loaded,
    /// and replaced ones are removed.
    fn strangers(
        &self,
        manifest: &Manifest,
        names: &[String],
        repairs: &mut Vec<Repair>,
        remarks: &mut Vec<String>,
    ) -> Result<(), LoadError> {
        for file in &manifest.replaced {
            repairs.push(Repair::Remove(self.files.in_log(&file.name)));
        }
        for name in names {
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
        Ok(())
    }

    /// Verifies one incr file.
    fn judge(
        &self,
        file: &IncrFile,
        image: Image,
        due: Due,
        repairs: &mut Vec<Repair>,
        remarks: &mut Vec<String>,
        progress: Progress<'_>,
    ) -> Result<Judged, LoadError> {
        let path = self.files.in_log(&file.name);
        if let Some(start) = file.start
            && start.first != due.seq
        {
            let found = format!("sequence {}", start.first);
            let error = FormatError::new(0, format!("a file from sequence {} on", due.seq), found);
            return Err(damaged(&path, &error, RESTORE_ADVICE));
        }
        let start = ScanStart {
            history: Some(file.history),
            first_seq: Some(due.seq),
            prev_crc: file.start.map(|s| s.prev_crc).or(due.crc),
            durable: file.end.map_or(due.mark, |end| end.last),
        };
        let counted = counted(file, image.len, &path)?;
        let mut sound = SoundFile::whole(&path, Part::Incr, image.len);
        let visit = |group: &Group<'_>| {
            sound.units += 1;
            sound.effects += u64::from(group.header.effects);
            progress.at(group.end());
        };
        let part = |at, into: &mut [u8]| image.part(at, into);
        let judged = judge(image.first(counted), counted, start, visit, part);
        let judged = judged.on("read", &path)?;
        match judged.tail {
            Tail::Clean => {}
            Tail::Torn { at, why } if due.may_be_torn => {
                self.torn(&path, at, image.len, &why, remarks)?;
                sound.torn = Some(why);
                repairs.push(Repair::Cut {
                    path: path.clone(),
                    at,
                });
            }
            Tail::Torn { why, .. } | Tail::Corrupt { why, .. } => {
                return Err(damaged(&path, &why, RESTORE_ADVICE));
            }
        }
        let ends = IncrEnd {
            last: judged.next_seq.unwrap_or(due.seq) - 1,
            len: judged.end,
            crc: judged.last_crc.or(due.crc).unwrap_or(0),
        };
        if let Some(expected) = file.end
            && expected != ends
        {
            let told = |end: IncrEnd| {
                let IncrEnd { last, len, crc } = end;
                format!("sequence {last}, byte {len}, checksum {crc:016x}")
            };
            let error = FormatError::new(
                ends.len,
                format!("the manifest's end at {}", told(expected)),
                told(ends),
            );
            return Err(damaged(&path, &error, RESTORE_ADVICE));
        }
        (sound.counted, sound.last_seq) = (ends.len, ends.last);
        progress.sound(sound);
        Ok(Judged {
            path,
            end: ends.len,
            image,
            seq: file.seq,
            closed: file.end.is_some(),
            starts: IncrStart {
                first: due.seq,
                prev_crc: start.prev_crc.unwrap_or(0),
            },
            start,
            ends,
        })
    }

    /// The end of the log is torn, as a crash leaves it.
    fn torn(
        &self,
        path: &Path,
        at: u64,
        len: u64,
        why: &FormatError,
        remarks: &mut Vec<String>,
    ) -> Result<(), LoadError> {
        if !self.truncated_ok {
            return Err(damaged(
                path,
                why,
                "The end of the log is torn, as a crash leaves it. Set persist.aof-load-truncated yes to cut it (what is cut is kept in quarantine).",
            ));
        }
        remarks.push(format!(
            "!!! Warning: short read while loading the AOF file {}!!! {} bytes from offset {at} on are moved to quarantine: {why}",
            path.display(),
            len - at
        ));
        Ok(())
    }

    /// Temporary files of writers that died.
    pub(super) fn leftovers(&self) -> Result<Vec<Repair>, LoadError> {
        let mut repairs = Vec::new();
        for dir in [&self.files.dir, &self.files.log_dir, &self.files.quarantine] {
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

/// How many bytes count: behind the end that the manifest gives stands what was
/// given up on.
fn counted(file: &IncrFile, len: u64, path: &Path) -> Result<u64, LoadError> {
    match file.end {
        None => Ok(len),
        Some(end) if end.len <= len => Ok(end.len),
        Some(end) => {
            let expected = format!("a closed file of {} bytes", end.len);
            let error = FormatError::new(0, expected, format!("{len} bytes"));
            Err(damaged(path, &error, RESTORE_ADVICE))
        }
    }
}
