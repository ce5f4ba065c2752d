//! Every error that a REST client can see, in one place: its HTTP status and its code.
//!
//! | status / code | what it says |
//! | --- | --- |
//! | 400/400 | not JSON, bad base64, a malformed query; in v3 also a wrong type or a missing field |
//! | 400/40002 | the controller refused: the topic exists, or a name, count, setting or assignment is invalid |
//! | 400/40003 | the offset lies outside the partition |
//! | 404/40401 · 40402 · 40403 | unknown topic (v2 produce) · unknown partition · unknown topic or consumer instance |
//! | 406/40601 | records in another form than the consumer instance was made for |
//! | 409/40902 · 40903 | the consumer instance exists · what it is excludes what it is asked, or the partition is not its own |
//! | 413/413 | the body, or one record, is too large |
//! | 422/422 | v2: a wrong type or a missing field; a record that its topic's settings forbid; a value that is not JSON |
//! | 422/42204 | an option of a consumer instance is none, or has a value that it cannot have |
//! | 422/42206 | v3: a body without a record |
//! | 422/42208 | v3: a batch with too many entries, or with an id that is missing, malformed or not its own |
//! | 422/42209 | an `Idempotency-Key` that came with another request before; nothing was written |
//! | 500/50002 | a storage node refused for a reason that asking again does not mend |
//! | 503/503 | too much at once, or no metadata yet: ask again |
//! | 503/50302 | no leader, too few replicas in sync, or no controller, in time. **Nothing was changed**: ask again |
//! | 504/50003 | **the outcome is unknown**: it may or may not have been carried out |
//!
//! Without a code of their own, 404, 405, 406, 408, 413 and 415 repeat the status.

use axum::{
    Json,
    extract::rejection::QueryRejection,
    http::{HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use domain::{PartitionIndex, TopicNameError};
use group::SessionError;
use metadata::RefusalKind;
use rpc::ControllerError;
use serde::Serialize;
use utoipa::ToSchema;
use wire::ResponseError;

use crate::{
    consumers::ConsumerError, groups::GroupError, producer::ProduceError, reader::ReadError,
    routing::RouteError,
};

/// An error as a REST client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) code: u32,
    pub(crate) message: String,
}

/// How an error stands in an answer.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub(crate) struct ErrorBody {
    error_code: u32,
    message: String,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: u32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// An error whose code repeats its status.
    pub(crate) fn plain(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, status.as_u16().into(), message)
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::plain(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, 40002, message)
    }

    pub(crate) fn unprocessable(message: impl Into<String>) -> Self {
        Self::plain(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// v3's for a body without a record. These say their code in the text, too, as Confluent's do.
    pub(crate) fn no_record(message: &str) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, 42206, format!("Error: 42206 : {message}"))
    }

    pub(crate) fn key_reused(message: impl Into<String>) -> Self {
        let message = format!("Error: 42209 : {}", message.into());
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, 42209, message)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::plain(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    pub(crate) fn overloaded(message: impl Into<String>) -> Self {
        Self::plain(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    pub(crate) fn unknown_topic(name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, 40403, format!("topic '{name}' does not exist"))
    }

    /// The same for who produces through v2, where the code is another.
    pub(crate) fn unknown_topic_to_produce(name: &str) -> Self {
        Self { code: 40401, ..Self::unknown_topic(name) }
    }

    /// `partition` is a text, because a client can write anything in its place.
    pub(crate) fn unknown_partition(topic: &str, partition: &str) -> Self {
        let message = format!("topic '{topic}' has no partition '{partition}'");
        Self::new(StatusCode::NOT_FOUND, 40402, message)
    }

    pub(crate) fn unknown_instance(group: &str, instance: &str) -> Self {
        let message = format!(
            "group '{group}' has no consumer instance '{instance}'; it may have been idle for too long"
        );
        Self::new(StatusCode::NOT_FOUND, 40403, message)
    }

    pub(crate) fn instance_exists(group: &str, instance: &str) -> Self {
        let message = format!("group '{group}' has a consumer instance '{instance}' already");
        Self::new(StatusCode::CONFLICT, 40902, message)
    }

    /// What a consumer is excludes what it is asked to do.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, 40903, message)
    }

    pub(crate) fn not_found(method: &Method, uri: &Uri) -> Self {
        Self::plain(StatusCode::NOT_FOUND, format!("nothing is at {method} {}", uri.path()))
    }

    pub(crate) fn method_not_allowed(method: &Method, uri: &Uri) -> Self {
        let message = format!("{} does not take {method}", uri.path());
        Self::plain(StatusCode::METHOD_NOT_ALLOWED, message)
    }

    pub(crate) fn body(&self) -> ErrorBody {
        ErrorBody { error_code: self.code, message: self.message.clone() }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<ControllerError> for ApiError {
    fn from(error: ControllerError) -> Self {
        let message = error.to_string();
        match error {
            ControllerError::Refused(refusal) => match refusal.kind {
                RefusalKind::UnknownTopic => Self::new(StatusCode::NOT_FOUND, 40403, message),
                RefusalKind::UnknownNode => Self::plain(StatusCode::NOT_FOUND, message),
                RefusalKind::CannotDrain | RefusalKind::NotDrained => {
                    Self::plain(StatusCode::CONFLICT, message)
                }
                _ => Self::invalid(message),
            },
            ControllerError::Unavailable { .. } => Self::unchanged(message),
            ControllerError::Unknown(_) => unknown(message),
        }
    }
}

impl From<ProduceError> for ApiError {
    fn from(error: ProduceError) -> Self {
        let message = error.to_string();
        match error {
            ProduceError::TooLarge { .. } => Self::too_large(message),
            ProduceError::Forbidden(_) => Self::unprocessable(message),
            ProduceError::KeyReused => Self::key_reused(message),
            ProduceError::TopicGone => Self::new(StatusCode::NOT_FOUND, 40401, message),
            ProduceError::Refused { code, .. } => Self::refused(code, message),
            ProduceError::NotWritten(_) => Self::unchanged(message),
            ProduceError::Unknown(_) => unknown(message),
        }
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        let message = error.to_string();
        match error {
            ReadError::OutOfRange { .. } => Self::new(StatusCode::BAD_REQUEST, 40003, message),
            ReadError::Route(RouteError::UnknownTopic) => Self::new(StatusCode::NOT_FOUND, 40403, message),
            ReadError::Route(RouteError::UnknownPartition(_)) => {
                Self::new(StatusCode::NOT_FOUND, 40402, message)
            }
            ReadError::Route(RouteError::NoLeader) | ReadError::Unavailable(_) => Self::unchanged(message),
            ReadError::Refused(code) => Self::refused(code, message),
            ReadError::Corrupt(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, 50002, message),
            ReadError::NotJson { .. } => Self::unprocessable(message),
            ReadError::Full(_) => Self::overloaded(message),
        }
    }
}

impl From<GroupError> for ApiError {
    fn from(error: GroupError) -> Self {
        let message = error.to_string();
        match error {
            GroupError::Unknown(_) | GroupError::NoOffsets(_) => Self::plain(StatusCode::NOT_FOUND, message),
            GroupError::Unavailable(_) => Self::unchanged(message),
            GroupError::Refused(code) => Self::refused(code, message),
        }
    }
}

impl From<ConsumerError> for ApiError {
    fn from(error: ConsumerError) -> Self {
        let message = error.to_string();
        match error {
            ConsumerError::Session(error) => match error {
                SessionError::Unknown => Self::new(StatusCode::NOT_FOUND, 40403, message),
                SessionError::Exists => Self::new(StatusCode::CONFLICT, 40902, message),
                SessionError::Subscribed
                | SessionError::Assigned
                | SessionError::NotOwned { .. }
                | SessionError::GroupHasMembers
                | SessionError::Superseded
                | SessionError::Moved => Self::conflict(message),
                SessionError::OtherFormat(_) => Self::new(StatusCode::NOT_ACCEPTABLE, 40601, message),
                SessionError::Refused { code, .. } => match code {
                    ResponseError::InvalidGroupId
                    | ResponseError::InvalidRequest
                    | ResponseError::InvalidRegularExpression
                    | ResponseError::OffsetMetadataTooLarge => Self::unprocessable(message),
                    ResponseError::GroupIdNotFound | ResponseError::GroupMaxSizeReached => {
                        Self::conflict(message)
                    }
                    code => Self::refused(code, message),
                },
            },
            ConsumerError::Read(error) => error.into(),
            ConsumerError::Unavailable(_) => Self::unchanged(message),
            ConsumerError::Unknown(_) => unknown(message),
            ConsumerError::NoPosition { .. } => Self::new(StatusCode::BAD_REQUEST, 40003, message),
            ConsumerError::Api(error) => error,
        }
    }
}

impl From<TopicNameError> for ApiError {
    fn from(error: TopicNameError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        let text = rejection.body_text();
        let reason = text.split_once(": ").map_or(text.as_str(), |(_, reason)| reason);
        Self::bad_request(format!("query: {reason}"))
    }
}

impl ApiError {
    /// Somebody was not there who had to be asked; nothing was changed.
    pub(crate) fn unchanged(message: String) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, 50302, message)
    }

    /// What a storage node refused.
    pub(crate) fn refused(code: ResponseError, message: String) -> Self {
        match code {
            ResponseError::TopicAuthorizationFailed | ResponseError::ClusterAuthorizationFailed => {
                Self::new(StatusCode::FORBIDDEN, 40301, message)
            }
            ResponseError::MessageTooLarge | ResponseError::RecordListTooLarge => Self::too_large(message),
            ResponseError::InvalidRecord | ResponseError::InvalidTimestamp => Self::unprocessable(message),
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, 50002, message),
        }
    }

    /// A partition that the partitioner refused.
    pub(crate) fn no_such_partition(topic: &str, partition: PartitionIndex) -> Self {
        Self::unknown_partition(topic, &partition.to_string())
    }
}

fn unknown(message: String) -> ApiError {
    ApiError::new(StatusCode::GATEWAY_TIMEOUT, 50003, message)
}

#[cfg(test)]
mod tests {
    use metadata::Refusal;

    use super::*;

    fn seen(error: impl Into<ApiError>) -> (u16, u32) {
        let error = error.into();
        (error.status.as_u16(), error.code)
    }

    #[test]
    fn an_unknown_outcome_is_never_a_definite_failure() {
        assert_eq!(seen(ProduceError::Unknown("lost".into())), (504, 50003));
        assert_eq!(seen(ControllerError::Unknown("lost".into())), (504, 50003));
        assert_eq!(seen(ProduceError::NotWritten("down".into())), (503, 50302));
    }

    #[test]
    fn a_refusal_of_the_controller_is_the_clients_fault() {
        let refused = |kind| seen(ControllerError::Refused(Refusal::new(kind, "no")));
        assert_eq!(refused(RefusalKind::TopicExists), (400, 40002));
        assert_eq!(refused(RefusalKind::InvalidConfig), (400, 40002));
        assert_eq!(refused(RefusalKind::UnknownTopic), (404, 40403));
    }
}
