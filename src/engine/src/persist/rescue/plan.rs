//! What of a folder's files can be kept.
//!
//! Two data sets are thought of: the log's base with what follows it, and the
//! snapshot with what follows that. Each goes on until the first group that
//! is damaged, missing or past the moment asked for. The one that gets
//! further is taken.

use std::path::{Path, PathBuf};

use super::lost::Lost;
use super::names;
use crate::format::group::{GroupScanner, GroupStream, ScanStart, Tail, sound_groups};
use crate::format::manifest::{BaseFile, IncrEnd, IncrFile, IncrStart, Manifest};
use crate::format::{FormatError, HistoryId};
use crate::io::{OnPath, read_file};
use crate::persist::loader::{Loader, Progress};
use crate::persist::refusal::{LoadError, RESTORE_ADVICE, damaged};

/// How far the data set may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// As far as the files are sound.
    Damage,
    /// Not past this sequence number.
    Seq(u64),
    /// Not past this moment, unix ms.
    Time(u64),
}

impl Until {
    /// Whether what ends at `seq` and was written at `time_ms` is allowed.
    fn allows(self, seq: u64, time_ms: u64) -> bool {
        match self {
            Until::Damage => true,
            Until::Seq(last) => seq <= last,
            Until::Time(last) => time_ms <= last,
        }
    }
}

/// Groups of one file that are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The file they are in.
    pub from: PathBuf,
    /// Where the first one starts, in bytes.
    pub at: u64,
    /// Where the last one ends, in bytes.
    pub until: u64,
    /// Their history.
    pub history: HistoryId,
    /// Where the first one sets in.
    pub start: IncrStart,
    /// The last sequence number and checksum.
    pub last: (u64, u64),
}

/// A part of a file that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub path: PathBuf,
    /// From this byte on.
    pub from: u64,
    /// Up to this byte.
    pub to: u64,
    /// What is wrong there; nothing, if it is only too late.
    pub why: Option<FormatError>,
}

/// A data set that can be had.
#[derive(Debug)]
pub struct Plan {
    /// The base, or the snapshot that takes its place.
    pub base: PathBuf,
    /// What it is; its name is the old one.
    pub base_file: BaseFile,
    /// What follows it, in order.
    pub pieces: Vec<Piece>,
    /// Sequence number of the last effect in it.
    pub seq: u64,
    /// When that was written, unix ms; 0 if it isn't known.
    pub time_ms: u64,
    /// Checksum of the last group, 0 if there is none.
    pub crc: u64,
    /// What is left out.
    pub cut: Vec<Cut>,
    /// What was in that.
    pub lost: Lost,
    /// What the operator should know of how this came about.
    pub remarks: Vec<String>,
}

/// Where in the log to set in.
#[derive(Clone, Copy)]
struct Place {
    /// Which of the manifest's incr files.
    file: usize,
    /// Where in it, in bytes.
    at: u64,
    /// The sequence number due.
    seq: u64,
    /// Checksum of the group before, if known.
    crc: Option<u64>,
}

/// What follows a place.
struct Walk {
    pieces: Vec<Piece>,
    seq: u64,
    time_ms: u64,
    crc: u64,
    /// In which file it ends before the log does, where, and why.
    stop: Option<(usize, u64, Option<FormatError>)>,
}

/// A base that is sound.
struct Ground {
    path: PathBuf,
    file: BaseFile,
    time_ms: u64,
}

impl Plan {
    /// Decides. Reads only.
    ///
    /// # Errors
    /// Neither a base nor a snapshot is sound and early enough.
    pub fn make(
        loader: &Loader<'_>,
        until: Until,
        progress: Progress<'_>,
    ) -> Result<Plan, LoadError> {
        let mut remarks = Vec::new();
        let manifest = names::manifest(loader, &mut remarks)?;
        let mut best: Option<(Ground, Walk)> = None;
        let mut take = |ground: Ground, walk: Walk| {
            if best.as_ref().is_none_or(|(_, other)| walk.seq > other.seq) {
                best = Some((ground, walk));
            }
        };
        if let Some(manifest) = &manifest {
            match base(loader, manifest, progress) {
                Err(e) if is_newer(&e) => return Err(e),
                Err(e) => remarks.push(format!("the base can't be used: {e}")),
                Ok(ground) if !until.allows(ground.file.covers, ground.time_ms) => {
                    remarks.push(format!(
                        "the base {} is too late: it covers everything up to sequence {}",
                        ground.path.display(),
                        ground.file.covers
                    ));
                }
                Ok(ground) => {
                    let place = Place {
                        file: 0,
                        at: 0,
                        seq: ground.file.covers + 1,
                        crc: None,
                    };
                    let walk = walk(loader, manifest, place, until, ground.time_ms)?;
                    take(ground, walk);
                }
            }
        }
        match snapshot(loader, progress) {
            Ok(None) => {}
            Err(e) if is_newer(&e) => return Err(e),
            Err(e) => remarks.push(format!("the snapshot can't be used: {e}")),
            Ok(Some(ground)) if !until.allows(ground.file.covers, ground.time_ms) => {
                remarks.push(format!(
                    "the snapshot {} is too late: it covers everything up to sequence {}",
                    ground.path.display(),
                    ground.file.covers
                ));
            }
            Ok(Some(ground)) => {
                let (covers, history) = (ground.file.covers, ground.file.history);
                let known = |m: &&Manifest| histories(m).any(|other| other == history);
                let behind = match manifest.as_ref().filter(known) {
                    Some(manifest) => behind(loader, manifest, covers, history)?,
                    None => None,
                };
                // What follows may only seem to be missing.
                if behind.is_none() && until.allows(covers + 1, ground.time_ms) {
                    names::refuse_newer(loader)?;
                }
                let found = match (&manifest, behind) {
                    (Some(manifest), Some(place)) => {
                        walk(loader, manifest, place, until, ground.time_ms)?
                    }
                    _ => Walk {
                        pieces: Vec::new(),
                        seq: covers,
                        time_ms: ground.time_ms,
                        crc: 0,
                        stop: Some((0, 0, None)),
                    },
                };
                if manifest.as_ref().is_none_or(|m| known(&m)) {
                    take(ground, found);
                } else {
                    remarks.push(format!(
                        "the snapshot is left out: it belongs to another data set, of history {history}"
                    ));
                }
            }
        }
        let Some((ground, walk)) = best else {
            let why = remarks.join("; ");
            return Err(LoadError::new(format!(
                "there is nothing to begin from: {}",
                if why.is_empty() {
                    "neither a log nor a snapshot is there"
                } else {
                    &why
                }
            )));
        };
        if ground.path == loader.files.snapshot && manifest.is_some() {
            remarks.push(format!(
                "the data set begins with the snapshot, at sequence {}",
                ground.file.covers
            ));
        }
        let mut plan = Plan {
            base: ground.path,
            base_file: ground.file,
            pieces: walk.pieces,
            seq: walk.seq,
            time_ms: walk.time_ms,
            crc: walk.crc,
            cut: Vec::new(),
            lost: Lost::default(),
            remarks,
        };
        if let (Some(manifest), Some(stop)) = (&manifest, walk.stop) {
            plan.leave_out(loader, manifest, stop)?;
        }
        Ok(plan)
    }

    /// Everything behind `stop` is cut; what is in it and isn't in the plan is
    /// lost.
    fn leave_out(
        &mut self,
        loader: &Loader<'_>,
        manifest: &Manifest,
        (file, at, mut why): (usize, u64, Option<FormatError>),
    ) -> Result<(), LoadError> {
        for (i, incr) in manifest.incrs.iter().enumerate().skip(file) {
            let path = loader.files.in_log(&incr.name);
            if !loader.disk.exists(&path).on("stat", &path)? {
                continue;
            }
            let bytes = read_file(loader.disk, &path)?;
            let from = if i == file { at } else { 0 };
            // Behind a closed file's end stands what was given up on.
            let to = incr
                .end
                .map_or(bytes.len() as u64, |end| end.len.min(bytes.len() as u64));
            let part = bytes.get(from as usize..to as usize).unwrap_or_default();
            if part.is_empty() && why.is_none() {
                continue;
            }
            self.lost.add(part, self.seq);
            self.cut.push(Cut {
                path,
                from,
                to: to.max(from),
                why: why.take(),
            });
        }
        Ok(())
    }
}

/// Whether a newer version wrote it: then nothing is left out on its account.
fn is_newer(e: &LoadError) -> bool {
    e.fault.as_ref().is_some_and(|fault| fault.why.intact)
}

fn histories(manifest: &Manifest) -> impl Iterator<Item = HistoryId> + '_ {
    let base = manifest.base.iter().map(|base| base.history);
    base.chain(manifest.incrs.iter().map(|file| file.history))
}

/// The base that the manifest names, if it is sound.
fn base(
    loader: &Loader<'_>,
    manifest: &Manifest,
    progress: Progress<'_>,
) -> Result<Ground, LoadError> {
    let file = manifest
        .base
        .clone()
        .ok_or_else(|| LoadError::new("the manifest names none"))?;
    let path = loader.files.in_log(&file.name);
    loader.inspect_base(&file, progress)?;
    let time_ms = match loader.header_of(&path) {
        Ok(Some(head)) if file.name.ends_with(".rdb") => head.created_ms,
        _ => first_time(loader, &path)?,
    };
    Ok(Ground {
        path,
        file,
        time_ms,
    })
}

/// When the first group of a file was written, unix ms.
fn first_time(loader: &Loader<'_>, path: &Path) -> Result<u64, LoadError> {
    let file = loader.disk.open(path).on("open", path)?;
    let len = file.len().on("stat", path)?;
    let mut groups = GroupStream::new(file, len, ScanStart::default());
    Ok(match groups.next_group() {
        Ok(Some(group)) => group.header.time_ms,
        _ => 0,
    })
}

/// The snapshot, if there is one and it is sound.
fn snapshot(loader: &Loader<'_>, progress: Progress<'_>) -> Result<Option<Ground>, LoadError> {
    let path = &loader.files.snapshot;
    let Some(head) = loader.header_of(path)? else {
        return Ok(None);
    };
    loader.inspect_snapshot(progress)?;
    Ok(Some(Ground {
        path: path.clone(),
        file: BaseFile {
            name: loader.files.base_name(1, true),
            seq: 1,
            history: head.history,
            covers: head.seq,
            end: None,
            seed: None,
        },
        time_ms: head.created_ms,
    }))
}

/// Where the group stands that follows sequence number `covers`, if a sound
/// one begins just there.
fn behind(
    loader: &Loader<'_>,
    manifest: &Manifest,
    covers: u64,
    history: HistoryId,
) -> Result<Option<Place>, LoadError> {
    for (file, incr) in manifest.incrs.iter().enumerate() {
        let path = loader.files.in_log(&incr.name);
        if !loader.disk.exists(&path).on("stat", &path)? {
            continue;
        }
        let bytes = read_file(loader.disk, &path)?;
        let mut found = None;
        sound_groups(counted(incr, &bytes), |group| {
            let header = &group.header;
            let next = (header.history, header.first_seq) == (history, covers + 1);
            // A mark without effects may stand before it.
            if next && found.is_none() {
                found = Some(Place {
                    file,
                    at: group.offset,
                    seq: covers + 1,
                    crc: Some(header.prev_crc),
                });
            }
        });
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The bytes of a file that count, as far as they are there.
fn counted<'a>(file: &IncrFile, bytes: &'a [u8]) -> &'a [u8] {
    let len = file.end.map_or(bytes.len() as u64, |end| end.len);
    bytes.get(..len as usize).unwrap_or(bytes)
}

/// Goes on from a place as long as groups are sound and in time.
fn walk(
    loader: &Loader<'_>,
    manifest: &Manifest,
    place: Place,
    until: Until,
    time_ms: u64,
) -> Result<Walk, LoadError> {
    let mut walk = Walk {
        pieces: Vec::new(),
        seq: place.seq - 1,
        time_ms,
        crc: place.crc.unwrap_or(0),
        stop: None,
    };
    let mut due_crc = place.crc;
    for (i, file) in manifest.incrs.iter().enumerate().skip(place.file) {
        let path = loader.files.in_log(&file.name);
        let at = if i == place.file { place.at } else { 0 };
        let first = walk.seq + 1;
        let misfit = |expected: String, found: String| {
            Some((i, at, Some(FormatError::new(at, expected, found))))
        };
        if !loader.disk.exists(&path).on("stat", &path)? {
            walk.stop = misfit("a file that the manifest lists".into(), "none".into());
            return Ok(walk);
        }
        if let Some(start) = file.start.filter(|start| at == 0 && start.first != first) {
            let found = format!("sequence {}", start.first);
            walk.stop = misfit(format!("a file from sequence {first} on"), found);
            return Ok(walk);
        }
        let bytes = read_file(loader.disk, &path)?;
        let part = counted(file, &bytes).get(at as usize..).unwrap_or_default();
        let given = file.start.filter(|_| at == 0).map(|start| start.prev_crc);
        let prev_crc = given.or(due_crc);
        let scan = ScanStart {
            history: Some(file.history),
            first_seq: Some(first),
            prev_crc,
            durable: 0,
        };
        let mut scanner = GroupScanner::new(part, scan);
        let (mut len, mut late) = (0, false);
        for group in scanner.by_ref() {
            let last = group.header.next_seq().unwrap_or(u64::MAX) - 1;
            if !until.allows(last, group.header.time_ms) {
                late = true;
                break;
            }
            (walk.seq, walk.crc, walk.time_ms) = (last, group.crc, group.header.time_ms);
            len = group.end();
        }
        if len > 0 {
            due_crc = Some(walk.crc);
            walk.pieces.push(Piece {
                from: path,
                at,
                until: at + len,
                history: file.history,
                start: IncrStart {
                    first,
                    prev_crc: prev_crc.unwrap_or(0),
                },
                last: (walk.seq, walk.crc),
            });
        } else if let Some(crc) = prev_crc {
            (walk.crc, due_crc) = (crc, Some(crc));
        }
        let whole = IncrEnd {
            last: walk.seq,
            len: at + len,
            crc: walk.crc,
        };
        let why = match scanner.tail() {
            _ if late => None,
            // What is cut there may be sound for who can read it.
            Some(Tail::Corrupt { why, .. }) if why.intact => {
                return Err(damaged(
                    &loader.files.in_log(&file.name),
                    why,
                    RESTORE_ADVICE,
                ));
            }
            Some(Tail::Torn { why, .. } | Tail::Corrupt { why, .. }) => Some(FormatError {
                offset: at + len,
                ..why.clone()
            }),
            _ if file.end.is_some_and(|end| end != whole) => {
                let last = file.end.map_or(0, |end| end.last);
                let expected = format!("groups up to sequence {last}");
                Some(FormatError::new(at + len, expected, "the end of the file"))
            }
            _ => continue,
        };
        walk.stop = Some((i, at + len, why));
        return Ok(walk);
    }
    Ok(walk)
}
