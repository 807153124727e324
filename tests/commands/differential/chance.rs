//! What is left to chance: the order of iterations, and random choices.

use std::collections::BTreeSet;

use persist_tools::raw::Resp;
use persist_tools::{Error, Result};

use super::normal::{flat, number, shape};
use super::{Differential, name_of};
use crate::argv::Argv;

impl Differential {
    /// All that one iteration brings, whatever the order; the first reply is there already.
    pub(super) fn scan(&mut self, argv: &Argv, first: Resp) -> Result<BTreeSet<Vec<Vec<u8>>>> {
        let at = if name_of(argv).ends_with(".SCAN") || name_of(argv) == "SCAN" {
            1
        } else {
            2
        };
        // Pairs, but for keys and members.
        let group = if name_of(argv).ends_with("HSCAN") || name_of(argv).ends_with("ZSCAN") {
            2
        } else {
            1
        };
        let scores = !self.same_print && name_of(argv).ends_with("ZSCAN");
        let mut all = BTreeSet::new();
        let (mut reply, mut argv) = (first, argv.clone());
        for _ in 0..100_000 {
            let mut parts = reply.into_items().into_iter();
            let (Some(Resp::Bulk(cursor)), Some(items)) = (parts.next(), parts.next()) else {
                return Err(Error::new("no reply of SCAN"));
            };
            let items: Vec<Vec<u8>> = items
                .into_items()
                .iter()
                .map(|item| match item {
                    Resp::Bulk(text) if scores => number(text.clone()),
                    item => huge_score(item).unwrap_or_else(|| item.encode()),
                })
                .collect();
            all.extend(items.chunks(group).map(<[_]>::to_vec));
            if cursor == b"0" {
                return Ok(all);
            }
            argv[at] = cursor;
            reply = self.command(&argv)?;
        }
        Err(Error::new("the iteration doesn't end"))
    }

    /// Random choices must have the same shape, and be choices from what is there.
    pub(super) fn random(
        &mut self,
        name: &str,
        argv: &Argv,
        host: &Resp,
        ours: &Resp,
    ) -> Result<Option<String>> {
        if shape(host) != shape(ours) {
            return Ok(Some("another shape".into()));
        }
        if matches!(ours, Resp::NullBulk | Resp::NullArray | Resp::Null) {
            return Ok(None);
        }
        if name == "RANDOMKEY" {
            let key = flat(ours).concat();
            let there = self.command(&[b"PERSIST.EXISTS".to_vec(), key])?;
            return Ok((there != Resp::Int(1)).then(|| "no such key".into()));
        }
        let key = argv[1].clone();
        let reader = |prefix: &str| -> Argv {
            let (command, more): (&str, &[&str]) = match name {
                "HRANDFIELD" => ("HGETALL", &[]),
                "ZRANDMEMBER" => ("ZRANGE", &["0", "-1", "WITHSCORES"]),
                _ => ("SMEMBERS", &[]),
            };
            let mut argv = vec![format!("{prefix}{command}").into_bytes(), key.clone()];
            argv.extend(more.iter().map(|word| word.as_bytes().to_vec()));
            argv
        };
        let rest = flat(&self.command(&reader("PERSIST."))?);
        let chosen = flat(ours);
        if name == "SPOP" {
            let mut all: Vec<_> = rest.into_iter().chain(chosen).collect();
            let host_rest = flat(&self.command(&reader(""))?);
            let mut host_all: Vec<_> = host_rest.into_iter().chain(flat(host)).collect();
            all.sort();
            host_all.sort();
            if all != host_all {
                return Ok(Some(
                    "what is left and what was popped isn't what was there".into(),
                ));
            }
            self.copy_set(&key)?;
            return Ok(None);
        }
        let values = argv.len() > 3;
        let there: BTreeSet<Vec<Vec<u8>>> = match (name, values) {
            ("SRANDMEMBER", _) => rest.into_iter().map(|member| vec![member]).collect(),
            (_, true) => rest.chunks(2).map(<[_]>::to_vec).collect(),
            (_, false) => rest.chunks(2).map(|pair| vec![pair[0].clone()]).collect(),
        };
        let chosen: Vec<Vec<Vec<u8>>> = chosen
            .chunks(if values { 2 } else { 1 })
            .map(<[_]>::to_vec)
            .collect();
        if let Some(stranger) = chosen.iter().find(|item| !there.contains(*item)) {
            return Ok(Some(format!("{stranger:?} isn't there")));
        }
        let distinct: BTreeSet<_> = chosen.iter().collect();
        let repeats = argv.get(2).is_some_and(|count| count.starts_with(b"-"));
        if !repeats && distinct.len() != chosen.len() {
            return Ok(Some("the same twice".into()));
        }
        Ok(None)
    }

    /// Makes the durable set what the host's is.
    fn copy_set(&mut self, key: &[u8]) -> Result<()> {
        let word = |text: &str| text.as_bytes().to_vec();
        let members = flat(&self.command(&[word("SMEMBERS"), key.to_vec()])?);
        let until = self.command(&[word("PEXPIRETIME"), key.to_vec()])?;
        self.command(&[word("PERSIST.DEL"), key.to_vec()])?;
        if !members.is_empty() {
            let mut argv = vec![word("PERSIST.SADD"), key.to_vec()];
            argv.extend(members);
            self.command(&argv)?;
            if let Resp::Int(at @ 1..) = until {
                let at = word(&at.to_string());
                self.command(&[word("PERSIST.PEXPIREAT"), key.to_vec(), at])?;
            }
        }
        self.drain_events("copied")
    }
}

/// ZSCAN of a small set prints huge whole scores without an exponent, of a large one with it.
fn huge_score(item: &Resp) -> Option<Vec<u8>> {
    let score: f64 = item.text()?.parse().ok()?;
    (score.abs() >= 1e17).then(|| score.to_string().into_bytes())
}
