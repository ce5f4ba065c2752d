use commitlog::FileFormat;

/// Each kind of file with a little in it.
pub(crate) fn files() -> Vec<Vec<u8>> {
    let number = |format| FileFormat::ALL.iter().position(|known| *known == format).unwrap_or_default() as u8;
    let all = FileFormat::ALL.into_iter();
    all.map(|format| [&[number(format)], &content(format)[..]].concat()).collect()
}

fn content(format: FileFormat) -> Vec<u8> {
    let id = "AAAAAAAAAAAAAAAAAAAACQ";
    match format {
        FileFormat::Offsets => b"0\n2\na-b.c 3 0\norders 0 42\n".to_vec(),
        FileFormat::Epochs => b"0\n2\n0 0\n5 17\n".to_vec(),
        // A version, room for the checksum, one producer, and what is known of it.
        FileFormat::Producers => [&[0, 1, 0, 0, 0, 0, 0, 0, 0, 1][..], &[1; 46]].concat(),
        // One producer with two batches.
        FileFormat::ProducerBatches => {
            [&[0, 1, 0, 0, 0, 0][..], &[0, 0, 0, 0, 0, 0, 0, 9, 2], &[1; 48]].concat()
        }
        FileFormat::OffsetIndex => [1u32, 100, 9, 900].map(u32::to_be_bytes).concat(),
        FileFormat::TimeIndex => [0u32, 1_000, 1, 0, 2_000, 9].map(u32::to_be_bytes).concat(),
        FileFormat::MetaProperties => {
            format!("#\ncluster.id={id}\ndirectory.id={id}\nnode.id=1\nversion=1\n").into_bytes()
        }
        FileFormat::CleanShutdown => br#"{"version":0,"brokerEpoch":7}"#.to_vec(),
        FileFormat::Incarnation => {
            format!(r#"{{"boot_id":"a-b","directory":"{id}","node_epoch":7,"version":1}}"#).into_bytes()
        }
    }
}
