use wire::{
    ResponseError, SPOKEN,
    messages::{ApiVersionsResponse, api_versions_response::ApiVersion},
};

/// What is spoken here. The version decides only how it is written.
pub(crate) fn answer(_version: i16) -> ApiVersionsResponse {
    let api = |v: &wire::ApiVersions| {
        ApiVersion::default()
            .with_api_key(v.api as i16)
            .with_min_version(v.min_told())
            .with_max_version(v.max)
    };
    ApiVersionsResponse::default().with_api_keys(SPOKEN.iter().map(api).collect())
}

/// To a client that asked in a version that is not spoken (KIP-511).
pub(crate) fn unsupported() -> ApiVersionsResponse {
    answer(0).with_error_code(ResponseError::UnsupportedVersion.code())
}
