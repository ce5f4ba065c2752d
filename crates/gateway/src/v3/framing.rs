//! Cuts a stream of concatenated JSON objects into objects, as the bytes arrive.
//!
//! Every byte is looked at once, so that a large object that comes in small pieces costs no more than one that comes whole.
//! (A parser that begins anew with each piece would take quadratic time, at the pleasure of the client.)

use bytes::{Bytes, BytesMut};
use serde::de::IgnoredAny;

/// The stream cannot be understood from here on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FramingError {
    #[error("a record is larger than {max} bytes")]
    TooLarge { max: usize },
    #[error("the body is not a sequence of JSON objects: one cannot begin with '{}'", char::from(*.0).escape_default())]
    NotAnObject(u8),
    /// The place is where it stops being JSON, counted from where the record begins.
    #[error("the record that begins at byte {begin} of the body is not JSON: {reason}")]
    Malformed { begin: usize, reason: String },
    #[error("the body ends in the middle of a record")]
    Unfinished,
}

/// What came so far and was not cut off yet.
#[derive(Debug)]
pub(crate) struct Framer {
    buffer: BytesMut,
    /// How far the buffer was looked at.
    scanned: usize,
    /// How much of the stream was cut off before the buffer.
    cut: usize,
    /// Braces and brackets that are open.
    depth: usize,
    in_string: bool,
    escaped: bool,
    object_bytes_max: usize,
}

impl Framer {
    pub(crate) fn new(object_bytes_max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            cut: 0,
            depth: 0,
            in_string: false,
            escaped: false,
            object_bytes_max,
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    pub(crate) fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The next whole object, if it is there.
    pub(crate) fn next_object(&mut self) -> Result<Option<Bytes>, FramingError> {
        if self.depth == 0 {
            self.skip_whitespace()?;
        }
        while let Some(&byte) = self.buffer.get(self.scanned) {
            self.scanned += 1;
            if self.scanned > self.object_bytes_max {
                return Err(FramingError::TooLarge { max: self.object_bytes_max });
            }
            if self.ends_object(byte) {
                let object = self.buffer.split_to(self.scanned).freeze();
                self.scanned = 0;
                self.cut += object.len();
                return Ok(Some(object));
            }
        }
        Ok(None)
    }

    /// The stream ended: is there something left?
    pub(crate) fn finish(&self) -> Result<(), FramingError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        // More would have made a record of it, or nothing could.
        match serde_json::from_slice::<IgnoredAny>(&self.buffer) {
            Err(error) if !error.is_eof() => {
                Err(FramingError::Malformed { begin: self.cut, reason: error.to_string() })
            }
            _ => Err(FramingError::Unfinished),
        }
    }

    fn skip_whitespace(&mut self) -> Result<(), FramingError> {
        let blank = self.buffer.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')).count();
        // Splitting drops what was skipped without moving the rest.
        drop(self.buffer.split_to(blank));
        self.cut += blank;
        match self.buffer.first() {
            None | Some(b'{') => Ok(()),
            Some(other) => Err(FramingError::NotAnObject(*other)),
        }
    }

    fn ends_object(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth -= 1;
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(pieces: impl IntoIterator<Item = Vec<u8>>, max: usize) -> Result<Vec<String>, FramingError> {
        let mut framer = Framer::new(max);
        let mut objects = Vec::new();
        for piece in pieces {
            framer.push(&piece);
            while let Some(object) = framer.next_object()? {
                objects.push(String::from_utf8(object.to_vec()).unwrap());
            }
        }
        framer.finish()?;
        Ok(objects)
    }

    const STREAM: &str = " {\"a\":\"}{\\\"\"}\n{\"b\":[{},\"]\"]}{\"c\":\"\\\\\"}\r\n";

    #[test]
    fn objects_are_cut_out_byte_by_byte() {
        let expected = ["{\"a\":\"}{\\\"\"}", "{\"b\":[{},\"]\"]}", "{\"c\":\"\\\\\"}"];
        assert_eq!(cut(STREAM.bytes().map(|b| vec![b]), 100).unwrap(), expected);
        assert_eq!(cut([STREAM.as_bytes().to_vec()], 100).unwrap(), expected);
        assert!(cut([b" \n ".to_vec()], 100).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_object_ends_the_stream() {
        let error = |text: &str| cut([text.as_bytes().to_vec()], 100).unwrap_err();
        assert_eq!(error("[{}]"), FramingError::NotAnObject(b'['));
        assert_eq!(error("{} x"), FramingError::NotAnObject(b'x'));
        assert_eq!(error("}"), FramingError::NotAnObject(b'}'));
        assert_eq!(error("{\"a\": 1"), FramingError::Unfinished);
        assert_eq!(error("{\"a\": \"}"), FramingError::Unfinished);
    }

    #[test]
    fn malformed_json_is_not_called_a_premature_end() {
        let error = |text: &str| cut([text.as_bytes().to_vec()], 100).unwrap_err();
        let malformed = error("{\"value\":1}  {bad");
        let FramingError::Malformed { begin: 13, reason } = &malformed else { panic!("{malformed}") };
        assert!(reason.ends_with("at line 1 column 2"), "{reason}");
        assert!(malformed.to_string().contains("begins at byte 13"), "{malformed}");
        for text in ["{\"a\": nope", "{\"a\" 1", "{\"a\":\"\\x", "{,", "{\"a\":[1 2"] {
            assert!(matches!(error(text), FramingError::Malformed { begin: 0, .. }), "{text}");
        }
        for text in ["{", "{\"a", "{\"a\":\"\\u12", "{\"a\":tru", "{\"a\":[1,", "{\"a\":1"] {
            assert_eq!(error(text), FramingError::Unfinished, "{text}");
        }
    }

    #[test]
    fn an_object_may_be_as_large_as_allowed_and_no_larger() {
        let object = "{\"a\":123}";
        let stream = || [object.repeat(3).into_bytes()];
        assert_eq!(cut(stream(), object.len()).unwrap().len(), 3);
        assert_eq!(cut(stream(), object.len() - 1), Err(FramingError::TooLarge { max: 8 }));
        // Also one that never ends.
        let endless = std::iter::once(b"{\"a\":\"".to_vec()).chain((0..100).map(|_| vec![b'x'; 10]));
        assert_eq!(cut(endless, 50), Err(FramingError::TooLarge { max: 50 }));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_pieces_do_not_matter(bytes: Vec<u8>, at: prop::sample::Index) {
            let mut framer = Framer::new(30);
            let at = if bytes.is_empty() { 0 } else { at.index(bytes.len()) };
            let (first, second) = bytes.split_at(at);
            for piece in [first, second] {
                framer.push(piece);
                while let Ok(Some(object)) = framer.next_object() {
                    prop_assert!(object.len() <= 30);
                }
            }
        }
    }
}
