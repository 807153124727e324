//! A plan carried out: its parts as new files of a log, and a manifest that
//! names them. Old files are never written to; until the manifest is in place
//! a start finds what it found before.

use std::io;
use std::path::Path;

use super::plan::Plan;
use crate::format::HistoryId;
use crate::format::group::{GROUP_HEADER_LEN, GroupHeader, seal};
use crate::format::manifest::{BaseFile, IncrEnd, IncrFile, IncrStart, Manifest};
use crate::format::snapshot::{HEADER_LEN, SnapshotHeader};
use crate::io::{Disk, DiskError, OnPath, append_all};
use crate::persist::commit::commit;
use crate::persist::files::Files;
use crate::persist::repair::{self, Repair};

/// Bytes that are copied at a time.
const CHUNK: usize = 1 << 20;

/// Makes the log that `plan` describes in the folder of `files`, which may be
/// the one it was made for: then what isn't part of it any more is moved to
/// quarantine. `numbers` are the first free ones for a base and an incr file.
/// The data set gets the new history `history`.
///
/// # Errors
/// The disk's.
pub fn carry(
    disk: &dyn Disk,
    plan: &Plan,
    files: &Files,
    (base_seq, incr_seq): (u64, u64),
    history: HistoryId,
    now_ms: u64,
) -> Result<Manifest, DiskError> {
    let old = begin(disk, files)?;
    let rdb = plan.base_file.name.ends_with(".rdb");
    let name = files.base_name(base_seq, rdb);
    let path = files.in_log(&name);
    // Bases are never written to, so in its own folder a second name will do.
    let own = plan.base.starts_with(&files.dir);
    if !own || disk.hard_link(&plan.base, &path).is_err() {
        copy(disk, &plan.base, 0, None, &path)?;
    }
    let mut manifest = Manifest::new(history);
    manifest.base = Some(BaseFile {
        name,
        seq: base_seq,
        ..plan.base_file.clone()
    });
    manifest.next_base_seq = base_seq + 1;
    let mut seq = incr_seq;
    for piece in &plan.pieces {
        let name = files.incr_name(seq);
        copy(
            disk,
            &piece.from,
            piece.at,
            Some(piece.until),
            &files.in_log(&name),
        )?;
        manifest.incrs.push(IncrFile {
            name,
            seq,
            history: piece.history,
            start: Some(piece.start),
            end: Some(IncrEnd {
                last: piece.last.0,
                len: piece.until - piece.at,
                crc: piece.last.1,
            }),
        });
        seq += 1;
    }
    let name = files.incr_name(seq);
    let start = IncrStart {
        first: plan.seq + 1,
        prev_crc: plan.crc,
    };
    let mark = mark(start, history, now_ms.max(plan.time_ms));
    write(disk, &files.in_log(&name), &mark)?;
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

/// Makes the log's folder, if there is none. What stands in it by now, which is
/// no part of the new log.
pub(super) fn begin(disk: &dyn Disk, files: &Files) -> Result<Vec<String>, DiskError> {
    let log_dir = &files.log_dir;
    repair::make_dir(disk, files, log_dir)?;
    disk.list(log_dir).on("list", log_dir)
}

/// The names of the new files are durable before a manifest names them.
pub(super) fn settle(disk: &dyn Disk, files: &Files) -> Result<(), DiskError> {
    disk.sync_dir(&files.log_dir).on("fsync", &files.log_dir)
}

/// Brings the manifest into force, and moves aside what isn't part of it.
pub(super) fn finish(
    disk: &dyn Disk,
    files: &Files,
    manifest: &Manifest,
    old: &[String],
    now_ms: u64,
) -> Result<(), DiskError> {
    let mut manifest = manifest.clone();
    let snapshot = disk.exists(&files.snapshot).on("stat", &files.snapshot)?;
    if snapshot {
        // It may be what the new log was made of, so it stays until that
        // counts. A start that finds both finishes this.
        let before = history_of(disk, &files.snapshot)?;
        manifest.after = Some(before.unwrap_or(manifest.history));
    }
    if disk.exists(&files.manifest).on("stat", &files.manifest)? {
        keep_manifest(disk, files, now_ms)?;
    }
    commit(disk, files, &manifest)?;
    let mut aside = out_of_the_way(files, old);
    if snapshot {
        aside.push(Repair::SetAside(files.snapshot.clone()));
    }
    repair::carry_out(disk, files, &aside, now_ms)?;
    if snapshot {
        manifest.after = None;
        commit(disk, files, &manifest)?;
    }
    Ok(())
}

/// The history of a snapshot, if it can tell.
fn history_of(disk: &dyn Disk, path: &Path) -> Result<Option<HistoryId>, DiskError> {
    let mut head = [0; HEADER_LEN];
    let file = disk.open(path).on("open", path)?;
    let n = file.read_at(&mut head, 0).on("read", path)?;
    let head = SnapshotHeader::parse(head.get(..n).unwrap_or_default());
    Ok(head.ok().map(|head| head.history))
}

/// What becomes of the files that stood in the log's folder before.
pub(super) fn out_of_the_way(files: &Files, old: &[String]) -> Vec<Repair> {
    old.iter()
        .map(|name| (name, files.in_log(name)))
        .filter(|(_, path)| *path != files.manifest)
        .map(|(name, path)| match Files::is_temp(name) {
            // Half of something, from a process that died. The manifest's may
            // be gone by now: a process of the same number used its name.
            true => Repair::Remove(path),
            false => Repair::SetAside(path),
        })
        .collect()
}

/// A copy of the old manifest goes to quarantine with the files it names.
pub(in crate::persist) fn keep_manifest(
    disk: &dyn Disk,
    files: &Files,
    now_ms: u64,
) -> Result<(), DiskError> {
    let copy_of = files.in_log(&format!("{}.old", manifest_name(files)));
    if !disk.exists(&copy_of).on("stat", &copy_of)? {
        copy(disk, &files.manifest, 0, None, &copy_of)?;
        repair::carry_out(disk, files, &[Repair::SetAside(copy_of)], now_ms)?;
    }
    Ok(())
}

fn manifest_name(files: &Files) -> String {
    let name = files.manifest.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// A group without effects: it makes the file one that is in use, and says
/// that everything before it is durable.
pub(super) fn mark(start: IncrStart, history: HistoryId, time_ms: u64) -> Vec<u8> {
    let header = GroupHeader {
        single_key: true,
        base: false,
        first_seq: start.first,
        effects: 0,
        time_ms,
        prev_crc: start.prev_crc,
        durable: start.first - 1,
        history,
    };
    let mut group = vec![0; GROUP_HEADER_LEN];
    // The buffer has room for the line.
    let _ = seal(&mut group, &header);
    group
}

/// A new file with these bytes, durable but for its name.
pub(super) fn write(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let file = disk.create_new(path).on("create", path)?;
    append_all(&*file, bytes).on("write", path)?;
    file.sync().on("fsync", path)
}

/// Copies a part of a file into a new one, durable but for its name.
pub(super) fn copy(
    disk: &dyn Disk,
    from: &Path,
    mut at: u64,
    until: Option<u64>,
    to: &Path,
) -> Result<(), DiskError> {
    let source = disk.open(from).on("open", from)?;
    let until = match until {
        Some(until) => until,
        None => source.len().on("stat", from)?,
    };
    let target = disk.create_new(to).on("create", to)?;
    let mut buf = vec![0; CHUNK];
    while at < until {
        let want = usize::try_from(until - at).unwrap_or(CHUNK).min(CHUNK);
        let part = buf.get_mut(..want).unwrap_or_default();
        let n = source.read_at(part, at).on("read", from)?;
        if n == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof)).on("read", from);
        }
        append_all(&*target, part.get(..n).unwrap_or_default()).on("write", to)?;
        at += n as u64;
    }
    target.sync().on("fsync", to)
}
