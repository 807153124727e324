//! What `persist.on-corruption` makes of files that a start refuses: a data
//! set in memory, to be written anew under a new history before it is served.
//!
//! `salvage` takes everything that can be verified. Two grounds are thought
//! of: the log's base, and the snapshot, if it is at least as new as the base,
//! so that no group before it is missing. Groups follow, those behind a gap
//! included: their effects are done on what is there. The ground from which
//! most is reached is taken, and of two the one that loses less.
//!
//! `fallback` takes the snapshot, whole, and nothing of the log.

use std::cmp::Reverse;
use std::path::Path;

use super::gaps::{Walked, walk, walk_base};
use super::lost::Lost;
use super::names;
use crate::base::hash::Seed;
use crate::format::error::FormatError;
use crate::format::manifest::{BaseFile, Manifest};
use crate::format::snapshot::SnapshotHeader;
use crate::format::snapshot::pieces::Pieces;
use crate::format::{HistoryId, ReadError};
use crate::io::{OnPath, read_file};
use crate::keyspace::Keyspace;
use crate::persist::loader::{Loader, Progress};
use crate::persist::reading::Part;
use crate::persist::refusal::{LoadError, RESTORE_ADVICE, damaged};
use crate::persist::replay::Replay;
use crate::persist::restore::{self, Counter, Target};

/// Lines about single damages in the server's log, at most.
const LINES: usize = 50;

/// Which way a data set was had from damaged files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Everything that can be verified.
    Salvage,
    /// The snapshot instead of the log.
    Fallback,
}

/// What was lost.
#[derive(Debug, Clone)]
pub struct Report {
    /// How the data set was had.
    pub way: Way,
    /// Damaged blocks of the snapshot or base.
    pub blocks: u64,
    /// Keys that were in them, as far as that is known.
    pub keys: u64,
    /// Damaged or missing groups of the log.
    pub groups: u64,
    /// Effects that were in them, as far as that is known.
    pub effects: u64,
    /// Sequence numbers of the first and the last of these.
    pub seqs: Option<(u64, u64)>,
    /// Bytes that can't be used.
    pub bytes: u64,
    /// Effects in groups behind the first that is lost: done on a state that
    /// may not be the one they were made on.
    pub doubtful: u64,
    /// Those of them that couldn't be done.
    pub failed: u64,
    /// Lines for the server's log.
    pub lines: Vec<String>,
    /// Lines that name keys, which don't belong there.
    pub keys_named: Vec<String>,
}

/// A data set of damaged files.
pub struct Salvaged {
    /// The data.
    pub space: Keyspace,
    /// Seed of its hash.
    pub seed: Seed,
    /// No effect had a higher sequence number, as far as is known.
    pub seq: u64,
    /// The history whose place it takes, if any file tells: that of the
    /// snapshot, if it does.
    pub before: Option<HistoryId>,
    /// What was lost.
    pub report: Report,
}

/// How good a ground is: up to which effect it leads, and then, the less the
/// better, how many blocks, keys and groups are lost.
type Rank = (u64, Reverse<(u64, u64, u64)>);

/// What a data set begins with.
enum Ground {
    Base(BaseFile),
    Snapshot,
}

/// A ground as it was read.
struct Laid<T> {
    space: T,
    seed: Seed,
    covers: u64,
    blocks: u64,
    keys: u64,
    bytes: u64,
    failed: u64,
    lines: Vec<String>,
    keys_named: Vec<String>,
}

impl Report {
    fn new(way: Way, why: &LoadError) -> Self {
        Report {
            way,
            blocks: 0,
            keys: 0,
            groups: 0,
            effects: 0,
            seqs: None,
            bytes: 0,
            doubtful: 0,
            failed: 0,
            lines: vec![why.text.replace("Nothing was changed on disk. ", "")],
            keys_named: Vec::new(),
        }
    }

    /// What it comes to, in a line.
    pub fn summary(&self) -> String {
        let seqs = match self.seqs {
            Some((first, last)) => format!(" (sequence {first} to {last})"),
            None => String::new(),
        };
        let behind = match self.doubtful {
            0 => String::new(),
            n => format!(
                "; {n} effects behind them were done on what is left, {} of them could not be",
                self.failed
            ),
        };
        format!(
            "lost: {} blocks with {} keys, {} groups with {} effects{seqs}, {} bytes{behind}",
            self.blocks, self.keys, self.groups, self.effects, self.bytes
        )
    }

    fn keys_of(&mut self, lost: &Lost, what: &str) {
        let shown = |(db, key): &(u32, Vec<u8>)| format!("db{db} {}", key.escape_ascii());
        if let (Some((first, _)), Some((last, _))) =
            (lost.keys.first_key_value(), lost.keys.last_key_value())
        {
            let more = if lost.more_keys { " at least" } else { "" };
            let keys = lost.keys.len();
            self.lines.push(format!("{what}:{more} {keys} keys"));
            self.keys_named.push(format!(
                "The keys go from {} to {}",
                shown(first),
                shown(last)
            ));
        }
    }
}

impl Salvaged {
    /// Everything that can be verified; `why` a start refuses. Changes nothing
    /// on disk.
    ///
    /// # Errors
    /// The disk's; another version's files; there is nothing to begin from; or
    /// somebody must choose.
    pub fn salvage(
        loader: &Loader<'_>,
        why: &LoadError,
        progress: Progress<'_>,
    ) -> Result<Self, LoadError> {
        let mut report = Report::new(Way::Salvage, why);
        let manifest = manifest(loader, &mut report.lines)?;
        let snapshot = snapshot_header(loader, &mut report.lines)?;
        let before = snapshot
            .as_ref()
            .and_then(|head| Some(head.as_ref()?.history));
        let before = before.or(manifest.as_ref().map(|manifest| manifest.history));
        let mut snapshot = snapshot;
        if let (Some(manifest), Some(Some(head))) = (&manifest, &snapshot)
            && manifest.history != head.history
        {
            if manifest.after != Some(head.history) {
                return Err(different(loader, manifest, head));
            }
            snapshot = None;
        }
        let mut grounds = Vec::new();
        if let Some(base) = manifest.as_ref().and_then(|m| m.base.clone()) {
            grounds.push(Ground::Base(base));
        }
        match (&manifest, snapshot) {
            // It goes on where the snapshot ends, or in the snapshot.
            (Some(manifest), Some(Some(head))) => {
                let covers = manifest.base.as_ref().map_or(0, |base| base.covers);
                if head.seq >= covers {
                    grounds.push(Ground::Snapshot);
                }
            }
            (None, Some(_)) => grounds.push(Ground::Snapshot),
            _ => {}
        }
        let nothing = Manifest::new(loader.fresh.0);
        let manifest = manifest.unwrap_or(nothing);
        let mut best: Option<(Ground, Rank)> = None;
        for ground in grounds {
            let laid = lay::<Counter>(loader, &ground, progress, &mut report.lines)?;
            let Some(laid) = laid else {
                continue;
            };
            let walked = walk(loader, &manifest, laid.covers, progress, &mut |_, _, _| {
                Ok(())
            })?;
            let lost = (laid.blocks, laid.keys, walked.lost_groups());
            let rank = (walked.seq, Reverse(lost));
            if best.as_ref().is_none_or(|(_, other)| rank > *other) {
                best = Some((ground, rank));
            }
        }
        let best = best.map(|(ground, _)| ground);
        let laid = match best {
            Some(ground) => lay::<Keyspace>(loader, &ground, progress, &mut Vec::new())?,
            None => None,
        };
        let Some(mut laid) = laid else {
            return Err(LoadError::new(format!(
                "{} There is nothing that a salvage could begin from, and what follows in a log is never served without it: {}",
                why.text,
                report.lines.get(1..).unwrap_or_default().join("; ")
            )));
        };
        let mut replay = Replay::new(Some(&mut laid.space), loader.limits).tolerant();
        let walked = walk(
            loader,
            &manifest,
            laid.covers,
            progress,
            &mut |path, group, skip| tolerate(&mut replay, path, group, skip),
        )?;
        laid.failed += replay.left_out;
        report.tell(&laid, &walked);
        Ok(Salvaged {
            space: laid.space,
            seed: laid.seed,
            seq: walked.known,
            before,
            report,
        })
    }

    /// The snapshot, whole, instead of a log that can't be used. Changes
    /// nothing on disk.
    ///
    /// # Errors
    /// The disk's; there is no complete snapshot; or somebody must choose.
    pub fn fall_back(
        loader: &Loader<'_>,
        why: &LoadError,
        progress: Progress<'_>,
    ) -> Result<Self, LoadError> {
        let refuse = |more: String| {
            LoadError::new(format!(
                "{} persist.on-corruption is fallback, but {more}.",
                why.text
            ))
        };
        let path = &loader.files.snapshot;
        if !loader.disk.exists(path).on("stat", path)? {
            return Err(refuse(format!("there is no snapshot {}", path.display())));
        }
        names::refuse_newer(loader)?;
        let mut report = Report::new(Way::Fallback, why);
        let manifest = names::manifest(loader, &mut report.lines).ok().flatten();
        let (space, head, _) = loader
            .read_snapshot::<Keyspace>(path, Part::Snapshot, progress)
            .map_err(|e| refuse(format!("the snapshot can't be used: {}", e.text)))?;
        if let Some(manifest) = &manifest
            && manifest.history != head.history
        {
            return Err(different(loader, manifest, &head));
        }
        let mut lost = Lost::default();
        let mut names = match loader.disk.exists(&loader.files.log_dir) {
            Ok(true) => loader.disk.list(&loader.files.log_dir).unwrap_or_default(),
            _ => Vec::new(),
        };
        names.retain(|name| loader.files.is_log_file(name) && name.ends_with(".incr.aof"));
        for name in names {
            let path = loader.files.in_log(&name);
            lost.add(&read_file(loader.disk, &path)?, head.seq);
        }
        (report.groups, report.effects) = (lost.groups, lost.effects);
        (report.seqs, report.bytes) = (lost.seqs, lost.unreadable);
        report.keys_of(
            &lost,
            "What the log says of keys since the snapshot is given up",
        );
        report.lines.push(format!(
            "The data set is the snapshot {}, at sequence {}",
            path.display(),
            head.seq
        ));
        Ok(Salvaged {
            space,
            seed: Seed(head.seed),
            seq: lost.seqs.map_or(head.seq, |(_, last)| last.max(head.seq)),
            before: Some(head.history),
            report,
        })
    }
}

impl Report {
    fn tell<T>(&mut self, laid: &Laid<T>, walked: &Walked) {
        (self.blocks, self.keys) = (laid.blocks, laid.keys);
        (self.groups, self.effects) = (walked.lost_groups(), walked.lost_effects());
        self.seqs = walked.lost_seqs();
        let bytes: u64 = walked.gaps.iter().map(|gap| gap.to - gap.from).sum();
        self.bytes = laid.bytes + bytes;
        (self.doubtful, self.failed) = (walked.doubtful, laid.failed);
        self.lines.extend(laid.lines.iter().cloned());
        self.keys_named.extend(laid.keys_named.iter().cloned());
        for gap in &walked.gaps {
            let seqs = match gap.seqs {
                Some((first, last)) if first == last => format!("sequence {first} is lost"),
                Some((first, last)) => format!("sequence {first} to {last} are lost"),
                None => "what was there isn't known".into(),
            };
            self.lines.push(format!(
                "{}, byte {} to {}: {seqs} (expected {}, found {})",
                gap.path.display(),
                gap.from,
                gap.to,
                gap.why.expected,
                gap.why.found
            ));
        }
        let more = self.lines.len().saturating_sub(LINES);
        if more > 0 {
            self.lines.truncate(LINES);
            self.lines.push(format!("... and {more} more"));
        }
        self.keys_of(
            &walked.lost,
            "As far as they can be read, the damaged groups named",
        );
    }
}

fn different(loader: &Loader<'_>, manifest: &Manifest, head: &SnapshotHeader) -> LoadError {
    LoadError::new(format!(
        "{} belongs to history {} and {} to history {}: they are different data sets. Move one of them out of the folder to choose the other. Nothing was changed on disk.",
        loader.files.log_dir.display(),
        manifest.history,
        loader.files.snapshot.display(),
        head.history,
    ))
}

/// The log's manifest, made again from its files if need be.
fn manifest(loader: &Loader<'_>, lines: &mut Vec<String>) -> Result<Option<Manifest>, LoadError> {
    if names::is_stock(loader)? {
        return Err(LoadError::new(format!(
            "{} was written by a stock server, which knows nothing of groups: what it wrote can't be verified. Let `redis-persist reseal` take it over. Nothing was changed on disk.",
            loader.files.manifest.display()
        )));
    }
    let found = names::manifest(loader, lines)?;
    if found.is_some() {
        return Ok(found);
    }
    let dir = &loader.files.log_dir;
    if loader.disk.exists(dir).on("stat", dir)? {
        for name in loader.disk.list(dir).on("list", dir)? {
            let path = loader.files.in_log(&name);
            if loader.files.is_log_file(&name)
                && path != loader.files.manifest
                && loader.disk.len(&path).on("stat", &path)? > 0
            {
                return Err(LoadError::new(format!(
                    "{} has files of a log ({name}), but neither a manifest nor a base: what follows in a log is never served without it. Nothing was changed on disk.",
                    dir.display()
                )));
            }
        }
    }
    Ok(None)
}

/// Whether there is a snapshot, and what it says of itself, if it does.
fn snapshot_header(
    loader: &Loader<'_>,
    lines: &mut Vec<String>,
) -> Result<Option<Option<SnapshotHeader>>, LoadError> {
    match loader.header_of(&loader.files.snapshot) {
        Ok(found) => Ok(found.map(Some)),
        Err(e) if e.damage => {
            if !lines
                .iter()
                .any(|line| line.starts_with(&loader.files.snapshot.display().to_string()))
            {
                lines.push(e.text.replace("Nothing was changed on disk. ", ""));
            }
            Ok(Some(None))
        }
        Err(e) => Err(e),
    }
}

/// Does a group, on whatever is there.
fn tolerate(
    replay: &mut Replay<'_>,
    path: &Path,
    group: &crate::format::group::Group<'_>,
    skip: u64,
) -> Result<(), LoadError> {
    match replay.group_behind(group, skip) {
        Ok(()) => Ok(()),
        Err(why) if why.intact => Err(damaged(path, &why, RESTORE_ADVICE)),
        Err(_) => {
            replay.left_out += 1;
            Ok(())
        }
    }
}

/// Reads what can be verified of a ground; `None` if nothing of it can be
/// told.
fn lay<T: Target>(
    loader: &Loader<'_>,
    ground: &Ground,
    progress: Progress<'_>,
    lines: &mut Vec<String>,
) -> Result<Option<Laid<T>>, LoadError> {
    let path = match ground {
        Ground::Base(base) => loader.files.in_log(&base.name),
        Ground::Snapshot => loader.files.snapshot.clone(),
    };
    let mut unusable = |why: String| {
        lines.push(format!("{}: {why}", path.display()));
        Ok(None)
    };
    if !loader.disk.exists(&path).on("stat", &path)? {
        return unusable("it is missing".into());
    }
    match ground {
        Ground::Base(base) if !base.name.ends_with(".rdb") => {
            lay_commands(loader, base, &path, progress, lines)
        }
        _ => match lay_blocks(loader, ground, &path, progress) {
            Ok(laid) => Ok(Some(laid)),
            Err(ReadError::Io(e)) => Err(e).on("read", &path).map_err(Into::into),
            Err(ReadError::Format(why)) if why.intact => Err(damaged(&path, &why, RESTORE_ADVICE)),
            Err(ReadError::Format(why)) => unusable(why.to_string()),
        },
    }
}

/// A ground made of blocks.
fn lay_blocks<T: Target>(
    loader: &Loader<'_>,
    ground: &Ground,
    path: &Path,
    progress: Progress<'_>,
) -> Result<Laid<T>, ReadError> {
    let misfit = |expected: &'static str, found: String| {
        Err(ReadError::Format(FormatError::new(0, expected, found)))
    };
    let part = match ground {
        Ground::Base(_) => Part::Base,
        Ground::Snapshot => Part::Snapshot,
    };
    let fits = |head: &SnapshotHeader| match ground {
        Ground::Base(base) => (head.history, head.seq) == (base.history, base.covers),
        Ground::Snapshot => true,
    };
    match loader.read_snapshot::<T>(path, part, progress) {
        Ok((space, head, _)) if fits(&head) => {
            return Ok(Laid {
                space,
                seed: Seed(head.seed),
                covers: head.seq,
                blocks: 0,
                keys: 0,
                bytes: 0,
                failed: 0,
                lines: Vec::new(),
                keys_named: Vec::new(),
            });
        }
        Ok((_, head, _)) => {
            return misfit(
                "the base that the manifest names",
                format!("sequence {} of history {}", head.seq, head.history),
            );
        }
        // The disk's errors come again below, and are told there.
        Err(_) => {}
    }
    let file = loader.disk.open(path)?;
    let pieces = Pieces::open(&*file)?;
    let head = pieces.header.as_ref().ok();
    if let Some(head) = head.filter(|head| !fits(head)) {
        let found = format!("sequence {} of history {}", head.seq, head.history);
        return misfit("the base that the manifest names", found);
    }
    let seed = head.map_or(loader.fresh.1, |head| Seed(head.seed));
    let covers = match (ground, head) {
        (Ground::Base(base), _) => base.covers,
        (_, Some(head)) => head.seq,
        // Nobody knows; what it was continued in another history.
        (_, None) => 1,
    };
    let mut space = T::new(seed);
    progress.begin(path, file.len()?);
    let holes = restore::pieces(&pieces, &mut space, progress)?;
    if holes.blocks == 0 && !pieces.is_empty() {
        return misfit("a block that can be verified", "none".into());
    }
    let known = pieces.keys.map(|keys| keys.saturating_sub(space.keys()));
    let at_least = holes.keys.len() as u64 + holes.records;
    let in_parts: u64 = holes
        .parts
        .iter()
        .filter_map(|part| part.held)
        .map(|(_, records)| u64::from(records))
        .sum();
    let mut lines: Vec<String> = Vec::new();
    for part in &holes.parts {
        let held = match part.held {
            Some((db, records)) => format!("{records} records of database {db} are lost"),
            None => "what was there isn't known".into(),
        };
        lines.push(format!(
            "{}, byte {} to {}: {held} (expected {}, found {})",
            path.display(),
            part.from,
            part.to,
            part.why.expected,
            part.why.found
        ));
    }
    let in_part = holes.keys.iter();
    let keys_named: Vec<String> = in_part
        .map(|(db, key)| {
            format!(
                "db{db} {} is lost, parts of its value are",
                key.escape_ascii()
            )
        })
        .collect();
    if !keys_named.is_empty() {
        lines.push(format!(
            "{}: {} large keys are lost, parts of their values are",
            path.display(),
            keys_named.len()
        ));
    }
    Ok(Laid {
        space,
        seed,
        covers,
        blocks: holes.parts.len() as u64,
        keys: known.unwrap_or(at_least + in_parts),
        bytes: holes.parts.iter().map(|part| part.to - part.from).sum(),
        failed: 0,
        lines,
        keys_named,
    })
}

/// A ground made of commands.
fn lay_commands<T: Target>(
    loader: &Loader<'_>,
    base: &BaseFile,
    path: &Path,
    progress: Progress<'_>,
    unusable: &mut Vec<String>,
) -> Result<Option<Laid<T>>, LoadError> {
    let seed = base.seed.unwrap_or(loader.fresh.1);
    let mut space = T::new(seed);
    let bytes = read_file(loader.disk, path)?;
    let mut replay = Replay::new(space.space(), loader.limits).tolerant();
    let mut walked = walk_base(
        path,
        &bytes,
        base.history,
        progress,
        &mut |path, group, skip| tolerate(&mut replay, path, group, skip),
    )?;
    let failed = replay.left_out;
    if walked.groups == 0 && (!bytes.is_empty() || base.end.is_some_and(|(len, _)| len > 0)) {
        let path = path.display();
        unusable.push(format!("{path}: no group of it can be verified"));
        return Ok(None);
    }
    if let Some((len, _)) = base.end.filter(|(len, _)| *len > bytes.len() as u64) {
        walked.gaps.push(super::gaps::Gap {
            path: path.to_path_buf(),
            from: bytes.len() as u64,
            to: len,
            seqs: None,
            why: FormatError::new(bytes.len() as u64, format!("{len} bytes"), "the end"),
        });
    }
    let lines = walked.gaps.iter().map(|gap| {
        format!(
            "{}, byte {} to {}: keys of the base are lost, and the one that was being written there and the one behind may lack a part (expected {}, found {})",
            path.display(),
            gap.from,
            gap.to,
            gap.why.expected,
            gap.why.found
        )
    });
    Ok(Some(Laid {
        lines: lines.collect(),
        keys_named: Vec::new(),
        seed,
        covers: base.covers,
        blocks: walked.gaps.len() as u64,
        keys: walked.lost_effects(),
        bytes: walked.gaps.iter().map(|gap| gap.to - gap.from).sum(),
        failed,
        space,
    }))
}
