//! `info`: what the data set is made of.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use persist_engine::data::value::{KINDS, Kind};
use persist_engine::io::ReadDisk;
use persist_engine::io::os::OsDisk;
use persist_engine::persist::load::{Recovered, Source};
use serde_json::{Value, json};

use crate::bar::Bar;
use crate::folder::Folder;
use crate::{Dir, Names, Outcome, text, value};

/// Show what the data set is made of: files, history, keys by type and database, memory by prefix, biggest keys, expiries.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    dir: Dir,
    /// How many prefixes and biggest keys to show
    #[arg(long, default_value_t = 10, value_name = "N")]
    top: usize,
    /// What ends a part of a key's prefix
    #[arg(long, default_value = ":", value_name = "TEXT")]
    separator: String,
    /// How many parts of a key make its prefix
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64))]
    depth: u64,
    /// Tell it as JSON
    #[arg(long)]
    json: bool,
}

/// Keys, their elements and memory.
#[derive(Default, Clone, Copy)]
struct Sum {
    keys: u64,
    elements: u64,
    memory: u64,
}

impl Sum {
    fn add(&mut self, elements: u64, memory: u64) {
        self.keys += 1;
        self.elements += elements;
        self.memory += memory;
    }

    fn json(&self) -> Value {
        json!({ "keys": self.keys, "elements": self.elements, "memory": self.memory })
    }
}

/// A key among the biggest: memory first, so that they are in its order.
type Big = (u64, u32, Vec<u8>, &'static str, u64);

/// Expiries by how soon they come, seen from when the tool runs.
const SOON: [(&str, u64); 4] = [
    ("due", 0),
    ("within_an_hour", 3_600_000),
    ("within_a_day", 86_400_000),
    ("within_a_week", 604_800_000),
];

struct Facts {
    total: Sum,
    kinds: [Sum; KINDS.len()],
    databases: BTreeMap<u32, (Sum, u64)>,
    prefixes: HashMap<Vec<u8>, Sum>,
    biggest: BinaryHeap<Reverse<Big>>,
    /// As [`SOON`], and later.
    soon: [u64; SOON.len() + 1],
}

/// Runs the command.
pub fn run(names: &Names, options: &Options, out: &mut dyn Write) -> Outcome {
    let folder = Folder::open(&options.dir.dir, names)?;
    if let Some(warning) = folder.warning() {
        eprintln!("Warning: {warning}");
    }
    let mut bar = Bar::new();
    let found = folder.load(&mut bar)?;
    let facts = Facts::of(&found, options, text::now_ms());
    let json = facts.json(&folder, &found, options.top, &bar);
    drop(bar);
    if options.json {
        serde_json::to_writer_pretty(&mut *out, &json).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        write(&json, out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The first parts of a key, up to and with a separator; all of it if it has
/// fewer.
fn prefix<'a>(key: &'a [u8], separator: &[u8], depth: u64) -> Option<&'a [u8]> {
    let mut end = 0;
    for _ in 0..depth {
        let rest = key.get(end..)?;
        let at = rest
            .windows(separator.len().max(1))
            .position(|w| w == separator)?;
        end += at + separator.len();
    }
    key.get(..end)
}

impl Facts {
    fn of(found: &Recovered, options: &Options, now: u64) -> Self {
        let mut facts = Facts {
            total: Sum::default(),
            kinds: Default::default(),
            databases: BTreeMap::new(),
            prefixes: HashMap::new(),
            biggest: BinaryHeap::new(),
            soon: Default::default(),
        };
        for (db, table) in found.space.databases().filter(|(_, t)| !t.is_empty()) {
            let mut in_db = Sum::default();
            for entry in table.iter() {
                let (elements, memory) = (value::elements(entry), value::memory(entry));
                let key = entry.key();
                let kind = entry.kind();
                in_db.add(elements, memory);
                facts.total.add(elements, memory);
                facts.kinds[kind as usize].add(elements, memory);
                let of = prefix(key, options.separator.as_bytes(), options.depth).unwrap_or(b"");
                match facts.prefixes.get_mut(of) {
                    Some(sum) => sum.add(elements, memory),
                    None => facts
                        .prefixes
                        .entry(of.to_vec())
                        .or_default()
                        .add(elements, memory),
                }
                let least = facts.biggest.peek().map_or(0, |Reverse(big)| big.0);
                if facts.biggest.len() < options.top || memory > least {
                    let big = (memory, db, key.to_vec(), kind.name(), elements);
                    facts.biggest.push(Reverse(big));
                    if facts.biggest.len() > options.top {
                        facts.biggest.pop();
                    }
                }
                if let Some(at) = entry.expiry() {
                    let soon = SOON
                        .iter()
                        .position(|(_, ms)| at <= now.saturating_add(*ms));
                    facts.soon[soon.unwrap_or(SOON.len())] += 1;
                }
            }
            facts
                .databases
                .insert(db, (in_db, table.with_expiry() as u64));
        }
        facts
    }

    fn json(self, folder: &Folder, found: &Recovered, top: usize, bar: &Bar) -> Value {
        let kinds: serde_json::Map<_, _> = KINDS
            .iter()
            .map(|kind: &Kind| (kind.name().to_string(), self.kinds[*kind as usize].json()))
            .collect();
        let databases: Vec<_> = self
            .databases
            .iter()
            .map(|(db, (sum, expires))| {
                let mut of = sum.json();
                of["db"] = json!(db);
                of["expires"] = json!(expires);
                of
            })
            .collect();
        let mut prefixes: Vec<_> = self.prefixes.into_iter().collect();
        prefixes.sort_by(|a, b| b.1.memory.cmp(&a.1.memory).then_with(|| a.0.cmp(&b.0)));
        let count = prefixes.len();
        let prefixes: Vec<_> = prefixes
            .iter()
            .take(top)
            .map(|(prefix, sum)| {
                let mut of = sum.json();
                of["prefix"] = text::json_bytes(prefix);
                of
            })
            .collect();
        let biggest: Vec<_> = self
            .biggest
            .into_sorted_vec()
            .into_iter()
            .map(|Reverse((memory, db, key, kind, elements))| {
                json!({ "db": db, "key": text::json_bytes(&key), "type": kind, "elements": elements, "memory": memory })
            })
            .collect();
        let mut expiries = serde_json::Map::new();
        for ((name, _), n) in SOON.iter().zip(self.soon) {
            expiries.insert((*name).into(), json!(n));
        }
        expiries.insert("later".into(), json!(self.soon[SOON.len()]));
        expiries.insert("in_all".into(), json!(self.soon.iter().sum::<u64>()));
        json!({
            "dir": folder.dir.to_string_lossy(),
            "source": match found.source {
                Source::Nothing => "nothing",
                Source::Snapshot => "snapshot",
                Source::Log => "log",
                Source::Rescued => "damaged files",
            },
            "history": found.history.to_string(),
            "sequence": found.seq,
            "snapshot_sequence": found.snapshot_seq,
            "snapshot_time_ms": found.snapshot_time_ms,
            "base_covers": found.manifest.as_ref().and_then(|m| m.base.as_ref()).map(|b| b.covers),
            "log_closed_at": found.manifest.as_ref().and_then(|m| m.closed_at),
            "remarks": found.remarks,
            "server_pid": folder.server,
            "files": files(folder, bar),
            "keys": self.total.keys,
            "elements": self.total.elements,
            "memory": self.total.memory,
            "types": kinds,
            "databases": databases,
            "prefixes_in_all": count,
            "prefixes": prefixes,
            "biggest": biggest,
            "expiries": expiries,
        })
    }
}

/// Every file in the folder and how much of it counts.
fn files(folder: &Folder, bar: &Bar) -> Vec<Value> {
    let mut all = Vec::new();
    let files = &folder.files;
    for dir in [&files.dir, &files.log_dir, &files.quarantine] {
        for name in OsDisk::PRIVATE.list(dir).unwrap_or_default() {
            let path = dir.join(&name);
            let ours =
                path == files.snapshot || dir != &files.dir || name.starts_with("temp-persist-");
            if !ours {
                continue;
            }
            let sound = bar.sound.iter().find(|f| f.path == path);
            all.push(json!({
                "file": folder.short(&path).to_string_lossy(),
                "size": OsDisk::PRIVATE.len(&path).ok(),
                "counted": sound.map(|f| f.counted),
                "effects": sound.map(|f| f.effects),
                "last_seq": sound.map(|f| f.last_seq),
            }));
        }
    }
    all
}

/// Text as it stands in a terminal, bytes that aren't text shown as such.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.escape_debug().to_string(),
        other => other["base64"]
            .as_str()
            .map_or_else(|| other.to_string(), |b| format!("base64:{b}")),
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The same for people.
fn write(all: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    let plain = |name: &str| all[name].as_str().unwrap_or("").to_string();
    writeln!(out, "folder      {}", plain("dir"))?;
    writeln!(out, "loaded from {}", plain("source"))?;
    writeln!(out, "history     {}", plain("history"))?;
    writeln!(out, "sequence    {}", number(&all["sequence"]))?;
    if let Some(covers) = all["base_covers"].as_u64() {
        writeln!(out, "base        covers up to sequence {covers}")?;
    }
    if let Some(at) = all["snapshot_time_ms"].as_u64() {
        let seq = number(&all["snapshot_sequence"]);
        writeln!(
            out,
            "snapshot    at sequence {seq}, begun {}",
            text::time(at)
        )?;
    }
    if let Some(at) = all["log_closed_at"].as_u64() {
        writeln!(out, "log         turned off at sequence {at}")?;
    }
    for remark in items(&all["remarks"]) {
        writeln!(out, "remark      {}", remark.as_str().unwrap_or(""))?;
    }
    writeln!(out, "\nFiles")?;
    for file in items(&all["files"]) {
        let size = text::bytes(number(&file["size"]));
        write!(
            out,
            "  {:<44} {size:>12}",
            file["file"].as_str().unwrap_or("")
        )?;
        match file["last_seq"]
            .as_u64()
            .filter(|_| file["effects"].is_u64())
        {
            Some(0) | None => writeln!(out)?,
            Some(last) => writeln!(out, "  up to sequence {last}")?,
        }
    }
    let line = |out: &mut dyn Write, name: &str, sum: &Value| {
        writeln!(
            out,
            "  {name:<24} {:>12} keys {:>14} elements {:>12}",
            number(&sum["keys"]),
            number(&sum["elements"]),
            text::bytes(number(&sum["memory"]))
        )
    };
    writeln!(out, "\nKeys (elements of a string are its bytes)")?;
    line(out, "all", all)?;
    for (kind, sum) in all["types"].as_object().into_iter().flatten() {
        if number(&sum["keys"]) > 0 {
            line(out, kind, sum)?;
        }
    }
    writeln!(out, "\nDatabases")?;
    for sum in items(&all["databases"]) {
        line(
            out,
            &format!("db{} ({} expire)", sum["db"], sum["expires"]),
            sum,
        )?;
    }
    writeln!(
        out,
        "\nMemory by prefix ({} in all)",
        number(&all["prefixes_in_all"])
    )?;
    for sum in items(&all["prefixes"]) {
        let name = shown(&sum["prefix"]);
        line(
            out,
            if name.is_empty() {
                "(no prefix)"
            } else {
                &name
            },
            sum,
        )?;
    }
    writeln!(out, "\nBiggest keys")?;
    for big in items(&all["biggest"]) {
        writeln!(
            out,
            "  {:>12}  {:<6} {:>12} elements  db{} {}",
            text::bytes(number(&big["memory"])),
            big["type"].as_str().unwrap_or(""),
            number(&big["elements"]),
            big["db"],
            shown(&big["key"])
        )?;
    }
    writeln!(out, "\nExpiries")?;
    let names = SOON.iter().map(|(name, _)| *name);
    for name in names.chain(["later", "in_all"]) {
        let n = number(&all["expiries"][name]);
        writeln!(out, "  {:<24} {n:>12} keys", name.replace('_', " "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        assert_eq!(prefix(b"cart:1:x", b":", 1), Some(&b"cart:"[..]));
        assert_eq!(prefix(b"cart:1:x", b":", 2), Some(&b"cart:1:"[..]));
        assert_eq!(prefix(b"cart:1:x", b":", 3), None);
        assert_eq!(prefix(b"", b":", 1), None);
        assert_eq!(prefix(b"a--b", b"--", 1), Some(&b"a--"[..]));
        assert_eq!(prefix(b"ab", b"", 1), None);
    }
}
