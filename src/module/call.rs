//! Commands that we give the host.

use std::ffi::CStr;

use redis_module::raw;

use crate::ffi::{Ctx, HostString, host};

/// What the host answered, in RESP2's shapes.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Null.
    Nil,
    /// An integer.
    Int(i64),
    /// A string, simple or not.
    Text(Vec<u8>),
    /// An error.
    Error(String),
    /// An array.
    List(Vec<Answer>),
}

impl Answer {
    /// The elements of an array; none of anything else.
    pub fn list(self) -> Vec<Answer> {
        match self {
            Answer::List(items) => items,
            _ => Vec::new(),
        }
    }

    /// A string.
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Answer::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl Ctx<'_> {
    /// Runs a command of the host's, unless filters of other modules turn it
    /// into another. Nothing is replicated.
    pub fn call(self, name: &CStr, args: &[&[u8]]) -> Answer {
        self.call_with(name, c"Ev", args)
    }

    /// As [`call`](Self::call), for a change of the host's data: its replicas
    /// and its own log get the command.
    pub fn call_and_replicate(self, name: &CStr, args: &[&[u8]]) -> Answer {
        self.call_with(name, c"!Ev", args)
    }

    /// As [`call`](Self::call), as the user of the command that runs, whose
    /// rules must allow it.
    pub fn call_as_user(self, name: &CStr, args: &[&[u8]]) -> Answer {
        self.call_with(name, c"ECv", args)
    }

    fn call_with(self, name: &CStr, format: &CStr, args: &[&[u8]]) -> Answer {
        let strings: Vec<HostString> = args.iter().map(|arg| HostString::new(arg)).collect();
        let mut pointers: Vec<_> = strings.iter().map(HostString::as_ptr).collect();
        // SAFETY: the arguments are what the format announces: an array of
        // the host's strings and its length, valid for the time of the call.
        // The reply is freed once.
        unsafe {
            let reply = host!(RedisModule_Call(
                self.as_ptr(),
                name.as_ptr(),
                format.as_ptr(),
                pointers.as_mut_ptr(),
                pointers.len()
            ));
            if reply.is_null() {
                return Answer::Error("the server refused the call".into());
            }
            let answer = read(reply);
            host!(RedisModule_FreeCallReply(reply));
            answer
        }
    }
}

/// Copies a reply.
///
/// # Safety
/// `reply` is valid, or null.
unsafe fn read(reply: *mut raw::RedisModuleCallReply) -> Answer {
    if reply.is_null() {
        return Answer::Nil;
    }
    // SAFETY: the caller's duty; parts live as long as the whole.
    unsafe {
        let text = || {
            let mut len = 0;
            let ptr = host!(RedisModule_CallReplyStringPtr(reply, &raw mut len));
            if ptr.is_null() {
                Vec::new()
            } else {
                std::slice::from_raw_parts(ptr.cast::<u8>(), len).to_vec()
            }
        };
        match host!(RedisModule_CallReplyType(reply)) as isize {
            raw::REDISMODULE_REPLY_STRING => Answer::Text(text()),
            raw::REDISMODULE_REPLY_ERROR => {
                Answer::Error(String::from_utf8_lossy(&text()).into_owned())
            }
            raw::REDISMODULE_REPLY_INTEGER => {
                Answer::Int(host!(RedisModule_CallReplyInteger(reply)))
            }
            raw::REDISMODULE_REPLY_ARRAY => Answer::List(
                (0..host!(RedisModule_CallReplyLength(reply)))
                    .map(|at| read(host!(RedisModule_CallReplyArrayElement(reply, at))))
                    .collect(),
            ),
            _ => Answer::Nil,
        }
    }
}
