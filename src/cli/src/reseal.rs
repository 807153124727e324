//! `reseal`: a log that was edited by hand, or appended to by a stock server,
//! as one that the module takes.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use persist_engine::data::value::Limits;
use persist_engine::io::os::OsDisk;
use persist_engine::persist::rescue::Reseal;

use crate::bar::Bar;
use crate::folder::Folder;
use crate::target::Target;
use crate::{Dir, Names, Outcome};

/// Make a log that was edited by hand, or appended to by a stock redis-server, one that the module takes.
///
/// The commands in its files get fresh group lines and checksums, a new history and a manifest; the base stays. Every
/// command is tried out first. The usual case: somebody ran PERSIST.FLUSHALL, the server was stopped, and the FLUSHALL
/// was taken out of the last file with an editor that keeps bytes as they are.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    dir: Dir,
    #[command(flatten)]
    target: Target,
}

/// Runs the command.
pub fn run(names: &Names, options: &Options, out: &mut dyn Write) -> Outcome {
    let folder = Folder::open(&options.dir.dir, names)?;
    let _lock = options.target.lock(&folder)?;
    let path = options.target.path(&folder)?;
    let limits = Limits::default();
    let loader = folder.loader(&limits);
    let mut bar = Bar::new();
    let found = Reseal::read(&loader, &mut bar)?;
    drop(bar);
    for remark in &found.remarks {
        writeln!(out, "[remark] {remark}")?;
    }
    let commands: Vec<_> = found
        .commands
        .iter()
        .map(|(name, n)| format!("{name} {n}"))
        .collect();
    writeln!(
        out,
        "{} effects behind the base: {}.",
        found.effects,
        if commands.is_empty() {
            "none".into()
        } else {
            commands.join(", ")
        }
    )?;
    for (path, at) in &found.flushes {
        writeln!(
            out,
            "[remark] a whole database is emptied at byte {at} of {}; take that command out if it is the mistake",
            folder.short(path).display()
        )?;
    }
    writeln!(out, "The data set has {} keys then.", found.keys)?;
    let made = options.target.fill(
        &path,
        names,
        &loader,
        out,
        |files, numbers, fresh, now_ms| {
            found.carry(&loader, &OsDisk::PRIVATE, files, numbers, fresh, now_ms)
        },
    )?;
    options.target.prove(&made, out)?;
    Ok(ExitCode::SUCCESS)
}
