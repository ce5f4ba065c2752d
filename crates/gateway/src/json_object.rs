//! What a request's body is made of besides numbers and texts.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

/// A structure that stands as a JSON object. Serde alone reads one from an array as well, its fields in the order of their
/// declaration, so that `["k","v",0]` would be a record. Every structure of a body is wrapped in this, wherever it stands.
pub(crate) struct JsonObject<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for JsonObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OnlyMaps(PhantomData)).map(Self)
    }
}

struct OnlyMaps<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyMaps<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Pair<'a> {
        #[serde(borrow)]
        raw: &'a RawValue,
        number: Option<i32>,
    }

    #[test]
    fn an_array_is_no_object_and_what_is_inside_may_be_borrowed() {
        let read = |json: &'static str| {
            serde_json::from_str::<JsonObject<Pair<'_>>>(json).map_err(|e| e.to_string())
        };
        let JsonObject(pair) = read(r#"{"raw": [1.0,  2],"number":5}"#).unwrap();
        assert_eq!((pair.raw.get(), pair.number), ("[1.0,  2]", Some(5)));
        let error = read("[1,5]").err().unwrap();
        assert!(error.starts_with("invalid type: sequence, expected a JSON object at line 1"), "{error}");
        assert!(read(r#"{"raw":1,"other":5}"#).err().unwrap().contains("other"));
    }
}
