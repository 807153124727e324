use super::*;
use crate::format::resp::push_command;
use proptest::prelude::*;
use std::io::Read;

fn history() -> HistoryId {
    HistoryId::new([0xAB; 16]).unwrap()
}

/// Appends a group of `effects` commands and returns what follows it.
struct Writer {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    seq: u64,
    crc: u64,
}

impl Writer {
    fn new(seq: u64, crc: u64) -> Self {
        Self {
            bytes: Vec::new(),
            ends: vec![0],
            seq,
            crc,
        }
    }

    fn header(&self, effects: u32, durable: u64) -> GroupHeader {
        GroupHeader {
            single_key: true,
            base: false,
            first_seq: self.seq,
            effects,
            time_ms: 1_795_000_000_000,
            prev_crc: self.crc,
            durable,
            history: history(),
        }
    }

    fn group(&mut self, effects: u32, durable: u64) -> &mut Self {
        let header = self.header(effects, durable);
        let mut buffer = vec![0; GROUP_HEADER_LEN];
        push_command(&mut buffer, &[b"SELECT", b"0"]);
        for i in 0..effects {
            push_command(
                &mut buffer,
                &[
                    b"SET",
                    b"k",
                    (self.seq + u64::from(i)).to_string().as_bytes(),
                ],
            );
        }
        self.crc = seal(&mut buffer, &header).unwrap();
        self.bytes.extend(buffer);
        self.ends.push(self.bytes.len());
        self.seq += u64::from(effects);
        self
    }

    fn start(&self, seq: u64, prev_crc: u64) -> ScanStart {
        ScanStart {
            history: Some(history()),
            first_seq: Some(seq),
            prev_crc: Some(prev_crc),
            durable: 0,
        }
    }
}

/// Groups 1-2 | 3 | (mark 3) 4-6 | (mark 3) 7
fn four() -> Writer {
    let mut w = Writer::new(1, 0);
    w.group(2, 0).group(1, 0).group(3, 3).group(1, 3);
    w
}

fn scan(bytes: &[u8], start: ScanStart) -> (Vec<Group<'_>>, Tail) {
    let mut scanner = GroupScanner::new(bytes, start);
    let groups: Vec<Group<'_>> = scanner.by_ref().collect();
    let tail = scanner.tail().unwrap().clone();
    // Whoever reads one group after the other finds the same.
    let mut seen = 0;
    let visit = |group: &Group<'_>| {
        assert_eq!(*group, groups[seen]);
        seen += 1;
    };
    let part = |at: u64, into: &mut [u8]| (&bytes[at as usize..]).read(into);
    let judged = judge(bytes, bytes.len() as u64, start, visit, part).unwrap();
    assert_eq!(
        judged,
        Judgement {
            end: scanner.end(),
            next_seq: scanner.next_seq(),
            last_crc: scanner.last_crc(),
            tail: tail.clone(),
        }
    );
    assert_eq!(seen, groups.len());
    assert_eq!(
        highest_mark_of(bytes, bytes.len() as u64, history(), part).unwrap(),
        highest_mark(bytes, Some(history()))
    );
    (groups, tail)
}

fn scan4(bytes: &[u8]) -> (usize, Tail) {
    let (groups, tail) = scan(bytes, four().start(1, 0));
    // Whatever was done to the bytes: only what was written comes out.
    let original = four();
    for (i, group) in groups.iter().enumerate() {
        assert_eq!(group.offset as usize, original.ends[i]);
        assert_eq!(
            group.payload,
            &original.bytes[group.payload_offset() as usize..original.ends[i + 1]]
        );
    }
    (groups.len(), tail)
}

/// Changing this breaks every log in the world.
#[test]
fn golden() {
    let mut buffer = vec![b'?'; GROUP_HEADER_LEN];
    push_command(&mut buffer, &[b"SELECT", b"0"]);
    push_command(&mut buffer, &[b"DEL", b"k"]);
    let header = GroupHeader {
        time_ms: 1,
        prev_crc: 0xC0FFEE,
        ..Writer::new(7, 0).header(1, 5)
    };
    let crc = seal(&mut buffer, &header).unwrap();
    let text = String::from_utf8(buffer).unwrap();
    let expected = "#PG1 f=k--- s=00000000000000000007 n=0000000001 t=00000000000000000001 \
        l=00000000000000000043 p=0000000000c0ffee d=00000000000000000005 \
        h=abababababababababababababababab x=9eac714a c=164caf7d7486639c\r\n\
        *2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n";
    assert_eq!(text, expected);
    assert_eq!(format!("{crc:016x}"), "164caf7d7486639c");
}

#[test]
fn clean() {
    let w = four();
    let (groups, tail) = scan(&w.bytes, w.start(1, 0));
    assert_eq!((groups.len(), tail), (4, Tail::Clean));
    assert_eq!(groups[2].header.durable, 3);
    let (groups, tail) = scan(&w.bytes, ScanStart::default());
    assert_eq!((groups.len(), tail), (4, Tail::Clean));
    assert_eq!(scan(b"", w.start(1, 0)), (vec![], Tail::Clean));
    // One with nothing behind its line, and another behind it.
    let mut bare = four();
    let mut line = [0; GROUP_HEADER_LEN];
    bare.crc = bare.header(0, 7).encode_into(&mut line, b"");
    bare.bytes.extend(line);
    bare.group(1, 7);
    let (groups, tail) = scan(&bare.bytes, bare.start(1, 0));
    assert_eq!((groups.len(), tail), (6, Tail::Clean));
    let mut scanner = GroupScanner::new(&w.bytes, ScanStart::default());
    assert_eq!(scanner.by_ref().count(), 4);
    assert_eq!(
        (scanner.next_seq(), scanner.last_crc(), scanner.mark()),
        (Some(8), Some(w.crc), 3)
    );
}

/// What is lost below a mark is corruption, above it a crash tail.
#[test]
fn every_flipped_bit() {
    let w = four();
    for at in 0..w.bytes.len() {
        let group = w.ends.iter().filter(|&&end| end <= at).count() - 1;
        for bit in 0..8 {
            let mut bytes = w.bytes.clone();
            bytes[at] ^= 1 << bit;
            let (good, tail) = scan4(&bytes);
            assert_eq!(good, group, "byte {at} bit {bit}");
            match tail {
                Tail::Corrupt { at, .. } => assert!(group < 2 && at as usize == w.ends[group]),
                Tail::Torn { at, .. } => assert!(group >= 2 && at as usize == w.ends[group]),
                Tail::Clean => panic!("byte {at} bit {bit} went unnoticed"),
            }
        }
    }
}

#[test]
fn every_truncation_and_zero_filled_tail() {
    let w = four();
    for cut in 0..=w.bytes.len() {
        let good = w.ends.iter().filter(|&&end| end <= cut).count() - 1;
        let (found, tail) = scan4(&w.bytes[..cut]);
        assert_eq!(found, good);
        let left = cut - w.ends[good];
        match tail {
            Tail::Clean => assert_eq!(left, 0),
            Tail::Torn { at, .. } => assert!(left > 0 && at as usize == w.ends[good]),
            // Only once the line with mark 3 is whole would 3 be missing, but
            // then 3 is there.
            Tail::Corrupt { .. } => panic!("cut at {cut}"),
        }
        if cut == w.bytes.len() {
            continue;
        }
        let mut zeroed = w.bytes.clone();
        zeroed[cut..].fill(0);
        let (found, tail) = scan4(&zeroed);
        assert!(
            found == good && matches!(tail, Tail::Torn { .. }),
            "zeros from {cut}"
        );
        zeroed.resize(w.bytes.len() + 5000, 0);
        assert!(matches!(scan4(&zeroed).1, Tail::Torn { .. }));
    }
}

/// The last group is torn, and the only one to know that the damaged one
/// before it had been durable.
#[test]
fn a_mark_counts_though_its_payload_is_torn() {
    let mut w = Writer::new(1, 0);
    w.group(2, 0).group(1, 2);
    let mut bytes = w.bytes.clone();
    bytes.truncate(w.ends[1] + GROUP_HEADER_LEN + 3);
    bytes[w.ends[1] - 3] ^= 1;
    assert!(matches!(
        scan(&bytes, w.start(1, 0)).1,
        Tail::Corrupt { at: 0, .. }
    ));
    // Without its whole line nobody knows.
    bytes.truncate(w.ends[1] + GROUP_HEADER_LEN - 1);
    assert!(matches!(
        scan(&bytes, w.start(1, 0)).1,
        Tail::Torn { at: 0, .. }
    ));
}

/// A block before a line is lost with the line break in it.
#[test]
fn a_line_is_found_behind_zeros() {
    let w = four();
    let mut bytes = w.bytes.clone();
    bytes[..w.ends[2]].fill(0);
    assert!(matches!(
        scan(&bytes, w.start(1, 0)).1,
        Tail::Corrupt { at: 0, .. }
    ));
    assert!(matches!(
        scan(&bytes, ScanStart::default()).1,
        Tail::Corrupt { at: 0, .. }
    ));
}

#[test]
fn bytes_missing_or_added_in_the_middle() {
    let w = four();
    for at in 0..w.ends[2] {
        let mut less = w.bytes.clone();
        less.drain(at..at + 10.min(w.ends[2] - at));
        assert!(
            matches!(scan4(&less).1, Tail::Corrupt { .. }),
            "ten bytes less at {at}"
        );
        let mut more = w.bytes.clone();
        more.splice(at..at, *b"# a note\r\n");
        assert!(
            matches!(scan4(&more).1, Tail::Corrupt { .. }),
            "a line more at {at}"
        );
    }
}

#[test]
fn whole_groups_that_are_not_due() {
    let w = four();
    let corrupt_at = |bytes: &[u8], at: usize| match scan(bytes, w.start(1, 0)).1 {
        Tail::Corrupt { at: found, why } => {
            assert_eq!(found as usize, at, "{why}");
            why.expected.into_owned()
        }
        other => panic!("{other:?}"),
    };
    // A group missing, twice, and another history's.
    let missing = [&w.bytes[..w.ends[1]], &w.bytes[w.ends[2]..]].concat();
    assert!(corrupt_at(&missing, w.ends[1]).contains("from sequence 3"));
    let twice = [&w.bytes[..w.ends[1]], &w.bytes].concat();
    corrupt_at(&twice, w.ends[1]);
    let mut other = Writer::new(8, w.crc);
    other.group(1, 0);
    let chained = [&w.bytes[..], &other.bytes].concat();
    assert_eq!(scan(&chained, w.start(1, 0)).1, Tail::Clean);
    let mut unchained = Writer::new(8, w.crc ^ 1);
    unchained.group(1, 0);
    let unchained = [&w.bytes[..], &unchained.bytes].concat();
    assert!(corrupt_at(&unchained, w.bytes.len()).contains("follows the one"));
    let foreign = ScanStart {
        history: HistoryId::new([1; 16]),
        ..ScanStart::default()
    };
    assert!(matches!(
        scan(&w.bytes, foreign).1,
        Tail::Corrupt { at: 0, .. }
    ));
}

/// Cutting it off as torn would lose what a newer version acknowledged.
#[test]
fn groups_of_another_version_are_never_torn() {
    let good = four().bytes;
    let last = four().ends[3];
    let newer = |line: &[u8]| [&good[..last], line].concat();
    let mut resealed = newer(&good[last..]);
    resealed[last + 3] = b'2';
    let x = last + X_AT;
    let check = format!("{:08x}", crc64(&resealed[last..x]) as u32);
    resealed[x..x + 8].copy_from_slice(check.as_bytes());
    for (bytes, version) in [
        (resealed, "version 2"),
        (newer(b"#PG2 "), "version 2"),
        (newer(b"#PG0 as it never was"), "version 0"),
        (newer(b"#PG123456789 \r\n*1\r\n"), "version 123456789"),
    ] {
        let (groups, tail) = scan4(&bytes);
        assert_eq!(groups, 3, "{version}");
        let Tail::Corrupt { at, why } = tail else {
            panic!("{version}: {tail:?}");
        };
        assert_eq!((at, why.intact), (last as u64, true), "{why}");
        assert!(why.to_string().contains(version), "{why}");
    }
    // What only looks like it is what a crash leaves, and a changed digit is damage.
    for line in [
        "#PG",
        "#PG2",
        "#PG2x ",
        "#PG 2 ",
        "#PG99999999999 ",
        "#PH2 ",
    ] {
        let (groups, tail) = scan4(&newer(line.as_bytes()));
        assert!(
            groups == 3 && matches!(tail, Tail::Torn { .. }),
            "{line}: {tail:?}"
        );
    }
    let mut changed = good.clone();
    changed[last + 3] = b'2';
    let (_, tail) = scan4(&changed);
    assert!(matches!(tail, Tail::Torn { .. }), "{tail:?}");
}

#[test]
fn a_mark_from_elsewhere() {
    let w = four();
    let known = |bytes: &[u8], durable| {
        scan(
            bytes,
            ScanStart {
                durable,
                ..w.start(1, 0)
            },
        )
        .1
    };
    assert_eq!(known(&w.bytes, 7), Tail::Clean);
    assert!(matches!(known(&w.bytes, 8), Tail::Corrupt { .. }));
    let cut = &w.bytes[..w.ends[3] + 20];
    assert!(matches!(known(cut, 6), Tail::Torn { .. }));
    assert!(matches!(known(cut, 7), Tail::Corrupt { .. }));
    assert!(matches!(
        known(&w.bytes[..w.ends[3]], 7),
        Tail::Corrupt { .. }
    ));
    assert!(matches!(known(b"", 1), Tail::Corrupt { at: 0, .. }));
    assert_eq!(highest_mark(&w.bytes, Some(history())), 3);
    assert_eq!(highest_mark(&w.bytes, HistoryId::new([1; 16])), 0);
}

/// A value that holds a log file: in a good group it is never looked at.
#[test]
fn groups_inside_a_value() {
    let mut forged = Writer::new(1000, 0);
    forged.group(1, 999);
    let mut w = Writer::new(1, 0);
    let mut buffer = vec![0; GROUP_HEADER_LEN];
    push_command(&mut buffer, &[b"SET", b"k", &forged.bytes]);
    w.crc = seal(&mut buffer, &w.header(1, 0)).unwrap();
    w.bytes = buffer;
    w.seq = 2;
    w.group(1, 0);
    assert_eq!(scan(&w.bytes, w.start(1, 0)).1, Tail::Clean);
    assert_eq!(highest_mark(&w.bytes, Some(history())), 0);
    let cut = &w.bytes[..w.bytes.len() - 1];
    assert!(matches!(scan(cut, w.start(1, 0)).1, Tail::Torn { .. }));
}

#[test]
fn refused_values() {
    let reject = |edit: &dyn Fn(&mut GroupHeader)| {
        let mut header = Writer::new(5, 0).header(0, 4);
        edit(&mut header);
        let mut line = [0; GROUP_HEADER_LEN];
        header.encode_into(&mut line, b"");
        UnverifiedGroup::parse(&line, 0, GROUP_HEADER_LEN as u64).is_err()
    };
    assert!(!reject(&|_| ()));
    assert!(reject(&|h| h.durable = 5));
    assert!(reject(&|h| (h.first_seq, h.durable) = (0, 0)));
    assert!(reject(&|h| (h.first_seq, h.effects) = (u64::MAX, 1)));
    assert!(seal(&mut [0; 10], &Writer::new(1, 0).header(0, 0)).is_err());
    // The length is compared with the file before anything else is done.
    let mut line = [0; GROUP_HEADER_LEN];
    Writer::new(5, 0)
        .header(0, 4)
        .encode_into(&mut line, &[0; 100]);
    let len = GROUP_HEADER_LEN as u64;
    assert!(UnverifiedGroup::parse(&line, 0, len + 99).is_err());
    assert_eq!(
        UnverifiedGroup::parse(&line, 0, len + 100)
            .unwrap()
            .payload_len(),
        100
    );
}

proptest! {
    #[test]
    fn roundtrip(
        flags in any::<(bool, bool)>(), seq in 1u64.., effects in any::<u32>(),
        time_ms in any::<u64>(), prev_crc in any::<u64>(), durable in any::<u64>(),
        bits in any::<[u8; 16]>(), payload in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let (single_key, base) = flags;
        let first_seq = seq.min(u64::MAX - u64::from(effects));
        let history = HistoryId::new(bits).unwrap_or(history());
        let durable = durable % first_seq;
        let header =
            GroupHeader { single_key, base, first_seq, effects, time_ms, prev_crc, durable, history };
        let mut buffer = vec![0xFF; GROUP_HEADER_LEN];
        buffer.extend(&payload);
        let crc = seal(&mut buffer, &header).unwrap();
        let (groups, tail) = scan(&buffer, ScanStart::default());
        prop_assert_eq!(tail, Tail::Clean);
        prop_assert_eq!(&groups[..], &[Group { header, crc, offset: 0, payload: &payload }]);
    }

    /// Blocks of zeros, of noise and of other parts of the file, anywhere.
    #[test]
    fn any_damage(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..600usize, 0..3u8, any::<u8>()), 1..4),
    ) {
        let mut bytes = four().bytes;
        for (to, from, len, kind, byte) in edits {
            let (to, from) = (to.index(bytes.len()), from.index(bytes.len()));
            let len = len.min(bytes.len() - to).min(bytes.len() - from);
            match kind {
                0 => bytes[to..to + len].fill(0),
                1 => bytes[to..to + len].fill(byte),
                _ => bytes.copy_within(from..from + len, to),
            }
        }
        let changed = bytes != four().bytes;
        let (good, tail) = scan4(&bytes);
        prop_assert_eq!(changed, tail != Tail::Clean);
        prop_assert_eq!(good == 4, !changed);
    }
}

/// Wherever a line stands in what is read at once, and however long the file claims to be: it is found, and little memory is
/// enough.
#[test]
fn marks_are_found_piece_by_piece() {
    let w = four();
    let line = w.bytes.len() - GROUP_HEADER_LEN - 60;
    for skip in 0..=2 * GROUP_HEADER_LEN + 80 {
        let mut bytes = vec![b'x'; (1 << 18) - skip];
        bytes.extend_from_slice(&w.bytes[..w.bytes.len() - 1]);
        assert_eq!(highest_mark(&bytes, Some(history())), 3, "{skip}");
        bytes.truncate((1 << 18) - skip + line);
        bytes.resize(1 << 19, b'#');
        assert_eq!(highest_mark(&bytes, Some(history())), 3, "{skip}");
    }
    // A group that verifies is stepped over, marks in its value included, in however many pieces it is read.
    let mut inner = Writer::new(50, 0);
    inner.group(1, 49);
    let mut outer = Writer::new(1, 0);
    outer.group(2, 1);
    let mut value = vec![b'x'; 3 << 18];
    value[1 << 18..][..inner.bytes.len()].copy_from_slice(&inner.bytes);
    let mut group = vec![0; GROUP_HEADER_LEN];
    push_command(&mut group, &[b"SET", b"k", &value]);
    seal(&mut group, &outer.header(1, 2)).unwrap();
    let whole = [b"torn".as_slice(), &group].concat();
    assert_eq!(highest_mark(&whole, Some(history())), 2);
    let damaged = &whole[..whole.len() - 1];
    assert_eq!(highest_mark(damaged, Some(history())), 49);
    // Zeros that nobody wrote.
    let len = 100 << 20;
    let mut most = 0;
    let zeros = |_, into: &mut [u8]| {
        most = most.max(into.len());
        into.fill(0);
        Ok(into.len())
    };
    assert_eq!(highest_mark_in(zeros, (7, len), None).unwrap(), 0);
    assert!(most <= 1 << 18, "{most}");
}
