//! Snapshots whose blocks say what a test wants, under right checksums: what
//! a reader meets when a writer was wrong, or somebody meant it.

use super::{Block, SnapshotHeader, SnapshotReader, SnapshotWriter};

/// A snapshot taken apart.
#[derive(Clone)]
pub struct Opened {
    /// What its header says.
    pub header: SnapshotHeader,
    /// Database, number of records and raw bytes of each block.
    pub blocks: Vec<(u32, u32, Vec<u8>)>,
    /// Keys, as the trailer says.
    pub keys: u64,
}

/// Takes a good snapshot apart.
pub fn open(bytes: &[u8]) -> Opened {
    let mut reader = SnapshotReader::begin(bytes, bytes.len() as u64).unwrap();
    let (mut blocks, mut raw) = (Vec::new(), Vec::new());
    while let Some(Block { db, records, .. }) = reader.next_block(&mut raw).unwrap() {
        blocks.push((db, records, raw.clone()));
    }
    Opened {
        header: reader.header,
        blocks,
        keys: reader.keys(),
    }
}

/// Puts one together, with every checksum right.
pub fn seal(opened: &Opened, compress: bool) -> Vec<u8> {
    let mut writer = SnapshotWriter::begin(Vec::new(), &opened.header, compress).unwrap();
    for (db, records, raw) in &opened.blocks {
        (writer.db, writer.records, writer.block) = (*db, *records, raw.clone());
        writer.flush(0).unwrap();
    }
    writer.keys = opened.keys;
    writer.finish().unwrap().0
}
