//! From what recovery found to a running log.

use std::path::PathBuf;
use std::sync::Arc;

use super::commit::commit;
use super::executor::Executor;
use super::files::Files;
use super::flush::Timings;
use super::gather::Gather;
use super::heal::Health;
use super::load::{Recovered, Source};
use super::loader::{Loader, Progress};
use super::log::{Log, LogFile};
use super::refusal::LoadError;
use super::repair::{self, Repair, carry_out, set_modes, settle_names};
use super::rescue::carry::keep_manifest;
use super::rescue::names;
use super::rescue::salvage::{Report, Salvaged, Way};
use super::save::write_temp;
use super::watchdog::Watchdog;
use super::{Counters, Persist, dump};
use crate::base::clock::Clock;
use crate::base::hash::Seed;
use crate::data::value::Limits;
use crate::format::HistoryId;
use crate::format::manifest::{BaseFile, IncrEnd, IncrFile, IncrStart, Manifest};
use crate::host::{Host, Level};
use crate::io::replace::sync_then_rename;
use crate::io::{Disk, DiskError, OnPath};
use crate::keyspace::Keyspace;
use crate::settings::{OnCorruption, Settings};

/// What a start needs.
pub struct Beginning {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The I/O thread.
    pub exec: Box<dyn Executor>,
    /// Time.
    pub clock: Arc<dyn Clock + Send + Sync>,
    /// Settings.
    pub settings: Settings,
    /// The server's process id.
    pub pid: u32,
    /// Bytes that the data take in memory.
    pub memory: fn() -> usize,
    /// For a keyspace that begins now.
    pub fresh: (HistoryId, Seed),
}

/// Reads what is on disk.
fn read(
    loader: &Loader<'_>,
    clock: &dyn Clock,
    host: &mut dyn Host,
) -> Result<Recovered, LoadError> {
    with_progress(clock, host, |progress| loader.load(progress))
}

/// Reads, with a line now and then if that takes long.
fn with_progress<T>(
    clock: &dyn Clock,
    host: &mut dyn Host,
    work: impl FnOnce(Progress<'_>) -> T,
) -> T {
    let mut told = clock.monotonic_us();
    work(&mut |bytes: u64| {
        let now = clock.monotonic_us();
        if now - told > 5_000_000 {
            told = now;
            host.log(
                Level::Notice,
                &format!("Loading the durable keyspace: {} MB read", bytes >> 20),
            );
        }
    })
}

/// Tells the operator what was found.
fn tell(host: &mut dyn Host, files: &Files, found: &Recovered, load_ms: u64) {
    for remark in &found.remarks {
        host.log(Level::Warning, remark);
    }
    let (seconds, keys) = (load_ms as f64 / 1e3, found.space.len());
    let what = match found.source {
        Source::Nothing => {
            "The durable keyspace is empty: no snapshot and no log were found".to_string()
        }
        Source::Snapshot => format!(
            "DB loaded from {}: {seconds:.3} seconds, {keys} keys",
            files.snapshot.display(),
        ),
        Source::Log => {
            format!("DB loaded from append only file: {seconds:.3} seconds, {keys} keys")
        }
        Source::Rescued => {
            format!("DB loaded from damaged files: {seconds:.3} seconds, {keys} keys")
        }
    };
    host.log(Level::Notice, &what);
}

/// What a start goes on with.
struct Found {
    recovered: Recovered,
    rescued: Option<Rescued>,
    /// Numbers of the first files of a log that begins.
    numbers: (u64, u64),
}

impl From<Recovered> for Found {
    fn from(recovered: Recovered) -> Self {
        Found {
            recovered,
            rescued: None,
            numbers: (1, 1),
        }
    }
}

/// A data set of damaged files.
struct Rescued {
    report: Report,
    /// The history whose place it takes; its own if nobody knows.
    before: HistoryId,
    quarantine: String,
}

impl Rescued {
    fn told(&self) -> String {
        let way = match self.report.way {
            Way::Salvage => "salvaged from damaged files",
            Way::Fallback => "what the snapshot holds: the log is damaged",
        };
        format!(
            "the data set is {way} (persist.on-corruption), with a new history; {}. The files are kept in {}",
            self.report.summary(),
            self.quarantine
        )
    }
}

/// What `persist.on-corruption` makes of files that `why` tells of.
fn rescue(
    loader: &Loader<'_>,
    how: OnCorruption,
    why: LoadError,
    clock: &dyn Clock,
    host: &mut dyn Host,
) -> Result<Found, LoadError> {
    if !why.damage || how == OnCorruption::Stop {
        return Err(why);
    }
    let found = with_progress(clock, host, |progress| match how {
        OnCorruption::Fallback => Salvaged::fall_back(loader, &why, progress),
        _ => Salvaged::salvage(loader, &why, progress),
    })?;
    let files = loader.files;
    let mut afterwards = Vec::new();
    if loader
        .disk
        .exists(&files.log_dir)
        .on("stat", &files.log_dir)?
    {
        let names = loader
            .disk
            .list(&files.log_dir)
            .on("list", &files.log_dir)?;
        let old = names.iter().filter(|name| files.is_log_file(name));
        let paths = old.map(|name| files.in_log(name));
        afterwards.extend(
            paths
                .filter(|path| *path != files.manifest)
                .map(Repair::SetAside),
        );
    }
    if loader
        .disk
        .exists(&files.snapshot)
        .on("stat", &files.snapshot)?
    {
        afterwards.push(Repair::SetAside(files.snapshot.clone()));
    }
    let (history, _) = loader.fresh;
    let recovered = Recovered {
        seed: found.seed,
        history,
        seq: found.seq,
        source: Source::Rescued,
        manifest: None,
        last_crc: 0,
        snapshot_time_ms: None,
        snapshot_seq: None,
        open_files: Vec::new(),
        repairs: loader.leftovers()?,
        afterwards,
        remarks: found.report.lines.clone(),
        bytes: 0,
        space: found.space,
    };
    Ok(Found {
        recovered,
        numbers: names::free_numbers(loader)?,
        rescued: Some(Rescued {
            report: found.report,
            before: found.before.unwrap_or(history),
            quarantine: files.quarantine.display().to_string(),
        }),
    })
}

impl Persist {
    /// Loads, repairs what recovery calls for, and opens the log.
    ///
    /// # Errors
    /// Why there is no start.
    pub fn start(
        begin: Beginning,
        limits: &Limits,
        host: &mut dyn Host,
    ) -> Result<(Persist, Keyspace), LoadError> {
        let Beginning {
            disk,
            exec,
            clock,
            settings,
            pid,
            memory,
            fresh,
        } = begin;
        let files = Files::new(&settings, pid);
        let begun = clock.monotonic_us();
        let loader = Loader {
            disk: &*disk,
            files: &files,
            limits,
            truncated_ok: settings.aof_load_truncated,
            fresh,
        };
        let found = match read(&loader, &*clock, host) {
            Err(why) => rescue(&loader, settings.on_corruption, why, &*clock, host)?,
            found => Found::from(found?),
        };
        let Found {
            recovered: found,
            rescued,
            numbers,
        } = found;
        let load_ms = (clock.monotonic_us() - begun) / 1000;
        let now = clock.now_ms();
        settle_names(&*disk, &files)?;
        carry_out(&*disk, &files, &found.repairs, now)?;
        if rescued.is_some() && disk.exists(&files.manifest).on("stat", &files.manifest)? {
            keep_manifest(&*disk, &files, now)?;
        }
        tell(host, &files, &found, load_ms);
        // Keys have no place in a log that others read, unless it's asked for.
        for line in rescued.iter().flat_map(|r| &r.report.keys_named) {
            host.log(Level::Verbose, line);
        }
        let saved_at = found.snapshot_time_ms.unwrap_or(now);
        let counters = Counters {
            // What isn't in a snapshot counts as changed since the last one.
            dirty: if settings.appendonly {
                0
            } else {
                found.seq - found.snapshot_seq.unwrap_or(0).min(found.seq)
            },
            last_save: saved_at / 1000,
            saved_secs: (clock.monotonic_us() / 1_000_000).cast_signed()
                - (now.saturating_sub(saved_at) / 1000).cast_signed(),
            last_bgsave_ok: true,
            last_rewrite_ok: true,
            load_ms,
            loaded_keys: found.space.len() as u64,
            ..Counters::default()
        };
        let mut persist = Persist {
            files,
            disk,
            exec,
            watchdog: Arc::new(Watchdog::new(clock.clone())),
            clock,
            settings,
            seq: found.seq,
            history: found.history,
            seed: found.seed,
            log: None,
            manifest: found.manifest,
            litter: Vec::new(),
            closing: None,
            health: Health::Ok,
            jobs_on_log: 0,
            owed_seq: 0,
            broken_promise: false,
            save: Default::default(),
            rewrite: Default::default(),
            doomed: None,
            last_save_asked: false,
            timings: Timings::default(),
            gather: Gather::default(),
            is_watched: false,
            counters,
            verifications: Default::default(),
            temp_number: 0,
            sync_asked: 0,
            poisoned: false,
            memory,
            sizes: Default::default(),
            rescued: None,
        };
        if let Some(rescued) = &rescued {
            // All of it, durably and as a history of its own, before anything
            // of it is served; only then what it was made of is moved away.
            let mut manifest = persist.manifest_from(numbers, Some(rescued.before));
            persist.commit_base(&mut manifest, Some(&found.space))?;
            persist.manifest = Some(manifest);
        }
        if found.source == Source::Snapshot {
            let path = persist.files.snapshot.clone();
            persist.measured(true, persist.disk.len(&path).on("stat", &path)?);
        }
        let emptied = persist.close_files(&found.open_files)?;
        if persist.settings.appendonly {
            persist.open_log(&found.space, found.source, found.last_crc)?;
        } else {
            persist.close_log()?;
        }
        // No manifest names these any more.
        carry_out(&*persist.disk, &persist.files, &found.afterwards, now)?;
        carry_out(&*persist.disk, &persist.files, &emptied, now)?;
        if let Some((e, failed)) = set_modes(&*persist.disk, &persist.files) {
            host.log(
                Level::Warning,
                &format!(
                    "persist.file-mode doesn't hold for {failed} files or folders: {e}. Who else gets at them is up to the file system; give them to the server's user (chown), or to a file system with permissions."
                ),
            );
        }
        if let Some(rescued) = rescued {
            if let Some(manifest) = &mut persist.manifest {
                manifest.after = None;
                commit(&*persist.disk, &persist.files, manifest).map_err(DiskError::from)?;
            }
            host.log(Level::Warning, &format!("!!! Warning: {}", rescued.told()));
            persist.rescued = Some(rescued.report);
        }
        Ok((persist, found.space))
    }

    /// A manifest for a log that begins: a base and no incr file. Without
    /// data the base is empty, and the log closed: it promises nothing yet.
    pub(super) fn first_manifest(
        &mut self,
        data: Option<&Keyspace>,
    ) -> Result<Manifest, DiskError> {
        let mut manifest = self.manifest_from((1, 1), None);
        self.commit_base(&mut manifest, data)?;
        Ok(manifest)
    }

    /// A manifest of nothing yet, with the numbers of its first files, which
    /// takes the place of the history `after`.
    fn manifest_from(&self, (base, incr): (u64, u64), after: Option<HistoryId>) -> Manifest {
        let mut manifest = Manifest::new(self.history);
        (manifest.next_base_seq, manifest.next_incr_seq) = (base, incr);
        manifest.after = after;
        manifest
    }

    /// Writes `data` as the base, and brings the manifest into force.
    fn commit_base(
        &mut self,
        manifest: &mut Manifest,
        data: Option<&Keyspace>,
    ) -> Result<(), DiskError> {
        repair::make_dir(&*self.disk, &self.files, &self.files.log_dir)?;
        let seq = manifest.next_base_seq;
        manifest.next_base_seq += 1;
        let name = self.files.base_name(seq, true);
        let path = self.files.in_log(&name);
        let n = self.next_temp();
        let temp = self.files.temp(&self.files.log_dir, n, "base");
        let mut subject = self.subject();
        let empty = Keyspace::new(self.seed.into());
        if data.is_none() {
            subject.seq = 0;
        }
        let written = write_temp(&*self.disk, &temp, |out| {
            dump::snapshot(data.unwrap_or(&empty), out, &subject, &mut |_| {})
        });
        if let Err(e) = written {
            // A leftover is harmless: starts remove it.
            let _ = self.disk.remove(&temp);
            return Err(e);
        }
        sync_then_rename(&*self.disk, &temp, &path).map_err(|e| e.error)?;
        manifest.base = Some(BaseFile {
            name,
            seq,
            history: self.history,
            covers: subject.seq,
            end: None,
            seed: None,
        });
        manifest.closed_at = data.is_none().then_some(0);
        commit(&*self.disk, &self.files, manifest)?;
        Ok(())
    }

    /// A base that is the snapshot which was just loaded, under another name.
    fn manifest_from_snapshot(&mut self) -> Result<Manifest, DiskError> {
        repair::make_dir(&*self.disk, &self.files, &self.files.log_dir)?;
        let mut manifest = Manifest::new(self.history);
        let name = self.files.base_name(1, true);
        let path = self.files.in_log(&name);
        manifest.next_base_seq = 2;
        self.disk
            .hard_link(&self.files.snapshot, &path)
            .on("link", &path)?;
        // The first incr file's name is made durable with it, before the
        // manifest that names both.
        manifest.base = Some(BaseFile {
            name,
            seq: 1,
            history: self.history,
            covers: self.seq,
            end: None,
            seed: None,
        });
        Ok(manifest)
    }

    /// Marks the ends of the files that were still open, in the manifest to
    /// be committed next: only that which this start opens goes on. Empty ones
    /// are dropped, or they would pile up.
    fn close_files(
        &mut self,
        open_files: &[(u64, IncrStart, IncrEnd)],
    ) -> Result<Vec<Repair>, DiskError> {
        let mut emptied = Vec::new();
        let Some(manifest) = &mut self.manifest else {
            return Ok(emptied);
        };
        // They were removed before anything else.
        manifest.replaced.clear();
        for (seq, start, end) in open_files {
            let Some(at) = manifest.incrs.iter().position(|f| f.seq == *seq) else {
                continue;
            };
            let path = self.files.in_log(&manifest.incrs[at].name);
            if end.len == 0 {
                manifest.incrs.remove(at);
                emptied.push(Repair::Remove(path));
                continue;
            }
            // Its bytes were read, not yet known durable.
            let file = self.disk.open_append(&path).on("open", &path)?;
            file.sync().on("fsync", &path)?;
            let file = &mut manifest.incrs[at];
            (file.start, file.end) = (Some(*start), Some(*end));
        }
        Ok(emptied)
    }

    /// Opens the log for appending; the manifest that names the file is
    /// durable before this returns.
    fn open_log(
        &mut self,
        space: &Keyspace,
        source: Source,
        last_crc: u64,
    ) -> Result<(), LoadError> {
        let mut manifest = match self.manifest.take() {
            Some(manifest) => manifest,
            None if source == Source::Snapshot => match self.manifest_from_snapshot() {
                Ok(manifest) => manifest,
                // Some file systems know no links: then it is written again.
                Err(_) => self.first_manifest(Some(space))?,
            },
            None => self.first_manifest(Some(space))?,
        };
        // What was closed ends exactly where the data does: it just goes on.
        manifest.closed_at = None;
        let start = IncrStart {
            first: self.seq + 1,
            prev_crc: last_crc,
        };
        let (seq, path, file) = self.add_incr(&mut manifest, start)?;
        commit(&*self.disk, &self.files, &manifest).map_err(DiskError::from)?;
        if let Some(base) = &manifest.base {
            let path = self.files.in_log(&base.name);
            self.counters.base_len = self.disk.len(&path).on("stat", &path)?;
            self.measure(&path)?;
        }
        self.manifest = Some(manifest);
        let target = LogFile { file, path, seq };
        self.log = Some(Log::new(
            target,
            self.history,
            self.seq,
            last_crc,
            self.now_ms(),
        ));
        self.counters.rewrite_base_size = self.log_size();
        Ok(())
    }

    fn add_incr(
        &self,
        manifest: &mut Manifest,
        start: IncrStart,
    ) -> Result<(u64, PathBuf, Arc<dyn crate::io::File>), DiskError> {
        let seq = manifest.next_incr_seq;
        manifest.next_incr_seq += 1;
        let name = self.files.incr_name(seq);
        let path = self.files.in_log(&name);
        let file = self.disk.create_new(&path).on("create", &path)?;
        file.sync().on("fsync", &path)?;
        self.disk
            .sync_dir(&self.files.log_dir)
            .on("fsync", &self.files.log_dir)?;
        manifest.incrs.push(IncrFile {
            name,
            seq,
            history: self.history,
            start: Some(start),
            end: None,
        });
        Ok((seq, path, file))
    }

    /// The log is off: marks it closed where it ends, durably.
    fn close_log(&mut self) -> Result<(), LoadError> {
        let Some(manifest) = &mut self.manifest else {
            return Ok(());
        };
        manifest.closed_at = Some(self.seq);
        commit(&*self.disk, &self.files, manifest).map_err(DiskError::from)?;
        Ok(())
    }

    /// The server stops: everything logged becomes durable. There is a last
    /// snapshot with save points, while no log is in force that should be or
    /// whoever ends the server wants one, and of what the log couldn't take.
    pub fn shutdown(&mut self, host: &mut dyn Host, space: &Keyspace) {
        let promised_log = self.is_turning_on();
        self.cancel_rewrite(host, "the server stops");
        self.stop_save(host);
        self.drain(host);
        if self.log_is_in_force() {
            if self.health.is_ok()
                && let Err(e) = self.finish_log()
            {
                self.broken(host, &e);
            }
            self.try_heal(host);
            self.drain(host);
            self.mark_clean_end(host);
        }
        let wanted = if self.log_is_in_force() {
            // Another folder may be well, and a snapshot newer than the log
            // wins at the next start.
            matches!(self.health, Health::Broken { .. })
        } else {
            promised_log || self.last_save_asked
        };
        if (wanted || !self.settings.save_points().is_empty()) && !self.poisoned {
            // A failure is logged; the host's shutdown can't be held up.
            let _ = self.save_anyway(host, space);
        }
        // Nobody will tell its end any more.
        if let Some(temp) = self.doomed.take() {
            self.remove_later(temp);
        }
        self.drain(host);
    }

    /// The host takes a snapshot at its end: so do we, if there is no log.
    pub fn ask_last_save(&mut self) {
        self.last_save_asked = true;
    }

    /// Ends the last file in the manifest, so that the next start takes
    /// whatever is missing of it for damage, not for a crash's torn end. From
    /// then on nothing may be appended to it: it wouldn't count.
    fn mark_clean_end(&mut self, host: &mut dyn Host) {
        let Some(log) = self
            .log
            .as_ref()
            .filter(|_| self.health.is_ok() && !self.poisoned)
        else {
            return;
        };
        let (end, start) = (log.durable(), log.start());
        // An empty file is used again.
        if end.seq != self.seq || end.file != log.target.seq || end.len == 0 {
            return;
        }
        let Some(mut manifest) = self.proposal() else {
            return;
        };
        let Some(file) = manifest.incrs.iter_mut().find(|f| f.seq == end.file) else {
            return;
        };
        (file.start, file.end) = (Some(start), Some(end.end()));
        match commit(&*self.disk, &self.files, &manifest) {
            Ok(()) => self.committed(manifest),
            Err(e) => host.log(
                Level::Warning,
                &format!("The log's end could not be marked: {}. The next start takes it as after a crash.", e.error),
            ),
        }
        self.health = Health::Ended;
    }
}
