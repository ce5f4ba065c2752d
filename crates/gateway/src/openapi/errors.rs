//! What requests may come to besides success: the statuses of `error.rs`, in the sets in which they occur.

use std::collections::BTreeMap;

use utoipa::{
    IntoResponses, ToSchema,
    openapi::{
        ContentBuilder, HeaderBuilder, Ref, RefOr, Response, ResponseBuilder,
        response::ResponsesBuilder,
        schema::{ObjectBuilder, Type},
    },
};

use crate::{
    error::ErrorBody,
    negotiate::{JSON, V2},
};

fn description(status: u16) -> &'static str {
    match status {
        400 => "The request makes no sense, or is refused for what it asks for.",
        404 => "What the path or the body names does not exist.",
        406 => "Nothing in Accept can be served.",
        408 => "Nothing of the body came for a while.",
        409 => "It exists already, or it and what is asked of it exclude each other.",
        413 => "The body is too large.",
        415 => "The body is of a type, or an encoding, that is not taken here.",
        422 => "The body is JSON, but not what is expected.",
        500 => "The gateway failed, or a storage node refused for a reason that asking again does not mend.",
        503 => "Too much at once, or somebody who is needed is not there. Nothing was changed: ask again.",
        _ => "The outcome is unknown: it may or may not have been carried out.",
    }
}

fn response(status: u16, media_types: &[&str]) -> Response {
    let mut response = ResponseBuilder::new().description(description(status));
    for media_type in media_types {
        let schema = RefOr::Ref(Ref::from_schema_name(ErrorBody::name()));
        response = response.content(*media_type, ContentBuilder::new().schema(Some(schema)).build());
    }
    if status == 503 {
        let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
        let header = HeaderBuilder::new().schema(Some(seconds.build())).description(Some("Seconds.")).build();
        response = response.header("Retry-After", header);
    }
    response.build()
}

fn responses(statuses: &[u16], media_types: &[&str]) -> BTreeMap<String, RefOr<Response>> {
    let responses = statuses.iter().map(|status| (status.to_string(), response(*status, media_types)));
    responses
        .fold(ResponsesBuilder::new(), |all, (status, response)| all.response(status, response))
        .build()
        .responses
}

macro_rules! sets {
    ($($(#[$doc:meta])* $name:ident $media_types:tt = $statuses:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                responses(&$statuses, &$media_types)
            }
        }
    )*};
}

// What v2's handlers refuse is of v2's type; what is refused before them is plain JSON.
sets! {
    /// What is there in any case is shown.
    Shown[JSON] = [400, 406, 500, 503];
    /// What the path names is shown.
    Found[JSON] = [400, 404, 406, 500, 503];
    /// It is changed, without a body.
    Changed[JSON] = [400, 404, 406, 500, 503, 504];
    /// It is changed as the body says.
    ChangedBy[JSON] = [400, 404, 406, 408, 413, 415, 500, 503, 504];
    /// A node leaves, or not.
    Left[JSON] = [400, 404, 406, 409, 500, 503, 504];
    LeftBy[JSON] = [400, 404, 406, 408, 409, 413, 415, 500, 503, 504];
    /// Records are written.
    Produced[JSON] = [400, 404, 406, 408, 413, 415, 422, 500, 503, 504];
    /// The same of v2.
    V2Shown[JSON, V2] = [400, 406, 500, 503];
    V2Found[JSON, V2] = [400, 404, 406, 500, 503];
    V2Produced[JSON, V2] = [400, 404, 406, 408, 413, 415, 422, 500, 503, 504];
    /// A consumer is made.
    V2Created[JSON, V2] = [400, 406, 408, 409, 413, 415, 422, 500, 503, 504];
    /// A consumer is shown or changed, without a body.
    V2Consumer[JSON, V2] = [400, 404, 406, 500, 503, 504];
    /// A consumer is changed as the body says.
    V2Told[JSON, V2] = [400, 404, 406, 408, 409, 413, 415, 422, 500, 503, 504];
    /// It shows what the body asks for.
    V2Asked[JSON, V2] = [400, 404, 406, 408, 413, 415, 422, 500, 503, 504];
    /// A consumer is polled. Asking its coordinator may come to more than reading.
    V2Polled[JSON] = [400, 404, 406, 409, 413, 422, 500, 503, 504];
    /// Records are read. These have a type of their own, and errors none but JSON's.
    V2Read[JSON] = [400, 404, 406, 413, 422, 500, 503];
}
