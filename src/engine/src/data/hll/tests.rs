//! Forms against plain registers.

use super::*;
use crate::base::random::{Random, SeededRandom};

fn registers_of(hll: &[u8]) -> Registers {
    let mut registers = [0; REGISTERS];
    merge(hll, &mut registers).unwrap();
    registers
}

#[test]
fn both_forms_hold_what_was_added() {
    let mut rng = SeededRandom::new(9);
    for max_sparse in [0, 100, 3000, 100_000] {
        let mut hll = empty();
        let mut want = [0u8; REGISTERS];
        for _ in 0..2500 {
            // Few registers, close to each other, so that runs meet.
            let register = (rng.below(40) * rng.below(20)) as usize;
            let to = 1 + rng.below(if max_sparse == 100 { 50 } else { 5 }) as u8;
            let raised = raise(&mut hll, register, to, max_sparse).unwrap();
            assert_eq!(raised, to > want[register]);
            want[register] = want[register].max(to);
        }
        assert_eq!(registers_of(&hll), want);
        assert_eq!(count(&hll).unwrap(), count_merged(&want));
        assert!(is_hll(&hll));
        make_dense(&mut hll).unwrap();
        assert_eq!((registers_of(&hll), hll.len()), (want, DENSE_LEN));
        assert_eq!(count(&hll).unwrap(), count_merged(&want));
    }
}

/// Raising all in one go gives the bytes that raising one after the other does.
#[test]
fn looking_on_finds_the_same_runs() {
    let mut rng = SeededRandom::new(11);
    for round in 0..300 {
        let (mut one, mut all) = (empty(), empty());
        for _ in 0..5 {
            let mut registers = [0u8; REGISTERS];
            let (spread, kinds) = (1 + rng.below(200), 1 + rng.below(4));
            for _ in 0..rng.below(400) {
                let register = (rng.below(40) * spread + rng.below(8)) as usize % REGISTERS;
                registers[register] = 1 + rng.below(kinds) as u8;
            }
            let max_sparse = if round % 4 == 0 { 300 } else { 3000 };
            for (register, to) in registers.iter().enumerate().filter(|(_, to)| **to > 0) {
                raise(&mut one, register, *to, max_sparse).unwrap();
            }
            raise_all(&mut all, &registers, max_sparse).unwrap();
            assert_eq!(one, all, "round {round}");
        }
    }
}

#[test]
fn estimates_are_close() {
    let mut hll = empty();
    for n in 0..100_000u32 {
        let (register, to) = place_of(n.to_string().as_bytes());
        raise(&mut hll, register, to, 3000).unwrap();
        if [10, 100, 1000, 10_000, 99_999].contains(&n) {
            let off = count(&hll).unwrap().abs_diff(u64::from(n) + 1);
            assert!(off * 30 <= u64::from(n), "{n}: {off}");
        }
    }
    assert!(is_dense(&hll));
}

#[test]
fn foreign_bytes_are_found_out() {
    assert!(!is_hll(b"HYLL"));
    assert!(!is_hll(&[0; DENSE_LEN]));
    let mut hll = empty();
    assert_eq!(count(&hll), Ok(0));
    hll.push(0);
    assert_eq!(count(&hll), Err(Corrupt));
    assert_eq!(raise(&mut hll.clone(), 5, 1, 3000), Ok(true));
    hll.truncate(HEADER_LEN);
    assert!(is_hll(&hll));
    assert_eq!(count(&hll), Err(Corrupt));
    assert_eq!(raise(&mut hll, 5, 1, 3000), Err(Corrupt));
    hll.extend([0x40]);
    assert_eq!(make_dense(&mut hll), Err(Corrupt));
}
