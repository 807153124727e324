//! The arguments of a command in the host's form: what COMMAND DOCS says of
//! them, and clients make hints of.

use std::ffi::{CString, c_int};
use std::ptr::{null, null_mut};

use persist_engine::command::syntax::{Arg, Kind};
use redis_module::raw;

use crate::ffi::c_string;

/// Arguments in a row, as an array that ends with one without a name, and
/// all that it points to.
pub struct Arguments {
    array: Vec<raw::RedisModuleCommandArg>,
    _texts: Vec<CString>,
    _parts: Vec<Arguments>,
}

impl Arguments {
    /// Of a command with so many key specs, which the keys among `args` stand
    /// for in their order; the last one for all that are left.
    pub fn new(args: &[Arg<'_>], specs: usize) -> Self {
        Self::build(args, &mut 0, specs.saturating_sub(1))
    }

    /// For the host; null if there are none. Valid while this lives.
    pub fn as_mut_ptr(&mut self) -> *mut raw::RedisModuleCommandArg {
        if self.array.len() > 1 {
            self.array.as_mut_ptr()
        } else {
            null_mut()
        }
    }

    /// `key` is the number of the next key's spec.
    fn build(args: &[Arg<'_>], key: &mut usize, last: usize) -> Self {
        let (mut texts, mut all) = (Vec::new(), Vec::new());
        let mut array: Vec<_> = args
            .iter()
            .map(|arg| {
                let mut text = |text: &str| {
                    let text = c_string(text);
                    let start = text.as_ptr();
                    texts.push(text);
                    start
                };
                let name = text(&arg.name);
                let token = arg.token.map_or(null(), &mut text);
                let mut key_spec_index = -1;
                if arg.kind == Kind::Key {
                    key_spec_index = (*key).min(last) as c_int;
                    *key += 1;
                }
                let subargs = if arg.parts.is_empty() {
                    null_mut()
                } else {
                    let mut parts = if arg.kind == Kind::OneOf {
                        Self::alternatives(&arg.parts, key, last)
                    } else {
                        Self::build(&arg.parts, key, last)
                    };
                    // The array stays where it is when its owner moves.
                    let start = parts.as_mut_ptr();
                    all.push(parts);
                    start
                };
                raw::RedisModuleCommandArg {
                    name,
                    type_: kind_of(arg.kind),
                    key_spec_index,
                    token,
                    flags: flags_of(arg) as c_int,
                    subargs,
                    ..end()
                }
            })
            .collect();
        array.push(end());
        Arguments {
            array,
            _texts: texts,
            _parts: all,
        }
    }

    /// Of alternatives, each begins with the same key.
    fn alternatives(parts: &[Arg<'_>], key: &mut usize, last: usize) -> Self {
        let (first, mut next) = (*key, *key);
        let mut merged = Arguments {
            array: Vec::new(),
            _texts: Vec::new(),
            _parts: Vec::new(),
        };
        for part in parts {
            *key = first;
            let one = Self::build(std::slice::from_ref(part), key, last);
            next = next.max(*key);
            merged.array.extend(one.array.first());
            merged._texts.extend(one._texts);
            merged._parts.extend(one._parts);
        }
        *key = next;
        merged.array.push(end());
        merged
    }
}

fn kind_of(kind: Kind) -> raw::RedisModuleCommandArgType {
    match kind {
        Kind::Key => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_KEY,
        Kind::Pattern => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_PATTERN,
        Kind::Text => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_STRING,
        Kind::Integer => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_INTEGER,
        Kind::Double => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_DOUBLE,
        Kind::UnixTime => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_UNIX_TIME,
        Kind::Token => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_PURE_TOKEN,
        Kind::OneOf => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_ONEOF,
        Kind::Block => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_BLOCK,
    }
}

fn flags_of(arg: &Arg<'_>) -> u32 {
    let flag = |held: bool, flag: u32| if held { flag } else { 0 };
    flag(arg.optional, raw::REDISMODULE_CMD_ARG_OPTIONAL)
        | flag(arg.multiple, raw::REDISMODULE_CMD_ARG_MULTIPLE)
        | flag(arg.multiple_token, raw::REDISMODULE_CMD_ARG_MULTIPLE_TOKEN)
}

/// What ends an array, and the fields that no argument has.
fn end() -> raw::RedisModuleCommandArg {
    // SAFETY: a plain structure of numbers and nullable pointers.
    unsafe { std::mem::zeroed() }
}
