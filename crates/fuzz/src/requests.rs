//! What clients send: frames in pieces, their headers, their bodies.

use std::{convert::Infallible, fmt::Debug};

use bytes::{BufMut, Bytes, BytesMut};
use transport::Incoming;
use wire::{ApiKey, Request, RequestFrame, StrBytes, messages::ProduceRequest};

use crate::{
    apis::with_request,
    cap::Cap,
    splice::{filled, with_room_behind},
};

/// A frame that claims more ends the connection. The services' default is 100 MiB; here the largest input decides.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// A decoder reserves an element for each byte that is left, and a first thousand for nothing (`wire/src/claims.rs`). No
/// element of an array of any message is larger.
const ELEMENT_BYTES_MAX: usize = 344;
const ELEMENTS_FREE: usize = 1_024;

/// What a connection reads into (`transport/src/incoming.rs`).
const READ_BYTES_MAX: usize = 256 << 10;

/// One array with an element for each byte; twice that for a message inside of which they are nested, and which is
/// decoded, encoded and decoded again.
pub fn cap(input_bytes: usize) -> Cap {
    let array_bytes = ELEMENT_BYTES_MAX * input_bytes.max(ELEMENTS_FREE);
    Cap { one_bytes: array_bytes.max(READ_BYTES_MAX), live_bytes: 2 * array_bytes + 2 * READ_BYTES_MAX }
}

/// How a stream is cut into reads, and whether it is one frame that is yet to get its length.
pub(crate) const IS_STREAM: u8 = 0x80;
const READS: [usize; 6] = [usize::MAX, 1, 3, 17, 257, 4_099];

pub fn run(input: &[u8]) {
    let Some((&how, rest)) = input.split_first() else { return };
    match how & IS_STREAM {
        0 => {
            let mut stream = BytesMut::with_capacity(rest.len() + 4);
            stream.put_i32(rest.len() as i32);
            stream.put_slice(rest);
            take_in(&stream, how);
        }
        _ => take_in(rest, how),
    }
}

fn take_in(mut stream: &[u8], how: u8) {
    let mut incoming = Incoming::of_requests(FRAME_BYTES_MAX);
    let read_bytes = READS[usize::from(how & !IS_STREAM) % READS.len()];
    while !stream.is_empty() {
        let Ok(read) = incoming.read::<Infallible>(|room| {
            let here = stream.len().min(read_bytes).min(room.capacity() - room.len());
            room.put_slice(&stream[..here]);
            Ok(here)
        });
        assert!(read > 0, "there is room for a read");
        stream = &stream[read..];
        loop {
            match incoming.take_frame() {
                Ok(Some(frame)) => answer(frame),
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

fn answer(frame: Bytes) {
    match RequestFrame::parse(frame) {
        Ok(frame) => {
            with_request!(frame.api, decode(&frame));
            if frame.api == ApiKey::Produce
                && let Ok(request) = frame.decode_body()
            {
                pass_on(request, frame.version);
            }
        }
        Err(error) => drop(error.to_string()),
    }
}

/// What is decoded is encoded again, in both ways, and decoded to the same; and may be handed on as it came.
fn decode<R: Request + PartialEq + Debug>(frame: &RequestFrame) {
    let forwarded = wire::encode_forwarded(frame, 9).expect("a head is small");
    let whole = Bytes::from([&forwarded[4..], &frame.body].concat());
    let passed_on = RequestFrame::parse(whole).expect("a header that was read is written so that it can be");
    assert_eq!((&passed_on.client_id, &passed_on.body), (&frame.client_id, &frame.body));

    let Ok(request) = frame.decode_body::<R>() else { return };
    let client_id = frame.client_id.clone().unwrap_or_default();
    let encoded = encode(&request, frame.version, &client_id);
    let again = RequestFrame::parse(encoded.slice(4..)).expect("its header was written by us");
    assert_eq!((again.api, again.version), (frame.api, frame.version));
    let again = again
        .decode_body::<R>()
        .or_else(|_| RequestFrame::parse(with_room_behind(&encoded.slice(4..)))?.decode_body::<R>());
    assert_eq!(again.as_ref(), Ok(&request));
}

fn encode<R: Request>(request: &R, version: i16, client_id: &StrBytes) -> Bytes {
    let encoded =
        wire::encode_request(request, version, 7, client_id).expect("what was decoded can be encoded");
    let around = wire::encode_request_around(request, version, 7, client_id).expect("in this way, too");
    assert!(around.cuts.is_empty());
    assert_eq!(around.bytes, encoded);
    encoded
}

/// As the gateway sends on what it was sent: without copying the records.
fn pass_on(mut request: ProduceRequest, version: i16) {
    let client_id = StrBytes::default();
    let plain = encode(&request, version, &client_id);
    let mut records = Vec::new();
    for data in request.topic_data.iter_mut().flat_map(|topic| &mut topic.partition_data) {
        data.records = data.records.take().map(|bytes| wire::cut_out(bytes, &mut records));
    }
    let around = wire::encode_request_around(&request, version, 7, &client_id).expect("as without cuts");
    assert_eq!(filled(&around, &records), plain);
}
