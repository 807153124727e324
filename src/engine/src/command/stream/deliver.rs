//! What was given to consumers, for the log.

use super::super::Cx;
use crate::base::number;
use crate::data::stream::StreamId;
use crate::keyspace::keys::{EventClass, Keys};

/// Ids that one logged command names, at most.
const BATCH: usize = 64;

/// A consumer that entries are given to.
#[derive(Debug, Clone, Copy)]
pub struct Receiver<'a> {
    /// The stream's key.
    pub key: &'a [u8],
    /// The group's name.
    pub group: &'a [u8],
    /// The consumer's name.
    pub consumer: &'a [u8],
}

/// What changed in a group, to be logged once that is done.
#[derive(Debug, Default)]
pub struct Changes {
    /// Whether the consumer is new.
    pub created: bool,
    /// What it was given, and how often each was delivered by now.
    pub given: Vec<(StreamId, u64)>,
    /// When, unix ms.
    pub time_ms: u64,
    /// What is no longer pending, since the stream lost it.
    pub dropped: Vec<StreamId>,
    /// The group's last id.
    pub last_id: StreamId,
    /// How many entries the group has read, if that or its last id is another
    /// now; inside, `None` is unknown.
    pub read: Option<Option<i64>>,
}

impl Changes {
    /// Logs and tells what was done for `to`, as it can be done again.
    pub fn log(&self, cx: &mut Cx<'_>, to: Receiver<'_>) {
        let ks = &mut cx.ks;
        let Receiver {
            key,
            group,
            consumer,
        } = to;
        if self.created {
            ks.changed(EventClass::Stream, "xgroup-createconsumer", key);
            // Otherwise the first XCLAIM makes it.
            if self.given.is_empty() {
                ks.effect(b"XGROUP", &[b"CREATECONSUMER", key, group, consumer]);
            }
        }
        for part in self.dropped.chunks(BATCH) {
            let texts = Vec::from_iter(part.iter().map(|id| id.text()));
            let mut words = vec![key, group];
            words.extend(texts.iter().map(|text| text.as_bytes()));
            ks.effect(b"XACK", &words);
        }
        let mut rest = &self.given[..];
        while let Some((_, deliveries)) = rest.first() {
            let same = rest.iter().take(BATCH).take_while(|g| g.1 == *deliveries);
            let (part, others) = rest.split_at(same.count());
            self.claim(ks, to, part, *deliveries);
            rest = others;
        }
        if let Some(read) = self.read {
            let mut text = number::IntegerText::default();
            let read = number::format_i64(read.unwrap_or(-1), &mut text);
            let last = self.last_id.text();
            let last = last.as_bytes();
            ks.effect(
                b"XGROUP",
                &[b"SETID", key, group, last, b"ENTRIESREAD", read],
            );
        }
    }

    /// `part` was given, and so often.
    fn claim(
        &self,
        ks: &mut Keys<'_>,
        to: Receiver<'_>,
        part: &[(StreamId, u64)],
        deliveries: u64,
    ) {
        let mut texts = [Default::default(); 2];
        let [time, count] = &mut texts;
        let time = number::format_i64(self.time_ms as i64, time);
        let count = number::format_i64(deliveries as i64, count);
        let ids = Vec::from_iter(part.iter().map(|(id, _)| id.text()));
        let last = self.last_id.text();
        let mut words = vec![to.key, to.group, to.consumer, b"0"];
        words.extend(ids.iter().map(|text| text.as_bytes()));
        words.extend([&b"TIME"[..], time, b"RETRYCOUNT", count, b"FORCE"]);
        words.extend([&b"JUSTID"[..], b"LASTID", last.as_bytes()]);
        ks.effect(b"XCLAIM", &words);
    }
}
