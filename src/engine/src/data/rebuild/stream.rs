//! A stream as commands that rebuild it: in Redis's way, but exact also where
//! Redis's own rewrite isn't.

use std::collections::BTreeSet;

use super::Emit;
use crate::data::stream::{Group, Stream, StreamId};

/// Pending entries that one XCLAIM names, at most.
const IDS_PER_COMMAND: usize = 64;

/// Writes the commands that rebuild `stream` under `key`.
///
/// Consumers may have entries that the stream lost. XCLAIM gives only what is
/// there, so a stand-in is added for each of those, and removed once it was
/// given.
///
/// # Errors
/// The sink's.
pub fn commands<E>(key: &[u8], stream: &Stream, emit: &mut Emit<'_, E>) -> Result<(), E> {
    let lost = lost(stream);
    entries(key, stream, &lost, emit)?;
    for (name, group) in &stream.groups {
        one_group(key, name, group, emit)?;
    }
    remove_stand_ins(key, stream, &lost, emit)?;
    numbers(key, stream, emit)
}

/// The ids of what is pending and no longer there.
fn lost(stream: &Stream) -> BTreeSet<StreamId> {
    let groups = stream.groups.values();
    let pending = groups.flat_map(|group| group.pending().keys().copied());
    pending.filter(|id| !stream.entries.contains(*id)).collect()
}

fn entries<E>(
    key: &[u8],
    stream: &Stream,
    lost: &BTreeSet<StreamId>,
    emit: &mut Emit<'_, E>,
) -> Result<(), E> {
    if stream.entries.is_empty() && lost.is_empty() {
        // A stream that is empty from the start.
        return emit(&[b"XADD", key, b"MAXLEN", b"0", b"0-1", b"x", b"y"]);
    }
    let stand_in = |id: &StreamId, emit: &mut Emit<'_, E>| {
        emit(&[b"XADD", key, id.text().as_bytes(), b"x", b"y"])
    };
    let mut lost = lost.iter().peekable();
    for item in stream.entries.iter() {
        while let Some(id) = lost.next_if(|id| **id < item.id) {
            stand_in(id, emit)?;
        }
        let id = item.id.text();
        let mut argv: Vec<&[u8]> = vec![b"XADD", key, id.as_bytes()];
        argv.extend(item.pairs().flat_map(|(field, value)| [field, value]));
        emit(&argv)?;
    }
    lost.try_for_each(|id| stand_in(id, emit))
}

fn one_group<E>(key: &[u8], name: &[u8], group: &Group, emit: &mut Emit<'_, E>) -> Result<(), E> {
    let read = group.entries_read.unwrap_or(-1).to_string();
    emit(&[
        b"XGROUP",
        b"CREATE",
        key,
        name,
        group.last_id.text().as_bytes(),
        b"ENTRIESREAD",
        read.as_bytes(),
    ])?;
    for (consumer, its) in group.consumers() {
        if its.pending().is_empty() {
            emit(&[b"XGROUP", b"CREATECONSUMER", key, name, consumer])?;
        }
        // Those that follow each other and were given at the same time, as
        // often, are given by one command.
        let mut run: Vec<StreamId> = Vec::new();
        let mut how = (0, 0);
        for id in its.pending() {
            let Some(pending) = group.pending().get(id) else {
                continue;
            };
            let this = (pending.delivered_ms, pending.deliveries);
            if this != how || run.len() == IDS_PER_COMMAND {
                claim(key, name, consumer, &run, how, emit)?;
                run.clear();
                how = this;
            }
            run.push(*id);
        }
        claim(key, name, consumer, &run, how, emit)?;
    }
    Ok(())
}

fn claim<E>(
    key: &[u8],
    group: &[u8],
    consumer: &[u8],
    ids: &[StreamId],
    (delivered_ms, deliveries): (u64, u64),
    emit: &mut Emit<'_, E>,
) -> Result<(), E> {
    if ids.is_empty() {
        return Ok(());
    }
    let texts: Vec<_> = ids.iter().map(|id| id.text()).collect();
    let (time, count) = (delivered_ms.to_string(), deliveries.to_string());
    let mut argv: Vec<&[u8]> = vec![b"XCLAIM", key, group, consumer, b"0"];
    argv.extend(texts.iter().map(|text| text.as_bytes()));
    argv.extend([
        &b"TIME"[..],
        time.as_bytes(),
        b"RETRYCOUNT",
        count.as_bytes(),
    ]);
    argv.extend([&b"JUSTID"[..], b"FORCE"]);
    emit(&argv)
}

/// Those in front of the first entry go by XTRIM, which leaves no mark; XDEL
/// sets the greatest id deleted, which XSETID can put right, but not to 0-0.
/// Where that is 0-0, nothing was lost but at the front.
fn remove_stand_ins<E>(
    key: &[u8],
    stream: &Stream,
    lost: &BTreeSet<StreamId>,
    emit: &mut Emit<'_, E>,
) -> Result<(), E> {
    let Some(least) = lost.first() else {
        return Ok(());
    };
    let first = stream.entries.iter().next().map(|item| item.id);
    if let Some(first) = first {
        for id in lost.range(first..) {
            emit(&[b"XDEL", key, id.text().as_bytes()])?;
        }
    }
    if first.is_none_or(|first| *least < first) {
        let len = stream.entries.len().to_string();
        emit(&[b"XTRIM", key, b"MAXLEN", len.as_bytes()])?;
    }
    Ok(())
}

/// The numbers that aren't those of what was added: the last id, the greatest
/// deleted, the entries ever added.
fn numbers<E>(key: &[u8], stream: &Stream, emit: &mut Emit<'_, E>) -> Result<(), E> {
    let entries = &stream.entries;
    let (last, deleted) = (entries.last_id, entries.max_deleted);
    let added = entries.added.to_string();
    // XSETID takes no last id below the greatest deleted, but by itself.
    emit(&[
        b"XSETID",
        key,
        last.max(deleted).text().as_bytes(),
        b"ENTRIESADDED",
        added.as_bytes(),
        b"MAXDELETEDID",
        deleted.text().as_bytes(),
    ])?;
    if last < deleted {
        emit(&[b"XSETID", key, last.text().as_bytes()])?;
    }
    Ok(())
}
