//! Replies, through the host.

use std::cell::OnceCell;

use persist_engine::command::Reply;
use redis_module::raw;

use crate::ffi::Ctx;

/// Writes a reply to the client of a command.
pub struct HostReply<'a> {
    ctx: Ctx<'a>,
    resp3: OnceCell<bool>,
    /// Whether a reply has begun.
    pub begun: bool,
}

impl<'a> HostReply<'a> {
    /// To the client of `ctx`.
    #[inline]
    pub fn new(ctx: Ctx<'a>) -> Self {
        HostReply {
            ctx,
            resp3: OnceCell::new(),
            begun: false,
        }
    }

    #[inline]
    fn ctx(&mut self) -> Ctx<'a> {
        self.begun = true;
        self.ctx
    }
}

impl Reply for HostReply<'_> {
    fn simple(&mut self, text: &'static str) {
        self.ctx().reply_simple(text);
    }
    fn bulk(&mut self, bytes: &[u8]) {
        self.ctx().reply_bulk(bytes);
    }
    fn int(&mut self, n: i64) {
        self.ctx().reply_int(n);
    }
    fn double(&mut self, n: f64) {
        self.ctx().reply_double(n);
    }
    fn null(&mut self) {
        self.ctx().reply_null();
    }
    fn null_array(&mut self) {
        self.ctx().reply_null_array();
    }
    fn array(&mut self, len: usize) {
        self.ctx().reply_array(len);
    }
    fn map(&mut self, pairs: usize) {
        self.ctx().reply_map(pairs);
    }
    fn set(&mut self, len: usize) {
        self.ctx().reply_set(len);
    }
    fn open(&mut self) {
        self.ctx().reply_open();
    }
    fn close(&mut self, len: usize) {
        self.ctx().reply_close(len);
    }
    fn open_map(&mut self) {
        self.ctx().reply_open_map();
    }
    fn close_map(&mut self, pairs: usize) {
        self.ctx().reply_close_map(pairs);
    }
    fn is_resp3(&self) -> bool {
        *self
            .resp3
            .get_or_init(|| self.ctx.flags() & raw::REDISMODULE_CTX_FLAGS_RESP3 != 0)
    }
}
