//! The only code that touches files: small traits, so that the layers above
//! run the same on the operating system, in memory and on a disk that fails.
//!
//! - [`os`]: the operating system's files.
//! - [`mem`]: in memory, with what a crash would leave.
//! - [`mode`]: permission bits.
//! - [`faulty`]: wraps a disk and fails the n-th operation.
//! - [`pause`]: what goes on while a simulated fsync is under way.
//! - [`replace`]: the one way to replace a file durably.
//!
//! The traits return plain [`std::io::Error`]s. Before an error leaves for
//! somebody to read it, [`OnPath::on`] adds what was tried and on which path.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub mod faulty;
pub mod mem;
pub mod mode;
pub mod os;
pub mod pause;
pub mod replace;

/// A file open for reading.
#[allow(clippy::len_without_is_empty)]
pub trait ReadFile: io::Read + Send + Sync {
    /// The file's length in bytes now.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn len(&self) -> io::Result<u64>;

    /// Reads up to `buf.len()` bytes from byte `offset` on, without moving the
    /// position of [`io::Read`]; so threads may share the file. 0 means the end.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// Reads a file from a byte on, up to another, without moving its position: so
/// it can be read again, though its name may be gone by then.
pub struct Section<'a> {
    file: &'a dyn ReadFile,
    at: u64,
    end: u64,
}

impl<'a> Section<'a> {
    /// The bytes from `at` to `end`, or to the end of the file.
    pub fn new(file: &'a dyn ReadFile, at: u64, end: u64) -> Self {
        Section { file, at, end }
    }
}

impl io::Read for Section<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_sub(self.at);
        let most = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let n = self
            .file
            .read_at(buf.get_mut(..most).unwrap_or_default(), self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// A disk that can only be looked at: what check and load need.
pub trait ReadDisk: Send + Sync {
    /// Opens an existing file for reading.
    ///
    /// # Errors
    /// `NotFound`, or whatever else the disk reports.
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>>;

    /// The names of the files (not the folders) in `dir`, sorted. Names that
    /// aren't UTF-8 are left out: none of ours is.
    ///
    /// # Errors
    /// `NotFound`, or whatever else the disk reports.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// A file's length in bytes.
    ///
    /// # Errors
    /// `NotFound`, or whatever else the disk reports.
    fn len(&self, path: &Path) -> io::Result<u64>;

    /// Whether a file or folder of that name is there.
    ///
    /// # Errors
    /// Whatever kept the disk from knowing.
    fn exists(&self, path: &Path) -> io::Result<bool>;
}

/// A disk that can be changed.
///
/// What survives a power failure: a file's bytes after [`File::sync`]; its
/// name, and that a name is gone, after [`Disk::sync_dir`] of the folder.
pub trait Disk: ReadDisk {
    /// Creates a file for appending. Never, not even for a moment, may it be
    /// open to more people than `persist.file-mode` says.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken, or whatever the disk reports.
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens an existing file for appending.
    ///
    /// # Errors
    /// `NotFound`, or whatever else the disk reports.
    fn open_append(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Renames a file, replacing `to` in one step if it exists.
    ///
    /// # Errors
    /// `NotFound`, or whatever else the disk reports.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound`, or whatever else the disk reports.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Gives the file `from` the second name `to`.
    ///
    /// # Errors
    /// `AlreadyExists` if `to` is taken, or whatever the disk reports (some
    /// file systems have no hard links: then copy).
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Creates a folder, with the same limits; fine if it is there already.
    /// Its parent must exist.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in `dir` durable, as they are now.
    ///
    /// # Errors
    /// Whatever the disk reports; then nothing is known about them.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Cuts a file to `len` bytes, durably once this returns.
    ///
    /// # Errors
    /// `NotFound`, `InvalidInput` if the file is shorter than `len`, or
    /// whatever else the disk reports.
    fn truncate(&self, path: &Path, len: u64) -> io::Result<()>;

    /// Gives a file or folder that is there the mode of those that are made
    /// now; fine if it isn't there. A disk without modes has nothing to do.
    ///
    /// # Errors
    /// Whatever the disk reports; then it is as it was.
    fn set_mode(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    /// How many bytes this process may still write to the file system of
    /// `dir`. A disk that knows of no limit says so by the greatest number.
    ///
    /// # Errors
    /// Whatever the disk reports; then nothing is known.
    fn free_space(&self, _dir: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

/// A file open for appending. Shared between threads; appends of two threads
/// don't mix within one call, but only one should write at a time.
#[allow(clippy::len_without_is_empty)]
pub trait File: Send + Sync {
    /// Appends a prefix of `bytes` and says how long it was, as write(2) does.
    /// See [`append_all`].
    ///
    /// # Errors
    /// Whatever the disk reports; then nothing of this call was written.
    fn append(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Makes all bytes and the length durable (fdatasync).
    ///
    /// # Errors
    /// Whatever the disk reports. After that the file is never to be trusted
    /// again: the kernel may have dropped the bytes and marked them clean, so
    /// a later success proves nothing.
    fn sync(&self) -> io::Result<()>;

    /// The file's length in bytes now.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn len(&self) -> io::Result<u64>;

    /// Cuts the file to `len` bytes; durable after the next [`File::sync`].
    ///
    /// # Errors
    /// `InvalidInput` if it is shorter, or whatever the disk reports.
    fn truncate(&self, len: u64) -> io::Result<()>;
}

/// [`append_all`] got stuck.
#[derive(Debug)]
pub struct AppendError {
    /// How many bytes of the buffer are in the file all the same.
    pub written: u64,
    /// What the disk reported.
    pub source: io::Error,
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "write failed after {} bytes: {}",
            self.written, self.source
        )
    }
}

impl std::error::Error for AppendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Appends all of `bytes`: goes on after short writes and after EINTR.
///
/// # Errors
/// The first real error, with the number of bytes that did get written. A
/// write of 0 bytes counts as one (`WriteZero`), so this can't spin.
pub fn append_all(file: &dyn File, bytes: &[u8]) -> Result<(), AppendError> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let source = match file.append(rest) {
            Ok(n) if n > 0 && n <= rest.len() => {
                rest = rest.get(n..).unwrap_or_default();
                continue;
            }
            Ok(_) => io::Error::new(io::ErrorKind::WriteZero, "the disk took no byte"),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => e,
        };
        let written = (bytes.len() - rest.len()) as u64;
        return Err(AppendError { written, source });
    }
    Ok(())
}

/// Reads a whole file.
///
/// # Errors
/// Whatever open or read reported.
pub fn read_file(disk: &dyn ReadDisk, path: &Path) -> Result<Vec<u8>, DiskError> {
    let mut file = disk.open(path).on("open", path)?;
    let len = file.len().on("stat", path)?;
    let mut bytes = Vec::new();
    // The length is only a hint, so a failed reservation is an error, not an abort.
    let hint = usize::try_from(len).unwrap_or(usize::MAX);
    bytes
        .try_reserve_exact(hint)
        .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))
        .on("read", path)?;
    file.read_to_end(&mut bytes).on("read", path)?;
    Ok(bytes)
}

/// A failed operation as people should see it: what was tried, and where.
#[derive(Debug)]
pub struct DiskError {
    /// What was tried: `"fsync"`, `"rename"`, ...
    pub op: &'static str,
    /// The file or folder it was tried on.
    pub path: PathBuf,
    /// What the disk reported.
    pub source: io::Error,
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "{} of {path} failed: {}", self.op, self.source)
    }
}

impl std::error::Error for DiskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Adds operation and path to a bare error.
pub trait OnPath<T> {
    /// `disk.rename(a, b).on("rename", b)?`
    ///
    /// # Errors
    /// The same error, as a [`DiskError`].
    fn on(self, op: &'static str, path: &Path) -> Result<T, DiskError>;
}

impl<T> OnPath<T> for io::Result<T> {
    fn on(self, op: &'static str, path: &Path) -> Result<T, DiskError> {
        self.map_err(|source| DiskError {
            op,
            path: path.to_path_buf(),
            source,
        })
    }
}

impl<T> OnPath<T> for Result<T, AppendError> {
    fn on(self, op: &'static str, path: &Path) -> Result<T, DiskError> {
        self.map_err(|e| e.source).on(op, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Gives the scripted answers; a number means that many bytes at most.
    struct Scripted(Mutex<Vec<io::Result<usize>>>, Mutex<Vec<u8>>);

    impl File for Scripted {
        fn append(&self, bytes: &[u8]) -> io::Result<usize> {
            let n = self.0.lock().unwrap().remove(0)?.min(bytes.len());
            self.1.lock().unwrap().extend_from_slice(&bytes[..n]);
            Ok(n)
        }
        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
        fn len(&self) -> io::Result<u64> {
            Ok(0)
        }
        fn truncate(&self, _: u64) -> io::Result<()> {
            Ok(())
        }
    }

    fn scripted(answers: Vec<io::Result<usize>>) -> Scripted {
        Scripted(Mutex::new(answers), Mutex::new(Vec::new()))
    }

    #[test]
    fn append_all_goes_on_after_short_writes_and_eintr() {
        let eintr = io::Error::from_raw_os_error(4);
        let file = scripted(vec![Ok(2), Err(eintr), Ok(1), Ok(100)]);
        append_all(&file, b"abcdefg").unwrap();
        assert_eq!(*file.1.lock().unwrap(), b"abcdefg");
        append_all(&file, b"").unwrap();
    }

    #[test]
    fn append_all_says_how_much_was_written() {
        let file = scripted(vec![Ok(3), Err(io::Error::from_raw_os_error(28))]);
        let err = append_all(&file, b"abcdefg").unwrap_err();
        assert_eq!((err.written, err.source.raw_os_error()), (3, Some(28)));
        let err = append_all(&scripted(vec![Ok(0)]), b"a").unwrap_err();
        assert_eq!(err.source.kind(), io::ErrorKind::WriteZero);
    }

    #[test]
    fn errors_name_operation_and_path() {
        let err: Result<(), _> = Err(io::Error::from_raw_os_error(28));
        assert_eq!(
            err.on("fsync", Path::new("/x/persist.rdb"))
                .unwrap_err()
                .to_string(),
            "fsync of /x/persist.rdb failed: No space left on device (os error 28)"
        );
    }
}
