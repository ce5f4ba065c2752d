use std::io::{self, Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::{Value, json};

use super::record::Record;
use crate::cli::Format;

/// Writes records, one a line.
pub(super) struct Formatter<'a> {
    format: Format,
    separator: &'a str,
}

impl<'a> Formatter<'a> {
    pub(super) fn new(format: Format, separator: &'a str) -> Self {
        Self { format, separator }
    }

    pub(super) fn write(&self, out: &mut impl Write, record: &Record) -> io::Result<()> {
        match self.format {
            Format::Value => out.write_all(record.value.as_deref().unwrap_or_default())?,
            Format::KeyValue => {
                out.write_all(record.key.as_deref().unwrap_or_default())?;
                out.write_all(self.separator.as_bytes())?;
                out.write_all(record.value.as_deref().unwrap_or_default())?;
            }
            Format::Json => serde_json::to_writer(&mut *out, &as_json(record))?,
            Format::Hex => {
                let [key, value] = [&record.key, &record.value].map(as_hex);
                write!(out, "{} {} {key} {value}", record.partition, record.offset)?;
            }
        }
        out.write_all(b"\n")
    }
}

/// In the order in which somebody reads a line.
#[derive(Serialize)]
struct Line<'a> {
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
    key: Value,
    value: Value,
    headers: &'a [Value],
}

fn as_json(record: &Record) -> Line<'_> {
    Line {
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp,
        key: readable(&record.key),
        value: readable(&record.value),
        headers: &record.headers,
    }
}

/// Text where the bytes are text; never the same form for two different contents.
fn readable(bytes: &Option<Vec<u8>>) -> Value {
    match bytes.as_deref().map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => Value::Null,
        Some((_, Ok(text))) => text.into(),
        Some((bytes, Err(_))) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

fn as_hex(bytes: &Option<Vec<u8>>) -> String {
    match bytes {
        None => "-".to_owned(),
        Some(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format, key: Option<&[u8]>, value: Option<&[u8]>) -> Vec<u8> {
        let record = Record {
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            partition: 1,
            offset: 7,
            timestamp: Some(3),
            headers: vec![json!({"name": "h", "value": "eA=="})],
        };
        let mut out = Vec::new();
        Formatter::new(format, "=").write(&mut out, &record).unwrap();
        out
    }

    #[test]
    fn values_come_out_byte_for_byte() {
        assert_eq!(written(Format::Value, Some(b"k"), Some(b"\xff\r")), b"\xff\r\n");
        assert_eq!(written(Format::Value, None, None), b"\n");
        assert_eq!(written(Format::KeyValue, Some(b"k"), Some(b"v")), b"k=v\n");
        assert_eq!(written(Format::KeyValue, None, Some(b"v")), b"=v\n");
    }

    #[test]
    fn json_tells_text_bytes_and_null_apart() {
        let value = |bytes| {
            let line = written(Format::Json, None, bytes);
            serde_json::from_slice::<Value>(&line).unwrap()["value"].clone()
        };
        assert_eq!(value(Some(b"hi")), json!("hi"));
        assert_eq!(value(Some(b"\xff")), json!({"base64": "/w=="}));
        assert_eq!(value(None), Value::Null);
        let line = written(Format::Json, None, None);
        let whole: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!((&whole["offset"], &whole["headers"][0]["name"]), (&json!(7), &json!("h")));
    }

    #[test]
    fn hex_marks_null() {
        assert_eq!(written(Format::Hex, None, Some(b"\x00\xff")), b"1 7 - 00ff\n");
        assert_eq!(written(Format::Hex, Some(b""), None), b"1 7  -\n");
    }
}
