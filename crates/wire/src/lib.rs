#![doc = include_str!("../README.md")]

mod api;
mod claims;
mod request;
mod response;
mod splice;

pub use api::{ApiVersions, SPOKEN, spoken};
pub use request::{
    FRAME_BYTES_MIN, FrameError, GROUPS_PER_REQUEST_MAX, RequestFrame, check_group_count, encode_forwarded,
    encode_request, encode_request_around,
};
pub use response::{Encoded, decode_response, encode_response};
pub use splice::{Cut, PLACEHOLDER_BYTES_MAX, cut_out, placeholder};

pub use kafka_protocol::{
    ResponseError,
    messages::{self, ApiKey, BrokerId, TopicName as WireTopicName},
    protocol::{Encodable, HeaderVersion, Message, Request, StrBytes},
};
