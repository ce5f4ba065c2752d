use bytes::{BufMut, BytesMut};
use wire::{ApiVersions, Request, SPOKEN, StrBytes};

use super::invented;
use crate::{apis::with_request, requests::IS_STREAM};

/// Of each version of each message; the smallest and the largest of as many as were tried.
const TRIES: u64 = 200;
const SEED_BYTES_MAX: usize = 2_048;

/// One frame of each kind, and streams of several.
pub(crate) fn requests() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for spoken in SPOKEN {
        for version in spoken.min..=spoken.max {
            seeds.extend(with_request!(spoken.api, request_frames(version)));
        }
    }
    let streams: Vec<Vec<u8>> =
        seeds.chunks(40).enumerate().map(|(n, frames)| stream(n as u8, frames)).collect();
    for frame in &mut seeds {
        frame.drain(..4);
        frame.insert(0, 0);
    }
    seeds.extend(streams);
    seeds
}

/// Pipelined, and read in pieces.
fn stream(pieces: u8, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut stream = vec![IS_STREAM | pieces];
    frames.iter().step_by(10).for_each(|frame| stream.extend_from_slice(frame));
    stream
}

fn request_frames<R: Request>(version: i16) -> Vec<Vec<u8>> {
    let client_id = StrBytes::from_static_str("me");
    let frames = (0..TRIES).filter_map(|seed| {
        let request: R = invented::message(version, seed)?;
        wire::encode_request(&request, version, 1, &client_id).ok().map(|frame| frame.to_vec())
    });
    chosen(frames.collect(), R::KEY, version)
}

pub(crate) fn responses() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (index, spoken) in SPOKEN.iter().enumerate() {
        for version in spoken.min..=spoken.max {
            for frame in with_request!(spoken.api, response_frames(version)) {
                seeds.push(of_response(index, spoken, version, &frame[4..]));
            }
        }
    }
    seeds
}

fn of_response(index: usize, spoken: &ApiVersions, version: i16, frame: &[u8]) -> Vec<u8> {
    let mut seed = BytesMut::with_capacity(frame.len() + 2);
    seed.put_u8(index as u8);
    seed.put_u8((version - spoken.min) as u8);
    seed.put_slice(frame);
    seed.to_vec()
}

fn response_frames<R: Request>(version: i16) -> Vec<Vec<u8>> {
    let frames = (0..TRIES).filter_map(|seed| {
        let response: R::Response = invented::message(version, seed)?;
        wire::encode_response(&response, version, 1).ok().map(|encoded| encoded.bytes.to_vec())
    });
    chosen(frames.collect(), R::KEY, version)
}

fn chosen(mut frames: Vec<Vec<u8>>, api_key: i16, version: i16) -> Vec<Vec<u8>> {
    frames.retain(|frame| frame.len() <= SEED_BYTES_MAX);
    frames.sort_by_key(Vec::len);
    frames.dedup();
    assert!(!frames.is_empty(), "no example of version {version} of API {api_key} was made up");
    let middle = frames.len() / 2;
    let mut chosen = vec![frames.remove(middle)];
    chosen.extend(frames.pop());
    chosen
}
