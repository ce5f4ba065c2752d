use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{ApiKey, RequestHeader},
    protocol::{Decodable, Encodable, Request, StrBytes},
};

use crate::{ApiVersions, spoken};

/// A request's frame without its length: at least api key, version and correlation id.
pub const FRAME_BYTES_MIN: usize = 8;

/// A frame that cannot be read. Only [`FrameError::Version`] of ApiVersions can be answered; the rest ends the
/// connection, since not even the form of an answer is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a request of {0} bytes is too short for a header")]
    TooShort(usize),
    #[error("api key {api_key} is not supported")]
    Api { api_key: i16 },
    #[error("version {version} of {:?} is not supported, {} to {} are", .spoken.api, .spoken.min, .spoken.max)]
    Version { spoken: ApiVersions, version: i16, correlation_id: i32 },
    #[error("malformed {part}: {reason}")]
    Malformed { part: &'static str, reason: String },
}

/// One request: its header read, its body not yet.
#[derive(Clone, Debug)]
pub struct RequestFrame {
    pub api: ApiKey,
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: Option<StrBytes>,
    pub body: Bytes,
}

impl RequestFrame {
    /// Reads the header of a frame whose length was taken off.
    pub fn parse(mut frame: Bytes) -> Result<Self, FrameError> {
        if frame.len() < FRAME_BYTES_MIN {
            return Err(FrameError::TooShort(frame.len()));
        }
        let mut peek = &frame[..FRAME_BYTES_MIN];
        let (api_key, version, correlation_id) = (peek.get_i16(), peek.get_i16(), peek.get_i32());
        let spoken = spoken(api_key).ok_or(FrameError::Api { api_key })?;
        if !spoken.contains(version) {
            return Err(FrameError::Version { spoken, version, correlation_id });
        }
        let header = RequestHeader::decode(&mut frame, spoken.api.request_header_version(version))
            .map_err(|e| FrameError::Malformed { part: "request header", reason: e.to_string() })?;
        Ok(Self { api: spoken.api, version, correlation_id, client_id: header.client_id, body: frame })
    }

    /// Reads the body. Payloads inside are slices of the frame, not copies.
    pub fn decode_body<R: Request>(&self) -> Result<R, FrameError> {
        let mut body = self.body.clone();
        let request = R::decode(&mut body, self.version)
            .map_err(|e| FrameError::Malformed { part: "request body", reason: e.to_string() })?;
        match body.is_empty() {
            true => Ok(request),
            false => {
                let reason = format!("{} bytes are left over", body.len());
                Err(FrameError::Malformed { part: "request body", reason })
            }
        }
    }
}

/// A whole frame, length included, for a client to send.
pub fn encode_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: &StrBytes,
) -> Result<Bytes, FrameError> {
    let malformed =
        |e: &dyn std::fmt::Display| FrameError::Malformed { part: "request", reason: e.to_string() };
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(client_id.clone()));
    let size = request.compute_size(version).map_err(|e| malformed(&e))?;
    let mut frame = BytesMut::with_capacity(size + 64 + client_id.len());
    frame.put_i32(0);
    header.encode(&mut frame, R::header_version(version)).map_err(|e| malformed(&e))?;
    request.encode(&mut frame, version).map_err(|e| malformed(&e))?;
    let length = i32::try_from(frame.len() - 4).map_err(|e| malformed(&e))?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame.freeze())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{ApiVersionsRequest, MetadataRequest};
    use proptest::prelude::*;

    use super::*;

    fn frame(request: &impl Request, version: i16) -> Bytes {
        encode_request(request, version, 7, &StrBytes::from_static_str("me")).unwrap().slice(4..)
    }

    #[test]
    fn a_request_survives_the_journey() {
        let parsed = RequestFrame::parse(frame(&MetadataRequest::default(), 12)).unwrap();
        assert_eq!((parsed.api, parsed.version, parsed.correlation_id), (ApiKey::Metadata, 12, 7));
        assert_eq!(parsed.client_id.as_deref(), Some("me"));
        assert_eq!(parsed.decode_body::<MetadataRequest>().unwrap(), MetadataRequest::default());
    }

    #[test]
    fn an_unknown_api_or_version_is_named() {
        let mut unknown = BytesMut::from(&frame(&ApiVersionsRequest::default(), 0)[..]);
        unknown[2..4].copy_from_slice(&99i16.to_be_bytes());
        assert_eq!(
            RequestFrame::parse(unknown.clone().freeze()).unwrap_err().to_string(),
            "version 99 of ApiVersions is not supported, 0 to 4 are"
        );
        unknown[..2].copy_from_slice(&999i16.to_be_bytes());
        assert_eq!(RequestFrame::parse(unknown.freeze()).unwrap_err(), FrameError::Api { api_key: 999 });
        assert_eq!(RequestFrame::parse(Bytes::from_static(b"abc")).unwrap_err(), FrameError::TooShort(3));
    }

    #[test]
    fn bytes_behind_a_body_are_refused() {
        let mut longer = BytesMut::from(&frame(&ApiVersionsRequest::default(), 0)[..]);
        longer.put_u8(1);
        let parsed = RequestFrame::parse(longer.freeze()).unwrap();
        assert!(parsed.decode_body::<ApiVersionsRequest>().is_err());
    }

    proptest! {
        #[test]
        fn no_header_panics(bytes in prop::collection::vec(any::<u8>(), 0..64), api in 0..60i16, version in 0..14i16) {
            let mut frame = BytesMut::new();
            frame.put_i16(api);
            frame.put_i16(version);
            frame.extend_from_slice(&bytes);
            let _ = RequestFrame::parse(frame.freeze());
        }
    }
}
