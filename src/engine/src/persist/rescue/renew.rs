//! A salvaged data set as a new log, in the folder it was made from or in
//! another: what a start does by itself, for the offline tool.

use super::carry::{begin, keep_manifest, mark, out_of_the_way, settle, write};
use super::salvage::Salvaged;
use crate::format::HistoryId;
use crate::format::manifest::{BaseFile, IncrFile, IncrStart, Manifest};
use crate::io::replace::sync_then_rename;
use crate::io::{Disk, DiskError, OnPath};
use crate::persist::commit::commit;
use crate::persist::dump::{self, Subject};
use crate::persist::files::Files;
use crate::persist::repair::{self, Repair};
use crate::persist::save::write_temp;

/// Writes `data` into the folder of `files` as the log of the new history
/// `history`, with these numbers for its first base and incr file. What
/// belongs to the data set no more is moved to quarantine, once the new one is
/// durable.
///
/// # Errors
/// The disk's.
pub fn renew(
    disk: &dyn Disk,
    data: &Salvaged,
    files: &Files,
    (base_seq, incr_seq): (u64, u64),
    history: HistoryId,
    now_ms: u64,
) -> Result<Manifest, DiskError> {
    let old = begin(disk, files)?;
    let subject = Subject {
        seq: data.seq,
        history,
        seed: data.seed,
        now_ms,
        compress: true,
        checksums: true,
    };
    let name = files.base_name(base_seq, true);
    // By another name first: where the manifest is damaged, the next attempt
    // goes by the names of bases, and must not find half of one.
    let temp = files.temp(&files.log_dir, base_seq, "base");
    let left = Repair::Remove(temp.clone());
    repair::carry_out(disk, files, &[left], now_ms)?;
    write_temp(disk, &temp, |out| {
        dump::snapshot(&data.space, out, &subject, &mut |_| {})
    })?;
    sync_then_rename(disk, &temp, &files.in_log(&name)).map_err(|e| e.error)?;
    let start = IncrStart {
        first: data.seq + 1,
        prev_crc: 0,
    };
    let incr = files.incr_name(incr_seq);
    write(disk, &files.in_log(&incr), &mark(start, history, now_ms))?;
    settle(disk, files)?;
    let mut manifest = Manifest::new(history);
    (manifest.next_base_seq, manifest.next_incr_seq) = (base_seq + 1, incr_seq + 1);
    // A start finishes what is cut short from here on.
    manifest.after = Some(data.before.unwrap_or(history));
    manifest.base = Some(BaseFile {
        name,
        seq: base_seq,
        history,
        covers: data.seq,
        end: None,
        seed: None,
    });
    manifest.incrs.push(IncrFile {
        name: incr,
        seq: incr_seq,
        history,
        start: Some(start),
        end: None,
    });
    if disk.exists(&files.manifest).on("stat", &files.manifest)? {
        keep_manifest(disk, files, now_ms)?;
    }
    commit(disk, files, &manifest)?;
    let mut aside = out_of_the_way(files, &old);
    if disk.exists(&files.snapshot).on("stat", &files.snapshot)? {
        aside.push(Repair::SetAside(files.snapshot.clone()));
    }
    repair::carry_out(disk, files, &aside, now_ms)?;
    manifest.after = None;
    commit(disk, files, &manifest)?;
    Ok(manifest)
}
