use bytes::{BufMut, Bytes};
use kafka_protocol::{
    messages::ResponseHeader,
    protocol::{Decodable, Encodable, HeaderVersion, Request},
};

use crate::{Cut, FrameError, claims, request::FLEXIBLE_HEADER, splice::SpliceBuf};

/// A whole response frame, length included, but for what goes in at the cuts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    pub bytes: Bytes,
    /// In the order of their places; each stands for one placeholder that the message held.
    pub cuts: Vec<Cut>,
}

fn malformed(error: impl std::fmt::Display) -> FrameError {
    FrameError::Malformed { part: "response", reason: error.to_string() }
}

/// Writes a response; placeholders in it become cuts.
///
/// # Errors
/// The message has something that this version of it cannot express, or is larger than 2 GiB.
pub fn encode_response<R: Encodable + HeaderVersion>(
    response: &R,
    version: i16,
    correlation_id: i32,
) -> Result<Encoded, FrameError> {
    let mut frame = SpliceBuf::with_capacity(256);
    frame.put_i32(0);
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    header.encode(&mut frame, R::header_version(version)).map_err(malformed)?;
    response.encode(&mut frame, version).map_err(malformed)?;
    frame.into_frame().map_err(malformed)
}

/// Reads the response to a request of type `R` from a frame whose length was taken off.
pub fn decode_response<R: Request>(mut frame: Bytes, version: i16) -> Result<R::Response, FrameError> {
    ResponseHeader::decode(&mut frame, R::Response::header_version(version)).map_err(malformed)?;
    claims::decode(&mut frame, version, R::header_version(version) >= FLEXIBLE_HEADER).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{
        FetchRequest, FetchResponse,
        fetch_response::{FetchableTopicResponse, PartitionData},
    };

    use super::*;
    use crate::placeholder;

    fn response(records: Bytes) -> FetchResponse {
        let partition = PartitionData::default().with_high_watermark(9).with_records(Some(records.clone()));
        let second = PartitionData::default().with_partition_index(1).with_records(Some(records));
        let topic = FetchableTopicResponse::default().with_partitions(vec![partition, second]);
        FetchResponse::default().with_responses(vec![topic])
    }

    #[test]
    fn a_cut_stands_exactly_where_the_records_would() {
        for version in 4..=17 {
            let records = Bytes::from_static(&[0; 300]);
            let plain = encode_response(&response(records), version, 5).unwrap();
            let cut = encode_response(&response(placeholder(300)), version, 5).unwrap();
            assert_eq!(cut.cuts.len(), 2);
            let mut filled = Vec::new();
            let mut at = 0;
            for piece in &cut.cuts {
                filled.extend_from_slice(&cut.bytes[at..piece.at]);
                filled.extend_from_slice(&vec![0; piece.bytes]);
                at = piece.at;
            }
            filled.extend_from_slice(&cut.bytes[at..]);
            assert_eq!(filled, plain.bytes, "version {version}");
            let back = decode_response::<FetchRequest>(plain.bytes.slice(4..), version).unwrap();
            assert_eq!(back.responses[0].partitions[0].high_watermark, 9);
        }
    }
}
