use metadata::{Refusal, RefusalKind};
use tonic::{Code, Status, metadata::MetadataValue};

const REFUSAL: &str = "anabranch-refusal";
const LEADER: &str = "anabranch-leader";

/// A refusal as it travels: a gRPC code for everybody, the kind for those who know it.
pub fn refusal_status(refusal: &Refusal) -> Status {
    let code = match refusal.kind {
        RefusalKind::TopicExists | RefusalKind::NodeIdInUse => Code::AlreadyExists,
        RefusalKind::UnknownTopic | RefusalKind::UnknownPartition | RefusalKind::UnknownNode => {
            Code::NotFound
        }
        RefusalKind::StaleNodeEpoch
        | RefusalKind::WrongCluster
        | RefusalKind::RetiredDirectory
        | RefusalKind::CannotDrain
        | RefusalKind::NotDrained
        | RefusalKind::NoReassignmentInProgress => Code::FailedPrecondition,
        RefusalKind::InvalidTopicName
        | RefusalKind::InvalidPartitions
        | RefusalKind::InvalidReplicationFactor
        | RefusalKind::InvalidReplicaAssignment
        | RefusalKind::InvalidConfig
        | RefusalKind::PolicyViolation
        | RefusalKind::InvalidRequest => Code::InvalidArgument,
    };
    with_text(Status::new(code, refusal.message.clone()), REFUSAL, &refusal.kind.to_string())
}

/// The refusal that a status carries, if it is one.
pub fn refusal_of(status: &Status) -> Option<Refusal> {
    let kind = RefusalKind::parse(status.metadata().get(REFUSAL)?.to_str().ok()?)?;
    Some(Refusal::new(kind, status.message()))
}

/// "Ask the leader": its address, or an empty one while there is none.
pub fn not_leader(leader: Option<&str>) -> Status {
    let message = match leader {
        Some(address) => format!("not the leader, which is at {address}"),
        None => "there is no leader now".to_owned(),
    };
    with_text(Status::unavailable(message), LEADER, leader.unwrap_or(""))
}

/// Where a "not the leader" status points: `Some(None)` when the leader is unknown.
pub fn leader_hint(status: &Status) -> Option<Option<String>> {
    let address = status.metadata().get(LEADER)?.to_str().ok()?;
    Some((!address.is_empty()).then(|| address.to_owned()))
}

fn with_text(mut status: Status, key: &'static str, text: &str) -> Status {
    if let Ok(value) = MetadataValue::try_from(text) {
        status.metadata_mut().insert(key, value);
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_survives_the_journey() {
        let refusal = Refusal::new(RefusalKind::TopicExists, "topic 'a' already exists");
        assert_eq!(refusal_of(&refusal_status(&refusal)), Some(refusal));
        assert_eq!(refusal_of(&not_leader(None)), None);
    }

    #[test]
    fn a_redirect_names_the_leader_if_there_is_one() {
        assert_eq!(leader_hint(&not_leader(Some("c:7300"))), Some(Some("c:7300".into())));
        assert_eq!(leader_hint(&not_leader(None)), Some(None));
        assert_eq!(leader_hint(&Status::unavailable("down")), None);
    }
}
