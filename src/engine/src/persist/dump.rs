//! The keyspace written out: as a snapshot, or as the commands of a RESP
//! base. What a forked child runs; it only reads the keyspace.

use std::io::{self, Write};

use crate::base::hash::Seed;
use crate::data::entry::{Entry, Payload};
use crate::data::packed::{push_element, push_score};
use crate::data::stream::parts;
use crate::data::value::{Kind, Value};
use crate::data::{hash, list, rebuild, set, zset};
use crate::format::HistoryId;
use crate::format::group::{GROUP_HEADER_LEN, GroupHeader, seal};
use crate::format::resp::push_command;
use crate::format::snapshot::{FRAGMENT_TARGET, Fragment, SnapshotHeader, SnapshotWriter, Summary};
use crate::keyspace::Keyspace;

/// Keys between two reports of progress.
const PROGRESS_EVERY: u64 = 1024;
/// Bytes after which a group of a RESP base is closed.
const GROUP_TARGET: usize = 1 << 20;

/// What is written, whatever the form.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// Sequence number of the last effect in the keyspace.
    pub seq: u64,
    /// Its history.
    pub history: HistoryId,
    /// Seed of the keyspace's hash.
    pub seed: Seed,
    /// Unix ms.
    pub now_ms: u64,
    /// `rdbcompression`
    pub compress: bool,
    /// `rdbchecksum`
    pub checksums: bool,
}

/// Writes a snapshot; `progress` is told how many keys are done. Nothing is
/// durable until the caller has synced `out`.
///
/// # Errors
/// The sink's.
pub fn snapshot(
    space: &Keyspace,
    out: impl Write,
    subject: &Subject,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Summary> {
    let header = SnapshotHeader {
        created_ms: subject.now_ms,
        seq: subject.seq,
        history: subject.history,
        seed: subject.seed.0,
        checksums: subject.checksums,
        ending_fields: space.has_ending_fields(),
    };
    let mut w = SnapshotWriter::begin(out, &header, subject.compress)?;
    let mut done = 0;
    for (db, table) in space.databases().filter(|(_, table)| !table.is_empty()) {
        w.database(db)?;
        let mut position = Some(0);
        while let Some(at) = position {
            let (entries, next) = table.segment_at(at);
            for entry in entries {
                match entry {
                    Entry::Small(small) => w.small(small.as_bytes())?,
                    Entry::Large(object) => large(&mut w, entry, &object.value, at)?,
                }
                done += 1;
                if done % PROGRESS_EVERY == 0 {
                    progress(done);
                }
            }
            w.segment_done(next)?;
            position = next;
        }
    }
    progress(done);
    w.finish().map(|(_, summary)| summary)
}

/// Collects the items of a large value into fragments.
struct Fragments<'a, W> {
    w: &'a mut SnapshotWriter<W>,
    kind: Kind,
    ending: bool,
    expiry: Option<u64>,
    key: &'a [u8],
    position: u64,
    total: u64,
    start: u64,
    count: u64,
    items: Vec<u8>,
    result: io::Result<()>,
}

impl<W: Write> Fragments<'_, W> {
    fn flush(&mut self) {
        if self.count == 0 || self.result.is_err() {
            return;
        }
        let part = Fragment {
            kind: self.kind,
            ending: self.ending,
            expiry: self.expiry,
            key: self.key,
            total: self.total,
            start: self.start,
            count: self.count,
            items: &self.items,
        };
        self.result = self.w.fragment(&part, self.position);
        self.start += self.count;
        self.count = 0;
        self.items.clear();
    }

    /// Adds `n` items that `write` appends.
    fn add(&mut self, n: u64, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.items);
        self.count += n;
        if self.items.len() >= FRAGMENT_TARGET {
            self.flush();
        }
    }
}

fn large<W: Write>(
    w: &mut SnapshotWriter<W>,
    entry: &Entry,
    value: &Value,
    position: u64,
) -> io::Result<()> {
    let total = match value {
        Value::Str(bytes) => bytes.len(),
        Value::Stream(stream) => parts::count(stream) as usize,
        other => other.len(),
    };
    if total == 0 {
        // Fragments can't say nothing; only a string can be empty.
        let small =
            crate::data::entry::SmallEntry::new(value.kind(), entry.key(), entry.expiry(), &[]);
        return w.small(small.as_bytes());
    }
    let ending = hash::expiry::any(Payload::Large(value));
    let mut fragments = Fragments {
        w,
        kind: value.kind(),
        ending,
        expiry: entry.expiry(),
        key: entry.key(),
        position,
        total: total as u64,
        start: 0,
        count: 0,
        items: Vec::new(),
        result: Ok(()),
    };
    let payload = Payload::Large(value);
    match value {
        Value::Str(bytes) => {
            for piece in bytes.chunks(FRAGMENT_TARGET) {
                fragments.add(piece.len() as u64, |out| out.extend_from_slice(piece));
            }
        }
        Value::List(_) => list::for_each(payload, &mut |e| {
            fragments.add(1, |out| push_element(out, e))
        }),
        Value::Set(_) => set::for_each(payload, &mut |m| {
            fragments.add(1, |out| push_element(out, m))
        }),
        Value::Hash(_) => hash::expiry::for_each(payload, &mut |field, value, ends| {
            fragments.add(1, |out| {
                push_element(out, field);
                push_element(out, value);
                if ending {
                    hash::expiry::push(out, ends);
                }
            });
        }),
        Value::Zset(_) => zset::for_each(payload, &mut |score, member| {
            fragments.add(1, |out| {
                push_score(out, score);
                push_element(out, member);
            });
        }),
        Value::Stream(stream) => parts::for_each(stream, &mut |write| {
            fragments.add(1, |out| write(out));
        }),
    }
    fragments.flush();
    fragments.result
}

/// Writes groups of commands that rebuild the keyspace: a base that a stock
/// server loads. Its effects are numbered from 1 by themselves. Returns the
/// length in bytes and the checksum of the last group.
///
/// # Errors
/// The sink's.
pub fn resp_base(
    space: &Keyspace,
    out: impl Write,
    subject: &Subject,
    progress: &mut dyn FnMut(u64),
) -> io::Result<(u64, u64)> {
    let mut w = BaseWriter {
        out,
        subject: *subject,
        buf: vec![0; GROUP_HEADER_LEN],
        effects: 0,
        next_seq: 1,
        prev_crc: 0,
        len: 0,
        db: 0,
    };
    let mut done = 0;
    for (db, table) in space.databases() {
        w.db = db;
        for entry in table.iter() {
            w.entry(entry)?;
            done += 1;
            if done % PROGRESS_EVERY == 0 {
                progress(done);
            }
        }
        // A group names one database.
        w.flush()?;
    }
    progress(done);
    w.out.flush()?;
    Ok((w.len, w.prev_crc))
}

struct BaseWriter<W> {
    out: W,
    subject: Subject,
    buf: Vec<u8>,
    effects: u32,
    next_seq: u64,
    prev_crc: u64,
    len: u64,
    db: u32,
}

impl<W: Write> BaseWriter<W> {
    fn command(&mut self, argv: &[&[u8]]) {
        if self.effects == 0 {
            push_command(&mut self.buf, &[b"SELECT", self.db.to_string().as_bytes()]);
        }
        push_command(&mut self.buf, argv);
        self.effects += 1;
    }

    fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        rebuild::commands(entry, &mut |argv| {
            self.command(argv);
            self.flush_if_full()
        })
    }

    fn flush_if_full(&mut self) -> io::Result<()> {
        if self.buf.len() >= GROUP_TARGET {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.effects == 0 {
            return Ok(());
        }
        let header = GroupHeader {
            single_key: true,
            base: true,
            first_seq: self.next_seq,
            effects: self.effects,
            time_ms: self.subject.now_ms,
            prev_crc: self.prev_crc,
            durable: 0,
            history: self.subject.history,
        };
        self.prev_crc =
            seal(&mut self.buf, &header).map_err(|e| io::Error::other(e.to_string()))?;
        self.out.write_all(&self.buf)?;
        self.len += self.buf.len() as u64;
        self.next_seq += u64::from(self.effects);
        self.effects = 0;
        self.buf.truncate(GROUP_HEADER_LEN);
        Ok(())
    }
}
