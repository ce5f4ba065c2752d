use std::collections::HashMap;

use bytes::Bytes;
use domain::TopicId;
use records::{BatchError, BatchHeader};
use transport::CallError;
use wire::{
    BrokerId, ResponseError,
    messages::{
        FetchRequest, FetchResponse,
        fetch_request::FetchTopic,
        fetch_response::{FetchableTopicResponse, NodeEndpoint, PartitionData},
    },
};

use super::plan::{Key, Plan};
use crate::kafka::{VIRTUAL, front::Front, to_who_named};

/// What leaders said last of where partitions begin and end: said again while nothing new is known.
#[derive(Default)]
pub(super) struct Known {
    ends: HashMap<Key, Ends>,
}

#[derive(Clone, Copy)]
struct Ends {
    high_watermark: i64,
    last_stable: i64,
    log_start: i64,
}

/// An offset that nobody has told.
const UNKNOWN: i64 = -1;
const NOBODY: BrokerId = BrokerId(-1);

impl Known {
    /// Takes note, and forgets what is not asked for any more.
    pub(super) fn learn(&mut self, answer: &FetchResponse) {
        for topic in &answer.responses {
            for data in topic.partitions.iter().filter(|data| data.error_code == 0) {
                let ends = Ends {
                    high_watermark: data.high_watermark,
                    last_stable: data.last_stable_offset,
                    log_start: data.log_start_offset,
                };
                self.ends.insert((TopicId(topic.topic_id), data.partition_index), ends);
            }
        }
    }

    /// Keeps no more than what one request asks for, give or take: a client that changes its mind leaves nothing behind.
    pub(super) fn trim(&mut self, partitions: usize) {
        if self.ends.len() > 2 * partitions + 16 {
            self.ends.clear();
        }
    }
}

/// How many bytes of records there are in it, and whether a client should hear of it at once: an error of the leader's own.
pub(super) fn weigh(answer: &Result<FetchResponse, CallError>) -> (usize, bool) {
    let Ok(response) = answer else { return (0, false) };
    let mut bytes = 0;
    let mut urgent = response.error_code != 0;
    for data in response.responses.iter().flat_map(|t| &t.partitions) {
        bytes += data.records.as_ref().map_or(0, Bytes::len);
        urgent |= data.error_code != 0 || data.diverging_epoch.epoch >= 0;
    }
    (bytes, urgent)
}

/// Whether all records are batches, as far as their headers say. A client checks what is in a batch by its checksum, but not
/// before it believes the header: librdkafka aborts its process where that makes no sense. What a node that dies has under
/// way may be such: the kernel sends the file's pages as they are by then, and a log's damaged end that is cut leaves zeros.
pub(super) fn check(answer: &FetchResponse) -> Result<(), BatchError> {
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
    partitions.filter_map(|data| data.records.as_deref()).try_for_each(check_headers)
}

fn check_headers(mut records: &[u8]) -> Result<(), BatchError> {
    while !records.is_empty() {
        let header = match BatchHeader::parse(records) {
            // The last one may be there in part.
            Err(BatchError::Truncated { .. }) => return Ok(()),
            header => header?,
        };
        records = records.get(header.total_bytes()..).unwrap_or_default();
    }
    Ok(())
}

/// What is known now of the partitions of one request.
#[derive(Default)]
pub(super) struct Gathered {
    data: HashMap<Key, PartitionData>,
    refused: HashMap<Key, ResponseError>,
}

impl Gathered {
    pub(super) fn add(&mut self, asked: Vec<FetchTopic>, answer: Result<FetchResponse, CallError>) {
        let code = match answer {
            Ok(response) if response.error_code == 0 => {
                for topic in response.responses {
                    let id = TopicId(topic.topic_id);
                    self.data.extend(topic.partitions.into_iter().map(|d| ((id, d.partition_index), d)));
                }
                return;
            }
            Ok(_) => ResponseError::NotLeaderOrFollower,
            Err(CallError::Unsupported { .. }) => ResponseError::UnsupportedVersion,
            // A fetch changes nothing: whether it arrived does not matter. The client looks for another leader.
            Err(error) => {
                tracing::debug!(%error, "a leader did not answer a fetch");
                ResponseError::NotLeaderOrFollower
            }
        };
        let keys = asked.iter().flat_map(|t| t.partitions.iter().map(|p| (TopicId(t.topic_id), p.partition)));
        self.refused.extend(keys.map(|key| (key, code)));
    }

    /// An answer to the request, with all of its partitions in its order, and what the placeholders in it stand for.
    pub(super) fn respond(
        &self,
        front: &Front,
        plan: &Plan,
        known: &Known,
        request: &FetchRequest,
        version: i16,
    ) -> (FetchResponse, Vec<Bytes>) {
        let mut records = Vec::new();
        let mut response = FetchResponse::default();
        let mut names_leader = false;
        for (asked, planned) in request.topics.iter().zip(&plan.topics) {
            let partitions = asked.partitions.iter().map(|partition| {
                let number = partition.partition;
                let key = planned.id.map(|id| (id, number));
                let mut data = match key.and_then(|key| self.data.get(&key)) {
                    Some(data) => data.clone(),
                    None => {
                        let unanswered = key.and_then(|key| self.refused.get(&key));
                        match unanswered.or_else(|| planned.refused.get(&number)) {
                            Some(code) => refused(number, *code),
                            None => quiet(number, key.and_then(|key| known.ends.get(&key))),
                        }
                    }
                };
                data.error_code = to_who_named(asked.topic_id, data.error_code);
                data.preferred_read_replica = NOBODY;
                if data.current_leader.leader_id != NOBODY {
                    data.current_leader.leader_id = VIRTUAL;
                    names_leader = true;
                }
                // librdkafka takes no null here.
                data.records = Some(wire::cut_out(data.records.unwrap_or_default(), &mut records));
                data
            });
            let topic = FetchableTopicResponse::default()
                .with_topic(planned.name.clone())
                .with_topic_id(asked.topic_id)
                .with_partitions(partitions.collect());
            response.responses.push(topic);
        }
        if names_leader && version >= WITH_ENDPOINTS {
            let endpoint = NodeEndpoint::default()
                .with_node_id(VIRTUAL)
                .with_host(front.host.clone())
                .with_port(front.port);
            response.node_endpoints.push(endpoint);
        }
        (response, records)
    }
}

/// Answers say where leaders are from this version on (KIP-951).
const WITH_ENDPOINTS: i16 = 16;

/// A partition whose leader has not answered (yet): no news.
fn quiet(number: i32, known: Option<&Ends>) -> PartitionData {
    let nothing = Ends { high_watermark: UNKNOWN, last_stable: UNKNOWN, log_start: UNKNOWN };
    let ends = known.copied().unwrap_or(nothing);
    PartitionData::default()
        .with_partition_index(number)
        .with_high_watermark(ends.high_watermark)
        .with_last_stable_offset(ends.last_stable)
        .with_log_start_offset(ends.log_start)
}

fn refused(number: i32, code: ResponseError) -> PartitionData {
    PartitionData::default()
        .with_partition_index(number)
        .with_error_code(code.code())
        .with_high_watermark(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use records::{BatchBuilder, Compression};

    use super::*;

    fn batch() -> Vec<u8> {
        let mut batch = BatchBuilder::new(Compression::None);
        batch.push(1, Some(b"k".as_slice()), Some(b"v".as_slice()), &[]);
        batch.build().to_vec()
    }

    #[test]
    fn batches_are_handed_on_also_where_the_last_is_there_in_part() {
        let two = [batch(), batch()].concat();
        for length in 0..=two.len() {
            assert_eq!(check_headers(&two[..length]), Ok(()), "{length} bytes");
        }
    }

    #[test]
    fn what_makes_no_sense_as_a_header_is_not_handed_on() {
        let followed_by = |bytes: &[u8]| check_headers(&[&batch(), bytes].concat()).is_err();
        assert!(followed_by(&[0; 100]), "as a log's cut end is sent");
        assert!(followed_by(&batch()[1..]));
        let with = |at: usize, byte: u8| {
            let mut changed = batch();
            changed[at] = byte;
            changed
        };
        assert!(followed_by(&with(16, 0)), "an older format");
        assert!(followed_by(&with(8, 0x80)), "a negative length");
        assert!(!followed_by(&with(65, 9)), "the rest is for the checksum");
    }
}
