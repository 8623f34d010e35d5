//! Damage as bytes: the fuzzer chooses places and new values, so that it gets past checksums of everything it leaves alone.

/// Changes `content` as `data` says: four bytes each, three for the place, one to change it with.
pub fn apply(content: &mut Vec<u8>, data: &[u8]) {
    for change in data.as_chunks::<4>().0 {
        let place = u32::from_le_bytes([change[0], change[1], change[2], 0]) as usize;
        match content.len() {
            0 => return,
            // The highest places cut.
            bytes if place >= 0xff_0000 => content.truncate(place % (bytes + 1)),
            bytes => content[place % bytes] ^= change[3],
        }
    }
}
