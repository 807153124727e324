//! INFO, by the host's command and by our own.

use std::ffi::c_int;
use std::fmt::Write;

use persist_engine::engine::Engine;
use persist_engine::host::Host;
use redis_module::raw;

use crate::alloc;
use crate::ffi::{c_string, host};
use crate::moving;
use crate::state;

/// Every field: the engine's, and what only the adapter knows.
fn fields(
    engine: &mut Engine,
    host: &mut dyn Host,
    field: &mut dyn FnMut(&'static str, &str, &str),
) {
    engine.info(host, field);
    field("adapter", "allocated_bytes", &alloc::in_use().to_string());
    field("adapter", "waiting_clients", &engine.waiting().to_string());
    moving::info(field);
}

/// The text of PERSIST.INFO: all sections, or those named.
pub fn text(engine: &mut Engine, host: &mut dyn Host, wanted: &[&[u8]]) -> String {
    let all = wanted.is_empty()
        || wanted.iter().any(|w| {
            ["all", "everything", "default"]
                .iter()
                .any(|all| w.eq_ignore_ascii_case(all.as_bytes()))
        });
    let mut out = String::new();
    let mut current = "";
    fields(engine, host, &mut |section, name, value| {
        if !all
            && !wanted
                .iter()
                .any(|w| w.eq_ignore_ascii_case(section.as_bytes()))
        {
            return;
        }
        if section != current {
            let blank = if current.is_empty() { "" } else { "\r\n" };
            current = section;
            let (first, rest) = section.split_at(section.len().min(1));
            // Writing to a string can't fail.
            let _ = write!(out, "{blank}# {}{rest}\r\n", first.to_ascii_uppercase());
        }
        let _ = write!(out, "{name}:{value}\r\n");
    });
    out
}

/// The host's INFO asks.
pub extern "C" fn on_info(ctx: *mut raw::RedisModuleInfoCtx, for_crash_report: c_int) {
    // In a crash nothing of ours can be relied on, memory least of all.
    if for_crash_report != 0 {
        return;
    }
    crate::guarded((), || {
        state::with(None, |engine, link| {
            let mut current = "";
            fields(engine, link, &mut |section, name, value| {
                let (name, value) = (c_string(name), c_string(value));
                // SAFETY: a valid context, and strings that the host copies.
                // It skips the fields of sections nobody asked for.
                unsafe {
                    if section != current {
                        current = section;
                        let section = c_string(section);
                        host!(RedisModule_InfoAddSection(ctx, section.as_ptr()));
                    }
                    host!(RedisModule_InfoAddFieldCString(
                        ctx,
                        name.as_ptr(),
                        value.as_ptr()
                    ));
                }
            });
        });
    });
}
