//! Thin safe wrappers over the host's functions.

use std::ffi::{CStr, CString, c_char, c_int};
use std::marker::PhantomData;
use std::ptr::null_mut;

use persist_engine::host::Level;
use redis_module::raw;

use crate::client::ClientState;

/// Calls a function of the host. Those that every supported host has are
/// checked once at load ([`missing`]); a missing one can't be called.
macro_rules! host {
    ($function:ident ( $($arg:expr),* $(,)? )) => {
        match raw::$function {
            Some(function) => function($($arg),*),
            None => $crate::ffi::absent(stringify!($function)),
        }
    };
}
pub(crate) use host;

#[cold]
pub fn absent(name: &str) -> ! {
    panic!("the server has no {name}");
}

/// A function without which the module can't work and this server lacks.
pub fn missing() -> Option<&'static str> {
    macro_rules! first_missing {
        ($($name:ident)*) => {
            // SAFETY: the host has set its pointers, and nobody writes them again.
            unsafe { $(let function = raw::$name; if function.is_none() { return Some(stringify!($name)); })* }
        };
    }
    first_missing!(
        RedisModule_Alloc RedisModule_Calloc RedisModule_Realloc RedisModule_Free
        RedisModule_CreateCommand RedisModule_GetCommand RedisModule_SetCommandInfo
        RedisModule_RegisterStringConfig RedisModule_LoadConfigs RedisModule_EventLoopAddOneShot
        RedisModule_Fork RedisModule_SignalModifiedKey RedisModule_SubscribeToServerEvent
        RedisModule_RegisterCommandFilter RedisModule_GetCommandKeysWithFlags RedisModule_Scan
    );
    None
}

/// A C string on the stack for `text`, which must be short; cut when it isn't.
pub struct Short([u8; 128]);

impl Short {
    /// Copies `text`.
    pub fn new(text: &str) -> Self {
        let mut bytes = [0; 128];
        let n = text.len().min(127);
        bytes[..n].copy_from_slice(&text.as_bytes()[..n]);
        Short(bytes)
    }
    /// For the host.
    pub fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }
}

/// `text` as a C string; a NUL byte in it ends up as `?`.
pub fn c_string(text: &str) -> CString {
    CString::new(text)
        .or_else(|_| CString::new(text.replace('\0', "?")))
        .unwrap_or_default()
}

/// A string of the host, to be freed by who made it.
pub struct HostString(*mut raw::RedisModuleString);

impl HostString {
    /// A copy of `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        // SAFETY: the host copies the bytes; without a context nobody else
        // frees the string.
        HostString(unsafe {
            host!(RedisModule_CreateString(
                null_mut(),
                bytes.as_ptr().cast(),
                bytes.len()
            ))
        })
    }
    /// For a call to the host.
    pub fn as_ptr(&self) -> *mut raw::RedisModuleString {
        self.0
    }
    /// Leaves it to the host.
    pub fn into_raw(self) -> *mut raw::RedisModuleString {
        std::mem::ManuallyDrop::new(self).0
    }
}

impl Drop for HostString {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and freed once.
        unsafe { host!(RedisModule_FreeString(null_mut(), self.0)) }
    }
}

/// The bytes of a host's string.
///
/// # Safety
/// `string` is valid and unchanged for `'a`.
#[inline]
pub unsafe fn bytes<'a>(string: *const raw::RedisModuleString) -> &'a [u8] {
    let mut len = 0;
    // SAFETY: the host gives the string's address and length; no string of
    // the host is without a buffer.
    unsafe {
        let ptr = host!(RedisModule_StringPtrLen(string, &raw mut len));
        std::slice::from_raw_parts(ptr.cast(), len)
    }
}

/// A line in the server's log; several when `text` has several.
pub fn log(level: Level, text: &str) {
    log_in(null_mut(), level, text);
}

fn log_in(ctx: *mut raw::RedisModuleCtx, level: Level, text: &str) {
    let level = match level {
        Level::Verbose => c"verbose",
        Level::Notice => c"notice",
        Level::Warning => c"warning",
    };
    for line in text.lines() {
        let line = c_string(line);
        // SAFETY: three C strings, and a format that takes the third. The
        // host allows a null context.
        unsafe {
            host!(RedisModule_Log(
                ctx,
                level.as_ptr(),
                c"%s".as_ptr(),
                line.as_ptr()
            ))
        }
    }
}

/// What the host hands to a callback; valid while that runs.
#[derive(Clone, Copy)]
pub struct Ctx<'a>(*mut raw::RedisModuleCtx, PhantomData<&'a ()>);

macro_rules! replies {
    ($($(#[$doc:meta])* $name:ident ( $($arg:ident : $ty:ty),* ) = $function:ident ( $($pass:expr),* );)*) => {
        $($(#[$doc])*
        #[inline]
        pub fn $name(self $(, $arg: $ty)*) {
            // SAFETY: the context is valid, and the host copies what it is given.
            unsafe { host!($function(self.0 $(, $pass)*)); }
        })*
    };
}

impl<'a> Ctx<'a> {
    /// Wraps a context.
    ///
    /// # Safety
    /// `ctx` is valid for `'a`, which is used on the server's main thread or
    /// under its lock.
    #[inline]
    pub unsafe fn new(ctx: *mut raw::RedisModuleCtx) -> Self {
        Ctx(ctx, PhantomData)
    }

    /// For calls without a wrapper.
    pub fn as_ptr(self) -> *mut raw::RedisModuleCtx {
        self.0
    }

    /// A context for work outside commands, which lives for ever.
    pub fn detached(self) -> Ctx<'static> {
        // SAFETY: the new context depends on the module only, which is never
        // unloaded.
        unsafe { Ctx::new(host!(RedisModule_GetDetachedThreadSafeContext(self.0))) }
    }

    /// The host's flags of this moment.
    #[inline]
    pub fn flags(self) -> u32 {
        // SAFETY: the context is valid.
        unsafe { host!(RedisModule_GetContextFlags(self.0)) as u32 }
    }

    /// The selected database.
    #[inline]
    pub fn db(self) -> u32 {
        // SAFETY: the context is valid.
        unsafe { host!(RedisModule_GetSelectedDb(self.0)) as u32 }
    }

    /// Selects a database: only for contexts of our own, since a client's
    /// would stay selected.
    pub fn select(self, db: u32) {
        // SAFETY: the context is valid.
        unsafe {
            host!(RedisModule_SelectDb(self.0, db as c_int));
        }
    }

    /// Whether this is the replay of the host's own log.
    pub fn is_host_replay(self) -> bool {
        // SAFETY: the context is valid.
        unsafe { host!(RedisModule_GetClientId(self.0)) == u64::MAX }
    }

    /// Fails WATCHers of `key` and invalidates clients' caches.
    ///
    /// # Safety
    /// `key` is a valid string of the host.
    #[inline]
    pub unsafe fn signal_modified(self, key: *mut raw::RedisModuleString) {
        // SAFETY: the caller's duty.
        unsafe {
            host!(RedisModule_SignalModifiedKey(self.0, key));
        }
    }

    /// Tells subscribers and other modules of an event.
    pub fn notify(self, class: c_int, event: &str, key: &[u8]) {
        let (event, key) = (Short::new(event), HostString::new(key));
        // SAFETY: valid strings for the time of the call.
        unsafe {
            host!(RedisModule_NotifyKeyspaceEvent(
                self.0,
                class,
                event.as_ptr(),
                key.as_ptr()
            ));
        }
    }

    /// A line in the server's log, under the module's name.
    pub fn log(self, level: Level, text: &str) {
        log_in(self.0, level, text);
    }

    /// A setting of the host.
    pub fn config(self, name: &CStr) -> Option<String> {
        // SAFETY: C strings as the format says; the reply and its parts are
        // used before it is freed, and freed once. A reply may be null.
        unsafe {
            let reply = host!(RedisModule_Call(
                self.0,
                c"CONFIG".as_ptr(),
                c"cc".as_ptr(),
                c"GET".as_ptr(),
                name.as_ptr()
            ));
            if reply.is_null() {
                return None;
            }
            let mut value = None;
            if host!(RedisModule_CallReplyLength(reply)) >= 2 {
                let part = host!(RedisModule_CallReplyArrayElement(reply, 1));
                let mut len = 0;
                if !part.is_null() {
                    let ptr = host!(RedisModule_CallReplyStringPtr(part, &raw mut len));
                    if !ptr.is_null() {
                        let bytes: &[u8] = std::slice::from_raw_parts(ptr.cast(), len);
                        value = String::from_utf8(bytes.to_vec()).ok();
                    }
                }
            }
            host!(RedisModule_FreeCallReply(reply));
            value
        }
    }

    /// Closes a client's connection, with whatever was still to be sent; that
    /// of a client whose command runs only later.
    pub fn kill_client(self, id: u64) {
        // SAFETY: C strings as the format says; a reply is freed once.
        unsafe {
            let reply = host!(RedisModule_Call(
                self.0,
                c"CLIENT".as_ptr(),
                c"ccl".as_ptr(),
                c"KILL".as_ptr(),
                c"ID".as_ptr(),
                id as std::ffi::c_longlong
            ));
            if !reply.is_null() {
                host!(RedisModule_FreeCallReply(reply));
            }
        }
    }

    /// What the host has of these clients, as far as there are such, or of all.
    /// `false` if it doesn't say.
    pub fn client_states(self, ids: Option<&[u64]>, mut tell: impl FnMut(ClientState)) -> bool {
        // SAFETY: C strings and as many of the host's as the format and the
        // length say; those are freed once, and so is the reply, after its
        // text was read.
        unsafe {
            let mut words: Vec<*mut raw::RedisModuleString> = Vec::new();
            if let Some(ids) = ids {
                words.push(HostString::new(b"ID").into_raw());
                words.extend(ids.iter().map(|&id| {
                    host!(RedisModule_CreateStringFromLongLong(
                        null_mut(),
                        id as std::ffi::c_longlong
                    ))
                }));
            }
            let reply = host!(RedisModule_Call(
                self.0,
                c"CLIENT".as_ptr(),
                c"cv".as_ptr(),
                c"LIST".as_ptr(),
                words.as_mut_ptr(),
                words.len()
            ));
            for word in words {
                host!(RedisModule_FreeString(null_mut(), word));
            }
            if reply.is_null() {
                return false;
            }
            let mut len = 0;
            let text = host!(RedisModule_CallReplyStringPtr(reply, &raw mut len));
            let told = !text.is_null();
            if told {
                let text: &[u8] = std::slice::from_raw_parts(text.cast(), len);
                let lines = text.split(|b| *b == b'\n');
                lines.filter_map(ClientState::read).for_each(&mut tell);
            }
            host!(RedisModule_FreeCallReply(reply));
            told
        }
    }

    /// What the host has of a client; `None` if there is no such client.
    pub fn client_state(self, id: u64) -> Option<ClientState> {
        let mut state = None;
        self.client_states(Some(&[id]), |client| state = Some(client));
        state
    }

    /// The client's id; 0 if there is none.
    pub fn client_id(self) -> u64 {
        // SAFETY: a valid context.
        unsafe { host!(RedisModule_GetClientId(self.0)) }
    }

    /// Whether any client watches a key or caches one; `None` on a host that
    /// doesn't say (before Redis 7.4).
    pub fn watched(self) -> Option<bool> {
        let clients = |field| self.info(c"clients", field);
        let watched = clients(c"total_watched_keys")?;
        let tracking = clients(c"tracking_clients")?;
        Some(watched != "0" || tracking != "0")
    }

    /// A field of INFO.
    pub fn info(self, section: &CStr, field: &CStr) -> Option<String> {
        // SAFETY: C strings; the field's text is copied before the data is
        // freed. A field that isn't there is null.
        unsafe {
            let data = host!(RedisModule_GetServerInfo(self.0, section.as_ptr()));
            let text = host!(RedisModule_ServerInfoGetFieldC(data, field.as_ptr()));
            let text =
                (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned());
            host!(RedisModule_FreeServerInfo(self.0, data));
            text
        }
    }

    /// An error, its code in front.
    pub fn reply_error(self, text: &str) {
        let text = c_string(text);
        // SAFETY: the host copies the string.
        unsafe {
            host!(RedisModule_ReplyWithError(self.0, text.as_ptr()));
        }
    }

    /// A simple string.
    #[inline]
    pub fn reply_simple(self, text: &str) {
        if text == "OK" {
            self.reply_c_str(c"OK");
        } else if text.len() < 128 {
            self.reply_status(&Short::new(text));
        } else {
            self.reply_c_str(&c_string(text));
        }
    }

    replies! {
        /// A simple string.
        reply_c_str(text: &CStr) = RedisModule_ReplyWithSimpleString(text.as_ptr());
        /// A simple string.
        reply_status(text: &Short) = RedisModule_ReplyWithSimpleString(text.as_ptr());
        /// A bulk string.
        reply_bulk(bytes: &[u8]) = RedisModule_ReplyWithStringBuffer(bytes.as_ptr().cast(), bytes.len());
        /// Text for people.
        reply_text(text: &str) = RedisModule_ReplyWithVerbatimStringType(
            text.as_ptr().cast(), text.len(), c"txt".as_ptr()
        );
        /// An integer.
        reply_int(n: i64) = RedisModule_ReplyWithLongLong(n);
        /// A double.
        reply_double(n: f64) = RedisModule_ReplyWithDouble(n);
        /// Null.
        reply_null() = RedisModule_ReplyWithNull();
        /// A null array.
        reply_null_array() = RedisModule_ReplyWithNullArray();
        /// The head of an array.
        reply_array(len: usize) = RedisModule_ReplyWithArray(len as _);
        /// The head of a map.
        reply_map(pairs: usize) = RedisModule_ReplyWithMap(pairs as _);
        /// The head of a set.
        reply_set(len: usize) = RedisModule_ReplyWithSet(len as _);
        /// The head of an array whose length comes later.
        reply_open() = RedisModule_ReplyWithArray(raw::REDISMODULE_POSTPONED_LEN as _);
        /// The length of the innermost open array.
        reply_close(len: usize) = RedisModule_ReplySetArrayLength(len as _);
        /// The head of a map whose length comes later.
        reply_open_map() = RedisModule_ReplyWithMap(raw::REDISMODULE_POSTPONED_LEN as _);
        /// The number of pairs of the innermost open map.
        reply_close_map(pairs: usize) = RedisModule_ReplySetMapLength(pairs as _);
    }
}

/// Classes of keyspace events that somebody may listen to.
#[inline]
pub fn notified_classes() -> c_int {
    // SAFETY: takes nothing and reads one word of the host's.
    unsafe { host!(RedisModule_GetNotifyKeyspaceEvents()) }
}
