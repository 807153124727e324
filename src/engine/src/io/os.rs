//! The operating system's files.

use super::{Disk, File, ReadDisk, ReadFile};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

/// The operating system's files. Paths are the caller's, used as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

struct OsReadFile(fs::File);

impl io::Read for OsReadFile {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.0.read_to_end(buf)
    }
}

impl ReadFile for OsReadFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }
}

struct OsFile(fs::File);

impl File for OsFile {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        // O_APPEND, so the kernel finds the end.
        io::Write::write(&mut &self.0, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        shorten(&self.0, len)
    }
}

/// ftruncate would also lengthen a file, with zeros nobody wrote.
fn shorten(file: &fs::File, len: u64) -> io::Result<()> {
    if file.metadata()?.len() < len {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the file is shorter than that",
        ));
    }
    file.set_len(len)
}

impl ReadDisk for OsDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        Ok(Box::new(OsReadFile(fs::File::open(path)?)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                continue;
            }
            if let Ok(name) = entry.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        // Of the name itself: a dangling link takes the name, too.
        match fs::symlink_metadata(path) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }
}

impl Disk for OsDisk {
    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        let told = rustix::fs::statvfs(dir)?;
        // Not what is reserved for root.
        Ok(told.f_bavail.saturating_mul(told.f_frsize))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        let file = options
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        Ok(Arc::new(OsFile(file)))
    }

    fn open_append(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(OsFile(
            fs::OpenOptions::new().append(true).open(path)?,
        )))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            other => other,
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // The parent of a bare file name is "", which open(2) doesn't know.
        let dir = if dir.as_os_str().is_empty() {
            Path::new(".")
        } else {
            dir
        };
        fs::File::open(dir)?.sync_all()
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let file = fs::OpenOptions::new().write(true).open(path)?;
        shorten(&file, len)?;
        file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{append_all, read_file};
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    struct TempDir(PathBuf);

    impl TempDir {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("persist-{}-{name}", std::process::id()));
            fs::create_dir(&dir).unwrap();
            Self(dir)
        }
    }

    impl Drop for TempDir {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files() {
        let dir = TempDir::new("files");
        let (a, b) = (dir.0.join("a"), dir.0.join("b"));
        let file = OsDisk.create_new(&a).unwrap();
        assert_eq!(mode(&a), 0o600);
        let again = OsDisk.create_new(&a).err().unwrap();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        append_all(&*file, b"hello").unwrap();
        file.sync().unwrap();
        append_all(&*OsDisk.open_append(&a).unwrap(), b" world").unwrap();
        append_all(&*file, b"!").unwrap();
        assert_eq!(read_file(&OsDisk, &a).unwrap(), b"hello world!");
        assert_eq!((file.len().unwrap(), OsDisk.len(&a).unwrap()), (12, 12));

        file.truncate(11).unwrap();
        OsDisk.truncate(&a, 5).unwrap();
        assert!(file.truncate(6).is_err() && OsDisk.truncate(&a, 6).is_err());
        let mut buf = [0; 9];
        assert_eq!(OsDisk.open(&a).unwrap().read_at(&mut buf, 3).unwrap(), 2);
        assert_eq!(&buf[..2], b"lo");

        OsDisk.hard_link(&a, &b).unwrap();
        assert!(OsDisk.hard_link(&a, &b).is_err());
        OsDisk.rename(&a, &dir.0.join("c")).unwrap();
        OsDisk.sync_dir(&dir.0).unwrap();
        assert_eq!(OsDisk.list(&dir.0).unwrap(), ["b", "c"]);
        OsDisk.remove(&b).unwrap();
        assert!(!OsDisk.exists(&b).unwrap());
        assert_eq!(
            OsDisk.open_append(&b).err().unwrap().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn folders() {
        let dir = TempDir::new("folders");
        let sub = dir.0.join("sub");
        OsDisk.create_dir(&sub).unwrap();
        OsDisk.create_dir(&sub).unwrap();
        assert_eq!(mode(&sub), 0o700);
        assert!(OsDisk.list(&dir.0).unwrap().is_empty());
        assert!(OsDisk.exists(&sub).unwrap());
        OsDisk.create_new(&dir.0.join("file")).unwrap();
        assert!(OsDisk.create_dir(&dir.0.join("file")).is_err());
    }
}
