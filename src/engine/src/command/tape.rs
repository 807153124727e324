//! A reply kept for later, without loss.

use super::Reply;

/// One call of [`Reply`].
#[derive(Debug, Clone, PartialEq)]
enum Part {
    Simple(&'static str),
    Bulk(Box<[u8]>),
    Int(i64),
    Double(f64),
    Null,
    NullArray,
    Array(usize),
    Map(usize),
    Set(usize),
    Open,
    Close(usize),
    OpenMap,
    CloseMap(usize),
}

/// Keeps a reply until its client can take it.
#[derive(Debug, Default, PartialEq)]
pub struct Tape {
    parts: Vec<Part>,
    resp3: bool,
}

impl Tape {
    /// For a client that speaks RESP3, or not.
    pub fn new(resp3: bool) -> Self {
        Tape {
            parts: Vec::new(),
            resp3,
        }
    }

    /// Gives the reply.
    pub fn play(&self, to: &mut dyn Reply) {
        for part in &self.parts {
            match part {
                Part::Simple(text) => to.simple(text),
                Part::Bulk(bytes) => to.bulk(bytes),
                Part::Int(n) => to.int(*n),
                Part::Double(n) => to.double(*n),
                Part::Null => to.null(),
                Part::NullArray => to.null_array(),
                Part::Array(len) => to.array(*len),
                Part::Map(pairs) => to.map(*pairs),
                Part::Set(len) => to.set(*len),
                Part::Open => to.open(),
                Part::Close(len) => to.close(*len),
                Part::OpenMap => to.open_map(),
                Part::CloseMap(pairs) => to.close_map(*pairs),
            }
        }
    }
}

impl Reply for Tape {
    fn simple(&mut self, text: &'static str) {
        self.parts.push(Part::Simple(text));
    }
    fn bulk(&mut self, bytes: &[u8]) {
        self.parts.push(Part::Bulk(bytes.into()));
    }
    fn int(&mut self, n: i64) {
        self.parts.push(Part::Int(n));
    }
    fn double(&mut self, n: f64) {
        self.parts.push(Part::Double(n));
    }
    fn null(&mut self) {
        self.parts.push(Part::Null);
    }
    fn null_array(&mut self) {
        self.parts.push(Part::NullArray);
    }
    fn array(&mut self, len: usize) {
        self.parts.push(Part::Array(len));
    }
    fn map(&mut self, pairs: usize) {
        self.parts.push(Part::Map(pairs));
    }
    fn set(&mut self, len: usize) {
        self.parts.push(Part::Set(len));
    }
    fn open(&mut self) {
        self.parts.push(Part::Open);
    }
    fn close(&mut self, len: usize) {
        self.parts.push(Part::Close(len));
    }
    fn open_map(&mut self) {
        self.parts.push(Part::OpenMap);
    }
    fn close_map(&mut self, pairs: usize) {
        self.parts.push(Part::CloseMap(pairs));
    }
    fn is_resp3(&self) -> bool {
        self.resp3
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::reply::Recorder;

    #[test]
    fn a_tape_gives_back_what_it_got() {
        fn speak(to: &mut dyn Reply) {
            to.array(9);
            to.simple("OK");
            to.bulk(b"\x00\xff");
            to.int(-1);
            to.double(1.5);
            to.map(1);
            to.null();
            to.null_array();
            to.set(1);
            to.int(2);
            to.open();
            to.int(3);
            to.close(1);
            to.open_map();
            to.int(4);
            to.int(5);
            to.close_map(1);
            to.array(0);
        }
        let (mut tape, mut copy) = (Tape::new(true), Tape::new(true));
        speak(&mut tape);
        tape.play(&mut copy);
        assert_eq!(tape, copy);
        let (mut direct, mut played) = (Recorder::new(true), Recorder::new(true));
        speak(&mut direct);
        tape.play(&mut played);
        assert_eq!(direct.take(), played.take());
    }
}
