//! Where a command that makes a new log puts it: a folder beside the one it
//! read, unless it is told otherwise; and whether it may.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use persist_engine::base::hash::Seed;
use persist_engine::format::HistoryId;
use persist_engine::format::manifest::Manifest;
use persist_engine::io::Disk;
use persist_engine::io::os::OsDisk;
use persist_engine::persist::files::Files;
use persist_engine::persist::loader::Loader;
use persist_engine::persist::refusal::LoadError;
use persist_engine::persist::rescue::names;

use crate::bar::Bar;
use crate::folder::{self, Folder};
use crate::{Failure, Names, lock, text};

/// Where the result goes.
#[derive(Args)]
pub struct Target {
    /// The folder for the result; must be empty or not there yet [default: DIR.repaired-<unix time>]
    #[arg(long, value_name = "DIR2", conflicts_with = "in_place")]
    to: Option<PathBuf>,
    /// Change DIR itself; what isn't used any more is moved to its folder quarantine
    #[arg(long)]
    in_place: bool,
    /// Don't ask
    #[arg(long, short)]
    yes: bool,
}

impl Target {
    /// Keeps servers out of the folder that is read.
    ///
    /// # Errors
    /// One owns it.
    pub fn lock(&self, folder: &Folder) -> Result<lock::Lock, Failure> {
        folder.lock(self.in_place)
    }

    /// The numbers of the new log's first files: where it stands among others,
    /// such as none of those has.
    fn numbers(&self, loader: &Loader<'_>) -> Result<(u64, u64), LoadError> {
        if self.in_place {
            names::free_numbers(loader)
        } else {
            Ok((1, 1))
        }
    }

    /// The folder, which isn't made yet.
    ///
    /// # Errors
    /// Something is there.
    pub fn path(&self, folder: &Folder) -> Result<PathBuf, Failure> {
        if self.in_place {
            return Ok(folder.dir.clone());
        }
        let path = match &self.to {
            Some(path) => path.clone(),
            None => {
                let mut name = folder.dir.canonicalize()?.into_os_string();
                name.push(format!(".repaired-{}", text::now_ms() / 1000));
                PathBuf::from(name)
            }
        };
        let taken = match std::fs::read_dir(&path) {
            Ok(mut entries) => entries.next().is_some(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            Err(e) => return Err(Failure::Told(format!("{}: {e}", path.display()), 1)),
        };
        if taken {
            let text = format!("{} isn't empty; nothing was written", path.display());
            return Err(Failure::Told(text, 1));
        }
        Ok(path)
    }

    /// Asks whether to write to `path`, if it has to. An answer that isn't yes
    /// is an error.
    fn ask(&self, out: &mut dyn Write, path: &Path) -> Result<(), Failure> {
        out.flush()?;
        if self.yes {
            return Ok(());
        }
        let mut line = String::new();
        let input = io::stdin();
        if input.is_terminal() {
            let path = path.display();
            let question = match self.in_place {
                true => format!("Change {path} itself?"),
                false => format!("Write the result to {path}?"),
            };
            eprint!("{question} [y/N] ");
            input.read_line(&mut line)?;
        }
        if matches!(line.trim(), "y" | "Y" | "yes") {
            return Ok(());
        }
        Err(Failure::Told(
            "Nothing was written. Say --yes to go on.".into(),
            1,
        ))
    }

    /// Once that is wanted, makes the folder and has `write` make a log there:
    /// it is given the folder's files, the numbers of the log's first ones,
    /// random bits for what begins anew, and the time. Gives the folder.
    ///
    /// # Errors
    /// Nobody wants it, or the disk's.
    pub fn fill<E: Into<Failure>>(
        &self,
        path: &Path,
        names: &Names,
        loader: &Loader<'_>,
        out: &mut dyn Write,
        write: impl FnOnce(&Files, (u64, u64), (HistoryId, Seed), u64) -> Result<Manifest, E>,
    ) -> Result<Folder, Failure> {
        self.ask(out, path)?;
        let numbers = self.numbers(loader)?;
        let made = self.make(path, names)?;
        write(&made.files, numbers, folder::fresh()?, text::now_ms()).map_err(Into::into)?;
        Ok(made)
    }

    /// Makes the folder.
    fn make(&self, path: &Path, names: &Names) -> Result<Folder, Failure> {
        OsDisk::PRIVATE
            .create_dir(path)
            .map_err(|e| Failure::Told(format!("{}: {e}", path.display()), 1))?;
        Folder::made(path, names)
    }

    /// Reads what was made, as a start will.
    ///
    /// # Errors
    /// A start would refuse it.
    pub fn prove(&self, made: &Folder, out: &mut dyn Write) -> Result<(), Failure> {
        let mut bar = Bar::new();
        let found = made.load(&mut bar)?;
        drop(bar);
        writeln!(
            out,
            "A server starts from {} with {} keys, sequence {} of the new history {}.",
            made.dir.display(),
            found.space.len(),
            found.seq,
            found.history
        )?;
        if !self.in_place {
            writeln!(
                out,
                "Give the folder to the server's user, and put it in the place of the old one."
            )?;
        }
        Ok(())
    }
}
