use assign::Partitions;
use bytes::{BufMut, Bytes, BytesMut};
use domain::{PartitionIndex, TopicId};
use uuid::Uuid;

use super::Flaw;

/// Kafka's limit for any string.
const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// Takes Kafka's primitive types from the front of a slice. A length is believed only as far as there are bytes.
pub(super) struct Reader<'a> {
    left: &'a [u8],
    /// Lengths are variable-length integers, one more than the length, and structs end with tagged fields (KIP-482).
    flexible: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes, flexible: false }
    }

    pub(super) fn flexible(self, flexible: bool) -> Self {
        Self { flexible, ..self }
    }

    pub(super) fn take(&mut self, field: &'static str, wanted: usize) -> Result<&'a [u8], Flaw> {
        let short = Flaw::Short { field, wanted, left: self.left.len() };
        let (taken, left) = self.left.split_at_checked(wanted).ok_or(short)?;
        self.left = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Flaw> {
        let short = Flaw::Short { field, wanted: N, left: self.left.len() };
        let (taken, left) = self.left.split_first_chunk().ok_or(short)?;
        self.left = left;
        Ok(*taken)
    }

    pub(super) fn i8(&mut self, field: &'static str) -> Result<i8, Flaw> {
        self.array(field).map(i8::from_be_bytes)
    }

    pub(super) fn i16(&mut self, field: &'static str) -> Result<i16, Flaw> {
        self.array(field).map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self, field: &'static str) -> Result<i32, Flaw> {
        self.array(field).map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self, field: &'static str) -> Result<i64, Flaw> {
        self.array(field).map(i64::from_be_bytes)
    }

    pub(super) fn uuid(&mut self, field: &'static str) -> Result<Uuid, Flaw> {
        self.array(field).map(Uuid::from_bytes)
    }

    pub(super) fn varint(&mut self, field: &'static str) -> Result<u32, Flaw> {
        let mut value = 0_u64;
        for (index, &byte) in self.left.iter().take(5).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.left = &self.left[index + 1..];
                return u32::try_from(value).map_err(|_| Flaw::Varint(field));
            }
        }
        Err(Flaw::Varint(field))
    }

    /// A length as both encodings have it; `None` is null.
    fn length(
        &mut self,
        field: &'static str,
        fixed: fn(&mut Self, &'static str) -> Result<i64, Flaw>,
    ) -> Result<Option<usize>, Flaw> {
        let length = match self.flexible {
            true => i64::from(self.varint(field)?) - 1,
            false => fixed(self, field)?,
        };
        match length {
            -1 => Ok(None),
            _ => usize::try_from(length).map(Some).map_err(|_| Flaw::Length { field, length }),
        }
    }

    pub(super) fn nullable_string(&mut self, field: &'static str) -> Result<Option<String>, Flaw> {
        let Some(length) = self.length(field, |r, field| r.i16(field).map(i64::from))? else {
            return Ok(None);
        };
        let text = str::from_utf8(self.take(field, length)?).map_err(|_| Flaw::Text(field))?;
        Ok(Some(text.to_owned()))
    }

    pub(super) fn string(&mut self, field: &'static str) -> Result<String, Flaw> {
        self.nullable_string(field)?.ok_or(Flaw::Null(field))
    }

    pub(super) fn bytes(&mut self, field: &'static str) -> Result<Bytes, Flaw> {
        let length = self.length(field, |r, field| r.i32(field).map(i64::from))?;
        self.take(field, length.ok_or(Flaw::Null(field))?).map(Bytes::copy_from_slice)
    }

    /// An array, into any collection; every element takes at least a byte, so none is waited for that is not there.
    pub(super) fn list<T, C: FromIterator<T>>(
        &mut self,
        field: &'static str,
        element: impl Fn(&mut Self) -> Result<T, Flaw>,
    ) -> Result<C, Flaw> {
        let length = self.length(field, |r, field| r.i32(field).map(i64::from))?;
        let wanted = length.ok_or(Flaw::Null(field))?;
        let left = self.left.len();
        if wanted > left {
            return Err(Flaw::Short { field, wanted, left });
        }
        (0..wanted).map(|_| element(self)).collect()
    }

    /// Topics with partitions, as several of the consumer groups' records have them.
    pub(super) fn partitions(&mut self, field: &'static str) -> Result<Partitions, Flaw> {
        let topics: Vec<(TopicId, Vec<PartitionIndex>)> = self.list(field, |r| {
            let topic = TopicId(r.uuid(field)?);
            let partitions = r.list(field, |r| r.i32(field).map(PartitionIndex))?;
            r.no_tags(field)?;
            Ok((topic, partitions))
        })?;
        let mut all = Partitions::new();
        for (topic, partitions) in topics.into_iter().filter(|(_, partitions)| !partitions.is_empty()) {
            all.entry(topic).or_default().extend(partitions);
        }
        Ok(all)
    }

    /// The tagged fields at a struct's end: `known` gets each with a reader of its bytes, and ignores those that it does
    /// not know.
    pub(super) fn tags(
        &mut self,
        field: &'static str,
        mut known: impl FnMut(u32, &mut Reader<'a>) -> Result<(), Flaw>,
    ) -> Result<(), Flaw> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint(field)? {
            let tag = self.varint(field)?;
            let size = self.varint(field)?;
            let bytes = self.take(field, size as usize)?;
            known(tag, &mut Reader { left: bytes, flexible: true })?;
        }
        Ok(())
    }

    /// Tagged fields of which none matters.
    pub(super) fn no_tags(&mut self, field: &'static str) -> Result<(), Flaw> {
        self.tags(field, |_, _| Ok(()))
    }

    /// There must be nothing more.
    pub(super) fn end(&self) -> Result<(), Flaw> {
        match self.left.len() {
            0 => Ok(()),
            left => Err(Flaw::LeftOver(left)),
        }
    }
}

/// Puts Kafka's primitive types behind each other.
pub(super) struct Writer {
    out: BytesMut,
    flexible: bool,
}

impl Writer {
    /// Everything begins with its version.
    pub(super) fn new(version: i16, flexible: bool) -> Self {
        let mut out = BytesMut::with_capacity(64);
        out.put_i16(version);
        Self { out, flexible }
    }

    pub(super) fn i8(&mut self, value: i8) {
        self.out.put_i8(value);
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.out.put_i32(value);
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.out.put_i64(value);
    }

    pub(super) fn uuid(&mut self, value: Uuid) {
        self.out.put_slice(value.as_bytes());
    }

    pub(super) fn varint(&mut self, value: usize) {
        let mut rest = value;
        while rest >= 0x80 {
            self.out.put_u8(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.out.put_u8(rest as u8);
    }

    /// A string. One that is longer than Kafka's limit is cut, for a wrong length would lose the whole record.
    pub(super) fn string(&mut self, text: &str) {
        let text = &text[..text.floor_char_boundary(STRING_BYTES_MAX)];
        match self.flexible {
            true => self.varint(text.len() + 1),
            false => self.out.put_i16(text.len() as i16),
        }
        self.out.put_slice(text.as_bytes());
    }

    pub(super) fn nullable_string(&mut self, text: Option<&str>) {
        match (text, self.flexible) {
            (Some(text), _) => self.string(text),
            (None, true) => self.varint(0),
            (None, false) => self.out.put_i16(-1),
        }
    }

    fn length(&mut self, length: usize) {
        match self.flexible {
            true => self.varint(length + 1),
            false => self.out.put_i32(length as i32),
        }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.out.put_slice(bytes);
    }

    pub(super) fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
        mut element: impl FnMut(&mut Self, T),
    ) {
        let items = items.into_iter();
        self.length(items.len());
        for item in items {
            element(self, item);
        }
    }

    pub(super) fn partitions(&mut self, partitions: &Partitions) {
        self.list(partitions, |w, (topic, partitions)| {
            w.uuid(topic.0);
            w.list(partitions, |w, partition| w.i32(partition.0));
            w.no_tags();
        });
    }

    pub(super) fn no_tags(&mut self) {
        if self.flexible {
            self.varint(0);
        }
    }

    /// The only tagged field that is there.
    pub(super) fn one_tag(&mut self, tag: usize, field: impl FnOnce(&mut Writer)) {
        let mut inner = Writer { out: BytesMut::new(), flexible: true };
        field(&mut inner);
        self.varint(1);
        self.varint(tag);
        self.varint(inner.out.len());
        self.out.put_slice(&inner.out);
    }

    pub(super) fn finish(self) -> Bytes {
        self.out.freeze()
    }
}
