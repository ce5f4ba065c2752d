use fastrand::Rng;

/// Who sent a record, and as its how many-th. Unique in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    pub producer: u32,
    pub sequence: u32,
}

impl std::fmt::Display for RecordId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.producer, self.sequence)
    }
}

/// Makes and recognises values: an id, then random bytes that follow from the run's seed and the id, so that a value can
/// be checked to its last byte without being kept.
#[derive(Clone, Copy, Debug)]
pub struct Values {
    pub seed: u64,
    /// Bytes of the largest value; the smallest has 100.
    pub bytes_max: usize,
}

const MARK: &[u8; 4] = b"anb1";
const HEAD_BYTES: usize = 12;
const BYTES_MIN: usize = 100;

impl Values {
    /// The value of a record. Small ones are as frequent as large ones in every octave of sizes.
    pub fn value(&self, id: RecordId) -> Vec<u8> {
        let mut random = Rng::with_seed(self.seed ^ (u64::from(id.producer) << 32 | u64::from(id.sequence)));
        let octaves = (self.bytes_max.max(BYTES_MIN) as f64 / BYTES_MIN as f64).ln();
        let length = (BYTES_MIN as f64 * (random.f64() * octaves).exp()) as usize;
        let mut value = Vec::with_capacity(length);
        value.extend_from_slice(MARK);
        value.extend_from_slice(&id.producer.to_be_bytes());
        value.extend_from_slice(&id.sequence.to_be_bytes());
        value.resize(length.max(HEAD_BYTES), 0);
        random.fill(&mut value[HEAD_BYTES..]);
        value
    }

    /// Whose value this is, if it is one of this run's, whole.
    pub fn recognise(&self, value: &[u8]) -> Option<RecordId> {
        let number = |at: usize| Some(u32::from_be_bytes(value.get(at..at + 4)?.try_into().ok()?));
        if value.get(..4)? != MARK {
            return None;
        }
        let id = RecordId { producer: number(4)?, sequence: number(8)? };
        (self.value(id) == value).then_some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_recognised_and_a_changed_one_is_not() {
        let values = Values { seed: 7, bytes_max: 10_000 };
        for sequence in 0..100 {
            let id = RecordId { producer: 3, sequence };
            let mut value = values.value(id);
            assert!((100..=10_000).contains(&value.len()));
            assert_eq!(values.recognise(&value), Some(id));
            *value.last_mut().unwrap() ^= 1;
            assert_eq!(values.recognise(&value), None);
        }
        assert_eq!(values.recognise(b"anything"), None);
        assert_eq!(
            Values { seed: 8, ..values }.recognise(&values.value(RecordId { producer: 3, sequence: 0 })),
            None
        );
    }
}
