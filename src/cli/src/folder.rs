//! A folder of files and how to read it.

use std::path::{Path, PathBuf};

use persist_engine::base::hash::Seed;
use persist_engine::data::value::Limits;
use persist_engine::format::HistoryId;
use persist_engine::io::os::OsDisk;
use persist_engine::io::{ReadDisk, read_file};
use persist_engine::persist::files::Files;
use persist_engine::persist::load::Recovered;
use persist_engine::persist::loader::Loader;
use persist_engine::persist::refusal::LoadError;
use persist_engine::persist::restore::Counter;
use persist_engine::settings::Settings;

use crate::bar::Bar;
use crate::{Failure, Names, lock};

/// How often files are read again that a server changes meanwhile.
const ATTEMPTS: usize = 5;

/// A folder to be read.
pub struct Folder {
    /// Where it is.
    pub dir: PathBuf,
    /// What is in it.
    pub files: Files,
    /// The settings that matter to reading.
    pub settings: Settings,
    /// The process that owns it, 0 if it isn't known which.
    pub server: Option<i32>,
    fresh: (HistoryId, Seed),
}

/// Random bits for what begins anew.
pub fn fresh() -> Result<(HistoryId, Seed), Failure> {
    let mut bits = [0; 32];
    getrandom::fill(&mut bits).map_err(|e| Failure::Told(format!("no random bits: {e}"), 1))?;
    let (history, seed) = bits.split_at(16);
    let sixteen = |part: &[u8]| part.try_into().unwrap_or([1; 16]);
    let history = HistoryId::new(sixteen(history))
        .ok_or_else(|| Failure::Told("no random bits".into(), 1))?;
    Ok((history, Seed(sixteen(seed))))
}

impl Folder {
    /// A folder with files of these names.
    ///
    /// # Errors
    /// There is no such folder.
    pub fn open(dir: &Path, names: &Names) -> Result<Self, Failure> {
        let folder = Self::made(dir, names)?;
        Ok(Folder {
            server: lock::holder(dir),
            ..folder
        })
    }

    /// A folder that this process has made, or holds the lock of: looking
    /// whose it is would give that up.
    ///
    /// # Errors
    /// There is no such folder.
    pub fn made(dir: &Path, names: &Names) -> Result<Self, Failure> {
        let told = |text: String| Failure::Told(text, 1);
        if !dir.is_dir() {
            return Err(told(format!("{} is no folder", dir.display())));
        }
        let text = dir
            .to_str()
            .ok_or_else(|| told(format!("{}: the name isn't UTF-8", dir.display())))?;
        let settings = Settings {
            dir: text.into(),
            dbfilename: names.dbfilename.clone(),
            appenddirname: names.appenddirname.clone(),
            appendfilename: names.appendfilename.clone(),
            aof_load_truncated: names.aof_load_truncated,
            ..Settings::default()
        };
        Ok(Folder {
            dir: dir.to_path_buf(),
            files: Files::new(&settings, std::process::id()),
            settings,
            server: None,
            fresh: fresh()?,
        })
    }

    /// Keeps servers out while the files are worked with.
    ///
    /// # Errors
    /// A server owns the folder.
    pub fn lock(&self, create: bool) -> Result<lock::Lock, Failure> {
        lock::acquire(&self.dir, create).map_err(|text| Failure::Told(text, 1))
    }

    /// What the operator should know of a server that owns the folder.
    pub fn warning(&self) -> Option<String> {
        let pid = self.server?;
        let who = if pid > 0 {
            format!("process {pid}")
        } else {
            "a process".into()
        };
        Some(format!(
            "{}: a server ({who}) owns this folder. Its files are read as they are now, and it goes on changing them.",
            self.dir.display()
        ))
    }

    /// Reads all of the data set.
    pub fn load(&self, bar: &mut Bar) -> Result<Recovered, LoadError> {
        self.read(bar, |loader, bar| loader.load(bar))
    }

    /// Verifies everything that a start would read, without keeping it.
    pub fn inspect(&self, bar: &mut Bar) -> Result<Recovered<Counter>, LoadError> {
        self.read(bar, |loader, bar| loader.inspect(bar))
    }

    /// Verifies the snapshot.
    pub fn inspect_snapshot(&self, bar: &mut Bar) -> Result<(), LoadError> {
        let mut limits = Limits::default();
        self.settings.set_limits(&mut limits);
        self.loader(&limits).inspect_snapshot(bar)
    }

    /// What reads the files. `limits` only matter to how values are kept in
    /// memory.
    pub fn loader<'a>(&'a self, limits: &'a Limits) -> Loader<'a> {
        Loader {
            disk: &OsDisk::PRIVATE,
            files: &self.files,
            limits,
            truncated_ok: self.settings.aof_load_truncated,
            fresh: self.fresh,
        }
    }

    /// A server may replace files while they are read: then what was found
    /// means nothing, and they are read again.
    fn read<T>(
        &self,
        bar: &mut Bar,
        read: impl Fn(&Loader<'_>, &mut Bar) -> Result<T, LoadError>,
    ) -> Result<T, LoadError> {
        let mut limits = Limits::default();
        self.settings.set_limits(&mut limits);
        let loader = self.loader(&limits);
        for _ in 1..ATTEMPTS {
            bar.again();
            let before = self.stamp();
            match read(&loader, bar) {
                Err(_) if self.server.is_some() || before != self.stamp() => {}
                other => return other,
            }
        }
        bar.again();
        read(&loader, bar)
    }

    /// What changes when files are replaced.
    fn stamp(&self) -> (Option<Vec<u8>>, Option<u64>) {
        let manifest = read_file(&OsDisk::PRIVATE, &self.files.manifest).ok();
        (manifest, OsDisk::PRIVATE.len(&self.files.snapshot).ok())
    }

    /// A path as it looks from inside the folder.
    pub fn short<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.dir).unwrap_or(path)
    }
}
