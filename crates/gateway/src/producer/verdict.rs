//! What a leader's answer to a batch means. This is where "unknown" is told from "not written" (W2).

use domain::{Offset, PartitionIndex};
use transport::CallError;
use wire::{ResponseError, messages::ProduceResponse};

use super::batch::Written;

/// What to do after one attempt to send a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Written(Written),
    /// Send it again, as it is: the sequence number makes that safe.
    Again {
        /// This attempt may have been carried out.
        perhaps_written: bool,
        reason: String,
    },
    /// The leader's disk failed (a full one, say). It may have been written; asking again helps only if that passes.
    DiskFailed {
        reason: String,
    },
    /// The leader does not know the producer as the batch presents it. This attempt wrote nothing.
    Stranger {
        reason: String,
    },
    /// No attempt will succeed. This one wrote nothing.
    Refused {
        code: ResponseError,
        message: String,
    },
}

pub(super) fn judge(answer: Result<ProduceResponse, CallError>, partition: PartitionIndex) -> Verdict {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return judge_failure(&error),
    };
    let of_partition = answer
        .responses
        .into_iter()
        .flat_map(|topic| topic.partition_responses)
        .find(|p| p.index == partition.0);
    let Some(answer) = of_partition else {
        return Verdict::Again {
            perhaps_written: true,
            reason: "the leader's answer does not name the partition".to_owned(),
        };
    };
    match ResponseError::try_from_code(answer.error_code) {
        None => Verdict::Written(Written {
            base: Offset(answer.base_offset),
            appended_at: Some(answer.log_append_time_ms).filter(|time| *time >= 0),
        }),
        Some(code) => {
            let details = answer.error_message.map(|m| m.to_string());
            judge_code(code, details.filter(|d| !d.is_empty()))
        }
    }
}

fn judge_failure(error: &CallError) -> Verdict {
    let message = error.to_string();
    match error {
        CallError::NotSent { .. } => Verdict::Again { perhaps_written: false, reason: message },
        CallError::Lost { .. } | CallError::Broken(_) => {
            Verdict::Again { perhaps_written: true, reason: message }
        }
        CallError::Unsupported { .. } => {
            Verdict::Refused { code: ResponseError::UnsupportedVersion, message }
        }
    }
}

fn judge_code(code: ResponseError, details: Option<String>) -> Verdict {
    use ResponseError as E;
    let message = details.unwrap_or_else(|| format!("{code} ({})", code.code()));
    match code {
        // Found before anything is appended.
        E::LeaderNotAvailable
        | E::UnknownTopicOrPartition
        | E::UnknownTopicId
        | E::InconsistentTopicId
        | E::FencedLeaderEpoch
        | E::UnknownLeaderEpoch
        | E::NotEnoughReplicas
        | E::CorruptMessage
        | E::ThrottlingQuotaExceeded => Verdict::Again { perhaps_written: false, reason: message },
        E::OutOfOrderSequenceNumber
        | E::DuplicateSequenceNumber
        | E::UnknownProducerId
        | E::InvalidProducerEpoch
        | E::ProducerFenced
        | E::InvalidProducerIdMapping => Verdict::Stranger { reason: message },
        // Appended, and not known to be committed. A leader that lost its office while it waited for its followers says
        // the same as a node that never led.
        E::NotEnoughReplicasAfterAppend
        | E::RequestTimedOut
        | E::NotLeaderOrFollower
        | E::UnknownServerError => Verdict::Again { perhaps_written: true, reason: message },
        E::KafkaStorageError => Verdict::DiskFailed { reason: message },
        code if code.is_retriable() => Verdict::Again { perhaps_written: true, reason: message },
        code => Verdict::Refused { code, message },
    }
}

#[cfg(test)]
mod tests {
    use wire::{
        StrBytes,
        messages::produce_response::{PartitionProduceResponse, TopicProduceResponse},
    };

    use super::*;

    fn answered(change: impl FnOnce(&mut PartitionProduceResponse)) -> Verdict {
        let mut partition = PartitionProduceResponse::default()
            .with_index(3)
            .with_base_offset(70)
            .with_log_append_time_ms(-1);
        change(&mut partition);
        let topic = TopicProduceResponse::default().with_partition_responses(vec![partition]);
        let answer = ProduceResponse::default().with_responses(vec![topic]);
        judge(Ok(answer), PartitionIndex(3))
    }

    fn perhaps_written(verdict: Verdict) -> Option<bool> {
        match verdict {
            Verdict::Again { perhaps_written, .. } => Some(perhaps_written),
            Verdict::DiskFailed { .. } => Some(true),
            _ => None,
        }
    }

    #[test]
    fn success_brings_the_offset_and_perhaps_a_time() {
        let written = |appended_at| Verdict::Written(Written { base: Offset(70), appended_at });
        assert_eq!(answered(|_| {}), written(None));
        assert_eq!(answered(|p| p.log_append_time_ms = 5), written(Some(5)));
    }

    #[test]
    fn only_what_fails_before_the_append_is_known_not_to_be_written() {
        let of = |code: ResponseError| perhaps_written(answered(|p| p.error_code = code.code()));
        assert_eq!(of(ResponseError::NotEnoughReplicas), Some(false));
        assert_eq!(of(ResponseError::UnknownTopicOrPartition), Some(false));
        assert_eq!(of(ResponseError::NotEnoughReplicasAfterAppend), Some(true));
        assert_eq!(of(ResponseError::RequestTimedOut), Some(true));
        assert_eq!(of(ResponseError::NotLeaderOrFollower), Some(true));
        assert_eq!(of(ResponseError::KafkaStorageError), Some(true));
    }

    #[test]
    fn a_lost_answer_may_have_been_a_success() {
        let (address, reason) = ("a:1".to_owned(), "reset".to_owned());
        let lost = CallError::Lost { address: address.clone(), reason: reason.clone() };
        assert_eq!(perhaps_written(judge(Err(lost), PartitionIndex(0))), Some(true));
        let not_sent = CallError::NotSent { address, reason };
        assert_eq!(perhaps_written(judge(Err(not_sent), PartitionIndex(0))), Some(false));
        assert_eq!(perhaps_written(judge(Ok(ProduceResponse::default()), PartitionIndex(0))), Some(true));
    }

    #[test]
    fn a_refusal_keeps_the_leaders_words() {
        let refused = answered(|p| {
            p.error_code = ResponseError::InvalidRecord.code();
            p.error_message = Some(StrBytes::from_static_str("no key"));
        });
        assert_eq!(
            refused,
            Verdict::Refused { code: ResponseError::InvalidRecord, message: "no key".to_owned() }
        );
        let stranger = answered(|p| p.error_code = ResponseError::OutOfOrderSequenceNumber.code());
        assert!(matches!(stranger, Verdict::Stranger { .. }));
    }
}
