//! Zig-zag variable-length integers, as protobuf and Kafka's records have them.

/// Takes an integer from the front of `bytes`; `None` if it does not end there or is longer than 64 bits need.
pub(crate) fn take_long(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *bytes = &bytes[index + 1..];
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// Takes an integer that must fit 32 bits.
pub(crate) fn take_int(bytes: &mut &[u8]) -> Option<i32> {
    i32::try_from(take_long(bytes)?).ok()
}

pub(crate) fn put(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// How many bytes [`put`] writes.
pub(crate) fn length(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)) as u64;
    (64 - (zigzag | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_encoding_is_zig_zag() {
        let encoded = |value| {
            let mut out = Vec::new();
            put(&mut out, value);
            out
        };
        assert_eq!(encoded(0), [0]);
        assert_eq!(encoded(-1), [1]);
        assert_eq!(encoded(63), [0x7e]);
        assert_eq!(encoded(64), [0x80, 0x01]);
        assert_eq!(encoded(i64::MIN), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    }

    #[test]
    fn what_does_not_end_is_refused() {
        assert_eq!(take_long(&mut &[0x80; 10][..]), None);
        assert_eq!(take_long(&mut &[0x80][..]), None);
        assert_eq!(take_int(&mut &[0xff, 0xff, 0xff, 0xff, 0x1f][..]), None, "33 bits");
    }

    proptest! {
        #[test]
        fn every_integer_survives(value: i64, tail: Vec<u8>) {
            let mut out = Vec::new();
            put(&mut out, value);
            prop_assert_eq!(out.len(), length(value));
            out.extend(&tail);
            let mut rest = &out[..];
            prop_assert_eq!(take_long(&mut rest), Some(value));
            prop_assert_eq!(rest, &tail[..]);
        }
    }
}
