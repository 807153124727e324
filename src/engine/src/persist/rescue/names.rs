//! A manifest again, from the log's files themselves.

use std::path::PathBuf;

use crate::format::error::{FormatError, excerpt};
use crate::format::group::{GroupStream, ScanStart, UnverifiedGroup, sound_groups};
use crate::format::manifest::{BaseFile, IncrFile, IncrStart, Manifest};
use crate::format::{HistoryId, ReadError};
use crate::io::{OnPath, read_file};
use crate::persist::loader::Loader;
use crate::persist::refusal::{LoadError, RESTORE_ADVICE, damaged};
use crate::persist::replay::Replay;

/// The manifest in place; where that is missing or damaged, one made of what
/// the files say of themselves. `None` if there is no log.
///
/// # Errors
/// The disk's, or the files don't tell how they belong together.
pub fn manifest(
    loader: &Loader<'_>,
    remarks: &mut Vec<String>,
) -> Result<Option<Manifest>, LoadError> {
    let path = &loader.files.manifest;
    let why = if loader.disk.exists(path).on("stat", path)? {
        match Manifest::parse(&read_file(loader.disk, path)?) {
            Ok(mut manifest) => {
                // Made ready for a log that was turned off before it was used.
                if manifest.closed_at.is_some() {
                    manifest.incrs.retain(|file| file.start.is_some());
                }
                return Ok(Some(manifest));
            }
            Err(e) if e.intact => return Err(damaged(path, &e, RESTORE_ADVICE)),
            Err(e) => e.to_string(),
        }
    } else {
        "it is missing".into()
    };
    let made = from_files(loader)?;
    if made.is_some() {
        remarks.push(format!(
            "{}: {why}; it is made again from the files",
            path.display()
        ));
    }
    Ok(made)
}

/// The number of a base, and whether it is a snapshot.
type Base = (u64, bool);

/// The numbers in the names of the log's files: of bases and of incr files.
fn numbers(loader: &Loader<'_>) -> Result<(Vec<Base>, Vec<u64>), LoadError> {
    let (files, dir) = (loader.files, &loader.files.log_dir);
    let (mut bases, mut incrs) = (Vec::new(), Vec::new());
    if !loader.disk.exists(dir).on("stat", dir)? {
        return Ok((bases, incrs));
    }
    for name in loader.disk.list(dir).on("list", dir)? {
        let number = name
            .split('.')
            .rev()
            .nth(2)
            .and_then(|n| n.parse::<u64>().ok());
        let Some(n) = number.filter(|n| *n < i64::MAX as u64) else {
            continue;
        };
        for rdb in [true, false] {
            if files.base_name(n, rdb) == name {
                bases.push((n, rdb));
            }
        }
        if files.incr_name(n) == name {
            incrs.push(n);
        }
    }
    bases.sort_unstable();
    incrs.sort_unstable();
    Ok((bases, incrs))
}

/// Numbers for a new base and incr file that no file has had, as far as names
/// and manifest tell.
///
/// # Errors
/// The disk's.
pub fn free_numbers(loader: &Loader<'_>) -> Result<(u64, u64), LoadError> {
    let (bases, incrs) = numbers(loader)?;
    let (mut base, mut incr) = (
        bases.last().map_or(1, |(n, _)| n + 1),
        incrs.last().map_or(1, |n| n + 1),
    );
    let path = &loader.files.manifest;
    if loader.disk.exists(path).on("stat", path)?
        && let Ok(manifest) = Manifest::parse(&read_file(loader.disk, path)?)
    {
        base = base.max(manifest.next_base_seq);
        incr = incr.max(manifest.next_incr_seq);
    }
    Ok((base, incr))
}

/// What an incr file's first group says.
fn first_group(
    loader: &Loader<'_>,
    name: &str,
) -> Result<Option<(HistoryId, IncrStart)>, LoadError> {
    let path = loader.files.in_log(name);
    let file = loader.disk.open(&path).on("open", &path)?;
    let len = file.len().on("stat", &path)?;
    let mut groups = GroupStream::new(file, len, ScanStart::default());
    match groups.next_group() {
        Ok(Some(group)) => {
            let header = group.header;
            let start = IncrStart {
                first: header.first_seq,
                prev_crc: header.prev_crc,
            };
            Ok(Some((header.history, start)))
        }
        // Taken for damage, it would be left out.
        Err(ReadError::Format(why)) if why.intact => Err(damaged(&path, &why, RESTORE_ADVICE)),
        Err(ReadError::Io(e)) => Err(e).on("read", &path).map_err(Into::into),
        Ok(None) | Err(ReadError::Format(_)) => Ok(None),
    }
}

/// Refuses a log that holds what a newer version has written, as far as that
/// can be seen: no damage elsewhere is a reason to give it up.
///
/// # Errors
/// The disk's; or which file.
pub(super) fn refuse_newer(loader: &Loader<'_>) -> Result<(), LoadError> {
    let (bases, incrs) = numbers(loader)?;
    let mut of_groups: Vec<String> = incrs.iter().map(|n| loader.files.incr_name(*n)).collect();
    for (n, rdb) in bases {
        let name = loader.files.base_name(n, rdb);
        if !rdb {
            of_groups.push(name);
        } else if let Err(e) = loader.header_of(&loader.files.in_log(&name))
            && !e.damage
        {
            return Err(e);
        }
    }
    for name in of_groups {
        let path = loader.files.in_log(&name);
        let bytes = read_file(loader.disk, &path)?;
        let mut found = None;
        let mut see = |why: FormatError| {
            if why.intact {
                found.get_or_insert(why);
            }
        };
        // A value may hold anything, so lines are looked for only where a group
        // is due.
        let mut places = vec![0];
        let mut commands = Replay::new(None, loader.limits);
        sound_groups(&bytes, |group| {
            places.push(group.end());
            commands.group(group).unwrap_or_else(&mut see);
        });
        for at in places {
            let rest = bytes.get(at as usize..).unwrap_or_default();
            let line = UnverifiedGroup::parse_line(rest, at);
            line.map_or_else(&mut see, |_| ());
        }
        if let Some(why) = found {
            return Err(damaged(&path, &why, RESTORE_ADVICE));
        }
    }
    Ok(())
}

fn from_files(loader: &Loader<'_>) -> Result<Option<Manifest>, LoadError> {
    let (mut bases, numbers) = numbers(loader)?;
    let mut starts = Vec::new();
    for n in numbers {
        let name = loader.files.incr_name(n);
        // One that begins with damage can't be put in order.
        if let Some((history, start)) = first_group(loader, &name)? {
            starts.push((n, name, history, start));
        }
    }
    // Several may have been cut short.
    while let Some((left, unused)) = left_by_salvage(loader, &bases, &starts)? {
        bases.truncate(left);
        starts.retain(|(_, _, history, _)| *history != unused);
    }
    // A rewrite commits a base before it removes the one before.
    let Some((base_seq, rdb)) = bases.last().copied() else {
        return Ok(None);
    };
    let name = loader.files.base_name(base_seq, rdb);
    let path = loader.files.in_log(&name);
    let (history, covers) = if rdb {
        match loader.header_of(&path)? {
            Some(head) => (head.history, head.seq),
            None => return Ok(None),
        }
    } else {
        // Such a base doesn't say what it covers, only the first file behind.
        let base = first_group(loader, &name)?;
        match (base, starts.first()) {
            (Some((history, _)), Some((_, _, _, start))) => (history, start.first - 1),
            (Some((history, _)), None) => (history, 0),
            (None, _) => {
                return Err(LoadError::new(format!(
                    "{} is damaged where it begins, and there is no manifest that says what it covers",
                    path.display()
                )));
            }
        }
    };
    let mut manifest = Manifest::new(history);
    manifest.base = Some(BaseFile {
        name,
        seq: base_seq,
        history,
        covers,
        end: None,
        seed: None,
    });
    manifest.next_base_seq = base_seq + 1;
    for (n, name, history, start) in starts {
        // Older than the base: replaced by it.
        if start.first <= covers {
            continue;
        }
        manifest.history = history;
        manifest.next_incr_seq = n + 1;
        manifest.incrs.push(IncrFile {
            name,
            seq: n,
            history,
            start: Some(start),
            end: None,
        });
    }
    Ok(Some(manifest))
}

/// The history of the newest base, and how many bases are older than it, if
/// nothing was ever written to it and what it was made of is still there: a
/// salvage was cut short before its manifest, and the damaged one doesn't tell.
/// A salvage moves the base that it replaces away before all other files.
fn left_by_salvage(
    loader: &Loader<'_>,
    bases: &[Base],
    starts: &[(u64, String, HistoryId, IncrStart)],
) -> Result<Option<(usize, HistoryId)>, LoadError> {
    let history_of = |&(seq, rdb): &Base| {
        let name = loader.files.base_name(seq, rdb);
        match rdb {
            true => match loader.header_of(&loader.files.in_log(&name)) {
                Ok(head) => Ok(head.map(|head| head.history)),
                // What is damaged tells nothing.
                Err(e) if e.damage => Ok(None),
                Err(e) => Err(e),
            },
            false => Ok(first_group(loader, &name)?.map(|(history, _)| history)),
        }
    };
    let Some((newest, older)) = bases.split_last() else {
        return Ok(None);
    };
    let Some(history) = history_of(newest)? else {
        return Ok(None);
    };
    let mut left = older.len();
    while let Some(base) = left.checked_sub(1).and_then(|at| older.get(at)) {
        match history_of(base)? {
            Some(other) if other == history => left -= 1,
            Some(_) => break,
            None => return Ok(None),
        }
    }
    if left == 0 {
        return Ok(None);
    }
    for (_, name, its, _) in starts {
        if *its == history && has_effects(loader, name)? {
            return Ok(None);
        }
    }
    Ok(Some((left, history)))
}

/// Whether a file holds more than marks, or may.
fn has_effects(loader: &Loader<'_>, name: &str) -> Result<bool, LoadError> {
    let path = loader.files.in_log(name);
    let file = loader.disk.open(&path).on("open", &path)?;
    let len = file.len().on("stat", &path)?;
    let mut groups = GroupStream::new(file, len, ScanStart::default());
    loop {
        match groups.next_group() {
            Ok(Some(group)) if group.header.effects == 0 => {}
            Ok(None) => return Ok(false),
            _ => return Ok(true),
        }
    }
}

/// Whether the manifest is one that a stock server has written.
pub(super) fn is_stock(loader: &Loader<'_>) -> Result<bool, LoadError> {
    let path = &loader.files.manifest;
    if !loader.disk.exists(path).on("stat", path)? {
        return Ok(false);
    }
    let bytes = read_file(loader.disk, path)?;
    let ours = bytes
        .split(|&byte| byte == b'\n')
        .any(|line| line.starts_with(b"#state ") || line.starts_with(b"#CRC64 "));
    Ok(!ours
        && stock(loader, &bytes)?.is_some_and(|(base, files)| base.is_some() || !files.is_empty()))
}

/// A base, and the paths of the files that follow it.
pub(super) type Listed = (Option<BaseFile>, Vec<PathBuf>);

/// What a manifest lists that a stock server has written; `None` if it isn't
/// one. A base tells by itself what it is; what a base of commands covers
/// doesn't matter to a history that begins.
pub(super) fn stock(loader: &Loader<'_>, bytes: &[u8]) -> Result<Option<Listed>, LoadError> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok(None);
    };
    let (mut base, mut files) = (None, Vec::new());
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let pair = |name: &str| {
            let at = words.iter().step_by(2).position(|word| *word == name)?;
            words.get(2 * at + 1).copied()
        };
        let (Some(name), Some(kind)) = (pair("file"), pair("type")) else {
            return Ok(None);
        };
        if name.contains('/') {
            return Ok(None);
        }
        match kind {
            "b" => base = Some(name.to_string()),
            "i" => files.push(loader.files.in_log(name)),
            "h" => {}
            _ => return Ok(None),
        }
    }
    let Some(name) = base else {
        return Ok((!files.is_empty()).then_some((None, files)));
    };
    let path = loader.files.in_log(&name);
    if name.ends_with(".rdb") {
        let mut magic = [0; 9];
        let file = loader.disk.open(&path).on("open", &path)?;
        let n = file.read_at(&mut magic, 0).on("read", &path)?;
        if magic.starts_with(b"REDIS") {
            return Err(LoadError::new(format!(
                "{} is a snapshot of Redis's own ({}), which the module doesn't read. Start a stock redis-server with this folder, and take its keys over with redis-cli.",
                path.display(),
                excerpt(magic.get(..n).unwrap_or_default())
            )));
        }
    }
    let (history, covers) = match loader.header_of(&path) {
        Ok(Some(head)) if name.ends_with(".rdb") => (head.history, head.seq),
        Err(e) if name.ends_with(".rdb") => return Err(e),
        _ => match first_group(loader, &name)? {
            Some((history, _)) => (history, 0),
            // Edited from its begin on, or Redis's.
            None => (loader.fresh.0, 0),
        },
    };
    let base = BaseFile {
        name,
        seq: 1,
        history,
        covers,
        end: None,
        seed: None,
    };
    Ok(Some((Some(base), files)))
}
