use bytes::Bytes;
use domain::{ProducerEpoch, ProducerId};
use records::{BatchBuilder, Compression};

/// Batches of each codec, alone and several; the same for those that get their header and their compression here; and what
/// each codec alone makes of some bytes.
pub(crate) fn batches() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (index, codec) in Compression::ALL.into_iter().enumerate() {
        let (small, large) = (batch(codec, 1), batch(codec, 40));
        seeds.push([&[0], &small[..], &large].concat());
        seeds.push([&[1], &large[..]].concat());
        seeds.push([&[2 | (index as u8) << 3], &batch(Compression::None, 7)[..]].concat());
        seeds.push(
            [&[3 | (index as u8) << 3], &b"some bytes that records are made of, by the builder"[..]].concat(),
        );
        let plain = b"anabranch".repeat(30);
        let packed = codec.compress(&plain).expect("there is memory");
        seeds.push([&[3 + index as u8], &packed[..]].concat());
    }
    // Snappy without Java's frame, which librdkafka writes.
    seeds.push([&[5], &[9, 32][..], b"anabranch"].concat());
    // An lz4 frame whose blocks may have 4 MiB, empty, and with a block that is not compressed.
    let lz4 = b"\x04\x22\x4d\x18\x64\x70\xb9";
    seeds.push([&[6], &lz4[..], b"\0\0\0\0\x05\x5d\xcc\x02"].concat());
    seeds.push([&[6], &lz4[..], b"\x09\0\0\x80anabranch\0\0\0\0"].concat());
    seeds
}

fn batch(codec: Compression, records: i64) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    builder.producer(ProducerId(7), ProducerEpoch(1), 40);
    for n in 0..records {
        let (key, value) = (n.to_be_bytes(), format!("value {n}"));
        let headers = [(&b"header"[..], Some(&b"its value"[..])), (&b"null"[..], None)];
        builder.push(
            1_700_000_000_000 + n,
            (n % 3 != 0).then_some(&key[..]),
            (n % 5 != 4).then_some(value.as_bytes()),
            &headers[..(n % 3) as usize],
        );
    }
    builder.build()
}
