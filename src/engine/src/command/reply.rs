//! Where replies go, and a reply kept as a tree for tests and replay.

use std::fmt;

/// Writes one reply, in the order of the protocol. RESP2 and RESP3 are the
/// implementor's business: a map is a flat array where maps don't exist.
pub trait Reply {
    /// A simple string.
    fn simple(&mut self, text: &'static str);
    /// A bulk string.
    fn bulk(&mut self, bytes: &[u8]);
    /// An integer.
    fn int(&mut self, n: i64);
    /// A double; a bulk string in RESP2.
    fn double(&mut self, n: f64);
    /// Null; a null bulk string in RESP2.
    fn null(&mut self);
    /// Null; a null array in RESP2.
    fn null_array(&mut self);
    /// The head of an array of `len` elements, which follow.
    fn array(&mut self, len: usize);
    /// The head of a map of `pairs` pairs, which follow.
    fn map(&mut self, pairs: usize);
    /// The head of a set of `len` elements, which follow.
    fn set(&mut self, len: usize);
    /// Opens an array whose length is told by [`close`](Self::close).
    fn open(&mut self);
    /// Ends the innermost open array, which got `len` elements.
    fn close(&mut self, len: usize);
    /// Opens a map whose number of pairs is told by
    /// [`close_map`](Self::close_map).
    fn open_map(&mut self);
    /// Ends the innermost open map, which got `pairs` pairs.
    fn close_map(&mut self, pairs: usize);
    /// Whether the client speaks RESP3: a few replies have another shape there.
    fn is_resp3(&self) -> bool;
}

/// Takes replies that nobody reads.
#[derive(Debug, Default)]
pub struct NoReply;

impl Reply for NoReply {
    fn simple(&mut self, _: &'static str) {}
    fn bulk(&mut self, _: &[u8]) {}
    fn int(&mut self, _: i64) {}
    fn double(&mut self, _: f64) {}
    fn null(&mut self) {}
    fn null_array(&mut self) {}
    fn array(&mut self, _: usize) {}
    fn map(&mut self, _: usize) {}
    fn set(&mut self, _: usize) {}
    fn open(&mut self) {}
    fn close(&mut self, _: usize) {}
    fn open_map(&mut self) {}
    fn close_map(&mut self, _: usize) {}
    fn is_resp3(&self) -> bool {
        false
    }
}

/// A reply, or a part of one.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// A simple string.
    Simple(&'static str),
    /// A bulk string.
    Bulk(Vec<u8>),
    /// An integer.
    Int(i64),
    /// A double.
    Double(f64),
    /// Null or a null array.
    Null,
    /// An array.
    Array(Vec<Node>),
    /// A map, keys and values in turn.
    Map(Vec<Node>),
    /// A set.
    Set(Vec<Node>),
    /// An error.
    Error(String),
}

/// Keeps a reply as a tree.
#[derive(Debug, Default)]
pub struct Recorder {
    /// Aggregates that still take elements, with how many are missing
    /// (`None`: until closed).
    open: Vec<(Node, Option<usize>)>,
    done: Vec<Node>,
    /// Whether to answer as to a RESP3 client.
    pub resp3: bool,
}

impl Recorder {
    /// Ready for one reply.
    pub fn new(resp3: bool) -> Self {
        Recorder {
            resp3,
            ..Recorder::default()
        }
    }

    /// The reply, once it is complete; an error node when it isn't or is
    /// more than one.
    pub fn take(&mut self) -> Node {
        if !self.open.is_empty() || self.done.len() != 1 {
            return Node::Error(format!(
                "incomplete reply: {} done, {} open",
                self.done.len(),
                self.open.len()
            ));
        }
        self.done.remove(0)
    }

    fn add(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.done.push(node),
            Some((Node::Array(items) | Node::Map(items) | Node::Set(items), missing)) => {
                items.push(node);
                if let Some(n) = missing {
                    *n -= 1;
                }
            }
            Some(_) => {}
        }
        self.finish();
    }

    fn begin(&mut self, node: Node, missing: Option<usize>) {
        self.open.push((node, missing));
        self.finish();
    }

    fn finish(&mut self) {
        if matches!(self.open.last(), Some((_, Some(0))))
            && let Some((node, _)) = self.open.pop()
        {
            self.add(node);
        }
    }
}

impl Reply for Recorder {
    fn simple(&mut self, text: &'static str) {
        self.add(Node::Simple(text));
    }
    fn bulk(&mut self, bytes: &[u8]) {
        self.add(Node::Bulk(bytes.to_vec()));
    }
    fn int(&mut self, n: i64) {
        self.add(Node::Int(n));
    }
    fn double(&mut self, n: f64) {
        self.add(Node::Double(n));
    }
    fn null(&mut self) {
        self.add(Node::Null);
    }
    fn null_array(&mut self) {
        self.add(Node::Null);
    }
    fn array(&mut self, len: usize) {
        self.begin(Node::Array(Vec::new()), Some(len));
    }
    fn map(&mut self, pairs: usize) {
        self.begin(Node::Map(Vec::new()), Some(2 * pairs));
    }
    fn set(&mut self, len: usize) {
        self.begin(Node::Set(Vec::new()), Some(len));
    }
    fn open(&mut self) {
        self.begin(Node::Array(Vec::new()), None);
    }
    fn close(&mut self, len: usize) {
        if let Some((node, _)) = self.open.pop() {
            debug_assert!(
                matches!(&node, Node::Array(a) if a.len() == len),
                "closed with {len} of {node:?}"
            );
            self.add(node);
        }
    }
    fn open_map(&mut self) {
        self.begin(Node::Map(Vec::new()), None);
    }
    fn close_map(&mut self, pairs: usize) {
        if let Some((node, _)) = self.open.pop() {
            debug_assert!(
                matches!(&node, Node::Map(m) if m.len() == 2 * pairs),
                "closed with {pairs} of {node:?}"
            );
            self.add(node);
        }
    }
    fn is_resp3(&self) -> bool {
        self.resp3
    }
}

/// Short text for examples: `OK`, `"bytes"`, `12`, `1.5`, `nil`, `[a b]`,
/// `{k v}`, `~[a b]`, `-ERR ...`.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, open: &str, items: &[Node], close: &str| {
            f.write_str(open)?;
            for (i, item) in items.iter().enumerate() {
                write!(f, "{}{item}", if i == 0 { "" } else { " " })?;
            }
            f.write_str(close)
        };
        match self {
            Node::Simple(text) => f.write_str(text),
            Node::Bulk(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Node::Int(n) => write!(f, "{n}"),
            Node::Double(n) => write!(f, "{n}"),
            Node::Null => f.write_str("nil"),
            Node::Array(items) => list(f, "[", items, "]"),
            Node::Map(items) => list(f, "{", items, "}"),
            Node::Set(items) => list(f, "~[", items, "]"),
            Node::Error(text) => write!(f, "-{text}"),
        }
    }
}
