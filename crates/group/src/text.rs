use wire::StrBytes;

/// A record's strings have a signed 16-bit length; the newer requests' do not.
pub(crate) const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// A text as the messages hold it.
pub(crate) fn wire(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Whether all of them can be kept.
pub(crate) fn fit<'a>(texts: impl IntoIterator<Item = &'a str>) -> bool {
    texts.into_iter().all(|text| text.len() <= STRING_BYTES_MAX)
}
