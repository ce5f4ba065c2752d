use crate::{CleanShutdown, Incarnation, MetaProperties, checkpoint, index::TailIndex, producer_snapshot};

/// A file of a data folder other than a log, by its content: what fuzzing goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    Offsets,
    Epochs,
    Producers,
    ProducerBatches,
    OffsetIndex,
    TimeIndex,
    MetaProperties,
    CleanShutdown,
    Incarnation,
}

impl FileFormat {
    pub const ALL: [FileFormat; 9] = [
        FileFormat::Offsets,
        FileFormat::Epochs,
        FileFormat::Producers,
        FileFormat::ProducerBatches,
        FileFormat::OffsetIndex,
        FileFormat::TimeIndex,
        FileFormat::MetaProperties,
        FileFormat::CleanShutdown,
        FileFormat::Incarnation,
    ];

    /// The content as it would be written by who has read it; `None` where it is refused.
    pub fn rewritten(self, content: &[u8]) -> Option<Vec<u8>> {
        let text = String::from_utf8_lossy(content);
        let written = match self {
            FileFormat::Offsets => checkpoint::encode_offsets(&checkpoint::decode_offsets(&text).ok()?),
            FileFormat::Epochs => checkpoint::encode_epochs(&checkpoint::decode_epochs(&text).ok()?),
            FileFormat::Producers => return producer_snapshot::rewritten(content),
            FileFormat::ProducerBatches => return producer_snapshot::rewritten_batches(content),
            FileFormat::OffsetIndex => {
                return TailIndex::decode(content, &[], u32::MAX, u32::MAX)
                    .map(|index| index.encode_offsets());
            }
            FileFormat::TimeIndex => {
                // Times count only up to the last offset that is known.
                let known = [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1];
                return TailIndex::decode(&known, content, u32::MAX, u32::MAX)
                    .map(|index| index.encode_times());
            }
            FileFormat::MetaProperties => text.parse::<MetaProperties>().ok()?.to_string(),
            FileFormat::CleanShutdown => CleanShutdown::decode(content)?.encode(),
            FileFormat::Incarnation => Incarnation::decode(content).ok()?.encode(),
        };
        Some(written.into_bytes())
    }
}
