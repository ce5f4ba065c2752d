use std::borrow::Cow;

use domain::TopicConfig;

use super::ProduceError;

/// A record on its way to a partition. What can be borrowed from the request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutRecord<'a> {
    /// Milliseconds since 1970.
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Cow<'a, [u8]>>,
    pub(crate) value: Option<Cow<'a, [u8]>>,
    pub(crate) headers: Vec<(Cow<'a, str>, Option<Vec<u8>>)>,
}

/// The most that a record takes besides its own bytes: length, attributes, two deltas, three more lengths.
const RECORD_OVERHEAD_MAX: usize = 5 + 1 + 10 + 5 + 5 + 5 + 5;
const HEADER_OVERHEAD_MAX: usize = 5 + 5;

impl OutRecord<'_> {
    /// The most that the record can take in a batch.
    pub(crate) fn bytes_bound(&self) -> usize {
        let length = |bytes: &Option<Cow<'_, [u8]>>| bytes.as_ref().map_or(0, |b| b.len());
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| HEADER_OVERHEAD_MAX + name.len() + value.as_ref().map_or(0, Vec::len));
        RECORD_OVERHEAD_MAX + length(&self.key) + length(&self.value) + headers.sum::<usize>()
    }

    pub(super) fn add_to(&self, builder: &mut records::BatchBuilder) {
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            self.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_deref())).collect();
        builder.push(self.timestamp, self.key.as_deref(), self.value.as_deref(), &headers);
    }
}

/// What a topic's settings demand of a record. It is checked before a record joins a batch with others', because a leader
/// refuses a batch as a whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TopicRules {
    /// The largest batch.
    pub(crate) batch_bytes_max: usize,
    keys_needed: bool,
    timestamp_after_max_ms: i64,
}

impl TopicRules {
    pub(crate) fn new(config: &TopicConfig) -> Self {
        Self {
            batch_bytes_max: config.max_message_bytes as usize,
            keys_needed: config.cleanup_policy.compact,
            timestamp_after_max_ms: config.message_timestamp_after_max_ms,
        }
    }

    /// `now`: milliseconds since 1970.
    pub(crate) fn check(&self, record: &OutRecord<'_>, now: i64) -> Result<(), ProduceError> {
        if self.keys_needed && record.key.is_none() {
            let message = "the topic is compacted, so its records need keys";
            return Err(ProduceError::Forbidden(message.to_owned()));
        }
        if record.timestamp.saturating_sub(now) > self.timestamp_after_max_ms {
            let message = format!(
                "timestamp {} is more than the topic's {} ms ahead of the clock",
                record.timestamp, self.timestamp_after_max_ms
            );
            return Err(ProduceError::Forbidden(message));
        }
        let alone = std::slice::from_ref(record);
        self.fits(alone).map_err(|(bytes, max)| ProduceError::TooLarge { bytes, max })
    }

    /// Whether the records are not too large for one batch; else their size in bytes and the most.
    pub(super) fn fits(&self, records: &[OutRecord<'_>]) -> Result<(), (usize, usize)> {
        let bound: usize = records.iter().map(OutRecord::bytes_bound).sum();
        if records::HEADER_BYTES + bound <= self.batch_bytes_max {
            return Ok(());
        }
        // Close to the limit only the exact size counts.
        let mut batch = records::BatchBuilder::new(records::Compression::None);
        records.iter().for_each(|record| record.add_to(&mut batch));
        match batch.encoded_bytes() {
            bytes if bytes <= self.batch_bytes_max => Ok(()),
            bytes => Err((bytes, self.batch_bytes_max)),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::ConfigOverrides;

    use super::*;

    fn rules(configs: &[(&str, &str)]) -> TopicRules {
        let configs: ConfigOverrides =
            configs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        TopicRules::new(&TopicConfig::effective(&configs, &ConfigOverrides::new()))
    }

    fn record(value: &[u8]) -> OutRecord<'_> {
        OutRecord {
            timestamp: 1_000,
            key: None,
            value: Some(value.into()),
            headers: vec![("h".into(), None)],
        }
    }

    #[test]
    fn the_bound_is_never_below_the_size() {
        for bytes in [0, 1, 63, 64, 8_191, 8_192, 1 << 20] {
            let value = vec![0; bytes];
            let mut builder = records::BatchBuilder::new(records::Compression::None);
            record(&value).add_to(&mut builder);
            let bound = records::HEADER_BYTES + record(&value).bytes_bound();
            assert!(builder.encoded_bytes() <= bound && bound <= builder.encoded_bytes() + 50);
        }
    }

    #[test]
    fn a_record_may_be_exactly_as_large_as_its_topic_allows() {
        let value = [0; 1_000];
        let mut builder = records::BatchBuilder::new(records::Compression::None);
        record(&value).add_to(&mut builder);
        let exact = builder.encoded_bytes();
        let check = |max: usize| rules(&[("max.message.bytes", &max.to_string())]).check(&record(&value), 0);
        assert_eq!(check(exact), Ok(()));
        assert_eq!(check(exact - 1), Err(ProduceError::TooLarge { bytes: exact, max: exact - 1 }));
    }

    #[test]
    fn what_the_leader_would_refuse_is_refused_before_it_spoils_a_batch() {
        let compacted = rules(&[("cleanup.policy", "compact")]);
        assert!(matches!(compacted.check(&record(b"v"), 0), Err(ProduceError::Forbidden(_))));
        let punctual = rules(&[("message.timestamp.after.max.ms", "10")]);
        assert!(punctual.check(&record(b"v"), 990).is_ok());
        assert!(punctual.check(&record(b"v"), 989).is_err());
    }
}
