//! Keys and values inside JSON, both ways.

use std::borrow::Cow;

use base64::{
    Engine,
    alphabet::STANDARD,
    display::Base64Display,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::{
    ApiError,
    negotiate::Embedded,
    surrogates::{half_a_character, lone_surrogate},
};

/// Standard base64; padding may be missing, as Java's decoder allows.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes of a key or a value that a request brings; `None` is null. JSON is sent exactly as it stands in the request.
/// `place` names it in an error.
pub(crate) fn bytes_of<'a>(
    form: Embedded,
    raw: &'a RawValue,
    place: impl Fn() -> String,
) -> Result<Option<Cow<'a, [u8]>>, ApiError> {
    if raw.get() == "null" {
        return Ok(None);
    }
    match form {
        Embedded::Json => match lone_surrogate(raw.get()) {
            None => Ok(Some(raw.get().as_bytes().into())),
            Some(escape) => Err(ApiError::unprocessable(half_a_character(&place(), escape))),
        },
        Embedded::Binary => {
            let text = text_of(raw)
                .ok_or_else(|| ApiError::unprocessable(format!("{} is not a string of base64", place())))?;
            let bytes = from_base64(&text, place)?;
            Ok(Some(bytes.into()))
        }
    }
}

/// The text of a JSON string; `None` if it is something else. Only one with escapes is copied.
pub(crate) fn text_of(raw: &RawValue) -> Option<Cow<'_, str>> {
    match serde_json::from_str::<&str>(raw.get()) {
        Ok(text) => Some(text.into()),
        Err(_) => serde_json::from_str::<String>(raw.get()).ok().map(Into::into),
    }
}

pub(crate) fn from_base64(text: &str, place: impl Fn() -> String) -> Result<Vec<u8>, ApiError> {
    let decoded = BASE64.decode(text);
    decoded.map_err(|e| ApiError::bad_request(format!("{} is not base64: {e}", place())))
}

/// A key or a value that is read.
pub(crate) enum Out<'a> {
    Base64(&'a [u8]),
    Json(&'a RawValue),
}

impl Serialize for Out<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Out::Base64(bytes) => serializer.collect_str(&Base64Display::new(bytes, &BASE64)),
            Out::Json(raw) => raw.serialize(serializer),
        }
    }
}

impl<'a> Out<'a> {
    /// The error says why the bytes are not JSON.
    pub(crate) fn new(form: Embedded, bytes: &'a [u8]) -> Result<Self, String> {
        match form {
            Embedded::Binary => Ok(Out::Base64(bytes)),
            Embedded::Json => {
                let raw: &RawValue = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
                match lone_surrogate(raw.get()) {
                    None => Ok(Out::Json(raw)),
                    Some(escape) => Err(half_a_character("a string", escape)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(form: Embedded, json: &str) -> Result<Option<Vec<u8>>, u32> {
        let raw = RawValue::from_string(json.to_owned()).unwrap();
        bytes_of(form, &raw, || "records[0].value".to_owned())
            .map(|bytes| bytes.map(Cow::into_owned))
            .map_err(|e| e.code)
    }

    #[test]
    fn json_values_are_sent_as_they_stand_and_only_null_is_null() {
        let json = |text| taken(Embedded::Json, text).unwrap();
        assert_eq!(json("null"), None);
        for text in ["0", "false", "{}", "\"\"", "\"null\"", "{\"b\": 1.0, \"a\":1e400}"] {
            assert_eq!(json(text), Some(text.as_bytes().to_vec()), "{text}");
        }
    }

    #[test]
    fn binary_values_are_base64_with_or_without_padding() {
        let binary = |text| taken(Embedded::Binary, text);
        assert_eq!(binary("\"aGk=\""), Ok(Some(b"hi".to_vec())));
        assert_eq!(binary("\"aGk\""), Ok(Some(b"hi".to_vec())));
        assert_eq!(binary("\"\\/+8=\""), Ok(Some(vec![0xff, 0xef])), "an escaped slash");
        assert_eq!(binary("\"\""), Ok(Some(vec![])));
        assert_eq!(binary("null"), Ok(None));
        assert_eq!(binary("\"a\""), Err(400));
        assert_eq!(binary("\"a*k=\""), Err(400));
        assert_eq!(binary("5"), Err(422));
        assert_eq!(binary("{}"), Err(422));
    }

    #[test]
    fn what_is_read_is_embedded_in_the_form_that_was_asked_for() {
        let out =
            |form, bytes| Out::new(form, bytes).map(|out| serde_json::to_string(&out).unwrap()).map_err(drop);
        assert_eq!(out(Embedded::Binary, b"hi"), Ok("\"aGk=\"".to_owned()));
        assert_eq!(out(Embedded::Json, b" {\"a\": 1.50} "), Ok("{\"a\": 1.50}".to_owned()));
        assert_eq!(out(Embedded::Json, b"hi"), Err(()));
        assert_eq!(out(Embedded::Json, b""), Err(()));
        assert_eq!(out(Embedded::Json, br#""\ud800""#), Err(()), "half a character");
        assert_eq!(out(Embedded::Json, b"\"\xff\""), Err(()));
    }
}
