//! `check`: would a server start from this folder, and is every file sound?
//! Words and exit codes as those of redis-check-rdb and redis-check-aof.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use persist_engine::io::ReadDisk;
use persist_engine::io::os::OsDisk;
use persist_engine::persist::load::{Recovered, Source};
use persist_engine::persist::reading::{Part, SoundFile};
use persist_engine::persist::refusal::{Fault, LoadError};
use serde_json::{Value, json};

use crate::bar::Bar;
use crate::folder::Folder;
use crate::{Dir, Names, Outcome, text};

/// Check the snapshot, the manifest and every file of the log; changes nothing.
///
/// Exits with 0 if a server starts from the folder and all files are in order, with 1 if not. The data set is put
/// together as a start does it, and needs as much memory.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    dir: Dir,
    /// Verify everything, but don't put the data set together: takes little memory
    #[arg(long)]
    no_load: bool,
    /// Tell it as JSON
    #[arg(long)]
    json: bool,
}

/// What a start would come to.
struct Start {
    source: Source,
    history: String,
    seq: u64,
    /// Only if the data set was put together.
    keys: Option<u64>,
    remarks: Vec<String>,
}

impl Start {
    fn of<T>(found: &Recovered<T>, keys: Option<u64>) -> Self {
        Start {
            source: found.source,
            history: found.history.to_string(),
            seq: found.seq,
            keys,
            remarks: found.remarks.clone(),
        }
    }
}

/// All that was found.
struct Report<'a> {
    folder: &'a Folder,
    sound: Vec<SoundFile>,
    start: Result<Start, LoadError>,
    /// What is wrong with a file that a start wouldn't read.
    aside: Option<LoadError>,
}

/// Runs the command.
pub fn run(names: &Names, options: &Options, out: &mut dyn Write) -> Outcome {
    let folder = Folder::open(&options.dir.dir, names)?;
    if let Some(warning) = folder.warning() {
        eprintln!("Warning: {warning}");
    }
    let report = check(&folder, options.no_load);
    if options.json {
        serde_json::to_writer_pretty(&mut *out, &report.json()).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        report.write(out)?;
    }
    Ok(ExitCode::from(u8::from(!report.is_ok())))
}

fn check(folder: &Folder, no_load: bool) -> Report<'_> {
    let mut bar = Bar::new();
    let start = if no_load {
        folder
            .inspect(&mut bar)
            .map(|found| Start::of(&found, None))
    } else {
        folder
            .load(&mut bar)
            .map(|found| Start::of(&found, Some(found.space.len() as u64)))
    };
    // A start reads only the head of a snapshot that doesn't win.
    let mut aside = None;
    let told = |e: &LoadError| {
        e.fault
            .as_ref()
            .is_some_and(|f| f.path == folder.files.snapshot)
    };
    let read =
        bar.sound.iter().any(|f| f.part == Part::Snapshot) || start.as_ref().is_err_and(told);
    if !read && matches!(OsDisk::PRIVATE.exists(&folder.files.snapshot), Ok(true)) {
        aside = folder.inspect_snapshot(&mut bar).err();
    }
    Report {
        folder,
        sound: std::mem::take(&mut bar.sound),
        start,
        aside,
    }
}

impl Report<'_> {
    fn is_ok(&self) -> bool {
        self.start.is_ok() && self.aside.is_none()
    }

    fn errors(&self) -> impl Iterator<Item = &LoadError> {
        self.aside.iter().chain(self.start.as_ref().err())
    }

    fn of(&self, part: Part) -> impl Iterator<Item = &SoundFile> {
        self.sound.iter().filter(move |file| file.part == part)
    }

    /// Files with bytes behind the end that the manifest gives.
    fn uncounted(&self) -> Vec<String> {
        self.of(Part::Incr)
            .filter(|file| file.torn.is_none() && file.counted < file.len)
            .map(|file| {
                format!(
                    "{}: {} bytes behind its end don't count: they were given up on when its disk failed, or something else has written there. `redis-persist reseal` takes them in if a stock server did.",
                    name(file),
                    file.len - file.counted
                )
            })
            .collect()
    }

    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        for file in self.of(Part::Snapshot) {
            snapshot(file, out)?;
        }
        if self.of(Part::Manifest).next().is_some() {
            writeln!(out, "Start checking Multi Part AOF")?;
        }
        for file in self.of(Part::Base) {
            let form = if file.keys.is_some() { "RDB" } else { "AOF" };
            writeln!(out, "Start to check BASE AOF ({form} format).")?;
            match file.keys {
                Some(_) => snapshot(file, out)?,
                None => analyzed(file, out)?,
            }
            writeln!(out, "BASE AOF {} is valid", name(file))?;
        }
        if self.of(Part::Incr).next().is_some() {
            writeln!(out, "Start to check INCR files.")?;
        }
        for file in self.of(Part::Incr) {
            analyzed(file, out)?;
            match &file.torn {
                None => writeln!(out, "INCR AOF {} is valid", name(file))?,
                Some(why) => writeln!(
                    out,
                    "INCR AOF {} is valid but for its end, which a crash has torn: {why}. The next start cuts it there, and keeps what it cuts.",
                    name(file)
                )?,
            }
        }
        for remark in self.uncounted() {
            writeln!(out, "[remark] {remark}")?;
        }
        for error in self.errors() {
            self.error(error, out)?;
        }
        let dir = self.folder.dir.display();
        match &self.start {
            Err(_) => writeln!(out, "A server refuses to start from {dir}."),
            Ok(start) => {
                if self.of(Part::Manifest).next().is_some() {
                    writeln!(out, "All AOF files and manifest are valid")?;
                }
                for remark in &start.remarks {
                    writeln!(out, "[remark] {remark}")?;
                }
                let what = match start.source {
                    Source::Nothing => "with no data: there is neither a snapshot nor a log",
                    Source::Snapshot => "with the snapshot",
                    Source::Log => "with the log",
                    Source::Rescued => "with what can be verified",
                };
                write!(out, "A server starts from {dir} {what}")?;
                if let Some(keys) = start.keys.filter(|_| start.source != Source::Nothing) {
                    write!(out, ", {keys} keys")?;
                }
                if start.source != Source::Nothing {
                    write!(out, ", sequence {} of history {}", start.seq, start.history)?;
                }
                writeln!(out, ".")
            }
        }
    }

    /// One bad file, or what else is wrong.
    fn error(&self, error: &LoadError, out: &mut dyn Write) -> std::io::Result<()> {
        let Some(fault) = &error.fault else {
            return writeln!(out, "--- ERROR DETECTED ---\n{}", error.text);
        };
        let name = fault.path.file_name().unwrap_or_default().to_string_lossy();
        let kind = if self.part(fault) == "snapshot" {
            "RDB"
        } else {
            "AOF"
        };
        writeln!(out, "--- {kind} ERROR DETECTED ---")?;
        match fault.why.line {
            Some(line) => write!(out, "[line {line}] ")?,
            None => write!(out, "[offset {}] ", fault.why.offset)?,
        }
        writeln!(
            out,
            "Expected {}, found {}",
            fault.why.expected, fault.why.found
        )?;
        writeln!(out, "[file] {}", fault.path.display())?;
        writeln!(out, "[what to do] {}", fault.advice)?;
        writeln!(out, "{kind} {name} is not valid.")
    }

    fn part(&self, fault: &Fault) -> &'static str {
        if fault.path == self.folder.files.snapshot {
            "snapshot"
        } else if fault.path == self.folder.files.manifest {
            "manifest"
        } else if fault.path.to_string_lossy().contains(".base.") {
            "base"
        } else {
            "incr"
        }
    }

    fn json(&self) -> Value {
        let mut files: Vec<Value> = self
            .sound
            .iter()
            .map(|file| self.sound_json(file))
            .collect();
        for error in self.errors() {
            if let Some(fault) = &error.fault {
                files.push(json!({
                    "file": self.folder.short(&fault.path).to_string_lossy(),
                    "part": self.part(fault),
                    "state": "damaged",
                    "size": OsDisk::PRIVATE.len(&fault.path).ok(),
                    "offset": fault.why.offset,
                    "line": fault.why.line,
                    "expected": fault.why.expected,
                    "found": fault.why.found,
                    "advice": fault.advice,
                }));
            }
        }
        let start = self.start.as_ref();
        let mut remarks = self.uncounted();
        remarks.extend(start.map_or(&[][..], |s| &s.remarks[..]).iter().cloned());
        let errors: Vec<_> = self.errors().map(|e| e.text.as_str()).collect();
        json!({
            "dir": self.folder.dir.to_string_lossy(),
            "ok": self.is_ok(),
            "starts": start.is_ok(),
            "source": start.ok().map(|s| match s.source {
                Source::Nothing => "nothing",
                Source::Snapshot => "snapshot",
                Source::Log => "log",
                Source::Rescued => "damaged files",
            }),
            "keys": start.ok().and_then(|s| s.keys),
            "sequence": start.ok().map(|s| s.seq),
            "history": start.ok().map(|s| s.history.as_str()),
            "remarks": remarks,
            "errors": errors,
            "server_pid": self.folder.server,
            "files": files,
        })
    }

    fn sound_json(&self, file: &SoundFile) -> Value {
        json!({
            "file": self.folder.short(&file.path).to_string_lossy(),
            "part": match file.part {
                Part::Snapshot => "snapshot",
                Part::Manifest => "manifest",
                Part::Base => "base",
                Part::Incr => "incr",
            },
            "state": if file.torn.is_some() { "torn" } else { "valid" },
            "size": file.len,
            "ok_up_to": file.counted,
            "keys": file.keys,
            "units": file.units,
            "effects": file.effects,
            "last_seq": file.last_seq,
            "torn": file.torn.as_ref().map(ToString::to_string),
        })
    }
}

fn name(file: &SoundFile) -> std::borrow::Cow<'_, str> {
    file.path.file_name().unwrap_or_default().to_string_lossy()
}

fn snapshot(file: &SoundFile, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "[offset 0] Checking RDB file {}", name(file))?;
    writeln!(
        out,
        "[offset {}] Checksums of {} blocks OK",
        file.counted, file.units
    )?;
    writeln!(out, "[offset {}] \\o/ RDB looks OK! \\o/", file.counted)?;
    writeln!(out, "[info] {} keys read", file.keys.unwrap_or(0))?;
    writeln!(
        out,
        "[info] {}, sequence {}",
        text::bytes(file.len),
        file.last_seq
    )
}

fn analyzed(file: &SoundFile, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(
        out,
        "AOF analyzed: filename={}, size={}, ok_up_to={}, groups={}, effects={}, diff={}",
        name(file),
        file.len,
        file.counted,
        file.units,
        file.effects,
        file.len - file.counted
    )
}
