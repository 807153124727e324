//! A disk that fails on demand, around any other.
//!
//! The n-th operation that would change something fails: once, from then on,
//! or because the power is off. A test loops n = 1, 2, 3, ... until a run is
//! over before its fault.

use super::{Disk, File, ReadDisk, ReadFile, pause};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An operation that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// [`Disk::create_new`]
    Create,
    /// [`File::append`]
    Append,
    /// [`File::sync`]
    Sync,
    /// [`File::truncate`] and [`Disk::truncate`]
    Truncate,
    /// [`Disk::rename`]
    Rename,
    /// [`Disk::remove`]
    Remove,
    /// [`Disk::hard_link`]
    HardLink,
    /// [`Disk::create_dir`]
    CreateDir,
    /// [`Disk::sync_dir`]
    SyncDir,
    /// [`Disk::set_mode`]
    SetMode,
}

/// An error to be made, as often as needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// `io::Error::from_raw_os_error`: 5 is EIO, 28 ENOSPC, 4 EINTR.
    Os(i32),
    /// `io::Error::from(kind)`
    Kind(io::ErrorKind),
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Os(code) => io::Error::from_raw_os_error(code),
            Error::Kind(kind) => kind.into(),
        }
    }
}

/// What happens at the chosen operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails; the next ones work.
    Once(Error),
    /// It fails, and so does every later one that changes something.
    Always(Error),
    /// It fails, and so does everything later, reading too.
    PowerOff,
    /// If it is an append, it writes at most that many bytes and says so; the
    /// next ones work. Other operations work.
    Short(usize),
}

impl Fault {
    /// [`Fault::Once`] with an OS error number.
    pub fn once(os_error: i32) -> Self {
        Fault::Once(Error::Os(os_error))
    }

    /// [`Fault::Always`] with an OS error number.
    pub fn always(os_error: i32) -> Self {
        Fault::Always(Error::Os(os_error))
    }
}

#[derive(Default)]
struct Plan {
    /// Fault, how many matching operations are still to come up to and with
    /// it, and which operations match (all if `None`).
    next: Option<(Fault, u64, Option<Op>)>,
    /// What every operation that matches gets from now on.
    lasting: Option<(Error, Option<Op>)>,
    off: bool,
    /// What the disk says is free, if not what it is.
    free: Option<u64>,
    ops: u64,
    hits: u64,
}

enum Verdict {
    Go,
    Short(usize),
    Fail(io::Error),
}

/// The switchboard of a [`FaultyDisk`]. Clones are the same one.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

impl Faults {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The `n`-th operation from now on (1 is the next) meets `fault`. This
    /// replaces any other plan and ends a lasting fault.
    pub fn set(&self, n: u64, fault: Fault) {
        self.arm(n, fault, None);
    }

    /// As [`Faults::set`], but counting and failing only operations `op`.
    pub fn set_on(&self, op: Op, n: u64, fault: Fault) {
        self.arm(n, fault, Some(op));
    }

    fn arm(&self, n: u64, fault: Fault, op: Option<Op>) {
        let mut plan = self.plan();
        plan.next = (n > 0).then_some((fault, n, op));
        plan.lasting = None;
        plan.off = false;
    }

    /// What the disk says is free from now on, in bytes; `None`: what it is.
    pub fn set_free(&self, free: Option<u64>) {
        self.plan().free = free;
    }

    /// All is well from now on.
    pub fn clear(&self) {
        self.arm(0, Fault::PowerOff, None);
    }

    /// How many operations that change something were tried.
    pub fn ops(&self) -> u64 {
        self.plan().ops
    }

    /// How many operations failed or were shortened by the plan.
    pub fn hits(&self) -> u64 {
        self.plan().hits
    }

    fn judge(&self, op: Op) -> Verdict {
        let mut plan = self.plan();
        plan.ops += 1;
        let mut verdict = plan.verdict(op);
        if matches!(verdict, Verdict::Short(_)) && op != Op::Append {
            verdict = Verdict::Go;
        }
        if !matches!(verdict, Verdict::Go) {
            plan.hits += 1;
        }
        verdict
    }

    fn change(&self, op: Op) -> io::Result<()> {
        match self.judge(op) {
            Verdict::Fail(e) => Err(e),
            Verdict::Go | Verdict::Short(_) => Ok(()),
        }
    }

    fn look(&self) -> io::Result<()> {
        if self.plan().off {
            Err(power_off())
        } else {
            Ok(())
        }
    }
}

fn power_off() -> io::Error {
    io::Error::other("the power is off")
}

impl Plan {
    fn verdict(&mut self, op: Op) -> Verdict {
        if self.off {
            return Verdict::Fail(power_off());
        }
        if let Some((error, which)) = self.lasting
            && which.is_none_or(|o| o == op)
        {
            return Verdict::Fail(error.into());
        }
        let Some((fault, left, which)) = self.next else {
            return Verdict::Go;
        };
        if which.is_some_and(|o| o != op) {
            return Verdict::Go;
        }
        if left > 1 {
            self.next = Some((fault, left - 1, which));
            return Verdict::Go;
        }
        self.next = None;
        match fault {
            Fault::Once(error) => Verdict::Fail(error.into()),
            Fault::Always(error) => {
                self.lasting = Some((error, which));
                Verdict::Fail(error.into())
            }
            Fault::PowerOff => {
                self.off = true;
                Verdict::Fail(power_off())
            }
            Fault::Short(n) => Verdict::Short(n),
        }
    }
}

/// The disk around another.
pub struct FaultyDisk {
    inner: Arc<dyn Disk>,
    faults: Faults,
}

impl FaultyDisk {
    /// Without a fault until one is set.
    pub fn new(inner: Arc<dyn Disk>) -> Self {
        Self {
            inner,
            faults: Faults::default(),
        }
    }

    /// Its switchboard.
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    fn wrap(&self, inner: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(FaultyFile {
            inner,
            faults: self.faults.clone(),
            lost: AtomicBool::new(false),
        })
    }
}

/// After a failed sync, as on Linux: the pages count as clean, so later syncs
/// report success without making anything durable.
struct FaultyFile {
    inner: Arc<dyn File>,
    faults: Faults,
    lost: AtomicBool,
}

impl File for FaultyFile {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.faults.judge(Op::Append) {
            Verdict::Go => self.inner.append(bytes),
            Verdict::Short(n) => self.inner.append(bytes.get(..n).unwrap_or(bytes)),
            Verdict::Fail(e) => Err(e),
        }
    }

    fn sync(&self) -> io::Result<()> {
        if let Err(e) = self.faults.change(Op::Sync) {
            self.lost.store(true, Ordering::SeqCst);
            // It takes its time to fail.
            pause::here();
            return Err(e);
        }
        if self.lost.load(Ordering::SeqCst) {
            pause::here();
            return Ok(());
        }
        self.inner.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.faults.look()?;
        self.inner.len()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.faults.change(Op::Truncate)?;
        self.inner.truncate(len)
    }
}

struct FaultyReadFile {
    inner: Box<dyn ReadFile>,
    faults: Faults,
}

impl io::Read for FaultyReadFile {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.faults.look()?;
        self.inner.read(buf)
    }
}

impl ReadFile for FaultyReadFile {
    fn len(&self) -> io::Result<u64> {
        self.faults.look()?;
        self.inner.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.faults.look()?;
        self.inner.read_at(buf, offset)
    }
}

impl ReadDisk for FaultyDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        self.faults.look()?;
        let inner = self.inner.open(path)?;
        Ok(Box::new(FaultyReadFile {
            inner,
            faults: self.faults.clone(),
        }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.faults.look()?;
        self.inner.list(dir)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        self.faults.look()?;
        self.inner.len(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.faults.look()?;
        self.inner.exists(path)
    }
}

impl Disk for FaultyDisk {
    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        self.faults.look()?;
        let told = self.faults.plan().free;
        told.map_or_else(|| self.inner.free_space(dir), Ok)
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.faults.change(Op::Create)?;
        Ok(self.wrap(self.inner.create_new(path)?))
    }

    fn open_append(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.faults.look()?;
        Ok(self.wrap(self.inner.open_append(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.faults.change(Op::Rename)?;
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.faults.change(Op::Remove)?;
        self.inner.remove(path)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.faults.change(Op::HardLink)?;
        self.inner.hard_link(from, to)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.faults.change(Op::CreateDir)?;
        self.inner.create_dir(path)
    }

    fn set_mode(&self, path: &Path) -> io::Result<()> {
        self.faults.change(Op::SetMode)?;
        self.inner.set_mode(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.faults
            .change(Op::SyncDir)
            .inspect_err(|_| pause::here())?;
        self.inner.sync_dir(dir)
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        self.faults.change(Op::Truncate)?;
        self.inner.truncate(path, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::mem::{Crash, MemDisk};
    use crate::io::{append_all, read_file};

    fn start() -> (MemDisk, FaultyDisk, Arc<dyn File>) {
        let mem = MemDisk::new();
        mem.put(Path::new("/a"), b"");
        let disk = FaultyDisk::new(Arc::new(mem.clone()));
        let file = disk.open_append(Path::new("/a")).unwrap();
        (mem, disk, file)
    }

    #[test]
    fn once_always_and_short() {
        let (mem, disk, file) = start();
        disk.faults().set(2, Fault::once(28));
        file.append(b"1").unwrap();
        assert_eq!(file.append(b"2").unwrap_err().raw_os_error(), Some(28));
        file.append(b"3").unwrap();
        disk.faults().set_on(
            Op::Append,
            1,
            Fault::Always(Error::Kind(io::ErrorKind::StorageFull)),
        );
        file.sync().unwrap();
        for _ in 0..3 {
            assert_eq!(
                file.append(b"4").unwrap_err().kind(),
                io::ErrorKind::StorageFull
            );
        }
        disk.faults().set(1, Fault::Short(2));
        append_all(&*file, b"56789").unwrap();
        assert_eq!(read_file(&mem, Path::new("/a")).unwrap(), b"1356789");
        assert_eq!((disk.faults().hits(), disk.faults().ops()), (5, 9));
    }

    #[test]
    fn after_a_failed_sync_success_proves_nothing() {
        let (mem, disk, file) = start();
        file.append(b"lost").unwrap();
        disk.faults().set_on(Op::Sync, 1, Fault::once(5));
        file.sync().unwrap_err();
        file.sync().unwrap();
        assert_eq!(read_file(&disk, Path::new("/a")).unwrap(), b"lost");
        assert_eq!(
            read_file(&mem.crash(Crash::DropUnsynced), Path::new("/a")).unwrap(),
            b""
        );
    }

    #[test]
    fn power_off_stops_everything() {
        let (_, disk, file) = start();
        disk.faults().set(1, Fault::PowerOff);
        assert!(disk.exists(Path::new("/a")).unwrap());
        file.sync().unwrap_err();
        assert!(disk.exists(Path::new("/a")).is_err() && disk.open(Path::new("/a")).is_err());
        assert!(disk.remove(Path::new("/a")).is_err() && file.append(b"x").is_err());
        disk.faults().clear();
        assert!(disk.exists(Path::new("/a")).unwrap());
    }
}
