//! What a gateway is answered by storage nodes, and a storage node by others: every API in every version, and the records
//! of a fetch cut out of it.

use std::fmt::Debug;

use bytes::Bytes;
use wire::{ApiKey, Request, SPOKEN, messages::FetchRequest};

use crate::{
    apis::with_request,
    cap::Cap,
    requests,
    splice::{filled, with_room_behind},
};

/// As for requests, whose decoder it is.
pub fn cap(input_bytes: usize) -> Cap {
    requests::cap(input_bytes)
}

pub fn run(input: &[u8]) {
    let [index, step, frame @ ..] = input else { return };
    let spoken = SPOKEN[usize::from(*index) % SPOKEN.len()];
    let version = spoken.min + i16::from(*step) % (spoken.max - spoken.min + 1);
    let frame = Bytes::copy_from_slice(frame);
    if spoken.api == ApiKey::Fetch {
        cut_records_out(&frame, version);
    }
    with_request!(spoken.api, decode(frame, version));
}

fn decode<R>(frame: Bytes, version: i16)
where
    R: Request<Response: PartialEq + Debug>,
{
    let Ok(response) = wire::decode_response::<R>(frame, version) else { return };
    let encoded = wire::encode_response(&response, version, 7).expect("what was decoded can be encoded");
    assert!(encoded.cuts.is_empty());
    let again = encoded.bytes.slice(4..);
    let again = wire::decode_response::<R>(again.clone(), version)
        .or_else(|_| wire::decode_response::<R>(with_room_behind(&again), version));
    assert_eq!(again.as_ref(), Ok(&response));
}

/// As the gateway answers with what it was answered: without copying the records.
fn cut_records_out(frame: &Bytes, version: i16) {
    let Ok(mut response) = wire::decode_response::<FetchRequest>(frame.clone(), version) else { return };
    let plain = wire::encode_response(&response, version, 7).expect("what was decoded can be encoded");
    let mut records = Vec::new();
    for data in response.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
        data.records = data.records.take().map(|bytes| wire::cut_out(bytes, &mut records));
    }
    let around = wire::encode_response(&response, version, 7).expect("as without cuts");
    assert_eq!(filled(&around, &records), plain.bytes);
}
