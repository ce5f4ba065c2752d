//! What a data folder holds beside the log itself.

use commitlog::FileFormat;

use crate::cap::Cap;

/// A text file has a line, and a JSON file a value, for a few bytes each.
pub fn cap(input_bytes: usize) -> Cap {
    Cap { one_bytes: 4_096 + 64 * input_bytes, live_bytes: 16_384 + 256 * input_bytes }
}

pub fn run(input: &[u8]) {
    let Some((&which, content)) = input.split_first() else { return };
    let format = FileFormat::ALL[usize::from(which) % FileFormat::ALL.len()];
    let mut content = content.to_vec();
    if let FileFormat::Producers | FileFormat::ProducerBatches = format {
        mend(&mut content);
    }
    if let Some(written) = format.rewritten(&content) {
        assert_eq!(
            format.rewritten(&written).as_ref(),
            Some(&written),
            "{format:?} is read as it is written"
        );
    }
}

/// A snapshot begins with its version and a checksum of the rest.
fn mend(content: &mut [u8]) {
    if content.len() >= 6 {
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &content[6..]) as u32;
        content[2..6].copy_from_slice(&crc.to_be_bytes());
    }
}
