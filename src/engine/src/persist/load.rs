//! Recovery: which files win, and reading them.
//!
//! | log | snapshot | then |
//! |---|---|---|
//! | complete, ends at or after the snapshot's position, same history | any | the log |
//! | complete, ends before it, same history | there | the snapshot; the log is moved aside |
//! | none | there | the snapshot |
//! | none | none | empty |
//! | complete, another history | there | refuse: somebody must choose |
//! | ended by a clean shutdown | unreadable | the log; the snapshot is moved aside |
//! | files without a manifest, a listed file missing, damage | any | refuse |
//!
//! What `persist.on-corruption` makes of a refusal is up to [`super::rescue`].
//!
//! Looking decides everything first; only then, and only if a start is
//! possible, anything on disk is changed.

use std::io::Read;
use std::path::Path;

use super::loader::{Loader, Progress};
use super::reading::{Part, SoundFile};
use super::refusal::{LoadError, RESTORE_ADVICE, damaged};
use super::repair::Repair;
use super::replay::Replay;
use super::restore::{self, Counter, Target};
use super::verify::{Judged, VerifiedLog};
use crate::base::hash::Seed;
use crate::format::group::{GroupStream, ScanStart};
use crate::format::manifest::{BaseFile, IncrEnd, IncrStart, Manifest};
use crate::format::snapshot::{SnapshotHeader, SnapshotReader};
use crate::format::{FormatError, HistoryId, ReadError};
use crate::io::OnPath;
use crate::keyspace::Keyspace;

/// What recovery found and read.
pub struct Recovered<T = Keyspace> {
    /// The data.
    pub space: T,
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
    /// How each incr file that isn't closed starts and ends, by its number.
    pub open_files: Vec<(u64, IncrStart, IncrEnd)>,
    /// What must be done to the files before the log goes on.
    pub repairs: Vec<Repair>,
    /// What may be done once the manifest no longer names them.
    pub afterwards: Vec<Repair>,
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
    /// Damaged files.
    Rescued,
}

/// Which files make up the data set.
enum Choice {
    /// None: it is empty.
    Nothing,
    /// The snapshot; an older log is set aside.
    Snapshot(Option<Box<VerifiedLog>>),
    /// The log.
    Log(Box<VerifiedLog>),
}

impl Loader<'_> {
    /// Decides and reads. Changes nothing on disk.
    ///
    /// # Errors
    /// Why there is no start.
    pub fn load(&self, progress: Progress<'_>) -> Result<Recovered, LoadError> {
        self.read(progress)
    }

    /// Decides and verifies as [`load`](Self::load) does, but keeps no data:
    /// the base isn't put together with what changed since. So it takes little
    /// memory, and misses what only shows there: a key that stands twice in a
    /// base whose checksums hold, a command that can't be done on its key.
    ///
    /// # Errors
    /// Why there would be no start.
    pub fn inspect(&self, progress: Progress<'_>) -> Result<Recovered<Counter>, LoadError> {
        self.read(progress)
    }

    /// Verifies the snapshot, whether or not it would be loaded.
    ///
    /// # Errors
    /// What is damaged.
    pub fn inspect_snapshot(&self, progress: Progress<'_>) -> Result<(), LoadError> {
        self.read_snapshot::<Counter>(&self.files.snapshot, Part::Snapshot, progress)
            .map(|_| ())
    }

    /// Verifies a base by itself.
    ///
    /// # Errors
    /// What is damaged.
    pub(super) fn inspect_base(
        &self,
        base: &BaseFile,
        progress: Progress<'_>,
    ) -> Result<(), LoadError> {
        self.base::<Counter>(base, &mut self.empty(), progress)
    }

    /// Reads a base by itself.
    ///
    /// # Errors
    /// What is damaged.
    pub(super) fn base_alone(
        &self,
        base: &BaseFile,
        progress: Progress<'_>,
    ) -> Result<Keyspace, LoadError> {
        let mut r = self.empty();
        self.base(base, &mut r, progress)?;
        Ok(r.space)
    }

    fn read<T: Target>(&self, progress: Progress<'_>) -> Result<Recovered<T>, LoadError> {
        let (mut snapshot, unreadable) = match self.snapshot_header() {
            Ok(found) => (found, None),
            Err(e) if e.damage => (None, Some(e)),
            Err(e) => return Err(e),
        };
        let mut repairs = self.leftovers()?;
        let mut log = self.log(snapshot, &mut repairs, progress)?.map(Box::new);
        // A start that was cut short has taken another history's place.
        let after = log.as_mut().and_then(|log| log.manifest.after.take());
        let mut aside = unreadable.is_some();
        if let Some(e) = unreadable {
            // Only a log that surely has everything makes it needless.
            match &log {
                Some(log) if after.is_some() || log.has_everything() => {
                    repairs.push(Repair::SetAside(self.files.snapshot.clone()))
                }
                Some(log) => return Err(self.may_be_newer(log, e)),
                None => return Err(e),
            }
        }
        if after.is_some() && snapshot.map(|head| head.history) == after {
            repairs.push(Repair::SetAside(self.files.snapshot.clone()));
            (snapshot, aside) = (None, true);
        }
        let mut recovered = match self.choose(snapshot, log)? {
            Choice::Nothing => self.empty(),
            Choice::Log(log) => self.load_log(*log, progress)?,
            Choice::Snapshot(aside) => {
                let mut r = self.load_snapshot(progress)?;
                if let Some(log) = aside {
                    r.remarks.push(self.set_aside(&log, r.seq));
                    r.repairs.push(Repair::SetLogAside);
                }
                r
            }
        };
        if aside {
            recovered.remarks.push(format!(
                "{} isn't needed: the log has everything. It is moved to quarantine",
                self.files.snapshot.display()
            ));
        }
        recovered.snapshot_time_ms = snapshot.map(|s| s.created_ms);
        recovered.snapshot_seq = snapshot.map(|s| s.seq);
        repairs.append(&mut recovered.repairs);
        recovered.repairs = repairs;
        Ok(recovered)
    }

    fn choose(
        &self,
        snapshot: Option<SnapshotHeader>,
        log: Option<Box<VerifiedLog>>,
    ) -> Result<Choice, LoadError> {
        Ok(match (log, snapshot) {
            (Some(log), Some(head)) if log.manifest.history != head.history => {
                return Err(LoadError::new(format!(
                    "{} belongs to history {} and {} to history {}: they are different data sets. Move one of them out of the folder to choose the other. Nothing was changed on disk.",
                    self.files.manifest.display(),
                    log.manifest.history,
                    self.files.snapshot.display(),
                    head.history,
                )));
            }
            (Some(log), Some(head)) if log.last_seq < head.seq => Choice::Snapshot(Some(log)),
            (Some(log), _) => Choice::Log(log),
            (None, Some(_)) => Choice::Snapshot(None),
            (None, None) => Choice::Nothing,
        })
    }

    /// The snapshot can't be read, and the log doesn't prove that it has all.
    fn may_be_newer(&self, log: &VerifiedLog, e: LoadError) -> LoadError {
        LoadError {
            text: format!(
                "{} The log is whole and goes up to sequence {}, but wasn't closed by a clean shutdown: nobody can tell whether the snapshot is newer. Move {} away to start from the log, or set persist.on-corruption salvage.",
                e.text,
                log.last_seq,
                self.files.snapshot.display()
            ),
            ..e
        }
    }

    fn set_aside(&self, log: &VerifiedLog, snapshot_seq: u64) -> String {
        format!(
            "the snapshot (sequence {snapshot_seq}) is newer than the end of the log ({}); the log is moved to {}",
            log.last_seq,
            self.files.quarantine.display()
        )
    }

    fn empty<T: Target>(&self) -> Recovered<T> {
        let (history, seed) = self.fresh;
        Recovered {
            space: T::new(seed),
            seed,
            history,
            seq: 0,
            source: Source::Nothing,
            manifest: None,
            last_crc: 0,
            snapshot_time_ms: None,
            snapshot_seq: None,
            open_files: Vec::new(),
            repairs: Vec::new(),
            afterwards: Vec::new(),
            remarks: Vec::new(),
            bytes: 0,
        }
    }

    fn snapshot_header(&self) -> Result<Option<SnapshotHeader>, LoadError> {
        self.header_of(&self.files.snapshot)
    }

    fn load_snapshot<T: Target>(&self, progress: Progress<'_>) -> Result<Recovered<T>, LoadError> {
        let path = &self.files.snapshot;
        let (space, head, bytes) = self.read_snapshot(path, Part::Snapshot, progress)?;
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

    pub(super) fn read_snapshot<T: Target>(
        &self,
        path: &Path,
        part: Part,
        progress: Progress<'_>,
    ) -> Result<(T, SnapshotHeader, u64), LoadError> {
        let file = self.disk.open(path).on("open", path)?;
        let len = file.len().on("stat", path)?;
        progress.begin(path, len);
        let bad = |e: ReadError| match e {
            ReadError::Io(e) => LoadError::new(format!(
                "{}: {e}. Nothing was changed on disk. {RESTORE_ADVICE}",
                path.display()
            )),
            ReadError::Format(e) => damaged(path, &e, RESTORE_ADVICE),
        };
        let mut reader =
            SnapshotReader::begin(std::io::BufReader::with_capacity(1 << 20, file), len)
                .map_err(bad)?;
        let head = reader.header;
        let mut space = T::new(Seed(head.seed));
        restore::snapshot(&mut reader, &mut space, progress).map_err(bad)?;
        if space.keys() != reader.keys() {
            let expected = format!("{} keys, as the trailer tells", reader.keys());
            let error = FormatError::new(len, expected, space.keys().to_string());
            return Err(damaged(path, &error, RESTORE_ADVICE));
        }
        progress.sound(SoundFile {
            keys: Some(reader.keys()),
            units: reader.blocks(),
            last_seq: head.seq,
            ..SoundFile::whole(path, part, len)
        });
        Ok((space, head, len))
    }

    fn load_log<T: Target>(
        &self,
        log: VerifiedLog,
        progress: Progress<'_>,
    ) -> Result<Recovered<T>, LoadError> {
        let VerifiedLog {
            manifest,
            incrs,
            last_seq,
            last_crc,
            repairs,
            afterwards,
            remarks,
        } = log;
        let mut r = self.empty();
        if let Some(base) = &manifest.base {
            self.base(base, &mut r, progress)?;
        }
        for file in &incrs {
            progress.begin(&file.path, file.end);
            self.replay(&mut r.space, file, progress)?;
            r.bytes += file.end;
        }
        Ok(Recovered {
            history: manifest.history,
            seq: last_seq,
            source: Source::Log,
            manifest: Some(manifest),
            last_crc,
            open_files: incrs.iter().filter_map(Judged::open).collect(),
            repairs,
            afterwards,
            remarks,
            ..r
        })
    }

    /// Reads the base that the manifest names.
    fn base<T: Target>(
        &self,
        base: &BaseFile,
        r: &mut Recovered<T>,
        progress: Progress<'_>,
    ) -> Result<(), LoadError> {
        let path = self.files.in_log(&base.name);
        if base.name.ends_with(".rdb") {
            let (space, head, bytes) = self.read_snapshot(&path, Part::Base, progress)?;
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
            self.base_of_groups(base, &path, r, progress)?;
        }
        Ok(())
    }

    /// Replays a base made of groups. It was whole when it was committed.
    fn base_of_groups<T: Target>(
        &self,
        base: &BaseFile,
        path: &Path,
        r: &mut Recovered<T>,
        progress: Progress<'_>,
    ) -> Result<(), LoadError> {
        if let Some(seed) = base.seed {
            (r.space, r.seed) = (T::new(seed), seed);
        }
        let file = self.disk.open(path).on("open", path)?;
        r.bytes = file.len().on("stat", path)?;
        progress.begin(path, r.bytes);
        if let Some((want, _)) = base.end
            && want != r.bytes
        {
            let expected = format!("a base of {want} bytes");
            let error = FormatError::new(0, expected, format!("{} bytes", r.bytes));
            return Err(damaged(path, &error, RESTORE_ADVICE));
        }
        let start = ScanStart {
            history: Some(base.history),
            first_seq: Some(1),
            prev_crc: Some(0),
            durable: 0,
        };
        let mut groups = GroupStream::new(file, r.bytes, start);
        let mut replay = Replay::new(r.space.space(), self.limits);
        let units = replay_all(path, &mut groups, &mut replay, progress)?;
        let effects = replay.effects;
        let crc = groups.last_crc().unwrap_or(0);
        if base.end.is_some_and(|(_, want)| want != crc) {
            let error = FormatError::new(r.bytes, "the base's last group", format!("{crc:016x}"));
            return Err(damaged(path, &error, RESTORE_ADVICE));
        }
        progress.sound(SoundFile {
            units,
            effects,
            last_seq: base.covers,
            ..SoundFile::whole(path, Part::Base, r.bytes)
        });
        Ok(())
    }

    /// Replays what counts of an incr file.
    fn replay<T: Target>(
        &self,
        space: &mut T,
        file: &Judged,
        progress: Progress<'_>,
    ) -> Result<(), LoadError> {
        let mut groups = GroupStream::new(file.image.first(file.end), file.end, file.start);
        let mut replay = Replay::new(space.space(), self.limits);
        replay_all(&file.path, &mut groups, &mut replay, progress).map(|_| ())
    }
}

/// Replays groups up to the end; says how many there were.
fn replay_all<R: Read>(
    path: &Path,
    groups: &mut GroupStream<R>,
    replay: &mut Replay<'_>,
    progress: Progress<'_>,
) -> Result<u64, LoadError> {
    let mut units = 0;
    loop {
        let group = match groups.next_group() {
            Ok(Some(group)) => group,
            Ok(None) => return Ok(units),
            Err(ReadError::Io(e)) => return Err(e).on("read", path).map_err(Into::into),
            Err(ReadError::Format(e)) => return Err(damaged(path, &e, RESTORE_ADVICE)),
        };
        replay
            .group(&group)
            .map_err(|e| damaged(path, &e, RESTORE_ADVICE))?;
        units += 1;
        progress.at(group.end());
    }
}
