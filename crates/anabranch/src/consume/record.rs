use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

/// A record as it was read.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub(super) struct Record {
    #[serde(deserialize_with = "base64")]
    pub(super) key: Option<Vec<u8>>,
    #[serde(deserialize_with = "base64")]
    pub(super) value: Option<Vec<u8>>,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// Milliseconds since 1970.
    #[serde(default)]
    pub(super) timestamp: Option<i64>,
    /// As they came: names, and values in base64.
    #[serde(default)]
    pub(super) headers: Vec<Value>,
}

fn base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| STANDARD.decode(text).map_err(D::Error::custom)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_are_two_things() {
        let read: Record = serde_json::from_str(
            r#"{"topic":"t","key":null,"value":"","partition":2,"offset":5,"timestamp":7,"headers":[]}"#,
        )
        .unwrap();
        assert_eq!((read.key, read.value), (None, Some(Vec::new())));
        assert_eq!((read.partition, read.offset, read.timestamp), (2, 5, Some(7)));
    }
}
