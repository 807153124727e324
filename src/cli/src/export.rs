//! `export`: the data set as commands for `redis-cli --pipe`, or as lines of
//! JSON.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use persist_engine::data::entry::Entry;
use persist_engine::data::rebuild;
use persist_engine::format::resp::push_command;
use persist_engine::persist::load::Recovered;

use crate::bar::Bar;
use crate::filter::Filter;
use crate::folder::Folder;
use crate::{Dir, Names, Outcome, json, text};

/// Write the data set as commands (for redis-cli --pipe) or as lines of JSON.
///
/// Keys whose time has come are left out, as a start would remove them.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    dir: Dir,
    /// What to write
    #[arg(long, value_enum, default_value = "resp")]
    format: Format,
    #[command(flatten)]
    filter: Filter,
    /// Write into this file, which is in place only once it is whole and on disk
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Also keys whose time has come
    #[arg(long)]
    with_expired: bool,
    /// RESP: DEL before each key, so that what a server has under it is replaced
    #[arg(long)]
    replace: bool,
    /// RESP: PERSIST.SET instead of SET, for the durable keys of a server with the module
    #[arg(long)]
    durable: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Redis commands
    Resp,
    /// One JSON object a line and key
    Json,
}

/// Runs the command.
pub fn run(names: &Names, options: &Options, out: &mut dyn Write) -> Outcome {
    let folder = Folder::open(&options.dir.dir, names)?;
    if let Some(warning) = folder.warning() {
        eprintln!("Warning: {warning}");
    }
    let mut bar = Bar::new();
    let found = folder.load(&mut bar)?;
    drop(bar);
    for remark in &found.remarks {
        eprintln!("Warning: {remark}");
    }
    let told = match &options.output {
        None => export(&found, options, out)?,
        Some(path) => into_file(path, |out| export(&found, options, out))?,
    };
    let (written, left_out) = told;
    eprint!("{written} keys exported, sequence {}", found.seq);
    if left_out > 0 {
        eprint!("; {left_out} left out, whose time has come");
    }
    eprintln!();
    Ok(ExitCode::SUCCESS)
}

/// A reader finds the file whole, or the one that was there before. What is no
/// file (a pipe, `/dev/null`) is written to: a file in its place would be
/// found by everybody else.
fn into_file<T>(path: &Path, work: impl FnOnce(&mut dyn Write) -> io::Result<T>) -> io::Result<T> {
    let on_path = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let write = || {
            let out = OpenOptions::new().write(true).open(path)?;
            let mut out = BufWriter::with_capacity(1 << 20, out);
            let told = work(&mut out)?;
            out.flush()?;
            Ok(told)
        };
        return write().map_err(on_path);
    }
    let mut temp = path.as_os_str().to_os_string();
    temp.push(format!(".{}.tmp", std::process::id()));
    let temp = PathBuf::from(temp);
    let write = || {
        let mut options = OpenOptions::new();
        // As private as the files that its keys come from, whatever the umask.
        options.write(true).create_new(true).mode(0o600);
        let mut out = BufWriter::with_capacity(1 << 20, options.open(&temp)?);
        let told = work(&mut out)?;
        out.into_inner()
            .map_err(io::IntoInnerError::into_error)?
            .sync_all()?;
        fs::rename(&temp, path)?;
        Ok(told)
    };
    write().map_err(|e| {
        // Already failing.
        let _ = fs::remove_file(&temp);
        on_path(e)
    })
}

/// Writes the keys; how many, and how many weren't for their expiry.
fn export(found: &Recovered, options: &Options, out: &mut dyn Write) -> io::Result<(u64, u64)> {
    let now = text::now_ms();
    let (mut written, mut left_out) = (0, 0);
    let mut resp = Resp {
        out,
        buf: Vec::new(),
        prefix: if options.durable { "PERSIST." } else { "" },
        replace: options.replace,
        db: None,
    };
    for (db, table) in found.space.databases() {
        for entry in table.iter().filter(|e| options.filter.takes(db, e.key())) {
            if !options.with_expired && entry.expiry().is_some_and(|at| at <= now) {
                left_out += 1;
                continue;
            }
            match options.format {
                Format::Resp => resp.entry(db, entry)?,
                Format::Json => json::line(db, entry, resp.out)?,
            }
            written += 1;
        }
    }
    Ok((written, left_out))
}

struct Resp<'a> {
    out: &'a mut dyn Write,
    buf: Vec<u8>,
    /// Before each command's name.
    prefix: &'static str,
    replace: bool,
    db: Option<u32>,
}

impl Resp<'_> {
    fn entry(&mut self, db: u32, entry: &Entry) -> io::Result<()> {
        let Resp {
            out, buf, prefix, ..
        } = self;
        if self.db != Some(db) {
            self.db = Some(db);
            // The database is the connection's, for durable keys, too.
            push_command(buf, &[b"SELECT", db.to_string().as_bytes()]);
        }
        let mut emit = |argv: &[&[u8]]| {
            let name = [prefix.as_bytes(), argv.first().unwrap_or(&&b""[..])].concat();
            let args = argv.iter().skip(1).copied();
            let argv: Vec<&[u8]> = std::iter::once(&name[..]).chain(args).collect();
            push_command(buf, &argv);
            out.write_all(buf)?;
            buf.clear();
            Ok(())
        };
        if self.replace {
            emit(&[b"DEL", entry.key()])?;
        }
        rebuild::commands(entry, &mut emit)
    }
}
