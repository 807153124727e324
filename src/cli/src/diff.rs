//! `diff`: two data sets, key by key.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use persist_engine::data::entry::Entry;
use persist_engine::keyspace::Keyspace;
use serde_json::json;

use crate::bar::Bar;
use crate::filter::Filter;
use crate::folder::Folder;
use crate::{Failure, Names, Outcome, text, value};

/// Compare two data sets key by key.
///
/// Exits with 0 if they are the same, with 1 if they differ, with 2 if one can't be read. Both are in memory at once.
/// `<` is only in the first, `>` only in the second, `!` in both but not the same. When consumers of a stream were last
/// seen isn't compared.
#[derive(Args)]
pub struct Options {
    /// The first folder
    #[arg(value_name = "DIR1")]
    left: std::path::PathBuf,
    /// The second folder
    #[arg(value_name = "DIR2")]
    right: std::path::PathBuf,
    #[command(flatten)]
    filter: Filter,
    /// Only say how many keys differ
    #[arg(long)]
    summary: bool,
    /// One JSON object a line and key
    #[arg(long)]
    json: bool,
}

#[derive(Default)]
struct Counts {
    same: u64,
    only_left: u64,
    only_right: u64,
    differ: u64,
}

/// Runs the command.
pub fn run(names: &Names, options: &Options, out: &mut dyn Write) -> Outcome {
    let trouble = |failure| match failure {
        Failure::Told(text, _) => Failure::Told(text, 2),
        other => other,
    };
    let left = load(names, &options.left).map_err(trouble)?;
    let right = load(names, &options.right).map_err(trouble)?;
    let mut counts = Counts::default();
    for (db, entry) in entries(&left, &options.filter) {
        match right.peek(db, entry.key()) {
            None => {
                counts.only_left += 1;
                tell(options, out, '<', db, Some(entry), None)?;
            }
            Some(other) => match differences(entry, other) {
                None => counts.same += 1,
                Some(why) => {
                    counts.differ += 1;
                    tell_both(options, out, db, entry, other, &why)?;
                }
            },
        }
    }
    for (db, entry) in entries(&right, &options.filter) {
        if left.peek(db, entry.key()).is_none() {
            counts.only_right += 1;
            tell(options, out, '>', db, None, Some(entry))?;
        }
    }
    let Counts {
        same,
        only_left,
        only_right,
        differ,
    } = counts;
    out.flush()?;
    eprintln!(
        "{same} keys are the same, {differ} differ, {only_left} only in the first, {only_right} only in the second"
    );
    Ok(ExitCode::from(u8::from(
        only_left + only_right + differ > 0,
    )))
}

fn load(names: &Names, dir: &std::path::Path) -> Result<Keyspace, Failure> {
    let folder = Folder::open(dir, names)?;
    if let Some(warning) = folder.warning() {
        eprintln!("Warning: {warning}");
    }
    let mut bar = Bar::new();
    let found = folder.load(&mut bar)?;
    drop(bar);
    for remark in &found.remarks {
        eprintln!("Warning: {remark}");
    }
    Ok(found.space)
}

fn entries<'a>(space: &'a Keyspace, filter: &'a Filter) -> impl Iterator<Item = (u32, &'a Entry)> {
    space
        .databases()
        .flat_map(|(db, table)| table.iter().map(move |entry| (db, entry)))
        .filter(|(db, entry)| filter.takes(*db, entry.key()))
}

/// What differs, in words; whatever the encoding.
fn differences(left: &Entry, right: &Entry) -> Option<String> {
    let mut all = Vec::new();
    if left.kind() != right.kind() {
        all.push(format!(
            "type {} and {}",
            left.kind().name(),
            right.kind().name()
        ));
    } else if !value::same(left, right) {
        let (a, b) = (value::elements(left), value::elements(right));
        all.push(format!("{} of {a} and of {b} elements", left.kind().name()));
    }
    if left.expiry() != right.expiry() {
        let shown = |at: Option<u64>| at.map_or("never".into(), text::time);
        all.push(format!(
            "ends {} and {}",
            shown(left.expiry()),
            shown(right.expiry())
        ));
    }
    (!all.is_empty()).then(|| all.join(", "))
}

fn tell(
    options: &Options,
    out: &mut dyn Write,
    sign: char,
    db: u32,
    left: Option<&Entry>,
    right: Option<&Entry>,
) -> std::io::Result<()> {
    let Some(entry) = left.or(right).filter(|_| !options.summary) else {
        return Ok(());
    };
    let kind = entry.kind().name();
    let elements = value::elements(entry);
    if options.json {
        let only = if left.is_some() { "first" } else { "second" };
        let line = json!({ "db": db, "key": text::json_bytes(entry.key()), "only_in": only, "type": kind, "elements": elements });
        return writeln!(out, "{line}");
    }
    let key = entry.key().escape_ascii();
    writeln!(out, "{sign} db{db} {key}: {kind} of {elements} elements")
}

fn tell_both(
    options: &Options,
    out: &mut dyn Write,
    db: u32,
    left: &Entry,
    right: &Entry,
    why: &str,
) -> std::io::Result<()> {
    if options.summary {
        return Ok(());
    }
    if !options.json {
        return writeln!(out, "! db{db} {}: {why}", left.key().escape_ascii());
    }
    let of = |entry: &Entry| json!({ "type": entry.kind().name(), "elements": value::elements(entry), "expires_at_ms": entry.expiry() });
    let line = json!({ "db": db, "key": text::json_bytes(left.key()), "first": of(left), "second": of(right), "difference": why });
    writeln!(out, "{line}")
}
