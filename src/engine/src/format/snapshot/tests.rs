use super::*;
use crate::data::entry::SmallEntry;
use crate::format::ReadError;

fn header() -> SnapshotHeader {
    SnapshotHeader {
        created_ms: 1_700_000_000_000,
        seq: 42,
        history: HistoryId::new([3; 16]).unwrap(),
        seed: [9; 16],
        checksums: true,
        ending_fields: false,
    }
}

fn sample(compress: bool, checksums: bool) -> Vec<u8> {
    let mut w = SnapshotWriter::begin(
        Vec::new(),
        &SnapshotHeader {
            checksums,
            ..header()
        },
        compress,
    )
    .unwrap();
    for db in [0, 3] {
        w.database(db).unwrap();
        for i in 0..20u32 {
            let e = SmallEntry::new(
                Kind::String,
                format!("key{i}").as_bytes(),
                None,
                &[b"value value value"],
            );
            w.small(e.as_bytes()).unwrap();
        }
        for start in 0..2 {
            let part = Fragment {
                kind: Kind::List,
                ending: false,
                expiry: Some(7),
                key: b"big",
                total: 4,
                start: start * 2,
                count: 2,
                items: b"\x01a\x01b",
            };
            w.fragment(&part, 5).unwrap();
        }
        w.segment_done(None).unwrap();
    }
    let (bytes, summary) = w.finish().unwrap();
    assert_eq!((summary.len, summary.keys), (bytes.len() as u64, 42));
    bytes
}

/// All records, as text.
fn read(bytes: &[u8]) -> Result<Vec<String>, ReadError> {
    let mut r = SnapshotReader::begin(bytes, bytes.len() as u64)?;
    let (mut raw, mut all) = (Vec::new(), Vec::new());
    while let Some(block) = r.next_block(&mut raw)? {
        records(block, &raw, |record| {
            all.push(format!("{} {record:?}", block.db));
            Ok(())
        })?;
    }
    assert_eq!(r.keys(), 42);
    Ok(all)
}

#[test]
fn what_is_written_is_read() {
    for (compress, checksums) in [(true, true), (false, true), (true, false)] {
        let all = read(&sample(compress, checksums)).unwrap();
        assert_eq!(all.len(), 44);
        assert!(all.iter().any(|r| r.starts_with("3 Fragment")));
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let good = sample(true, true);
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(read(&bad).is_err(), "bit {bit} of byte {at}");
        }
        assert!(read(&good[..at]).is_err(), "cut at {at}");
    }
    let mut long = good.clone();
    long.push(0);
    assert!(read(&long).is_err());
}

#[test]
fn damage_without_checksums_is_harmless() {
    // Anything may come out, but no panic and no huge allocation.
    let good = sample(true, false);
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            let Ok(mut r) = SnapshotReader::begin(&bad[..], bad.len() as u64) else {
                continue;
            };
            let mut raw = Vec::new();
            while let Ok(Some(block)) = r.next_block(&mut raw) {
                let _ = records(block, &raw, |record| {
                    if let Record::Small(bytes) = record {
                        SmallEntry::from_bytes(bytes);
                    }
                    Ok(())
                });
            }
        }
    }
}

#[test]
fn versions_and_features_of_the_future_are_no_damage() {
    let resealed = |at: usize, byte: u8| {
        let mut bytes = header().encode();
        bytes[at] = byte;
        let crc = crc64(&bytes[..88]);
        bytes[88..].copy_from_slice(&crc.to_le_bytes());
        SnapshotHeader::parse(&bytes).unwrap_err()
    };
    let error = resealed(8, 2);
    assert!(error.intact && error.found == "version 2", "{error}");
    let error = resealed(17, 1);
    assert!(error.intact && error.found.contains("0x100"), "{error}");
    // The number alone was changed: that is damage.
    let mut bytes = header().encode();
    bytes[8] = 2;
    assert!(!SnapshotHeader::parse(&bytes).unwrap_err().intact);
    assert!(SnapshotHeader::parse(b"REDIS0011").is_err());
}
