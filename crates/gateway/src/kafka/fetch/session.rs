use std::collections::{HashMap, HashSet, hash_map::Entry};

use uuid::Uuid;
use wire::{
    ResponseError, WireTopicName,
    messages::{
        FetchRequest, FetchResponse,
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::PartitionData,
    },
};

use crate::kafka::text;

/// What a client wants from now on, and what it was told last: it sends, and is sent, only what changes (KIP-227). It ends
/// with the connection; a client that comes back with its id begins a new one.
pub(super) struct ClientSession {
    id: i32,
    next_epoch: i32,
    /// Who had records last is last: everybody gets a turn.
    wanted: Vec<Wanted>,
}

struct Wanted {
    topic: WireTopicName,
    topic_id: Uuid,
    partition: FetchPartition,
    /// High watermark, last stable offset and log start.
    told: Option<(i64, i64, i64)>,
}

type Key = (WireTopicName, Uuid, i32);

impl Wanted {
    fn key(&self) -> Key {
        (self.topic.clone(), self.topic_id, self.partition.partition)
    }
}

/// How a request is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Without a session.
    Alone,
    /// The first of a session: every partition is answered.
    Whole,
    /// Only what has changed is.
    Changes,
}

/// Session epochs that are none: the beginning of a session, and the end or absence of one.
const INITIAL: i32 = 0;
const FINAL: i32 = -1;

/// Takes a request in. `new_id` is for the session that it may begin, and positive.
pub(super) fn take_in(
    session: &mut Option<ClientSession>,
    request: &mut FetchRequest,
    new_id: impl FnOnce() -> i32,
) -> Result<Form, ResponseError> {
    match request.session_epoch {
        FINAL => {
            session.take_if(|session| session.id == request.session_id);
            Ok(Form::Alone)
        }
        INITIAL => {
            *session = None;
            if request.topics.is_empty() {
                return Ok(Form::Alone);
            }
            let begun = session.insert(ClientSession { id: new_id(), next_epoch: 1, wanted: Vec::new() });
            begun.change(request);
            Ok(Form::Whole)
        }
        epoch => {
            let known = session.as_mut().filter(|session| session.id == request.session_id);
            let known = known.ok_or(ResponseError::FetchSessionIdNotFound)?;
            if epoch != known.next_epoch {
                return Err(ResponseError::InvalidFetchSessionEpoch);
            }
            known.next_epoch = epoch.checked_add(1).unwrap_or(1);
            known.change(request);
            Ok(Form::Changes)
        }
    }
}

impl ClientSession {
    /// What the request says has changed; then the request is one for everything that is wanted.
    fn change(&mut self, request: &mut FetchRequest) {
        let forgotten = std::mem::take(&mut request.forgotten_topics_data);
        if !forgotten.is_empty() {
            let forgotten: HashSet<Key> = forgotten
                .iter()
                .flat_map(|t| t.partitions.iter().map(|p| (t.topic.clone(), t.topic_id, *p)))
                .collect();
            self.wanted.retain(|wanted| !forgotten.contains(&wanted.key()));
        }
        let changed = std::mem::take(&mut request.topics);
        let mut known: HashMap<Key, usize> = match changed.is_empty() {
            true => HashMap::new(),
            false => self.wanted.iter().enumerate().map(|(at, wanted)| (wanted.key(), at)).collect(),
        };
        for topic in changed {
            // Its own copy: the request's would keep all of that in memory.
            let name = WireTopicName(text(topic.topic.as_str()));
            for partition in topic.partitions {
                match known.entry((name.clone(), topic.topic_id, partition.partition)) {
                    Entry::Occupied(at) => self.wanted[*at.get()].partition = partition,
                    Entry::Vacant(new) => {
                        new.insert(self.wanted.len());
                        let (topic, topic_id) = (name.clone(), topic.topic_id);
                        self.wanted.push(Wanted { topic, topic_id, partition, told: None });
                    }
                }
            }
        }
        request.topics = self.topics();
    }

    fn topics(&self) -> Vec<FetchTopic> {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for wanted in &self.wanted {
            let is_same = |last: &FetchTopic| last.topic == wanted.topic && last.topic_id == wanted.topic_id;
            if !topics.last().is_some_and(is_same) {
                let topic = FetchTopic::default().with_topic(wanted.topic.clone());
                topics.push(topic.with_topic_id(wanted.topic_id));
            }
            if let Some(last) = topics.last_mut() {
                last.partitions.push(wanted.partition.clone());
            }
        }
        topics
    }

    /// Takes out of an answer, which has all that is wanted in its order, what the client has been told already.
    pub(super) fn tell(&mut self, response: &mut FetchResponse, form: Form) {
        response.session_id = self.id;
        let mut had_records = Vec::with_capacity(self.wanted.len());
        let mut wanted = self.wanted.iter_mut();
        for topic in &mut response.responses {
            topic.partitions.retain(|data| {
                let Some(wanted) = wanted.next() else { return true };
                had_records.push(has_records(data));
                let now = (data.high_watermark, data.last_stable_offset, data.log_start_offset);
                let is_news = wanted.told != Some(now)
                    || data.error_code != 0
                    || has_records(data)
                    || data.diverging_epoch.epoch >= 0;
                // What comes after an error is news.
                wanted.told = (data.error_code == 0).then_some(now);
                is_news || form == Form::Whole
            });
        }
        response.responses.retain(|topic| !topic.partitions.is_empty());
        self.take_turns(had_records);
    }

    fn take_turns(&mut self, had_records: Vec<bool>) {
        if !had_records.contains(&true) {
            return;
        }
        let mut had = had_records.into_iter();
        let (last, mut first): (Vec<Wanted>, Vec<Wanted>) =
            std::mem::take(&mut self.wanted).into_iter().partition(|_| had.next().unwrap_or(false));
        first.extend(last);
        self.wanted = first;
    }
}

fn has_records(data: &PartitionData) -> bool {
    data.records.as_ref().is_some_and(|records| !records.is_empty())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wire::messages::{fetch_request::ForgottenTopic, fetch_response::FetchableTopicResponse};

    use super::*;

    fn name() -> WireTopicName {
        WireTopicName(text("t"))
    }

    fn request(id: i32, epoch: i32, wanted: &[(i32, i64)], forgotten: &[i32]) -> FetchRequest {
        let partition = |(number, offset): &(i32, i64)| {
            FetchPartition::default().with_partition(*number).with_fetch_offset(*offset)
        };
        let topic =
            FetchTopic::default().with_topic(name()).with_partitions(wanted.iter().map(partition).collect());
        let forgotten = ForgottenTopic::default().with_topic(name()).with_partitions(forgotten.to_vec());
        FetchRequest::default()
            .with_session_id(id)
            .with_session_epoch(epoch)
            .with_topics(if wanted.is_empty() { Vec::new() } else { vec![topic] })
            .with_forgotten_topics_data(vec![forgotten])
    }

    fn asked(request: &FetchRequest) -> Vec<(i32, i64)> {
        let partitions = request.topics.iter().flat_map(|t| &t.partitions);
        partitions.map(|p| (p.partition, p.fetch_offset)).collect()
    }

    /// An answer to all that the request asks for: each partition's high watermark and error, and whose records there are.
    fn answer(
        request: &FetchRequest,
        high_watermark: i64,
        error: i16,
        with_records: &[i32],
    ) -> FetchResponse {
        let topics = request.topics.iter().map(|topic| {
            let data = topic.partitions.iter().map(|p| {
                let records: &[u8] = if with_records.contains(&p.partition) { b"records" } else { b"" };
                PartitionData::default()
                    .with_partition_index(p.partition)
                    .with_high_watermark(high_watermark)
                    .with_error_code(error)
                    .with_records(Some(Bytes::copy_from_slice(records)))
            });
            FetchableTopicResponse::default().with_topic(topic.topic.clone()).with_partitions(data.collect())
        });
        FetchResponse::default().with_responses(topics.collect())
    }

    fn told(session: &mut Option<ClientSession>, mut response: FetchResponse, form: Form) -> Vec<i32> {
        session.as_mut().unwrap().tell(&mut response, form);
        assert_eq!(response.session_id, 7);
        response.responses.iter().flat_map(|t| &t.partitions).map(|p| p.partition_index).collect()
    }

    #[test]
    fn only_what_has_changed_is_sent_either_way() {
        let mut session = None;
        let mut whole = request(0, INITIAL, &[(0, 5), (1, 6), (2, 7)], &[]);
        assert_eq!(take_in(&mut session, &mut whole, || 7), Ok(Form::Whole));
        assert_eq!(told(&mut session, answer(&whole, 9, 0, &[]), Form::Whole), [0, 1, 2]);

        let mut same = request(7, 1, &[], &[]);
        assert_eq!(take_in(&mut session, &mut same, || 0), Ok(Form::Changes));
        assert_eq!(asked(&same), [(0, 5), (1, 6), (2, 7)]);
        assert_eq!(told(&mut session, answer(&same, 9, 0, &[0]), Form::Changes), [0]);

        let mut changed = request(7, 2, &[(0, 8), (3, 0)], &[1]);
        assert_eq!(take_in(&mut session, &mut changed, || 0), Ok(Form::Changes));
        assert_eq!(asked(&changed), [(2, 7), (0, 8), (3, 0)], "who had records is behind the others");
        assert_eq!(told(&mut session, answer(&changed, 9, 0, &[]), Form::Changes), [3]);

        let mut again = request(7, 3, &[], &[]);
        take_in(&mut session, &mut again, || 0).unwrap();
        assert_eq!(told(&mut session, answer(&again, 9, 6, &[]), Form::Changes), [2, 0, 3], "errors");
        let mut again = request(7, 4, &[], &[]);
        take_in(&mut session, &mut again, || 0).unwrap();
        assert_eq!(
            told(&mut session, answer(&again, 9, 0, &[]), Form::Changes),
            [2, 0, 3],
            "no error any more"
        );
    }

    #[test]
    fn a_session_that_is_not_known_or_out_of_step_is_refused() {
        let mut session = None;
        let unknown = take_in(&mut session, &mut request(7, 1, &[], &[]), || 0);
        assert_eq!(unknown, Err(ResponseError::FetchSessionIdNotFound));
        take_in(&mut session, &mut request(0, INITIAL, &[(0, 0)], &[]), || 7).unwrap();
        let skipped = take_in(&mut session, &mut request(7, 2, &[], &[]), || 0);
        assert_eq!(skipped, Err(ResponseError::InvalidFetchSessionEpoch));
        assert_eq!(take_in(&mut session, &mut request(7, FINAL, &[(0, 0)], &[]), || 0), Ok(Form::Alone));
        assert!(session.is_none());
    }
}
