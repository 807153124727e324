//! The dense form: six bits for each register, from the lowest bit of the
//! first byte on, so that four registers are three bytes.

/// The values of all registers.
pub fn values(body: &[u8]) -> impl Iterator<Item = u8> {
    body.as_chunks::<3>().0.iter().flat_map(|[a, b, c]| {
        let four = u32::from_le_bytes([*a, *b, *c, 0]);
        [0, 6, 12, 18].map(|shift| (four >> shift) as u8 & 63)
    })
}

/// Raises a register; `false` if it is as high already.
pub fn raise(body: &mut [u8], register: usize, to: u8) -> bool {
    let at = register / 4 * 3;
    let Some(place) = body.get_mut(at..at + 3) else {
        return false;
    };
    let shift = register % 4 * 6;
    let four = u32::from_le_bytes([place[0], place[1], place[2], 0]);
    if (four >> shift) as u8 & 63 >= to {
        return false;
    }
    let four = four & !(63 << shift) | u32::from(to & 63) << shift;
    place.copy_from_slice(&four.to_le_bytes()[..3]);
    true
}
