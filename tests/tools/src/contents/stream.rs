//! A stream with its groups, as XINFO STREAM FULL tells it.

use std::collections::BTreeMap;

use crate::raw::Resp;
use crate::{Error, Result};

/// Everything in a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// Numbers and ids by the names that XINFO gives them, but for those of Redis's tree.
    pub facts: BTreeMap<String, String>,
    /// Nodes of Redis's tree. They depend on how the stream came to be what it is.
    pub nodes: BTreeMap<String, String>,
    /// Ids, and fields and values in turn.
    pub entries: Vec<(String, Vec<Vec<u8>>)>,
    /// In the order of their names.
    pub groups: Vec<Group>,
}

/// A group of consumers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: Vec<u8>,
    /// Numbers and ids by the names that XINFO gives them.
    pub facts: BTreeMap<String, String>,
    /// Id, consumer and deliveries of what is pending.
    pub pending: Vec<(String, Vec<u8>, i64)>,
    /// When those were delivered, unix ms.
    pub delivered: Vec<i64>,
    /// In the order of their names.
    pub consumers: Vec<Consumer>,
    /// When those were seen, unix ms.
    pub seen: Vec<i64>,
}

/// A consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consumer {
    /// Its name.
    pub name: Vec<u8>,
    /// Ids and deliveries of what it has.
    pub pending: Vec<(String, i64)>,
}

/// The arguments of the question, behind the command's name.
pub const QUESTION: [&str; 3] = ["FULL", "COUNT", "0"];

fn malformed(reply: &Resp) -> Error {
    Error::new(format!("not as XINFO STREAM FULL answers: {reply}"))
}

fn text(reply: &Resp) -> Result<String> {
    match reply {
        Resp::Int(n) => Ok(n.to_string()),
        Resp::NullBulk | Resp::Null => Ok("unknown".into()),
        other => other.text().ok_or_else(|| malformed(other)),
    }
}

fn int(reply: &Resp) -> Result<i64> {
    match reply {
        Resp::Int(n) => Ok(*n),
        other => Err(malformed(other)),
    }
}

fn bytes(reply: &Resp) -> Result<Vec<u8>> {
    match reply {
        Resp::Bulk(bytes) => Ok(bytes.clone()),
        other => Err(malformed(other)),
    }
}

fn items(reply: &Resp) -> Result<&[Resp]> {
    match reply {
        Resp::Array(items) => Ok(items),
        other => Err(malformed(other)),
    }
}

/// Names and values in turn.
fn fields(reply: &Resp) -> Result<Vec<(String, &Resp)>> {
    let pairs = items(reply)?.chunks(2);
    pairs
        .map(|pair| match pair {
            [name, value] => Ok((text(name)?, value)),
            _ => Err(malformed(reply)),
        })
        .collect()
}

impl Stream {
    /// Reads the reply of a RESP2 client.
    pub fn read(reply: &Resp) -> Result<Self> {
        let mut stream = Stream::default();
        for (name, value) in fields(reply)? {
            match name.as_str() {
                "entries" => {
                    for item in items(value)? {
                        let [id, pairs] = items(item)? else {
                            return Err(malformed(item));
                        };
                        let pairs = items(pairs)?.iter().map(bytes).collect::<Result<_>>()?;
                        stream.entries.push((text(id)?, pairs));
                    }
                }
                "groups" => {
                    let groups = items(value)?.iter().map(Group::read);
                    stream.groups = groups.collect::<Result<_>>()?;
                }
                "radix-tree-keys" | "radix-tree-nodes" => {
                    stream.nodes.insert(name, text(value)?);
                }
                _ => {
                    stream.facts.insert(name, text(value)?);
                }
            }
        }
        Ok(stream)
    }

    /// Whether both are the same.
    ///
    /// With a slack, they are those of two live keyspaces: times may differ by so much. Without, one was made of what
    /// the other left: that keeps the times of deliveries, but neither when consumers were seen nor the tree's shape.
    pub fn is_like(&self, other: &Stream, slack_ms: u64) -> bool {
        let near = |a: &[i64], b: &[i64]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.abs_diff(*b) <= slack_ms)
        };
        let mut groups = self.groups.iter().zip(&other.groups);
        (&self.facts, &self.entries) == (&other.facts, &other.entries)
            && (slack_ms == 0 || self.nodes == other.nodes)
            && self.groups.len() == other.groups.len()
            && groups.all(|(a, b)| {
                (&a.name, &a.facts, &a.pending, &a.consumers)
                    == (&b.name, &b.facts, &b.pending, &b.consumers)
                    && near(&a.delivered, &b.delivered)
                    && (slack_ms == 0 || near(&a.seen, &b.seen))
            })
    }

    /// Commands, without prefix, that make about this stream under `key`.
    pub fn commands(&self, key: &[u8]) -> Vec<Vec<Vec<u8>>> {
        let word = |text: &str| text.as_bytes().to_vec();
        let fact = |name: &str| word(self.facts.get(name).map_or("0-0", String::as_str));
        let mut all = Vec::new();
        for (id, pairs) in &self.entries {
            let mut argv = vec![word("XADD"), key.to_vec(), word(id)];
            argv.extend(pairs.iter().cloned());
            all.push(argv);
        }
        if self.entries.is_empty() {
            let argv = ["MAXLEN", "0", "0-1", "x", "y"].map(word);
            all.push([vec![word("XADD"), key.to_vec()], argv.to_vec()].concat());
        }
        for group in &self.groups {
            let last = group.facts.get("last-delivered-id");
            let last = word(last.map_or("0", String::as_str));
            let read = group.facts.get("entries-read").map(String::as_str);
            let read = word(read.filter(|n| *n != "unknown").unwrap_or("-1"));
            all.push(vec![
                word("XGROUP"),
                word("CREATE"),
                key.to_vec(),
                group.name.clone(),
                last,
                word("ENTRIESREAD"),
                read,
            ]);
            for consumer in &group.consumers {
                let argv = ["XGROUP", "CREATECONSUMER"].map(word).to_vec();
                let names = vec![key.to_vec(), group.name.clone(), consumer.name.clone()];
                all.push([argv, names].concat());
            }
            for ((id, consumer, count), at) in group.pending.iter().zip(&group.delivered) {
                let argv = vec![
                    word("XCLAIM"),
                    key.to_vec(),
                    group.name.clone(),
                    consumer.clone(),
                ];
                let line = format!("0 {id} TIME {at} RETRYCOUNT {count} FORCE JUSTID");
                all.push([argv, line.split(' ').map(word).collect()].concat());
            }
        }
        all.push(vec![
            word("XSETID"),
            key.to_vec(),
            fact("last-generated-id"),
            word("ENTRIESADDED"),
            fact("entries-added"),
            word("MAXDELETEDID"),
            fact("max-deleted-entry-id"),
        ]);
        all
    }

    /// In a few words.
    pub fn shorten(&self) -> String {
        let text: String = format!("{self:?}").chars().take(1500).collect();
        format!("stream of {} {text}", self.entries.len())
    }
}

impl Group {
    fn read(reply: &Resp) -> Result<Self> {
        let mut group = Group::default();
        for (name, value) in fields(reply)? {
            match name.as_str() {
                "name" => group.name = bytes(value)?,
                "pending" => {
                    for item in items(value)? {
                        let [id, consumer, at, count] = items(item)? else {
                            return Err(malformed(item));
                        };
                        group
                            .pending
                            .push((text(id)?, bytes(consumer)?, int(count)?));
                        group.delivered.push(int(at)?);
                    }
                }
                "consumers" => {
                    for consumer in items(value)? {
                        group.consumer(consumer)?;
                    }
                }
                _ => {
                    group.facts.insert(name, text(value)?);
                }
            }
        }
        Ok(group)
    }

    fn consumer(&mut self, reply: &Resp) -> Result<()> {
        let mut consumer = Consumer::default();
        for (field, value) in fields(reply)? {
            match field.as_str() {
                "name" => consumer.name = bytes(value)?,
                "seen-time" => self.seen.push(int(value)?),
                "pending" => {
                    for item in items(value)? {
                        // The time is that of the group's list.
                        let [id, _, count] = items(item)? else {
                            return Err(malformed(item));
                        };
                        consumer.pending.push((text(id)?, int(count)?));
                    }
                }
                _ => {}
            }
        }
        self.consumers.push(consumer);
        Ok(())
    }
}
