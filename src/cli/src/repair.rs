//! `repair`: a data set that starts, of files that don't, or as it was at an
//! earlier moment.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use persist_engine::data::value::Limits;
use persist_engine::io::os::OsDisk;
use persist_engine::persist::refusal::LoadError;
use persist_engine::persist::rescue::{Plan, Salvaged, Until, carry, renew};
use serde_json::json;

use crate::bar::Bar;
use crate::folder::Folder;
use crate::target::Target;
use crate::{Dir, Failure, Names, Outcome, text};

/// Keys that are named of those that the cut touches.
const KEYS_SHOWN: usize = 20;

/// Make a folder that a server starts from, of one that it refuses, or go back to an earlier moment.
///
/// What can't be used is left out: groups of the log from the first damaged one on. A damaged base is replaced by the
/// snapshot if the log goes on from there, a damaged or missing manifest by what the files say of themselves. The
/// result has a new history, so that it is never taken for the old data set. The folder itself isn't changed, unless
/// --in-place is given.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    dir: Dir,
    #[command(flatten)]
    target: Target,
    /// Cut the log after the last group at or before this: a sequence number, @<unix time in s>, or a time in UTC such
    /// as 2026-11-21T19:30:00
    #[arg(long, value_name = "SEQ|TIME", value_parser = until)]
    until: Option<Until>,
    /// Instead of cutting the log at the first damage, keep every block of the base and every group of the log that
    /// verifies, those behind damage included: as persist.on-corruption salvage does
    #[arg(long, conflicts_with = "until")]
    salvage: bool,
    /// Tell as JSON what would be kept and left out, and write nothing
    #[arg(long, conflicts_with = "yes")]
    json: bool,
}

fn until(word: &str) -> Result<Until, String> {
    if let Ok(seq) = word.parse() {
        return Ok(Until::Seq(seq));
    }
    let time = match word.strip_prefix('@') {
        Some(unix) => {
            let (s, fraction) = unix.split_once('.').unwrap_or((unix, ""));
            s.parse::<u64>().ok().and_then(|s| {
                s.checked_mul(1000)?
                    .checked_add(text::milliseconds(fraction)?)
            })
        }
        None => text::parse_time(word),
    };
    time.map(Until::Time)
        .ok_or_else(|| "neither a sequence number, nor @<unix time>, nor a time".into())
}

/// Runs the command.
pub fn run(names: &Names, options: &Options, out: &mut dyn Write) -> Outcome {
    let folder = Folder::open(&options.dir.dir, names)?;
    let _lock = options.target.lock(&folder)?;
    let mut bar = Bar::new();
    if options.until.is_none() {
        match folder.load(&mut bar) {
            Ok(found) => {
                drop(bar);
                if options.json {
                    let told = json!({
                        "sound": true,
                        "keys": found.space.len(),
                        "sequence": found.seq,
                        "remarks": found.remarks,
                    });
                    return print(&told, out);
                }
                for remark in &found.remarks {
                    writeln!(out, "[remark] {remark}")?;
                }
                writeln!(
                    out,
                    "There is nothing to repair: a server starts from {} as it is.",
                    folder.dir.display()
                )?;
                return Ok(ExitCode::SUCCESS);
            }
            Err(why) if options.salvage => return salvage(&folder, names, options, &why, bar, out),
            Err(_) => {}
        }
    }
    let limits = Limits::default();
    let loader = folder.loader(&limits);
    let plan = Plan::make(&loader, options.until.unwrap_or(Until::Damage), &mut bar)?;
    drop(bar);
    if options.json {
        return print(&told(&folder, &plan), out);
    }
    let path = options.target.path(&folder)?;
    show(&folder, &plan, out)?;
    let made = options.target.fill(
        &path,
        names,
        &loader,
        out,
        |files, numbers, (history, _), now_ms| {
            carry(&OsDisk::PRIVATE, &plan, files, numbers, history, now_ms)
        },
    )?;
    options
        .target
        .prove(&made, out)
        .map_err(|failure| match failure {
            Failure::Told(text, code) => Failure::Told(
                format!("what was made doesn't start, so cutting alone doesn't repair it: {text}"),
                code,
            ),
            other => other,
        })?;
    Ok(ExitCode::SUCCESS)
}

/// Everything that can be verified.
fn salvage(
    folder: &Folder,
    names: &Names,
    options: &Options,
    why: &LoadError,
    mut bar: Bar,
    out: &mut dyn Write,
) -> Outcome {
    if !why.damage {
        return Err(Failure::Told(why.text.clone(), 1));
    }
    let limits = Limits::default();
    let loader = folder.loader(&limits);
    let found = Salvaged::salvage(&loader, why, &mut bar)?;
    drop(bar);
    if options.json {
        return print(&told_of_salvage(&found), out);
    }
    let report = &found.report;
    for line in report.lines.iter().chain(&report.keys_named) {
        writeln!(out, "[remark] {line}")?;
    }
    writeln!(
        out,
        "Kept: {} keys, up to sequence {}; {}.",
        found.space.len(),
        found.seq,
        found.report.summary()
    )?;
    let path = options.target.path(folder)?;
    let made = options.target.fill(
        &path,
        names,
        &loader,
        out,
        |files, numbers, (history, _), now_ms| {
            renew(&OsDisk::PRIVATE, &found, files, numbers, history, now_ms)
        },
    )?;
    options.target.prove(&made, out)?;
    Ok(ExitCode::SUCCESS)
}

fn print(told: &serde_json::Value, out: &mut dyn Write) -> Outcome {
    serde_json::to_writer_pretty(&mut *out, told).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(ExitCode::SUCCESS)
}

fn show(folder: &Folder, plan: &Plan, out: &mut dyn Write) -> std::io::Result<()> {
    for remark in &plan.remarks {
        writeln!(out, "[remark] {remark}")?;
    }
    let kept: u64 = plan.pieces.iter().map(|piece| piece.until - piece.at).sum();
    writeln!(
        out,
        "Kept: {} (covers up to sequence {}) and {} of log: up to sequence {}, {}.",
        folder.short(&plan.base).display(),
        plan.base_file.covers,
        text::bytes(kept),
        plan.seq,
        if plan.time_ms > 0 {
            text::time(plan.time_ms)
        } else {
            "time unknown".into()
        }
    )?;
    for cut in &plan.cut {
        write!(
            out,
            "Cut: {} from byte {} to {} ({})",
            folder.short(&cut.path).display(),
            cut.from,
            cut.to,
            text::bytes(cut.to - cut.from)
        )?;
        match &cut.why {
            Some(why) => writeln!(out, ": {why}")?,
            None => writeln!(out)?,
        }
    }
    let lost = &plan.lost;
    if plan.cut.is_empty() {
        return writeln!(out, "Nothing is cut.");
    }
    write!(
        out,
        "Lost: {} effects in {} groups that verify",
        lost.effects, lost.groups
    )?;
    if let (Some((first, last)), Some((from, to))) = (lost.seqs, lost.times_ms) {
        let (from, to) = (text::time(from), text::time(to));
        write!(out, ", sequence {first} to {last}, written {from} to {to}")?;
    }
    writeln!(out, "; {} bytes that don't.", lost.unreadable)?;
    let commands: Vec<_> = lost
        .commands
        .iter()
        .map(|(name, n)| format!("{name} {n}"))
        .collect();
    if !commands.is_empty() {
        writeln!(out, "Commands: {}.", commands.join(", "))?;
    }
    let more = if lost.more_keys { " at least" } else { "" };
    if !lost.keys.is_empty() {
        writeln!(out, "Keys:{more} {}.", lost.keys.len())?;
    }
    for ((db, key), n) in lost.keys.iter().take(KEYS_SHOWN) {
        writeln!(out, "  db{db} {} ({n})", key.escape_ascii())?;
    }
    if lost.keys.len() > KEYS_SHOWN {
        writeln!(out, "  ... (all of them: --json)")?;
    }
    Ok(())
}

fn told(folder: &Folder, plan: &Plan) -> serde_json::Value {
    let lost = &plan.lost;
    let cut: Vec<_> = plan
        .cut
        .iter()
        .map(|cut| {
            json!({
                "file": folder.short(&cut.path).to_string_lossy(),
                "from": cut.from,
                "to": cut.to,
                "why": cut.why.as_ref().map(ToString::to_string),
            })
        })
        .collect();
    let keys: Vec<_> = lost
        .keys
        .iter()
        .map(|((db, key), n)| json!({ "db": db, "key": text::json_bytes(key), "effects": n }))
        .collect();
    json!({
        "sound": false,
        "base": folder.short(&plan.base).to_string_lossy(),
        "base_covers": plan.base_file.covers,
        "sequence": plan.seq,
        "time_ms": plan.time_ms,
        "remarks": plan.remarks,
        "cut": cut,
        "lost": {
            "groups": lost.groups,
            "effects": lost.effects,
            "first_sequence": lost.seqs.map(|s| s.0),
            "last_sequence": lost.seqs.map(|s| s.1),
            "first_time_ms": lost.times_ms.map(|t| t.0),
            "last_time_ms": lost.times_ms.map(|t| t.1),
            "unreadable_bytes": lost.unreadable,
            "commands": lost.commands,
            "keys": keys,
            "more_keys": lost.more_keys,
        },
    })
}

fn told_of_salvage(found: &Salvaged) -> serde_json::Value {
    let report = &found.report;
    json!({
        "sound": false,
        "keys": found.space.len(),
        "sequence": found.seq,
        "remarks": report.lines.iter().chain(&report.keys_named).collect::<Vec<_>>(),
        "lost": {
            "blocks": report.blocks,
            "keys_in_blocks": report.keys,
            "groups": report.groups,
            "effects": report.effects,
            "first_sequence": report.seqs.map(|s| s.0),
            "last_sequence": report.seqs.map(|s| s.1),
            "bytes": report.bytes,
        },
        "doubtful_effects": report.doubtful,
        "failed_effects": report.failed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        assert_eq!(until("917"), Ok(Until::Seq(917)));
        assert_eq!(until("@1795289450"), Ok(Until::Time(1_795_289_450_000)));
        assert_eq!(
            until("@1795289450.1239"),
            Ok(Until::Time(1_795_289_450_123))
        );
        assert_eq!(
            until("2026-11-21T19:30:50Z"),
            Ok(Until::Time(1_795_289_450_000))
        );
        for bad in [
            "",
            "@",
            "@x",
            "@1.x",
            "-1",
            "yesterday",
            "@99999999999999999999",
        ] {
            assert!(until(bad).is_err(), "{bad}");
        }
    }
}
