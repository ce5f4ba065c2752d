use metadata::{Applied, Command, Refusal};
use openraft::error::{ClientWriteError, RaftError};
use tokio::sync::{mpsc, oneshot};

use crate::{
    ProposeError,
    quorum::COMMIT_WAIT_MAX,
    types::{Batch, Raft},
};

/// At most so many commands share an entry.
const BATCH_MAX: usize = 256;

/// What a command came to once a majority held it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    pub result: Result<Applied, Refusal>,
    /// The version of the image that has it.
    pub version: u64,
}

/// A command that waits for its place in the log.
pub(crate) struct Proposal {
    pub(crate) command: Command,
    pub(crate) answer: oneshot::Sender<Result<Proposed, ProposeError>>,
}

/// Writes what waits as one entry, then what came meanwhile as the next: an entry is an fsync (DESIGN §3).
pub(crate) async fn write_batches(raft: Raft, mut proposals: mpsc::Receiver<Proposal>) {
    let mut waiting = Vec::with_capacity(BATCH_MAX);
    while proposals.recv_many(&mut waiting, BATCH_MAX).await > 0 {
        let (commands, answers): (Vec<_>, Vec<_>) = waiting.drain(..).map(|p| (p.command, p.answer)).unzip();
        // openraft forgets an answer when a snapshot of a later leader overtakes the entry; the next must not wait for it.
        let written = match tokio::time::timeout(COMMIT_WAIT_MAX, raft.client_write(Batch(commands))).await {
            Ok(written) => written.map_err(refused),
            Err(_) => Err(ProposeError::Unknown("no majority confirmed it in time".to_owned())),
        };
        match written {
            Ok(written) => {
                let version = written.data.version;
                for (answer, result) in answers.into_iter().zip(written.data.results) {
                    // Whoever asked may have gone away.
                    let _ = answer.send(Ok(Proposed { result, version }));
                }
            }
            Err(error) => {
                for answer in answers {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }
}

fn refused(error: RaftError<crate::RaftId, ClientWriteError<crate::RaftId, crate::Member>>) -> ProposeError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            ProposeError::NotLeader(forward.leader_node.map(|m| m.address))
        }
        RaftError::APIError(error) => ProposeError::Unknown(error.to_string()),
        RaftError::Fatal(openraft::error::Fatal::Stopped) => ProposeError::Stopped,
        RaftError::Fatal(error) => ProposeError::Unknown(error.to_string()),
    }
}
