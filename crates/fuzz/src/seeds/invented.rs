use bytes::{Buf, Bytes, TryGetError};
use kafka_protocol::protocol::{Decodable, buf::ByteBuf};

/// Bytes that are made up while they are read: every number is small, so that as a length it is one of a message of moderate
/// size. So any type of message makes its own examples.
pub(crate) struct Invented {
    state: u64,
}

/// A message of this type and version; `None` where what was made up is none.
pub(crate) fn message<M: Decodable>(version: i16, seed: u64) -> Option<M> {
    let mut source = Invented { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 };
    M::decode(&mut source, version).ok()
}

impl Invented {
    fn below(&mut self, bound: u64) -> u64 {
        // xorshift64
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) % bound
    }
}

impl Buf for Invented {
    fn remaining(&self) -> usize {
        usize::MAX >> 1
    }

    fn chunk(&self) -> &[u8] {
        &[0; 16]
    }

    fn advance(&mut self, _: usize) {}

    /// A boolean, or a whole integer of variable length: null, empty, or up to two.
    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        Ok(self.below(4) as u8)
    }

    fn try_get_i8(&mut self) -> Result<i8, TryGetError> {
        Ok(self.below(3) as i8 - 1)
    }

    fn try_get_i16(&mut self) -> Result<i16, TryGetError> {
        Ok(self.below(8) as i16 - 1)
    }

    fn try_get_u16(&mut self) -> Result<u16, TryGetError> {
        Ok(self.below(9_999) as u16)
    }

    fn try_get_i32(&mut self) -> Result<i32, TryGetError> {
        Ok([-1, 0, 1, 1, 1, 2, 2, 3][self.below(8) as usize])
    }

    fn try_get_i64(&mut self) -> Result<i64, TryGetError> {
        Ok(self.below(1 << 40) as i64 - 1)
    }

    fn try_get_f64(&mut self) -> Result<f64, TryGetError> {
        Ok(0.5)
    }

    fn try_copy_to_slice(&mut self, out: &mut [u8]) -> Result<(), TryGetError> {
        out.fill_with(|| self.below(256) as u8);
        Ok(())
    }
}

impl ByteBuf for Invented {
    fn peek_bytes(&mut self, range: std::ops::Range<usize>) -> Bytes {
        Bytes::from(vec![b'p'; range.len()])
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        (0..size).map(|_| b'a' + self.below(26) as u8).collect()
    }
}
