//! Walking through the host's own keys.

use std::ffi::c_void;

use redis_module::raw;

use crate::ffi::{self, Ctx, host};

/// A place in a database of the host's.
pub struct Cursor(*mut raw::RedisModuleScanCursor);

impl Cursor {
    /// The beginning.
    pub fn new() -> Self {
        // SAFETY: takes nothing.
        Cursor(unsafe { host!(RedisModule_ScanCursorCreate()) })
    }

    /// Back to the beginning.
    pub fn restart(&mut self) {
        // SAFETY: a cursor of ours.
        unsafe { host!(RedisModule_ScanCursorRestart(self.0)) }
    }

    /// Shows some more keys of the context's database; `false` when these
    /// were the last.
    pub fn step(&mut self, ctx: Ctx<'_>, mut seen: &mut dyn FnMut(&[u8])) -> bool {
        extern "C" fn on_key(
            _: *mut raw::RedisModuleCtx,
            name: *mut raw::RedisModuleString,
            _: *mut raw::RedisModuleKey,
            data: *mut c_void,
        ) {
            crate::guarded((), || {
                // SAFETY: `step` handed in this closure, which outlives the
                // call; the name is valid until this returns.
                let (seen, name) =
                    unsafe { (&mut *data.cast::<&mut dyn FnMut(&[u8])>(), ffi::bytes(name)) };
                seen(name);
            });
        }
        // SAFETY: a valid context and cursor, a callback of the right type,
        // and data that lives during the call.
        unsafe {
            host!(RedisModule_Scan(
                ctx.as_ptr(),
                self.0,
                Some(on_key),
                (&raw mut seen).cast()
            )) != 0
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and freed once.
        unsafe { host!(RedisModule_ScanCursorDestroy(self.0)) }
    }
}
