//! The operating system's files.

use super::mode::FileMode;
use super::{Disk, File, ReadDisk, ReadFile};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

/// The operating system's files. Paths are the caller's, used as they are.
#[derive(Clone, Copy, Debug)]
pub struct OsDisk {
    /// Of the files that it makes; folders have the bits to match.
    pub mode: FileMode,
}

impl OsDisk {
    /// Nobody but the owner reads what it makes.
    pub const PRIVATE: OsDisk = OsDisk {
        mode: FileMode::Owner,
    };
}

/// The permissions of `about` with `bits` in the place of the lowest nine;
/// `None` if they are these already.
fn changed(about: &fs::Metadata, bits: u32) -> Option<Permissions> {
    let now = about.permissions().mode();
    // A folder keeps its set-group-ID bit.
    let wanted = now & 0o7000 | bits;
    (now & 0o7777 != wanted).then(|| Permissions::from_mode(wanted))
}

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
        // Else opening a pipe would wait for somebody who writes to it. Files
        // take no notice.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = fs::OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)?;
        let kind = file.metadata()?.file_type();
        // Reading a folder says so itself.
        if !kind.is_file() && !kind.is_dir() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is a pipe or a device, not a file",
            ));
        }
        Ok(Box::new(OsReadFile(file)))
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
            .mode(self.mode.of_files())
            .open(path)?;
        // What the umask took away. Until here it was open to nobody whom the
        // setting doesn't let in. A file system without modes refuses; that
        // is told at the start, when all files get theirs.
        if let Some(wanted) = changed(&file.metadata()?, self.mode.of_files()) {
            let _ = file.set_permissions(wanted);
        }
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
        let bits = self.mode.of_folders();
        match fs::DirBuilder::new().mode(bits).create(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            Ok(()) => {
                if let Some(wanted) = changed(&fs::symlink_metadata(path)?, bits) {
                    let _ = fs::set_permissions(path, wanted);
                }
                Ok(())
            }
            failed => failed,
        }
    }

    fn set_mode(&self, path: &Path) -> io::Result<()> {
        let about = match fs::symlink_metadata(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            about => about?,
        };
        let kind = about.file_type();
        let bits = match () {
            () if kind.is_file() => self.mode.of_files(),
            () if kind.is_dir() => self.mode.of_folders(),
            // A link's target may be anybody's.
            () => return Ok(()),
        };
        match changed(&about, bits) {
            Some(wanted) => fs::set_permissions(path, wanted),
            None => Ok(()),
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
        let file = OsDisk::PRIVATE.create_new(&a).unwrap();
        assert_eq!(mode(&a), 0o600);
        let again = OsDisk::PRIVATE.create_new(&a).err().unwrap();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        append_all(&*file, b"hello").unwrap();
        file.sync().unwrap();
        append_all(&*OsDisk::PRIVATE.open_append(&a).unwrap(), b" world").unwrap();
        append_all(&*file, b"!").unwrap();
        assert_eq!(read_file(&OsDisk::PRIVATE, &a).unwrap(), b"hello world!");
        assert_eq!(
            (file.len().unwrap(), OsDisk::PRIVATE.len(&a).unwrap()),
            (12, 12)
        );

        file.truncate(11).unwrap();
        OsDisk::PRIVATE.truncate(&a, 5).unwrap();
        assert!(file.truncate(6).is_err() && OsDisk::PRIVATE.truncate(&a, 6).is_err());
        let mut buf = [0; 9];
        assert_eq!(
            OsDisk::PRIVATE
                .open(&a)
                .unwrap()
                .read_at(&mut buf, 3)
                .unwrap(),
            2
        );
        assert_eq!(&buf[..2], b"lo");

        OsDisk::PRIVATE.hard_link(&a, &b).unwrap();
        assert!(OsDisk::PRIVATE.hard_link(&a, &b).is_err());
        OsDisk::PRIVATE.rename(&a, &dir.0.join("c")).unwrap();
        OsDisk::PRIVATE.sync_dir(&dir.0).unwrap();
        assert_eq!(OsDisk::PRIVATE.list(&dir.0).unwrap(), ["b", "c"]);
        OsDisk::PRIVATE.remove(&b).unwrap();
        assert!(!OsDisk::PRIVATE.exists(&b).unwrap());
        assert_eq!(
            OsDisk::PRIVATE.open_append(&b).err().unwrap().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let dir = TempDir::new("pipes");
        let pipe = dir.0.join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        let zeros = dir.0.join("zeros");
        std::os::unix::fs::symlink("/dev/zero", &zeros).unwrap();
        for path in [pipe, zeros] {
            let refused = OsDisk::PRIVATE.open(&path).err().unwrap();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn folders() {
        let dir = TempDir::new("folders");
        let sub = dir.0.join("sub");
        OsDisk::PRIVATE.create_dir(&sub).unwrap();
        OsDisk::PRIVATE.create_dir(&sub).unwrap();
        assert_eq!(mode(&sub), 0o700);
        assert!(OsDisk::PRIVATE.list(&dir.0).unwrap().is_empty());
        assert!(OsDisk::PRIVATE.exists(&sub).unwrap());
        OsDisk::PRIVATE.create_new(&dir.0.join("file")).unwrap();
        assert!(OsDisk::PRIVATE.create_dir(&dir.0.join("file")).is_err());
    }

    #[test]
    fn what_is_there_gets_the_mode_of_what_is_made() {
        let dir = TempDir::new("modes");
        let (file, sub, link) = (dir.0.join("f"), dir.0.join("d"), dir.0.join("l"));
        fs::write(&file, b"").unwrap();
        fs::create_dir(&sub).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &link).unwrap();
        let before = mode(&link);
        let disk = OsDisk {
            mode: FileMode::GroupReads,
        };
        for path in [&file, &sub, &link, &dir.0.join("gone")] {
            disk.set_mode(path).unwrap();
        }
        assert_eq!(
            (mode(&file), mode(&sub), mode(&link)),
            (0o640, 0o750, before)
        );
        // A folder that gives its group to what is in it goes on doing so.
        fs::set_permissions(&sub, Permissions::from_mode(0o2770)).unwrap();
        disk.set_mode(&sub).unwrap();
        let bits = fs::metadata(&sub).unwrap().permissions().mode() & 0o7777;
        assert_eq!(bits, 0o2750);
    }
}
