//! A stream, read a piece at a time: entries, counters, groups, consumers and
//! what is pending.
//!
//! Consumers may have entries that the stream lost. XCLAIM gives only what is
//! there, so a stand-in is added for each of those, and removed once it was
//! given.

use std::collections::{BTreeSet, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use persist_engine::data::stream::StreamId;
use redis_module::raw;

use super::pieces::{Piece, strings, words};
use super::place::{Place, Words};
use crate::call::Answer;

/// Ids that one XCLAIM names, at most.
const IDS: usize = 64;
/// Pending entries of one piece, at most: each may be looked for by itself.
const PENDING: usize = 128;
/// How often a reply is asked for that a tick of the clock made inexact.
const ASKED: usize = 8;

/// What comes next.
#[derive(Default)]
enum At {
    #[default]
    Begin,
    /// Looks for what is pending and lost, group by group.
    Lost {
        group: usize,
        from: Vec<u8>,
    },
    Entries {
        from: Vec<u8>,
    },
    Group {
        group: usize,
    },
    Pending {
        group: usize,
        from: Vec<u8>,
    },
    StandIns,
    End,
}

/// A group of consumers, as XINFO GROUPS tells of it.
struct Group {
    name: Vec<u8>,
    last: Vec<u8>,
    read: Vec<u8>,
}

/// What stands between two pieces of a stream.
#[derive(Default)]
pub struct StreamReader {
    at: At,
    last: Vec<u8>,
    added: Vec<u8>,
    deleted: Vec<u8>,
    length: u64,
    groups: Vec<Group>,
    /// Pending entries of all groups, when that began.
    pub pending: u64,
    /// Ids of pending entries that the stream lost.
    lost: BTreeSet<StreamId>,
    /// Those that have no stand-in yet.
    waiting: BTreeSet<StreamId>,
    /// The first entry that isn't lost.
    first: Option<StreamId>,
    /// Stand-ins behind that, in front of which none is left.
    behind: VecDeque<StreamId>,
    /// Stand-ins in front of it.
    in_front: u64,
}

impl StreamReader {
    /// The next piece of the stream `key`, as commands on `to`.
    pub fn next(
        &mut self,
        place: Place<'_>,
        key: &[u8],
        to: &[u8],
        count: usize,
    ) -> Result<Piece, String> {
        match std::mem::take(&mut self.at) {
            At::Begin => self.begin(place, key),
            At::Lost { group, from } => self.find_lost(place, key, group, &from, count),
            At::Entries { from } => self.entries(place, key, to, &from, count),
            At::Group { group } => self.group(place, key, to, group),
            At::Pending { group, from } => self.give(place, key, to, group, &from, count),
            At::StandIns => Ok(self.remove_stand_ins(to, count)),
            At::End => Ok(Piece {
                is_last: true,
                ..Piece::default()
            }),
        }
    }

    fn begin(&mut self, place: Place<'_>, key: &[u8]) -> Result<Piece, String> {
        let about = place.read(&[b"XINFO", b"STREAM", key])?.list();
        self.last = text_of(&field(&about, b"last-generated-id"));
        self.added = text_of(&field(&about, b"entries-added"));
        self.deleted = text_of(&field(&about, b"max-deleted-entry-id"));
        self.length = count_of(&field(&about, b"length"));
        for group in place.read(&[b"XINFO", b"GROUPS", key])?.list() {
            let group = group.list();
            self.pending += count_of(&field(&group, b"pending"));
            self.groups.push(Group {
                name: text_of(&field(&group, b"name")),
                last: text_of(&field(&group, b"last-delivered-id")),
                read: text_of(&field(&group, b"entries-read")),
            });
        }
        // A stream that has all that was ever added lost nothing.
        let all = self.added == self.length.to_string().as_bytes();
        self.at = if all {
            from_start()
        } else {
            At::Lost {
                group: 0,
                from: b"-".to_vec(),
            }
        };
        Ok(Piece::default())
    }

    fn find_lost(
        &mut self,
        place: Place<'_>,
        key: &[u8],
        group: usize,
        from: &[u8],
        count: usize,
    ) -> Result<Piece, String> {
        let Some(this) = self.groups.get(group) else {
            self.at = from_start();
            return Ok(Piece::default());
        };
        let count = count.min(PENDING);
        let (pending, _) = pending(place, key, &this.name, from, count)?;
        let is_last = pending.len() < count;
        self.at = match pending.last() {
            Some(last) if !is_last => At::Lost {
                group,
                from: behind(last.id),
            },
            _ => At::Lost {
                group: group + 1,
                from: b"-".to_vec(),
            },
        };
        for one in pending {
            let text = one.id.text();
            let id = text.as_bytes();
            if place.read(&[b"XRANGE", key, id, id])?.list().is_empty() {
                self.lost.insert(one.id);
                self.waiting.insert(one.id);
            }
        }
        Ok(Piece::default())
    }

    fn entries(
        &mut self,
        place: Place<'_>,
        key: &[u8],
        to: &[u8],
        from: &[u8],
        count: usize,
    ) -> Result<Piece, String> {
        let number = count.to_string();
        let entries = place
            .read(&[b"XRANGE", key, from, b"+", b"COUNT", number.as_bytes()])?
            .list();
        let is_last = entries.len() < count;
        let mut piece = Piece {
            elements: entries.len() as u64,
            ..Piece::default()
        };
        let mut end = None;
        for entry in entries {
            let mut parts = entry.list().into_iter();
            let (Some(Answer::Text(id)), Some(pairs)) = (parts.next(), parts.next()) else {
                return Err("XRANGE was answered oddly".into());
            };
            let this = id_of(&id)?;
            self.first.get_or_insert(this);
            self.stand_ins(to, Some(this), &mut piece.commands);
            let mut command = words(&[b"XADD", to, &id]);
            command.extend(strings(pairs));
            piece.commands.push(command);
            end = Some(this);
        }
        match end {
            Some(end) if !is_last => self.at = At::Entries { from: behind(end) },
            _ => {
                self.stand_ins(to, None, &mut piece.commands);
                self.entries_over(to, &mut piece.commands);
            }
        }
        Ok(piece)
    }

    /// Adds stand-ins for what is lost in front of `end`.
    fn stand_ins(&mut self, to: &[u8], end: Option<StreamId>, commands: &mut Vec<Words>) {
        while let Some(&id) = self.waiting.first()
            && end.is_none_or(|end| id < end)
        {
            self.waiting.pop_first();
            commands.push(words(&[b"XADD", to, id.text().as_bytes(), b"x", b"y"]));
        }
    }

    /// After the entries: the numbers that aren't those of what was added.
    fn entries_over(&mut self, to: &[u8], commands: &mut Vec<Words>) {
        if self.first.is_none() && self.lost.is_empty() {
            // No command makes an empty stream but by making one that isn't.
            let id = if self.last == b"0-0" {
                b"0-1"
            } else {
                &self.last[..]
            };
            commands.push(words(&[b"XADD", to, b"MAXLEN", b"0", id, b"x", b"y"]));
        }
        for &id in &self.lost {
            match self.first {
                Some(first) if id > first => self.behind.push_back(id),
                _ => self.in_front += 1,
            }
        }
        self.numbers(to, commands);
        self.at = At::Group { group: 0 };
    }

    fn numbers(&self, to: &[u8], commands: &mut Vec<Words>) {
        let parse = |text: &[u8]| StreamId::parse(text, 0).map(|(id, _)| id);
        // XSETID takes no last id below the greatest deleted, but by itself.
        let is_below = parse(&self.last) < parse(&self.deleted);
        let last = if is_below { &self.deleted } else { &self.last };
        commands.push(words(&[
            b"XSETID",
            to,
            last,
            b"ENTRIESADDED",
            &self.added,
            b"MAXDELETEDID",
            &self.deleted,
        ]));
        if is_below {
            commands.push(words(&[b"XSETID", to, &self.last]));
        }
    }

    fn group(
        &mut self,
        place: Place<'_>,
        key: &[u8],
        to: &[u8],
        group: usize,
    ) -> Result<Piece, String> {
        let mut piece = Piece::default();
        let Some(this) = self.groups.get(group) else {
            piece.is_last = self.lost.is_empty();
            self.at = if piece.is_last { At::End } else { At::StandIns };
            return Ok(piece);
        };
        let Group { name, last, read } = this;
        piece.commands.push(words(&[
            b"XGROUP",
            b"CREATE",
            to,
            name,
            last,
            b"ENTRIESREAD",
            read,
        ]));
        for consumer in place.read(&[b"XINFO", b"CONSUMERS", key, name])?.list() {
            let consumer = text_of(&field(&consumer.list(), b"name"));
            let create: [&[u8]; 5] = [b"XGROUP", b"CREATECONSUMER", to, name, &consumer];
            piece.commands.push(words(&create));
        }
        self.at = At::Pending {
            group,
            from: b"-".to_vec(),
        };
        Ok(piece)
    }

    /// Gives consumers what they have.
    fn give(
        &mut self,
        place: Place<'_>,
        key: &[u8],
        to: &[u8],
        group: usize,
        from: &[u8],
        count: usize,
    ) -> Result<Piece, String> {
        let mut piece = Piece::default();
        let Some(this) = self.groups.get(group) else {
            return Err("a group is gone".into());
        };
        let (pending, now) = pending(place, key, &this.name, from, count)?;
        piece.elements = pending.len() as u64;
        // Those that follow each other and were given at the same time, to the
        // same consumer, as often, are given by one command.
        for run in pending.chunk_by(Pending::is_like) {
            for part in run.chunks(IDS) {
                piece
                    .commands
                    .push(claim(to, &this.name, &run[0], part, now));
            }
        }
        self.at = match pending.last() {
            Some(last) if pending.len() == count => At::Pending {
                group,
                from: behind(last.id),
            },
            _ => At::Group { group: group + 1 },
        };
        Ok(piece)
    }

    /// Those in front of the first entry go by XTRIM, which leaves no mark;
    /// XDEL sets the greatest id deleted, which XSETID can put right, but not
    /// to 0-0. Where that is 0-0, nothing was lost but at the front.
    fn remove_stand_ins(&mut self, to: &[u8], count: usize) -> Piece {
        let mut piece = Piece::default();
        for _ in 0..count {
            let Some(id) = self.behind.pop_front() else {
                break;
            };
            piece
                .commands
                .push(words(&[b"XDEL", to, id.text().as_bytes()]));
        }
        if piece.commands.is_empty() && self.in_front > 0 {
            self.in_front -= self.in_front.min(count as u64);
            let left = (self.length + self.in_front).to_string();
            piece
                .commands
                .push(words(&[b"XTRIM", to, b"MAXLEN", left.as_bytes()]));
        }
        piece.is_last = self.behind.is_empty() && self.in_front == 0;
        if piece.is_last {
            self.numbers(to, &mut piece.commands);
            self.at = At::End;
        } else {
            self.at = At::StandIns;
        }
        piece
    }
}

fn from_start() -> At {
    At::Entries {
        from: b"-".to_vec(),
    }
}

fn behind(id: StreamId) -> Vec<u8> {
    [b"(", id.text().as_bytes()].concat()
}

fn id_of(text: &[u8]) -> Result<StreamId, String> {
    let id = StreamId::parse(text, 0).map(|(id, _)| id);
    id.ok_or_else(|| "an entry has an odd id".into())
}

/// An entry that a consumer has.
struct Pending {
    id: StreamId,
    consumer: Vec<u8>,
    idle_ms: i64,
    deliveries: i64,
}

impl Pending {
    fn is_like(&self, other: &Self) -> bool {
        let how = |one: &Self| (one.idle_ms, one.deliveries);
        how(self) == how(other) && self.consumer == other.consumer
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

/// The time at which the host's commands run at present; `None` if it asks
/// its clock anew for each (Redis 7.0).
fn host_ms() -> Option<i64> {
    // SAFETY: takes nothing and reads one word of the host's.
    unsafe { raw::RedisModule_CachedMicroseconds.map(|cached| cached() / 1000) }
}

/// Some of what is pending, and the time (unix ms) until which it has been
/// idle. It is told how long that is and not since when.
fn pending(
    place: Place<'_>,
    key: &[u8],
    group: &[u8],
    from: &[u8],
    count: usize,
) -> Result<(Vec<Pending>, i64), String> {
    let count = count.to_string();
    let ask: [&[u8]; 6] = [b"XPENDING", key, group, from, b"+", count.as_bytes()];
    let (mut now, mut reply) = (now_ms(), place.read(&ask)?);
    match host_ms().filter(|_| place.is_host()) {
        Some(ms) => now = ms,
        // The clock must not tick meanwhile.
        None => {
            for _ in 1..ASKED {
                if now_ms() == now {
                    break;
                }
                (now, reply) = (now_ms(), place.read(&ask)?);
            }
        }
    }
    let pending = reply.list().into_iter().map(|one| match &one.list()[..] {
        [
            Answer::Text(id),
            Answer::Text(consumer),
            Answer::Int(idle_ms),
            Answer::Int(deliveries),
        ] => Ok(Pending {
            id: id_of(id)?,
            consumer: consumer.clone(),
            idle_ms: *idle_ms,
            deliveries: *deliveries,
        }),
        _ => Err("XPENDING was answered oddly".to_owned()),
    });
    Ok((pending.collect::<Result<_, _>>()?, now))
}

fn claim(to: &[u8], group: &[u8], how: &Pending, ids: &[Pending], now: i64) -> Words {
    let mut claim = words(&[b"XCLAIM", to, group, &how.consumer, b"0"]);
    claim.extend(ids.iter().map(|one| one.id.text().as_bytes().to_vec()));
    claim.extend(words(&[
        b"TIME",
        (now - how.idle_ms).to_string().as_bytes(),
        b"RETRYCOUNT",
        how.deliveries.to_string().as_bytes(),
        b"JUSTID",
        b"FORCE",
    ]));
    claim
}

/// A field of XINFO's reply.
fn field(items: &[Answer], name: &[u8]) -> Answer {
    let mut pairs = items.chunks_exact(2);
    let found = pairs.find(|pair| pair[0].text() == Some(name));
    found.map_or(Answer::Nil, |pair| pair[1].clone())
}

fn text_of(answer: &Answer) -> Vec<u8> {
    match answer {
        Answer::Text(text) => text.clone(),
        Answer::Int(n) => n.to_string().into_bytes(),
        // What isn't known is -1 where it is set.
        _ => b"-1".to_vec(),
    }
}

fn count_of(answer: &Answer) -> u64 {
    match answer {
        Answer::Int(n) => (*n).max(0) as u64,
        _ => 0,
    }
}
