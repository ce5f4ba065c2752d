//! Media types: what a request's body is, and what its answer may be.

use axum::http::{HeaderMap, HeaderName, StatusCode, header};

use crate::ApiError;

pub(crate) const JSON: &str = "application/json";
pub(crate) const V2: &str = "application/vnd.kafka.v2+json";
pub(crate) const V2_BINARY: &str = "application/vnd.kafka.binary.v2+json";
pub(crate) const V2_JSON: &str = "application/vnd.kafka.json.v2+json";

/// Server-sent events.
pub(crate) const EVENTS: &str = "text/event-stream";

/// How keys and values stand in v2's JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Embedded {
    /// As base64.
    Binary,
    /// As JSON themselves.
    Json,
}

/// The form of the records that a v2 produce request brings.
pub(crate) fn produced_form(headers: &HeaderMap) -> Result<Embedded, ApiError> {
    match content_type(headers).as_deref() {
        Some(V2_BINARY) => Ok(Embedded::Binary),
        Some(V2_JSON) => Ok(Embedded::Json),
        other => Err(unsupported(other, &[V2_BINARY, V2_JSON])),
    }
}

/// Refuses a body that says it is something else than JSON.
pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    match content_type(headers).as_deref() {
        None | Some(JSON) => Ok(()),
        other => Err(unsupported(other, &[JSON])),
    }
}

/// Refuses a body that is compressed: read as it stands it would be something else.
pub(crate) fn require_identity(headers: &HeaderMap) -> Result<(), ApiError> {
    let values = headers.get_all(header::CONTENT_ENCODING).into_iter();
    let texts = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let given = texts.collect::<Vec<_>>().join(", ");
    let mut encodings = given.split(',').map(str::trim).filter(|encoding| !encoding.is_empty());
    match encodings.find(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        None => Ok(()),
        Some(other) => {
            let message = format!("Content-Encoding {other} is not supported here, send the body as it is");
            Err(ApiError::plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
        }
    }
}

/// The media type of v2's answers. A missing Accept, `*/*` and `application/json` mean v2's own.
pub(crate) fn v2_answer(headers: &HeaderMap) -> Result<&'static str, ApiError> {
    accepted(headers, &[(V2, V2), (JSON, V2)])
}

/// The form and the media type of records that are read. What names no form means binary.
pub(crate) fn read_form(headers: &HeaderMap) -> Result<(Embedded, &'static str), ApiError> {
    let offers = [
        (V2_BINARY, (Embedded::Binary, V2_BINARY)),
        (V2_JSON, (Embedded::Json, V2_JSON)),
        (V2, (Embedded::Binary, V2)),
        (JSON, (Embedded::Binary, V2)),
    ];
    accepted(headers, &offers)
}

/// Whether a consumer's body is in one of v2's types. What says nothing of itself is taken for it.
pub(crate) fn require_v2(headers: &HeaderMap) -> Result<(), ApiError> {
    match content_type(headers).as_deref() {
        None | Some(V2 | V2_BINARY | V2_JSON) => Ok(()),
        other => Err(unsupported(other, &[V2, V2_BINARY, V2_JSON])),
    }
}

/// The form in which a consumer's records are wanted, `None` being its own, and whether it is the answer's media type.
pub(crate) fn polled_form(headers: &HeaderMap) -> Result<(Option<Embedded>, bool), ApiError> {
    // The first is for ranges that name none of the others.
    let offers = [
        ("application/*", (None, true)),
        (V2_BINARY, (Some(Embedded::Binary), true)),
        (V2_JSON, (Some(Embedded::Json), true)),
        (V2, (None, false)),
        (JSON, (None, false)),
    ];
    accepted(headers, &offers)
}

/// Refuses a client that would not take JSON.
pub(crate) fn v3_answer(headers: &HeaderMap) -> Result<(), ApiError> {
    accepted(headers, &[(JSON, ())])
}

/// Refuses a client that would not take server-sent events.
pub(crate) fn events_answer(headers: &HeaderMap) -> Result<(), ApiError> {
    accepted(headers, &[(EVENTS, ())])
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(essence(text))
}

fn unsupported(given: Option<&str>, taken: &[&str]) -> ApiError {
    let given = given.map_or("no Content-Type".to_owned(), |g| format!("Content-Type {g}"));
    let message = format!("{given} is not supported here, {} is", taken.join(" or "));
    ApiError::plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
}

/// The media type without its parameters.
fn essence(text: &str) -> String {
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The first offer that the client's dearest range takes (RFC 9110, 12.5.1, without the order of specificity).
fn accepted<T: Copy>(headers: &HeaderMap, offers: &[(&str, T)]) -> Result<T, ApiError> {
    let mut ranges = ranges(headers, &header::ACCEPT);
    if ranges.is_empty() {
        ranges.push(("*/*".to_owned(), 1.0));
    }
    // A stable sort: what is wanted equally keeps the client's order.
    ranges.sort_by(|a, b| b.1.total_cmp(&a.1));
    let wanted = ranges.iter().filter(|(_, q)| *q > 0.0);
    let found = wanted
        .filter_map(|(range, _)| {
            offers.iter().find(|(offer, _)| takes(range, offer)).map(|(_, value)| *value)
        })
        .next();
    found.ok_or_else(|| {
        let names: Vec<&str> =
            offers.iter().map(|(name, _)| *name).filter(|name| !name.contains('*')).collect();
        let message = format!("nothing in Accept can be served, {} can", names.join(" or "));
        ApiError::plain(StatusCode::NOT_ACCEPTABLE, message)
    })
}

fn takes(range: &str, offer: &str) -> bool {
    match range.strip_suffix("/*") {
        Some("*") => true,
        Some(main) => offer.strip_prefix(main).is_some_and(|rest| rest.starts_with('/')),
        None => range == offer,
    }
}

fn ranges(headers: &HeaderMap, name: &HeaderName) -> Vec<(String, f32)> {
    let values = headers.get_all(name).into_iter().filter_map(|v| v.to_str().ok());
    values
        .flat_map(|v| v.split(','))
        .filter(|range| !range.trim().is_empty())
        .map(|range| {
            let q = range
                .split(';')
                .skip(1)
                .filter_map(|p| p.trim().strip_prefix("q="))
                .find_map(|q| q.trim().parse::<f32>().ok());
            (essence(range), q.unwrap_or(1.0))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    fn accept(value: &str) -> HeaderMap {
        headers(header::ACCEPT, value)
    }

    #[test]
    fn v2_answers_in_its_own_type_unless_nothing_matches() {
        for value in [
            "*/*",
            "application/*",
            "application/json",
            "application/vnd.kafka.v2+json; q=0.5, text/html",
            "text/html, */*;q=0.1",
        ] {
            assert_eq!(v2_answer(&accept(value)), Ok(V2), "{value}");
        }
        assert_eq!(v2_answer(&HeaderMap::new()), Ok(V2));
        for value in ["text/html", "*/*;q=0", "application/vnd.kafka.json.v2+json"] {
            assert_eq!(v2_answer(&accept(value)).unwrap_err().code, 406, "{value}");
        }
    }

    #[test]
    fn accept_picks_the_form_of_records() {
        let form = |value| read_form(&accept(value)).unwrap();
        assert_eq!(form("application/vnd.kafka.json.v2+json"), (Embedded::Json, V2_JSON));
        assert_eq!(form("application/vnd.kafka.v2+json"), (Embedded::Binary, V2));
        assert_eq!(form("application/json"), (Embedded::Binary, V2));
        assert_eq!(form("*/*"), (Embedded::Binary, V2_BINARY));
        assert_eq!(
            form("application/vnd.kafka.binary.v2+json;q=0.1, application/vnd.kafka.json.v2+json"),
            (Embedded::Json, V2_JSON)
        );
        assert_eq!(read_form(&HeaderMap::new()), Ok((Embedded::Binary, V2_BINARY)));
        assert_eq!(read_form(&accept("image/png")).unwrap_err().code, 406);
    }

    #[test]
    fn a_polls_accept_names_the_consumers_form_or_none() {
        let form = |value| polled_form(&accept(value)).unwrap();
        assert_eq!(polled_form(&HeaderMap::new()), Ok((None, true)));
        for value in ["*/*", "application/*", "text/html, */*;q=0.1"] {
            assert_eq!(form(value), (None, true), "{value}");
        }
        assert_eq!(form("application/vnd.kafka.v2+json, */*;q=0.1"), (None, false));
        assert_eq!(form("application/json"), (None, false));
        assert_eq!(form("application/vnd.kafka.json.v2+json"), (Some(Embedded::Json), true));
        assert_eq!(form("application/vnd.kafka.binary.v2+json"), (Some(Embedded::Binary), true));
        let error = polled_form(&accept("text/html")).unwrap_err();
        assert_eq!((error.code, error.message.contains('*')), (406, false), "{}", error.message);
    }

    #[test]
    fn a_wrong_content_type_is_told_what_is_taken() {
        let content = |value| headers(header::CONTENT_TYPE, value);
        assert_eq!(
            produced_form(&content("Application/vnd.kafka.JSON.v2+json; charset=utf-8")),
            Ok(Embedded::Json)
        );
        let error = produced_form(&content("application/json")).unwrap_err();
        assert_eq!(error.code, 415);
        assert_eq!(
            error.message,
            "Content-Type application/json is not supported here, application/vnd.kafka.binary.v2+json or \
             application/vnd.kafka.json.v2+json is"
        );
        assert_eq!(produced_form(&HeaderMap::new()).unwrap_err().code, 415);
        assert!(require_json(&HeaderMap::new()).is_ok());
        assert_eq!(require_json(&content("text/plain")).unwrap_err().code, 415);
    }
}
