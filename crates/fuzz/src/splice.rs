use bytes::Bytes;
use wire::Encoded;

/// The frame with what its cuts stand for.
pub(crate) fn filled(frame: &Encoded, slices: &[Bytes]) -> Vec<u8> {
    assert_eq!(frame.cuts.len(), slices.len());
    let (mut whole, mut at) = (Vec::new(), 0);
    for (cut, slice) in frame.cuts.iter().zip(slices) {
        assert_eq!(cut.bytes, slice.len());
        whole.extend_from_slice(&frame.bytes[at..cut.at]);
        whole.extend_from_slice(slice);
        at = cut.at;
    }
    whole.extend_from_slice(&frame.bytes[at..]);
    whole
}

/// A frame with so many bytes behind it that nobody reads. The tag of an unknown field is taken for a claim (`wire`'s
/// `claims.rs`): one beyond 1,024 is refused where not as many bytes follow. An input may have them behind its message; what
/// is encoded from that has not.
pub(crate) fn with_room_behind(frame: &Bytes) -> Bytes {
    let mut roomy = frame.to_vec();
    roomy.resize(frame.len() + INPUT_BYTES_MAX, 0);
    roomy.into()
}

/// As `scripts/fuzz.sh` sets it.
const INPUT_BYTES_MAX: usize = 16 << 10;
