//! A disk in memory that knows what a crash would leave.
//!
//! It keeps two images: the *live* one, which every reader sees (the page
//! cache), and the *durable* one, which a power failure leaves.
//!
//! - A file's bytes and length move to the durable image by [`File::sync`].
//! - Names move by [`Disk::sync_dir`] of their folder, whatever happened to
//!   the bytes; a rename between two folders needs both.
//! - Both take time. What was there at the start is durable from the end on;
//!   [`pause::here`] is between. A crash meanwhile may find any part of it.
//!
//! That is less than most file systems give, on purpose: code that is right
//! here relies on nothing but what is promised.

use super::{Disk, File, ReadDisk, ReadFile, pause};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a power failure does to that which wasn't synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// All of it is gone.
    DropUnsynced,
    /// Of each file a random prefix of the unsynced bytes stays, ending at a
    /// multiple of `granularity` bytes in the file (or at its end); of the
    /// unsynced changes of names each stays or not.
    Torn {
        /// The same seed gives the same outcome.
        seed: u64,
        /// In bytes; 0 counts as 1.
        granularity: u64,
    },
    /// As `Torn`, but the length stays and each unsynced block of
    /// `granularity` bytes is there or reads as zeros.
    Scrambled {
        /// The same seed gives the same outcome.
        seed: u64,
        /// In bytes; 0 counts as 1.
        granularity: u64,
    },
}

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct MemDisk(Arc<Mutex<State>>);

type FileId = u64;

#[derive(Clone, Default)]
struct State {
    files: BTreeMap<FileId, Content>,
    live: Names,
    durable: Names,
    /// Changes of names since their folders were synced, oldest first.
    pending: Vec<Change>,
    /// Counts changes of names, and starts of fsyncs.
    events: u64,
    next_id: FileId,
    ops: u64,
}

#[derive(Clone, Default)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// The lowest length since the last sync: below it, the images agree.
    common: usize,
    /// Fsyncs under way, oldest first.
    syncing: Vec<Syncing>,
}

/// An fsync of a file that has started.
#[derive(Clone)]
struct Syncing {
    number: u64,
    /// Up to here, the images agreed at its start.
    common: usize,
    /// What followed in the live one.
    rest: Vec<u8>,
    /// The lowest length of the live one since then.
    lowest: usize,
}

#[derive(Clone, Default)]
struct Names {
    files: BTreeMap<PathBuf, FileId>,
    dirs: BTreeSet<PathBuf>,
}

#[derive(Clone)]
struct Change {
    what: What,
    /// The folders still to be synced until it is durable.
    dirs: Vec<PathBuf>,
    number: u64,
}

#[derive(Clone)]
enum What {
    Dir(PathBuf),
    Name(PathBuf, FileId),
    Gone(PathBuf),
    Renamed(PathBuf, PathBuf, FileId),
    /// A folder with all in it.
    RenamedDir(PathBuf, PathBuf),
}

impl Names {
    fn apply(&mut self, what: &What) {
        match what {
            What::Dir(path) => {
                self.dirs.insert(path.clone());
            }
            What::Name(path, id) => {
                self.files.insert(path.clone(), *id);
            }
            What::Gone(path) => {
                self.files.remove(path);
            }
            What::Renamed(from, to, id) => {
                self.files.remove(from);
                self.files.insert(to.clone(), *id);
            }
            What::RenamedDir(from, to) => {
                let moved = |path: &Path| path.strip_prefix(from).ok().map(|rest| join(to, rest));
                let dirs = std::mem::take(&mut self.dirs);
                self.dirs = dirs.into_iter().map(|d| moved(&d).unwrap_or(d)).collect();
                let files = std::mem::take(&mut self.files);
                self.files = files
                    .into_iter()
                    .map(|(f, id)| (moved(&f).unwrap_or(f), id))
                    .collect();
            }
        }
    }

    fn has_dir(&self, dir: &Path) -> bool {
        dir.as_os_str().is_empty() || dir == Path::new("/") || self.dirs.contains(dir)
    }

    /// Whether the folder and all above it are there.
    fn reachable(&self, dir: &Path) -> bool {
        dir.ancestors().all(|above| self.has_dir(above))
    }
}

/// `dir` joined with `rest`, which may be empty.
fn join(dir: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() {
        dir.to_path_buf()
    } else {
        dir.join(rest)
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_path_buf()
}

fn error<T>(kind: io::ErrorKind) -> io::Result<T> {
    Err(kind.into())
}

impl State {
    fn id(&self, path: &Path) -> io::Result<FileId> {
        let found = self.live.files.get(path).copied();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn content(&self, id: FileId) -> io::Result<&Content> {
        self.files
            .get(&id)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn content_mut(&mut self, id: FileId) -> io::Result<&mut Content> {
        self.files
            .get_mut(&id)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Fails unless `path` is free and its folder exists.
    fn free(&self, path: &Path) -> io::Result<()> {
        if self.live.files.contains_key(path) || self.live.has_dir(path) {
            return error(io::ErrorKind::AlreadyExists);
        }
        if !self.live.has_dir(&parent(path)) {
            return error(io::ErrorKind::NotFound);
        }
        Ok(())
    }

    fn change(&mut self, what: What, dirs: Vec<PathBuf>) {
        self.live.apply(&what);
        let number = self.event();
        self.pending.push(Change { what, dirs, number });
    }

    fn event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    fn create(&mut self, path: &Path) -> io::Result<FileId> {
        self.free(path)?;
        let id = self.next_id;
        self.next_id += 1;
        self.files.insert(id, Content::default());
        self.change(What::Name(path.to_path_buf(), id), vec![parent(path)]);
        Ok(id)
    }

    /// The end of an fsync of a folder that started at `start`.
    fn dir_synced(&mut self, dir: &Path, start: u64) {
        for mut change in std::mem::take(&mut self.pending) {
            if change.number < start {
                change.dirs.retain(|d| d != dir);
            }
            if change.dirs.is_empty() {
                self.durable.apply(&change.what);
            } else {
                self.pending.push(change);
            }
        }
    }
}

impl Content {
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        match usize::try_from(len) {
            Ok(len) if len <= self.live.len() => {
                self.live.truncate(len);
                self.common = self.common.min(len);
                for sync in &mut self.syncing {
                    sync.lowest = sync.lowest.min(len);
                }
                Ok(())
            }
            _ => error(io::ErrorKind::InvalidInput),
        }
    }

    fn sync_starts(&mut self, number: u64) {
        // Only what differs: an append-only file would otherwise cost its
        // whole length at every sync.
        self.syncing.push(Syncing {
            number,
            common: self.common,
            rest: self.live.get(self.common..).unwrap_or_default().to_vec(),
            lowest: self.live.len(),
        });
    }

    fn sync_ends(&mut self, number: u64) {
        // One that started later and ended sooner has done its work.
        let Some(at) = self.syncing.iter().position(|s| s.number == number) else {
            return;
        };
        if let Some(sync) = self.syncing.drain(..=at).next_back() {
            self.durable.truncate(sync.common);
            self.durable.extend_from_slice(&sync.rest);
            self.common = sync.lowest;
        }
    }

    fn after(&self, how: Crash, random: &mut Random) -> Vec<u8> {
        let (granularity, scrambled) = match how {
            Crash::DropUnsynced => return self.durable.clone(),
            Crash::Torn { granularity, .. } => (granularity, false),
            Crash::Scrambled { granularity, .. } => (granularity, true),
        };
        // A cut that wasn't synced may not have happened; what was written
        // after it is lost then, too.
        if self.common < self.durable.len() && random.coin() {
            return self.durable.clone();
        }
        let block = usize::try_from(granularity.max(1)).unwrap_or(usize::MAX);
        let mut bytes = self.live.clone();
        if scrambled {
            let mut from = self.common;
            while from < bytes.len() {
                let to = (from / block)
                    .saturating_add(1)
                    .saturating_mul(block)
                    .min(bytes.len());
                if random.coin() {
                    bytes.iter_mut().take(to).skip(from).for_each(|b| *b = 0);
                }
                from = to;
            }
            return bytes;
        }
        let unsynced = (bytes.len() - self.common) as u64;
        let mut keep = self.common + usize::try_from(random.below(unsynced + 1)).unwrap_or(0);
        if keep < bytes.len() {
            keep = (keep - keep % block).max(self.common);
        }
        bytes.truncate(keep);
        bytes
    }
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

impl MemDisk {
    /// An empty disk. The folders `/` and `""` are there, others aren't.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is complete before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many operations have changed, or tried to change, this disk:
    /// creations, appends, syncs, cuts, renames, removals, links.
    pub fn ops(&self) -> u64 {
        self.state().ops
    }

    fn mutate(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        state.ops += 1;
        state
    }

    /// Puts a file there, durably, with its folders, replacing any other: for
    /// setting the scene. Not counted as an operation.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let id = state.next_id;
        state.next_id += 1;
        let (live, durable) = (bytes.to_vec(), bytes.to_vec());
        state.files.insert(
            id,
            Content {
                live,
                durable,
                common: bytes.len(),
                syncing: Vec::new(),
            },
        );
        for dir in path.ancestors().skip(1) {
            state.live.dirs.insert(dir.to_path_buf());
            state.durable.dirs.insert(dir.to_path_buf());
        }
        state.live.files.insert(path.to_path_buf(), id);
        state.durable.files.insert(path.to_path_buf(), id);
        // Changes that came before must not undo this one.
        state.pending.retain(|change| match &change.what {
            What::Dir(_) | What::RenamedDir(..) => true,
            What::Name(p, _) | What::Gone(p) => p != path,
            What::Renamed(from, to, _) => from != path && to != path,
        });
    }

    /// What a power failure now leaves: a new disk on which all that is there
    /// is durable. This one stays as it is, so many outcomes can be tried.
    pub fn crash(&self, how: Crash) -> MemDisk {
        let state = self.state();
        let mut random = Random(match how {
            Crash::DropUnsynced => 0,
            Crash::Torn { seed, .. } | Crash::Scrambled { seed, .. } => seed,
        });
        let mut names = state.durable.clone();
        for change in &state.pending {
            if how != Crash::DropUnsynced && random.coin() {
                names.apply(&change.what);
            }
        }
        let dirs = names
            .dirs
            .iter()
            .filter(|dir| names.reachable(dir))
            .cloned()
            .collect();
        let reachable = names
            .files
            .iter()
            .filter(|(path, _)| names.reachable(&parent(path)));
        let files = reachable.map(|(path, id)| (path.clone(), *id)).collect();
        let names = Names { files, dirs };
        let mut files = BTreeMap::new();
        for id in names.files.values() {
            if let (false, Some(content)) = (files.contains_key(id), state.files.get(id)) {
                let live = content.after(how, &mut random);
                let durable = live.clone();
                let common = live.len();
                files.insert(
                    *id,
                    Content {
                        live,
                        durable,
                        common,
                        syncing: Vec::new(),
                    },
                );
            }
        }
        let next_id = state.next_id;
        let state = State {
            files,
            live: names.clone(),
            durable: names,
            next_id,
            ..State::default()
        };
        MemDisk(Arc::new(Mutex::new(state)))
    }

    /// What the end of the process leaves: a new disk with the live image,
    /// of which the same is durable as here. Open files stay with this one.
    pub fn kill(&self) -> MemDisk {
        let mut state = self.state().clone();
        state.ops = 0;
        // Nobody is there for their ends.
        for content in state.files.values_mut() {
            content.syncing.clear();
        }
        MemDisk(Arc::new(Mutex::new(state)))
    }
}

struct MemReadFile {
    disk: MemDisk,
    id: FileId,
    position: u64,
}

impl io::Read for MemReadFile {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.read_at(buf, self.position)?;
        self.position += n as u64;
        Ok(n)
    }
}

impl ReadFile for MemReadFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().content(self.id)?.live.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = state.content(self.id)?.live.get(from..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        for (to, from) in buf.iter_mut().zip(rest) {
            *to = *from;
        }
        Ok(n)
    }
}

struct MemFile {
    disk: MemDisk,
    id: FileId,
}

impl File for MemFile {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.mutate();
        state.content_mut(self.id)?.live.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn sync(&self) -> io::Result<()> {
        let start = {
            let mut state = self.disk.mutate();
            let start = state.event();
            state.content_mut(self.id)?.sync_starts(start);
            start
        };
        pause::here();
        let mut state = self.disk.state();
        state.content_mut(self.id)?.sync_ends(start);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().content(self.id)?.live.len() as u64)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.disk.mutate().content_mut(self.id)?.truncate(len)
    }
}

impl ReadDisk for MemDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        let id = self.state().id(path)?;
        Ok(Box::new(MemReadFile {
            disk: self.clone(),
            id,
            position: 0,
        }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        if !state.live.has_dir(dir) {
            return error(io::ErrorKind::NotFound);
        }
        let here = state
            .live
            .files
            .keys()
            .filter(|path| path.parent() == Some(dir));
        let names = here.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
        Ok(names.collect())
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let state = self.state();
        Ok(state.content(state.id(path)?)?.live.len() as u64)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.state();
        Ok(state.live.files.contains_key(path) || state.live.has_dir(path))
    }
}

impl Disk for MemDisk {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let id = self.mutate().create(path)?;
        Ok(Arc::new(MemFile {
            disk: self.clone(),
            id,
        }))
    }

    fn open_append(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let id = self.state().id(path)?;
        Ok(Arc::new(MemFile {
            disk: self.clone(),
            id,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.mutate();
        if state.live.dirs.contains(from) {
            // The old folder must be gone: this disk knows no merging.
            state.free(to)?;
            let mut dirs = vec![parent(from), parent(to)];
            dirs.dedup();
            state.change(What::RenamedDir(from.to_path_buf(), to.to_path_buf()), dirs);
            return Ok(());
        }
        let id = state.id(from)?;
        if state.live.has_dir(to) || !state.live.has_dir(&parent(to)) {
            return error(io::ErrorKind::NotFound);
        }
        let mut dirs = vec![parent(from), parent(to)];
        dirs.dedup();
        // Two names of one file: rename(2) then does nothing.
        if state.id(to).ok() != Some(id) {
            state.change(
                What::Renamed(from.to_path_buf(), to.to_path_buf(), id),
                dirs,
            );
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.mutate();
        state.id(path)?;
        state.change(What::Gone(path.to_path_buf()), vec![parent(path)]);
        Ok(())
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.mutate();
        let id = state.id(from)?;
        state.free(to)?;
        state.change(What::Name(to.to_path_buf(), id), vec![parent(to)]);
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.mutate();
        if state.live.has_dir(path) {
            return Ok(());
        }
        state.free(path)?;
        state.change(What::Dir(path.to_path_buf()), vec![parent(path)]);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let start = {
            let mut state = self.mutate();
            if !state.live.has_dir(dir) {
                return error(io::ErrorKind::NotFound);
            }
            state.event()
        };
        pause::here();
        self.state().dir_synced(dir, start);
        Ok(())
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let mut state = self.mutate();
        let (id, number) = (state.id(path)?, state.event());
        let content = state.content_mut(id)?;
        content.truncate(len)?;
        content.sync_starts(number);
        content.sync_ends(number);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
