//! Calls about partitions: what leaders propose and what operators ask for.

use std::time::Duration;

use domain::{NodeEpoch, NodeId, PartitionIndex, TopicName};
use metadata::{AlterRefusal, ElectRefusal, ElectionKind, IsrChange, Partition, Refusal, ReplicaReport};

use super::{ControllerClient, ControllerError, Failed, admin_service, node_service, unreadable};
use crate::{Items, isr, items, pb};

impl ControllerClient {
    /// Proposes in-sync replicas; the answers are in the order of the proposals, each with the partition's
    /// whole new state.
    ///
    /// # Errors
    /// `Refused` and `Unavailable`: nothing was carried out and nothing will be. `Unknown`: any of the
    /// proposals may have been taken or may be yet, so the caller must count their members in until it adopts
    /// a state with a higher partition epoch. Proposing the same again is harmless: it is compared and set.
    pub async fn alter_partitions(
        &self,
        node: NodeId,
        node_epoch: NodeEpoch,
        changes: &[IsrChange],
        within: Duration,
    ) -> Result<Vec<Result<Partition, AlterRefusal>>, ControllerError> {
        let changes = changes.iter().map(isr::isr_change_to_pb).collect();
        let request = pb::AlterPartitionsRequest { node: node.0, node_epoch: node_epoch.0, changes };
        let sent = request.changes.len();
        let (answer, answer_lost) = self
            .call_counted(within, |channel| {
                let request = request.clone();
                async move { Ok(node_service(channel).alter_partitions(request).await?.into_inner()) }
            })
            .await
            .map_err(Failed::into_definite_error)?;
        let results: Result<Vec<_>, _> = answer.results.into_iter().map(isr::altered_from_pb).collect();
        let results = results.map_err(|e| unreadable(&e))?;
        if results.len() != sent {
            return Err(unreadable(&format!("{} results for {sent} proposals", results.len())));
        }
        // The refusal may be the echo of an earlier attempt that was taken, or one may still be on its way.
        match results.iter().find_map(|r| r.as_ref().err()).filter(|_| answer_lost) {
            Some(refusal) => Err(ControllerError::Unknown(refusal.message.clone())),
            None => Ok(results),
        }
    }

    /// Says where this node's logs end: the leader epoch of the last batch (-1: none) and the log end. Saying
    /// it again is harmless.
    pub async fn report_replicas(
        &self,
        node: NodeId,
        node_epoch: NodeEpoch,
        ends: &[ReplicaReport],
        within: Duration,
    ) -> Result<(), ControllerError> {
        let ends = ends.iter().map(isr::log_end_to_pb).collect();
        let request = pb::ReportReplicasRequest { node: node.0, node_epoch: node_epoch.0, ends };
        self.call(within, |channel| {
            let request = request.clone();
            async move { Ok(node_service(channel).report_replicas(request).await?.into_inner()) }
        })
        .await
        .map(|pb::ReportReplicasResponse {}| ())
        .map_err(Failed::into_error)
    }

    /// Elects leaders (KIP-460); the answers are in the order of the partitions.
    pub async fn elect_leaders(
        &self,
        kind: ElectionKind,
        partitions: &[(TopicName, PartitionIndex)],
        within: Duration,
    ) -> Result<Items<ElectRefusal>, ControllerError> {
        let request = items::election_to_pb(kind, partitions);
        let answer = self
            .call(within, |channel| {
                let request = request.clone();
                async move { Ok(admin_service(channel).elect_leaders(request).await?.into_inner()) }
            })
            .await
            .map_err(Failed::into_definite_error)?;
        items::items_from_pb(answer).map_err(|e| unreadable(&e))
    }

    /// Gives partitions other replicas, or cancels that (KIP-455); the answers are in the order of the
    /// changes.
    pub async fn reassign(
        &self,
        changes: &[(TopicName, PartitionIndex, Option<Vec<NodeId>>)],
        within: Duration,
    ) -> Result<Items<Refusal>, ControllerError> {
        let request = items::reassignment_to_pb(changes);
        let answer = self
            .call(within, |channel| {
                let request = request.clone();
                async move { Ok(admin_service(channel).reassign(request).await?.into_inner()) }
            })
            .await
            .map_err(Failed::into_definite_error)?;
        items::items_from_pb(answer).map_err(|e| unreadable(&e))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, sync::Arc};

    use domain::{LeaderEpoch, PartitionEpoch, TopicId};
    use metadata::AlterRefusalKind;
    use parking_lot::Mutex;
    use pb::node_service_server::{NodeService, NodeServiceServer};
    use tonic::{Request, Response, Status, Streaming, transport::server::TcpIncoming};

    use super::*;

    type Answer<T> = Result<Response<T>, Status>;

    /// Answers proposals as it was told to.
    #[derive(Clone)]
    struct Scripted(Arc<Mutex<VecDeque<Result<pb::AlterPartitionsResponse, Status>>>>);

    #[tonic::async_trait]
    impl NodeService for Scripted {
        type HeartbeatStream = tokio_stream::Empty<Result<pb::HeartbeatResponse, Status>>;
        type WatchMetadataStream = tokio_stream::Empty<Result<pb::MetadataEvent, Status>>;

        async fn alter_partitions(
            &self,
            _: Request<pb::AlterPartitionsRequest>,
        ) -> Answer<pb::AlterPartitionsResponse> {
            let next = self.0.lock().pop_front();
            next.unwrap_or_else(|| Err(Status::unavailable("gone"))).map(Response::new)
        }

        async fn register(&self, _: Request<pb::RegisterRequest>) -> Answer<pb::RegisterResponse> {
            Err(Status::unavailable("not in the script"))
        }

        async fn heartbeat(
            &self,
            _: Request<Streaming<pb::HeartbeatRequest>>,
        ) -> Answer<Self::HeartbeatStream> {
            Err(Status::unavailable("not in the script"))
        }

        async fn watch_metadata(
            &self,
            _: Request<pb::WatchMetadataRequest>,
        ) -> Answer<Self::WatchMetadataStream> {
            Err(Status::unavailable("not in the script"))
        }

        async fn allocate_producer_ids(
            &self,
            _: Request<pb::AllocateProducerIdsRequest>,
        ) -> Answer<pb::AllocateProducerIdsResponse> {
            Err(Status::unavailable("not in the script"))
        }

        async fn report_replicas(
            &self,
            _: Request<pb::ReportReplicasRequest>,
        ) -> Answer<pb::ReportReplicasResponse> {
            Err(Status::unavailable("not in the script"))
        }

        async fn report_usage(&self, _: Request<pb::ReportUsageRequest>) -> Answer<pb::ReportUsageResponse> {
            Err(Status::unavailable("not in the script"))
        }
    }

    /// What a proposal comes to when the controller answers so.
    async fn proposed(
        answers: Vec<Result<pb::AlterPartitionsResponse, Status>>,
    ) -> Result<Vec<Result<Partition, AlterRefusal>>, ControllerError> {
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = incoming.local_addr().unwrap();
        let service = NodeServiceServer::new(Scripted(Arc::new(Mutex::new(answers.into()))));
        let server = tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming);
        let serving = tokio::spawn(server);
        let client = ControllerClient::new([address.to_string()]);
        let change = IsrChange {
            topic: TopicId(uuid::Uuid::nil()),
            partition: PartitionIndex(0),
            leader_epoch: LeaderEpoch(1),
            partition_epoch: PartitionEpoch(1),
            isr: vec![(NodeId(0), NodeEpoch(0))],
        };
        let within = Duration::from_secs(2);
        let result = client.alter_partitions(NodeId(0), NodeEpoch(0), &[change], within).await;
        serving.abort();
        result
    }

    fn answer(result: &Result<Partition, AlterRefusal>) -> pb::AlterPartitionsResponse {
        pb::AlterPartitionsResponse { results: vec![isr::altered_to_pb(PartitionIndex(0), result)] }
    }

    fn stale() -> Result<Partition, AlterRefusal> {
        Err(AlterRefusal::new(AlterRefusalKind::StalePartitionEpoch, "it is at 2"))
    }

    #[tokio::test]
    async fn a_refusal_is_one_only_when_no_earlier_answer_was_lost() {
        let lost = || Err(Status::unknown("the connection broke"));
        assert_eq!(proposed(vec![Ok(answer(&stale()))]).await.unwrap(), [stale()]);
        let echo = proposed(vec![lost(), Ok(answer(&stale()))]).await;
        assert!(matches!(echo, Err(ControllerError::Unknown(_))), "{echo:?}");
        let refusal = Refusal::new(metadata::RefusalKind::StaleNodeEpoch, "it is at 7");
        let refused = proposed(vec![Err(crate::refusal_status(&refusal))]).await;
        assert!(matches!(refused, Err(ControllerError::Refused(_))), "{refused:?}");
        let replaced = proposed(vec![lost(), Err(crate::refusal_status(&refusal))]).await;
        assert!(matches!(replaced, Err(ControllerError::Unknown(_))), "{replaced:?}");
    }

    #[tokio::test]
    async fn a_repeated_proposal_that_is_taken_is_taken() {
        let lost = Err(Status::unknown("the connection broke"));
        let taken = Ok(Partition::default());
        assert_eq!(proposed(vec![lost, Ok(answer(&taken))]).await.unwrap(), [taken]);
    }
}
