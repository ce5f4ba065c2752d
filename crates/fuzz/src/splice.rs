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
