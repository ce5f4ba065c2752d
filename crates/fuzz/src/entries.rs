//! The records of `__consumer_offsets`, and what consumers of the classic protocol say inside its opaque fields.

use group::Entry;

use crate::cap::Cap;

/// Nothing is reserved that bytes do not pay for; the largest thing that a single byte may stand for is a member of a group,
/// in a vector that doubles.
pub fn cap(input_bytes: usize) -> Cap {
    Cap { one_bytes: 4_096 + 64 * input_bytes, live_bytes: 8_192 + 128 * input_bytes }
}

pub fn run(input: &[u8]) {
    let Some((&how, rest)) = input.split_first() else { return };
    match how {
        // What a member of a group says.
        u8::MAX => drop(group::reads_embedded(rest)),
        // A key, of which the first byte is the length, and a value.
        _ => {
            let (key, value) = rest.split_at(usize::from(how).min(rest.len()));
            read(key, None);
            read(key, Some(value));
        }
    }
}

fn read(key: &[u8], value: Option<&[u8]>) {
    match Entry::decode(key, value) {
        Ok(Some(entry)) => {
            let (key, value) = entry.encode();
            assert_eq!(Entry::decode(&key, value.as_deref()), Ok(Some(entry)));
        }
        Ok(None) => {}
        Err(error) => drop(error.to_string()),
    }
}
