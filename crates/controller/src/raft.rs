use std::sync::Arc;

use quorum::{Member, Quorum, RaftRpc};
use rpc::pb::{self, raft_service_server::RaftService};
use tonic::{Request, Response, Status, Streaming};

use crate::status::quorum_status;

/// Raft's messages between the controllers.
pub(crate) struct RaftEndpoint {
    pub(crate) quorum: Arc<Quorum>,
    pub(crate) seeds: Vec<String>,
}

impl RaftEndpoint {
    fn check(&self, message: &pb::RaftMessage) -> Result<(), Status> {
        if message.format != rpc::FORMAT {
            let text =
                format!("raft message has format {}, this build knows {}", message.format, rpc::FORMAT);
            return Err(Status::failed_precondition(text));
        }
        if message.target != self.quorum.id() {
            let text =
                format!("raft message is for controller {}, this is {}", message.target, self.quorum.id());
            return Err(Status::failed_precondition(text));
        }
        Ok(())
    }

    async fn answer(&self, rpc: RaftRpc, payload: &[u8]) -> Result<Response<pb::RaftMessage>, Status> {
        let answer =
            self.quorum.answer(rpc, payload).await.map_err(|e| Status::invalid_argument(e.to_string()))?;
        Ok(Response::new(pb::RaftMessage { format: ::rpc::FORMAT, payload: answer.into(), target: 0 }))
    }
}

#[tonic::async_trait]
impl RaftService for RaftEndpoint {
    async fn identify(
        &self,
        _: Request<pb::IdentifyRequest>,
    ) -> Result<Response<pb::IdentifyResponse>, Status> {
        Ok(Response::new(pb::IdentifyResponse {
            raft_id: self.quorum.id(),
            ordinal: self.quorum.ordinal(),
            initialized: self.quorum.is_initialized().await.map_err(quorum_status)?,
            seeds: self.seeds.clone(),
            leader: self.quorum.leader_address(),
        }))
    }

    async fn join(&self, request: Request<pb::JoinRequest>) -> Result<Response<pb::JoinResponse>, Status> {
        let request = request.into_inner();
        let member = Member { ordinal: request.ordinal, address: request.address };
        self.quorum.take_in(request.raft_id, member).await.map_err(quorum_status)?;
        Ok(Response::new(pb::JoinResponse {}))
    }

    async fn append_entries(
        &self,
        request: Request<pb::RaftMessage>,
    ) -> Result<Response<pb::RaftMessage>, Status> {
        self.check(request.get_ref())?;
        self.answer(RaftRpc::AppendEntries, &request.into_inner().payload).await
    }

    async fn vote(&self, request: Request<pb::RaftMessage>) -> Result<Response<pb::RaftMessage>, Status> {
        self.check(request.get_ref())?;
        self.answer(RaftRpc::Vote, &request.into_inner().payload).await
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<pb::RaftMessage>>,
    ) -> Result<Response<pb::RaftMessage>, Status> {
        let mut chunks = request.into_inner();
        let mut payload = Vec::new();
        while let Some(chunk) = chunks.message().await? {
            self.check(&chunk)?;
            if payload.len() + chunk.payload.len() > rpc::MESSAGE_BYTES_MAX {
                return Err(Status::resource_exhausted("the snapshot is larger than 1 GiB"));
            }
            payload.extend_from_slice(&chunk.payload);
        }
        self.answer(RaftRpc::InstallSnapshot, &payload).await
    }
}
