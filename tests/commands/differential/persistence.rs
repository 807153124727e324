//! What is durable at the end of a run, from each kind of file.

use std::time::Duration;

use persist_tools::contents::{self, Contents};
use persist_tools::raw::Resp;
use persist_tools::server::{Server, wait_until};
use persist_tools::{Error, Result};

use super::{DATABASES, Differential, durable, expect_ok};
use crate::argv::Argv;

/// Commands between two looks at what comes back.
const SOME: u64 = 200;

impl Differential {
    /// Both keyspaces end up the same, and what is durable comes back.
    pub fn persistence(&mut self) -> Result<()> {
        let before = self.compare_contents("at the end")?;
        self.compare_encodings(&before)?;
        self.comes_back(before)
    }

    /// The same on a host that hasn't these commands: nothing to compare with, but what is durable comes back.
    pub fn persistence_alone(&mut self, commands: u64) -> Result<()> {
        let mut before = self.some_more()?;
        for _ in 0..commands / SOME {
            before = self.some_more()?;
        }
        self.comes_back(before)
    }

    /// What is durable comes back from each kind of file, exactly.
    fn comes_back(&mut self, mut before: Contents) -> Result<()> {
        if before.is_empty() {
            return Err(Error::new("nothing is left to save"));
        }
        self.again("the replayed log", &before)?;
        for preamble in ["yes", "no"] {
            let setting = format!("CONFIG SET persist.aof-use-rdb-preamble {preamble}");
            expect_ok(&self.server.words(&setting)?)?;
            before = self.some_more()?;
            self.rewrite()?;
            self.again(
                &format!("a rewrite, aof-use-rdb-preamble {preamble}"),
                &before,
            )?;
            before = self.some_more()?;
            self.again("a rewrite and a log behind it", &before)?;
        }
        expect_ok(&self.server.words("CONFIG SET persist.appendonly no")?)?;
        before = self.some_more()?;
        let saves = self.server.persist_info("rdb_saves")?;
        self.server.words("PERSIST.BGSAVE")?;
        self.until("BGSAVE", |server| {
            Ok(server.persist_info("rdb_saves")? != saves)
        })?;
        self.server.set_config("persist.appendonly", "no")?;
        self.again("a snapshot", &before)
    }

    fn rewrite(&self) -> Result<()> {
        let rewrites = self.server.persist_info("aof_rewrites")?;
        self.server.words("PERSIST.REWRITE")?;
        self.until("REWRITE", |server| {
            Ok(server.persist_info("aof_rewrites")? != rewrites)
        })
    }

    fn until(&self, what: &str, mut done: impl FnMut(&Server) -> Result<bool>) -> Result<()> {
        wait_until(what, Duration::from_secs(60), || done(&self.server)).map(drop)
    }

    /// More writes to the durable keyspace alone.
    fn some_more(&mut self) -> Result<Contents> {
        let mut client = self.server.raw()?;
        for _ in 0..SOME {
            let argv = self.maker.next();
            client.command(&durable(&argv))?;
        }
        contents::read(self.server.port(), "PERSIST.", DATABASES)
    }

    /// When the fields of all durable hashes end.
    fn field_times(&self, contents: &Contents) -> Result<Vec<Resp>> {
        let mut client = self.server.raw()?;
        let mut times = Vec::new();
        for ((db, key), value) in contents {
            if let contents::Value::Hash(fields) = &value.value {
                client.command(&["SELECT", &db.to_string()])?;
                let count = fields.len().to_string();
                let mut argv: Argv = vec![b"PERSIST.HPEXPIRETIME".to_vec(), key.clone()];
                argv.extend([b"FIELDS".to_vec(), count.into_bytes()]);
                argv.extend(fields.keys().cloned());
                times.push(client.command(&argv)?);
            }
        }
        Ok(times)
    }

    fn again(&mut self, what: &str, before: &Contents) -> Result<()> {
        // Under everysec, what waits behind a running fsync may go with the process.
        self.until("an fsync", |server| {
            Ok(server.persist_info("aof_enabled")? == "0"
                || server.persist_info("at_risk_bytes")? == "0")
        })?;
        let times = self.field_times(before)?;
        self.server.restart()?;
        if self.field_times(before)? != times {
            return Err(Error::new(format!(
                "{:?}, SEED={}: fields end at other times after {what}",
                self.family, self.seed
            )));
        }
        let after = contents::read(self.server.port(), "PERSIST.", DATABASES)?;
        contents::same(
            &format!(
                "{:?}, SEED={}: before and after {what}",
                self.family, self.seed
            ),
            before,
            &after,
            0,
        )
    }
}
