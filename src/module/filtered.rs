//! The command that a filter is shown, before the host looks it up.

use std::ffi::c_int;
use std::ptr::null_mut;

use redis_module::raw;

use crate::ffi::{self, HostString, host};

/// A command's words, its name first.
#[derive(Clone, Copy)]
pub struct Filtered(*mut raw::RedisModuleCommandFilterCtx);

impl Filtered {
    /// What a filter is called with.
    ///
    /// # Safety
    /// `filtered` is valid as long as this and its copies are used.
    #[inline]
    pub unsafe fn new(filtered: *mut raw::RedisModuleCommandFilterCtx) -> Self {
        Filtered(filtered)
    }

    /// How many words there are.
    #[inline]
    pub fn len(self) -> usize {
        // SAFETY: valid, as whoever made this has promised.
        unsafe { host!(RedisModule_CommandFilterArgsCount(self.0)) as usize }
    }

    /// A word as the host's string; null past the end.
    #[inline]
    pub fn string(self, at: usize) -> *mut raw::RedisModuleString {
        // SAFETY: as above.
        unsafe { host!(RedisModule_CommandFilterArgGet(self.0, at as c_int)) }
    }

    /// A word; empty past the end. Not to be used once it was replaced.
    #[inline]
    pub fn bytes<'a>(self, at: usize) -> &'a [u8] {
        let string = self.string(at);
        if string.is_null() {
            return b"";
        }
        // SAFETY: the strings live until they are replaced, after the last
        // look at them.
        unsafe { ffi::bytes(string) }
    }

    /// Puts another reference to `string` in the place of a word.
    #[inline]
    pub fn replace(self, at: usize, string: &HostString) {
        // SAFETY: the host takes over the reference that is made here.
        unsafe {
            host!(RedisModule_RetainString(null_mut(), string.as_ptr()));
            host!(RedisModule_CommandFilterArgReplace(
                self.0,
                at as c_int,
                string.as_ptr()
            ));
        }
    }

    /// Whose command it is; `None` if the host doesn't say (Redis 7.0).
    pub fn client(self) -> Option<u64> {
        // SAFETY: as above.
        unsafe { raw::RedisModule_CommandFilterGetClientId.map(|get| get(self.0)) }
    }
}
