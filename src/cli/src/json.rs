//! A key as one line of JSON.
//!
//! ```text
//! {"db":0,"key":"cart:1","type":"hash","expires_at_ms":null,"encoding":"utf-8","value":[["apples","3"]]}
//! ```
//!
//! | type | value |
//! |---|---|
//! | string | a text |
//! | list | texts, in order |
//! | set | texts |
//! | hash | pairs of field and value; a third number says when the field ends, unix ms |
//! | zset | pairs of member and score, by score; `"inf"` and `"-inf"` are texts |
//! | stream | `entries` (`id`, and `fields` as pairs), `last_id`, `max_deleted_id`, `entries_added`, `groups` |
//!
//! If the key or anything in its value isn't UTF-8, every text of the line
//! that came from a client is in base64, and `encoding` says so.

use std::io::{self, Write};

use persist_engine::data::entry::Entry;
use persist_engine::data::stream::Stream;
use persist_engine::data::value::Kind;
use persist_engine::data::{hash, list, set, string, zset};
use serde_json::{Value, json};

use crate::text::base64;

/// Writes the line.
pub fn line(db: u32, entry: &Entry, out: &mut dyn Write) -> io::Result<()> {
    let plain = is_utf8(entry);
    let mut w = Writer {
        out,
        plain,
        begun: false,
        result: Ok(()),
    };
    w.raw(format!("{{\"db\":{db},\"key\":").as_bytes());
    w.text(entry.key());
    let expiry = entry.expiry().map_or("null".into(), |at| at.to_string());
    let encoding = if plain { "utf-8" } else { "base64" };
    let kind = entry.kind().name();
    w.raw(
        format!(
            ",\"type\":\"{kind}\",\"expires_at_ms\":{expiry},\"encoding\":\"{encoding}\",\"value\":"
        )
        .as_bytes(),
    );
    w.value(entry);
    w.raw(b"}\n");
    w.result
}

struct Writer<'a> {
    out: &'a mut dyn Write,
    plain: bool,
    /// Whether an item of the present array was written.
    begun: bool,
    result: io::Result<()>,
}

impl Writer<'_> {
    fn raw(&mut self, bytes: &[u8]) {
        if self.result.is_ok() {
            self.result = self.out.write_all(bytes);
        }
    }

    fn json(&mut self, value: &Value) {
        if self.result.is_ok() {
            self.result = serde_json::to_writer(&mut *self.out, value).map_err(Into::into);
        }
    }

    fn of(&self, bytes: &[u8]) -> String {
        match std::str::from_utf8(bytes) {
            Ok(text) if self.plain => text.into(),
            _ => base64(bytes),
        }
    }

    fn text(&mut self, bytes: &[u8]) {
        self.json(&Value::from(self.of(bytes)));
    }

    fn comma(&mut self) {
        if std::mem::replace(&mut self.begun, true) {
            self.raw(b",");
        }
    }

    fn pair(&mut self, first: &[u8], second: impl FnOnce(&mut Self)) {
        self.comma();
        self.raw(b"[");
        self.text(first);
        self.raw(b",");
        second(self);
        self.raw(b"]");
    }

    fn value(&mut self, entry: &Entry) {
        let payload = entry.payload();
        if entry.kind() == Kind::String {
            return self.text(string::bytes(entry));
        }
        if let Some(stream) = Stream::of(entry) {
            return self.stream(stream);
        }
        self.raw(b"[");
        let element = |w: &mut Self, bytes: &[u8]| {
            w.comma();
            w.text(bytes);
        };
        match entry.kind() {
            Kind::List => list::for_each(payload, &mut |e| element(self, e)),
            Kind::Set => set::for_each(payload, &mut |m| element(self, m)),
            Kind::Hash => {
                hash::expiry::for_each(payload, &mut |field, value, ends| {
                    self.pair(field, |w| {
                        w.text(value);
                        if let Some(at) = ends {
                            w.raw(format!(",{at}").as_bytes());
                        }
                    });
                });
            }
            Kind::Zset => zset::for_each(payload, &mut |score, member| {
                self.pair(member, |w| w.json(&score_json(score)));
            }),
            Kind::String | Kind::Stream => {}
        }
        self.raw(b"]");
    }

    fn stream(&mut self, stream: &Stream) {
        self.raw(b"{\"entries\":[");
        for item in stream.entries.iter() {
            self.comma();
            let pairs: Vec<_> = item
                .pairs()
                .map(|(field, value)| json!([self.of(field), self.of(value)]))
                .collect();
            self.json(&json!({ "id": item.id.to_string(), "fields": pairs }));
        }
        let entries = &stream.entries;
        let groups: Vec<_> = stream
            .groups
            .iter()
            .map(|(name, group)| {
                let consumers: Vec<_> = group.consumers().keys().map(|c| self.of(c)).collect();
                let pending: Vec<_> = group
                    .pending()
                    .iter()
                    .map(|(id, pending)| {
                        json!({
                            "id": id.to_string(),
                            "consumer": self.of(pending.consumer()),
                            "delivered_at_ms": pending.delivered_ms,
                            "deliveries": pending.deliveries,
                        })
                    })
                    .collect();
                json!({
                    "name": self.of(name),
                    "last_id": group.last_id.to_string(),
                    "entries_read": group.entries_read,
                    "consumers": consumers,
                    "pending": pending,
                })
            })
            .collect();
        let rest = format!(
            "],\"last_id\":\"{}\",\"max_deleted_id\":\"{}\",\"entries_added\":{},\"groups\":",
            entries.last_id, entries.max_deleted, entries.added
        );
        self.raw(rest.as_bytes());
        self.json(&Value::from(groups));
        self.raw(b"}");
    }
}

/// JSON has no infinities.
fn score_json(score: f64) -> Value {
    if score.is_finite() {
        json!(score)
    } else {
        Value::from(if score > 0.0 { "inf" } else { "-inf" })
    }
}

/// Whether key and value are text throughout.
fn is_utf8(entry: &Entry) -> bool {
    let mut all = std::str::from_utf8(entry.key()).is_ok();
    let mut see = |bytes: &[u8]| all = all && std::str::from_utf8(bytes).is_ok();
    let payload = entry.payload();
    match entry.kind() {
        Kind::String => see(string::bytes(entry)),
        Kind::List => list::for_each(payload, &mut see),
        Kind::Set => set::for_each(payload, &mut see),
        Kind::Hash => hash::for_each(payload, &mut |f, v| {
            see(f);
            see(v);
        }),
        Kind::Zset => zset::for_each(payload, &mut |_, member| see(member)),
        Kind::Stream => {
            let Some(stream) = Stream::of(entry) else {
                return all;
            };
            for (field, value) in stream
                .entries
                .iter()
                .flat_map(|item| item.pairs().collect::<Vec<_>>())
            {
                see(field);
                see(value);
            }
            for (name, group) in &stream.groups {
                see(name);
                group.consumers().keys().for_each(|name| see(name));
            }
        }
    }
    all
}
