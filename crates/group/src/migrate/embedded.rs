use std::collections::BTreeSet;

use assign::Partitions;
use bytes::{BufMut, Bytes, BytesMut};
use domain::PartitionIndex;

use crate::Topics;

/// What consumers of the classic protocol say to each other inside its opaque fields (`ConsumerProtocolSubscription`,
/// `ConsumerProtocolAssignment`). Read here by hand, because it comes from a client: nothing is allocated that its bytes
/// do not pay for.
pub(crate) struct Embedded<'a> {
    left: &'a [u8],
}

/// Bytes that are not what consumers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotEmbedded;

type Result<T> = std::result::Result<T, NotEmbedded>;
type Named = Vec<(String, Vec<i32>)>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EmbeddedSubscription {
    pub(crate) version: i16,
    pub(crate) topics: BTreeSet<String>,
    pub(crate) owned: Named,
    pub(crate) rack: Option<String>,
}

impl<'a> Embedded<'a> {
    pub(crate) fn subscription(bytes: &'a [u8]) -> Result<EmbeddedSubscription> {
        let mut from = Self { left: bytes };
        let version = from.version()?;
        let topics = from.list(Self::string)?.into_iter().collect();
        from.nullable_bytes()?;
        let owned = if version >= 1 { from.list(Self::topic)? } else { Named::new() };
        if version >= 2 {
            from.i32()?;
        }
        let rack = if version >= 3 { from.nullable_string()? } else { None };
        // What a later version has at the end does not matter.
        Ok(EmbeddedSubscription { version, topics, owned, rack })
    }

    pub(crate) fn assignment(bytes: &'a [u8]) -> Result<Named> {
        if bytes.is_empty() {
            // It has joined, and got nothing yet.
            return Ok(Named::new());
        }
        let mut from = Self { left: bytes };
        from.version()?;
        from.list(Self::topic)
    }

    pub(crate) fn write_assignment(version: i16, partitions: &Partitions, topics: &dyn Topics) -> Bytes {
        let named: Vec<_> =
            partitions.iter().filter_map(|(id, of)| topics.by_id(*id).map(|(name, _)| (name, of))).collect();
        let mut out = BytesMut::with_capacity(64);
        out.put_i16(version);
        out.put_i32(named.len() as i32);
        for (name, partitions) in named {
            out.put_i16(name.as_str().len() as i16);
            out.put_slice(name.as_str().as_bytes());
            out.put_i32(partitions.len() as i32);
            partitions.iter().for_each(|partition| out.put_i32(partition.0));
        }
        out.put_i32(-1);
        out.freeze()
    }

    /// Those of the partitions that there are.
    pub(crate) fn existing(named: &[(String, Vec<i32>)], topics: &dyn Topics) -> Partitions {
        let mut all = Partitions::new();
        for (name, partitions) in named {
            let Some((id, count)) = topics.by_name(name) else { continue };
            let there = partitions.iter().copied().filter(|partition| (0..count).contains(partition));
            let there: BTreeSet<_> = there.map(PartitionIndex).collect();
            if !there.is_empty() {
                all.entry(id).or_default().extend(there);
            }
        }
        all
    }

    fn version(&mut self) -> Result<i16> {
        let version = i16::from_be_bytes(self.array()?);
        (version >= 0).then_some(version).ok_or(NotEmbedded)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, left) = self.left.split_first_chunk().ok_or(NotEmbedded)?;
        self.left = left;
        Ok(*taken)
    }

    fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, left) = self.left.split_at_checked(length).ok_or(NotEmbedded)?;
        self.left = left;
        Ok(taken)
    }

    fn nullable_string(&mut self) -> Result<Option<String>> {
        match i16::from_be_bytes(self.array()?) {
            -1 => Ok(None),
            length => {
                let bytes = self.take(usize::try_from(length).map_err(|_| NotEmbedded)?)?;
                str::from_utf8(bytes).map(|text| Some(text.to_owned())).map_err(|_| NotEmbedded)
            }
        }
    }

    fn string(&mut self) -> Result<String> {
        self.nullable_string()?.ok_or(NotEmbedded)
    }

    fn nullable_bytes(&mut self) -> Result<()> {
        match self.i32()? {
            -1 => Ok(()),
            length => self.take(usize::try_from(length).map_err(|_| NotEmbedded)?).map(drop),
        }
    }

    fn topic(&mut self) -> Result<(String, Vec<i32>)> {
        Ok((self.string()?, self.list(Self::i32)?))
    }

    fn list<T>(&mut self, element: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        // Every element takes at least two bytes.
        let length = usize::try_from(self.i32()?).map_err(|_| NotEmbedded)?;
        if length > self.left.len() / 2 {
            return Err(NotEmbedded);
        }
        (0..length).map(|_| element(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_that_the_bytes_do_not_pay_for_is_refused() {
        let claims = [0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        assert_eq!(Embedded::subscription(&claims), Err(NotEmbedded));
        assert_eq!(Embedded::assignment(&claims), Err(NotEmbedded));
        assert_eq!(Embedded::subscription(&[]), Err(NotEmbedded));
        assert_eq!(Embedded::assignment(&[]), Ok(Vec::new()));
    }

    #[test]
    fn a_subscription_of_the_third_version_is_read() {
        let mut bytes = BytesMut::new();
        bytes.put_slice(&[0, 3, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff]);
        bytes.put_slice(&[0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 7]);
        bytes.put_slice(&[0, 0, 0, 5, 0, 1, b'r']);
        let expected = EmbeddedSubscription {
            version: 3,
            topics: BTreeSet::from(["t".to_owned()]),
            owned: vec![("t".to_owned(), vec![7])],
            rack: Some("r".to_owned()),
        };
        assert_eq!(Embedded::subscription(&bytes), Ok(expected));
    }
}
