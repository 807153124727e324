//! The fields of `INFO persistence`, by Redis's names, and ours.

use super::Persist;
use super::at_risk;
use super::heal::Health;
use super::log::Log;
use super::rescue::salvage::Way;
use crate::host::{ChildMemory, Host};
use crate::keyspace::Keyspace;

/// Receives `(section, field, value)`.
pub type Fields<'a> = &'a mut dyn FnMut(&'static str, &str, &str);

fn ok(ok: bool) -> &'static str {
    if ok { "ok" } else { "err" }
}

fn yes(b: bool) -> &'static str {
    if b { "1" } else { "0" }
}

fn seconds(n: Option<u64>) -> String {
    n.map_or("-1".into(), |n| n.to_string())
}

impl Persist {
    /// Tells all fields.
    pub fn info(&self, host: &mut dyn Host, space: &Keyspace, progress: f64, field: Fields<'_>) {
        let mut p = |name: &str, value: &str| field("persistence", name, value);
        p("loading", "0");
        // Nothing is ever loaded while clients are served.
        p("async_loading", "0");
        self.info_child(host, progress, &mut p);
        self.info_saves(&mut p);
        self.info_rewrites(&mut p);
        if let Some(log) = &self.log {
            self.info_log(log, &mut p);
        }
        self.info_verify(&mut p);
        self.info_rescue(&mut p);
        p("seq", &self.seq.to_string());
        p("history", &self.history.to_string());
        for (db, table) in space.databases().filter(|(_, t)| !t.is_empty()) {
            let value = format!("keys={},expires={}", table.len(), table.with_expiry());
            field("keyspace", &format!("db{db}"), &value);
        }
    }

    fn info_rescue(&self, p: &mut dyn FnMut(&str, &str)) {
        p("salvaged", yes(self.rescued.is_some()));
        let Some(report) = &self.rescued else {
            return;
        };
        p(
            "salvage_mode",
            match report.way {
                Way::Salvage => "salvage",
                Way::Fallback => "fallback",
            },
        );
        let (first, last) = report.seqs.unwrap_or((0, 0));
        for (name, n) in [
            ("salvage_lost_blocks", report.blocks),
            ("salvage_lost_keys", report.keys),
            ("salvage_lost_groups", report.groups),
            ("salvage_lost_effects", report.effects),
            ("salvage_lost_first_seq", first),
            ("salvage_lost_last_seq", last),
            ("salvage_lost_bytes", report.bytes),
            ("salvage_doubtful_effects", report.doubtful),
            ("salvage_failed_effects", report.failed),
        ] {
            p(name, &n.to_string());
        }
    }

    fn info_child(&self, host: &mut dyn Host, progress: f64, p: &mut dyn FnMut(&str, &str)) {
        let child = self.child_is_alive();
        let memory = if child {
            host.child_memory()
        } else {
            ChildMemory::default()
        };
        p("current_cow_peak", &memory.peak.to_string());
        p("current_cow_size", &memory.current.to_string());
        p("current_cow_size_age", &memory.age_secs.to_string());
        let percent = if child { progress * 100.0 } else { 0.0 };
        p("current_fork_perc", &format!("{percent:.2}"));
        let total = if child { self.counters.child_keys } else { 0 };
        let done = (total as f64 * progress) as u64;
        p("current_save_keys_processed", &done.to_string());
        p("current_save_keys_total", &total.to_string());
    }

    fn info_saves(&self, p: &mut dyn FnMut(&str, &str)) {
        let now = self.now_ms();
        let c = &self.counters;
        p("rdb_changes_since_last_save", &c.dirty.to_string());
        p(
            "rdb_bgsave_in_progress",
            yes(self.save.since_ms().is_some()),
        );
        p("rdb_bgsave_scheduled", yes(self.save.scheduled));
        p("rdb_last_save_time", &c.last_save.to_string());
        p("rdb_last_bgsave_status", ok(c.last_bgsave_ok));
        p("rdb_last_bgsave_time_sec", &seconds(c.last_bgsave_secs));
        p(
            "rdb_current_bgsave_time_sec",
            &seconds(self.save.since_ms().map(|ms| now.saturating_sub(ms) / 1000)),
        );
        p("rdb_saves", &c.saves.to_string());
        p("rdb_last_cow_size", &c.save_cow_bytes.to_string());
        p("rdb_last_load_keys_expired", &c.expired_at_load.to_string());
        p("rdb_last_load_keys_loaded", &c.loaded_keys.to_string());
        p("last_load_ms", &c.load_ms.to_string());
    }

    fn info_rewrites(&self, p: &mut dyn FnMut(&str, &str)) {
        let now = self.now_ms();
        let c = &self.counters;
        p("aof_enabled", yes(self.settings.appendonly));
        p(
            "aof_rewrite_in_progress",
            yes(self.rewrite.since_ms().is_some()),
        );
        p("aof_rewrite_scheduled", yes(self.rewrite.scheduled));
        p("aof_last_rewrite_time_sec", &seconds(c.last_rewrite_secs));
        p(
            "aof_current_rewrite_time_sec",
            &seconds(
                self.rewrite
                    .since_ms()
                    .map(|ms| now.saturating_sub(ms) / 1000),
            ),
        );
        p("aof_last_bgrewrite_status", ok(c.last_rewrite_ok));
        p("aof_rewrites", &c.rewrites.to_string());
        p(
            "aof_rewrites_consecutive_failures",
            &c.rewrite_failures.to_string(),
        );
        p("aof_last_write_status", ok(self.health.is_ok()));
        if let Health::Broken { error, .. } = &self.health {
            p("aof_last_write_error", &error.replace(['\r', '\n'], " "));
        }
        p("aof_last_cow_size", &c.rewrite_cow_bytes.to_string());
        p("aof_turning_on", yes(self.is_turning_on()));
    }

    fn info_log(&self, log: &Log, p: &mut dyn FnMut(&str, &str)) {
        let c = &self.counters;
        p("aof_current_size", &self.log_size().to_string());
        p("aof_base_size", &c.rewrite_base_size.to_string());
        // As in Redis since version 7: a scheduled one says so above.
        p("aof_pending_rewrite", "0");
        p("aof_buffer_length", &log.buffer_len().to_string());
        p(
            "aof_pending_bio_fsync",
            yes(self.timings.syncing_since_us.is_some()),
        );
        p("aof_delayed_fsync", &c.delayed_fsync.to_string());
        let mono = self.clock.monotonic_us();
        let at_risk = self
            .timings
            .at_risk_since_us
            .map_or(0, |us| mono.saturating_sub(us) / 1000);
        p("at_risk_ms", &at_risk.to_string());
        p("at_risk_bytes", &log.at_risk_bytes().to_string());
        p("at_risk_keys", &at_risk::keys(log, self.seed).to_string());
        p("at_risk_refusals", &c.refused_behind.to_string());
        p("durable_seq", &log.durable().seq.to_string());
        let mut us: Vec<u64> = c.fsync_us.iter().copied().collect();
        us.sort_unstable();
        let at = |q: f64| {
            us.get(((us.len() as f64 * q) as usize).min(us.len().saturating_sub(1)))
                .copied()
                .unwrap_or(0)
        };
        p("fsync_latency_us_p50", &at(0.5).to_string());
        p("fsync_latency_us_p99", &at(0.99).to_string());
        p(
            "fsync_latency_us_max",
            &us.last().copied().unwrap_or(0).to_string(),
        );
    }
}
