//! A disk that notes what each of its operations would leave.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::io::mem::MemDisk;
use crate::io::{Disk, File, ReadDisk, ReadFile};

/// Lists what would be left if the power failed just before each operation.
#[derive(Clone)]
pub struct Watched {
    inner: MemDisk,
    images: Arc<Mutex<Vec<MemDisk>>>,
}

impl Watched {
    /// Around `inner`.
    pub fn new(inner: MemDisk) -> Self {
        Watched {
            inner,
            images: Arc::default(),
        }
    }

    fn note(&self) {
        self.images.lock().unwrap().push(self.inner.kill());
    }

    /// The images since the last call.
    pub fn take(&self) -> Vec<MemDisk> {
        std::mem::take(&mut self.images.lock().unwrap())
    }

    fn wrap(&self, inner: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(WatchedFile {
            inner,
            disk: self.clone(),
        })
    }
}

struct WatchedFile {
    inner: Arc<dyn File>,
    disk: Watched,
}

impl File for WatchedFile {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.note();
        self.inner.append(bytes)
    }
    fn sync(&self) -> io::Result<()> {
        self.disk.note();
        self.inner.sync()
    }
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.disk.note();
        self.inner.truncate(len)
    }
}

impl ReadDisk for Watched {
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        self.inner.open(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }
    fn len(&self, path: &Path) -> io::Result<u64> {
        ReadDisk::len(&self.inner, path)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }
}

impl Disk for Watched {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.note();
        Ok(self.wrap(self.inner.create_new(path)?))
    }
    fn open_append(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.wrap(self.inner.open_append(path)?))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.note();
        self.inner.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.note();
        self.inner.remove(path)
    }
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.note();
        self.inner.hard_link(from, to)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.note();
        self.inner.create_dir(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.note();
        self.inner.sync_dir(dir)
    }
    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        self.note();
        Disk::truncate(&self.inner, path, len)
    }
}
