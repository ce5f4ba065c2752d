use std::sync::Arc;

use metadata::{Applied, Command, Image, Refusal};
use quorum::{ProposeError, Quorum, QuorumError};
use tonic::Status;

/// A proposal's fate as a gRPC status.
pub(crate) fn proposal_status(error: ProposeError) -> Status {
    match error {
        ProposeError::NotLeader(leader) => rpc::not_leader(leader.as_deref()),
        ProposeError::Unknown(reason) => {
            Status::deadline_exceeded(format!("the outcome is unknown: {reason}"))
        }
        ProposeError::Stopped => Status::unavailable("the controller is shutting down"),
    }
}

pub(crate) fn quorum_status(error: QuorumError) -> Status {
    match error {
        QuorumError::NotLeader(leader) => rpc::not_leader(leader.as_deref()),
        error => Status::internal(error.to_string()),
    }
}

pub(crate) fn refused(refusal: Refusal) -> Status {
    rpc::refusal_status(&refusal)
}

/// Has the command carried out; a refusal is a status, and with the answer comes the version that has the change.
pub(crate) async fn carried_out(quorum: &Quorum, command: Command) -> Result<(Applied, u64), Status> {
    let proposed = quorum.propose(command).await.map_err(proposal_status)?;
    Ok((proposed.result.map_err(refused)?, proposed.version))
}

/// The newest image there is, from a leader whom a majority has just confirmed.
pub(crate) async fn image_of_leader(quorum: &Quorum) -> Result<Arc<Image>, Status> {
    if !quorum.leadership().borrow().is_me {
        return Err(rpc::not_leader(quorum.leader_address().as_deref()));
    }
    if !quorum.confirm_leadership().await {
        return Err(rpc::not_leader(None));
    }
    Ok(quorum.image())
}

/// What the command would come to, without doing it.
pub(crate) async fn tried_out(quorum: &Quorum, command: &Command) -> Result<(Applied, u64), Status> {
    let mut image = Image::clone(&*image_of_leader(quorum).await?);
    let version = image.version;
    Ok((image.apply(command).result.map_err(refused)?, version))
}
