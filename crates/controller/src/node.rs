use std::{pin::Pin, sync::Arc, time::Duration};

use domain::{ClusterId, NodeEpoch, NodeId};
use futures_util::Stream;
use metadata::{Applied, Command, NodeState, Refusal, RefusalKind, Standing};
use quorum::{Leadership, Quorum};
use rpc::pb::{self, node_service_server::NodeService};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    hub::Hub,
    leaving::{Leaving, Verdict},
    office::Office,
    orders::Orders,
    rebalance::Rebalancer,
    status::{carried_out, image_of_leader, refused},
};

/// What storage nodes and gateways need.
pub(crate) struct NodeEndpoint {
    pub(crate) quorum: Arc<Quorum>,
    pub(crate) office: Arc<Office>,
    pub(crate) rebalancer: Arc<Rebalancer>,
    pub(crate) leaving: Arc<Leaving>,
    pub(crate) orders: Option<Arc<dyn Orders>>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) stop: CancellationToken,
}

type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Watchers of a member that knows no leader for so long are sent to another one.
const LEADERLESS_MAX: Duration = Duration::from_secs(3);
/// How long a watcher that is ahead of this member waits for it to catch up.
const CATCH_UP_MAX: Duration = Duration::from_secs(2);

#[tonic::async_trait]
impl NodeService for NodeEndpoint {
    type HeartbeatStream = Outgoing<pb::HeartbeatResponse>;
    type WatchMetadataStream = Outgoing<pb::MetadataEvent>;

    async fn register(
        &self,
        request: Request<pb::RegisterRequest>,
    ) -> Result<Response<pb::RegisterResponse>, Status> {
        let request = request.into_inner();
        let machine = request.kubernetes_node.clone();
        let mut registration = rpc::registration_from_pb(request)?;
        if self.quorum.image().cluster_id.is_none() {
            // No leader has named the cluster yet (or this member has not heard of it); in a moment one has.
            return Err(rpc::not_leader(None));
        }
        let node = registration.node;
        if let (None, Some(machine)) = (&registration.rack, machine) {
            registration.rack = self.rack_of(node, &machine).await;
        }
        let (applied, _) = carried_out(&self.quorum, Command::RegisterNode(registration)).await?;
        let Applied::Registered { epoch, cluster_id, standing } = applied else {
            return Err(Status::internal("registering came to something else"));
        };
        log_registration(node, epoch, standing);
        let cluster_id = cluster_id.0.as_bytes().to_vec().into();
        Ok(Response::new(pb::RegisterResponse { epoch: epoch.0, cluster_id }))
    }

    async fn heartbeat(
        &self,
        request: Request<Streaming<pb::HeartbeatRequest>>,
    ) -> Result<Response<Self::HeartbeatStream>, Status> {
        if !self.quorum.leadership().borrow().is_me || !self.office.in_office() {
            return Err(rpc::not_leader(self.quorum.leader_address().as_deref()));
        }
        let (answers, stream) = mpsc::channel(16);
        let session = Session {
            quorum: self.quorum.clone(),
            office: self.office.clone(),
            rebalancer: self.rebalancer.clone(),
            leaving: self.leaving.clone(),
            stop: self.stop.clone(),
        };
        tokio::spawn(session.run(request.into_inner(), answers));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn watch_metadata(
        &self,
        request: Request<pb::WatchMetadataRequest>,
    ) -> Result<Response<Self::WatchMetadataStream>, Status> {
        let request = request.into_inner();
        let cluster_id = self.quorum.image().cluster_id;
        let same_cluster = request.cluster_id.is_none_or(|known| {
            cluster_id.is_none_or(|ClusterId(id)| id.as_bytes().as_slice() == known.as_ref())
        });
        let from = if same_cluster { request.from } else { 0 };
        // Never back in time: a member that lags behind the watcher must catch up first.
        let caught_up = tokio::time::timeout(CATCH_UP_MAX, async {
            while self.hub.version() < from {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        caught_up.await.map_err(|_| Status::unavailable("this controller lags behind the watcher"))?;
        let (missed, later) = self.hub.watch(from);
        let (events, stream) = mpsc::channel(64);
        let (stop, leadership) = (self.stop.clone(), self.quorum.leadership());
        tokio::spawn(async move {
            let sent = send_events(missed, later, &events);
            tokio::select! {
                () = stop.cancelled() => {}
                () = sent => {}
                () = leaderless(leadership) => {
                    let status = Status::unavailable("this controller has lost its leader");
                    let _ = events.send(Err(status)).await;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn allocate_producer_ids(
        &self,
        request: Request<pb::AllocateProducerIdsRequest>,
    ) -> Result<Response<pb::AllocateProducerIdsResponse>, Status> {
        let count = request.into_inner().count;
        let (applied, _) = carried_out(&self.quorum, Command::AllocateProducerIds { count }).await?;
        let Applied::ProducerIds { first, count } = applied else {
            return Err(Status::internal("allocating producer ids came to something else"));
        };
        Ok(Response::new(pb::AllocateProducerIdsResponse { first: first.0, count }))
    }

    async fn alter_partitions(
        &self,
        request: Request<pb::AlterPartitionsRequest>,
    ) -> Result<Response<pb::AlterPartitionsResponse>, Status> {
        let request = request.into_inner();
        let changes =
            request.changes.into_iter().map(rpc::isr_change_from_pb).collect::<Result<Vec<_>, _>>()?;
        let numbers: Vec<_> = changes.iter().map(|c| c.partition).collect();
        let (node, node_epoch) = (NodeId(request.node), NodeEpoch(request.node_epoch));
        let command = Command::AlterPartitions { node, node_epoch, changes };
        let (Applied::Altered(results), _) = carried_out(&self.quorum, command).await? else {
            return Err(Status::internal("altering partitions came to something else"));
        };
        let results =
            numbers.into_iter().zip(&results).map(|(number, result)| rpc::altered_to_pb(number, result));
        Ok(Response::new(pb::AlterPartitionsResponse { results: results.collect() }))
    }

    async fn report_replicas(
        &self,
        request: Request<pb::ReportReplicasRequest>,
    ) -> Result<Response<pb::ReportReplicasResponse>, Status> {
        let request = request.into_inner();
        let ends = request.ends.into_iter().map(rpc::log_end_from_pb).collect::<Result<_, _>>()?;
        let (node, epoch) = (NodeId(request.node), NodeEpoch(request.node_epoch));
        carried_out(&self.quorum, Command::ReportReplicas { node, epoch, ends }).await?;
        Ok(Response::new(pb::ReportReplicasResponse {}))
    }

    async fn report_usage(
        &self,
        request: Request<pb::ReportUsageRequest>,
    ) -> Result<Response<pb::ReportUsageResponse>, Status> {
        if !self.office.in_office() {
            return Err(rpc::not_leader(self.quorum.leader_address().as_deref()));
        }
        let taken = self.rebalancer.take_report(&request.into_inner());
        let book = taken.map_err(|e| Status::invalid_argument(format!("topic_id: {e}")))?;
        Ok(Response::new(pb::ReportUsageResponse { book }))
    }
}

impl NodeEndpoint {
    /// The zone that the node's machine is in; if nobody can tell, what is known of the node already.
    async fn rack_of(&self, node: NodeId, machine: &str) -> Option<String> {
        let Some(orders) = &self.orders else {
            tracing::warn!(%node, machine, "controller.kubernetes is not enabled: the node's zone is not known");
            return None;
        };
        match orders.zone_of(machine).await {
            Ok(zone) => zone,
            Err(reason) => {
                tracing::warn!(%node, machine, reason, "the node's zone could not be looked up");
                self.quorum.image().nodes.get(&node).and_then(|known| known.rack.clone())
            }
        }
    }
}

/// Whether the node kept its places in ISR and ELR, and if not, why.
fn log_registration(node: NodeId, epoch: NodeEpoch, standing: Standing) {
    match standing {
        Standing::New => tracing::info!(%node, %epoch, "a new storage node registered"),
        Standing::Kept => {
            tracing::info!(%node, %epoch, "a storage node registered and keeps its place: its disk is proved intact");
        }
        Standing::OtherDirectory => {
            tracing::warn!(%node, %epoch, "a storage node registered with another data folder and lost its place");
        }
        Standing::OtherEpoch { recorded, handed_out } => tracing::warn!(
            %node, %epoch, ?recorded, %handed_out,
            "a storage node registered and lost its place: its folder does not know its last incarnation"
        ),
        Standing::NotIntact => tracing::warn!(
            %node, %epoch,
            "a storage node registered and lost its place: it cannot prove that its logs lost nothing"
        ),
    }
}

/// Waits until this member has known no leader for a while: it may be cut off, and what it could tell is old.
async fn leaderless(mut leadership: watch::Receiver<Leadership>) {
    loop {
        if leadership.wait_for(|l| l.leader.is_none()).await.is_err() {
            return;
        }
        let found = tokio::time::timeout(LEADERLESS_MAX, leadership.wait_for(|l| l.leader.is_some())).await;
        if found.is_err() {
            return;
        }
    }
}

async fn send_events(
    missed: Vec<Arc<crate::hub::Event>>,
    mut later: broadcast::Receiver<Arc<crate::hub::Event>>,
    events: &mpsc::Sender<Result<pb::MetadataEvent, Status>>,
) {
    for event in missed {
        if events.send(Ok(event.message.clone())).await.is_err() {
            return;
        }
    }
    loop {
        let event = tokio::select! {
            () = events.closed() => return,
            event = later.recv() => event,
        };
        let message = match event {
            Ok(event) => Ok(event.message.clone()),
            Err(broadcast::error::RecvError::Closed) => return,
            // Cut off; it resumes from the version that it has.
            Err(broadcast::error::RecvError::Lagged(_)) => {
                Err(Status::resource_exhausted("the watcher is too slow"))
            }
        };
        let last = message.is_err();
        if events.send(message).await.is_err() || last {
            return;
        }
    }
}

/// One node's heartbeat stream.
struct Session {
    quorum: Arc<Quorum>,
    office: Arc<Office>,
    rebalancer: Arc<Rebalancer>,
    leaving: Arc<Leaving>,
    stop: CancellationToken,
}

impl Session {
    async fn run(
        self,
        mut beats: Streaming<pb::HeartbeatRequest>,
        answers: mpsc::Sender<Result<pb::HeartbeatResponse, Status>>,
    ) {
        let mut last = None;
        loop {
            let beat = tokio::select! {
                () = self.stop.cancelled() => return,
                beat = beats.message() => beat,
            };
            let Ok(Some(beat)) = beat else { break };
            let (node, epoch) = (NodeId(beat.node), NodeEpoch(beat.epoch));
            if beat.goodbye {
                tracing::info!(%node, "a storage node said goodbye");
                let fenced = self.office.fence(&[(node, epoch)]).await;
                if fenced {
                    self.leaving.left(node, epoch).await;
                }
                // One that is not fenced for sure says goodbye again, to whoever leads then.
                let answer = match fenced {
                    true => Ok(pb::HeartbeatResponse { fenced: true, may_stop: true, ..Default::default() }),
                    false => Err(Status::unavailable("the node could not be fenced yet")),
                };
                let _ = answers.send(answer).await;
                return;
            }
            last = Some((node, epoch));
            let answer = self.take(node, epoch, &beat).await;
            let failed = answer.is_err();
            if answers.send(answer).await.is_err() || failed {
                break;
            }
        }
        if let Some((node, epoch)) = last {
            self.office.stream_ended(node, epoch);
        }
    }

    async fn take(
        &self,
        node: NodeId,
        epoch: NodeEpoch,
        beat: &pb::HeartbeatRequest,
    ) -> Result<pb::HeartbeatResponse, Status> {
        // Before anything is said from the image: this member may be no leader, and its image old or empty.
        if !self.office.in_office() {
            return Err(rpc::not_leader(self.quorum.leader_address().as_deref()));
        }
        let mut image = self.quorum.image();
        if image.nodes.get(&node).is_none_or(|known| known.epoch != epoch) {
            // A refusal costs the node its leaderships: it must come from a leader that is one at this moment.
            image = image_of_leader(&self.quorum).await?;
        }
        let known = image.nodes.get(&node).ok_or_else(|| {
            refused(Refusal::new(RefusalKind::UnknownNode, format!("node {node} never registered")))
        })?;
        if known.epoch != epoch {
            let message = format!("node epoch {epoch} of node {node} is stale, it is at {}", known.epoch);
            return Err(refused(Refusal::new(RefusalKind::StaleNodeEpoch, message)));
        }
        if !self.office.heard(node, epoch) {
            return Err(rpc::not_leader(self.quorum.leader_address().as_deref()));
        }
        if let Some(wait_us) = beat.commit_us_p99 {
            self.rebalancer.heard(node, wait_us);
        }
        let response = |fenced, may_stop, leaving| pb::HeartbeatResponse {
            fenced,
            may_stop,
            version: self.quorum.image().version,
            leaving,
            move_bytes_per_second_max: self.rebalancer.bytes_per_second_max(),
        };
        let answer = |fenced, may_stop| Ok(response(fenced, may_stop, None));
        match known.state {
            NodeState::Active if beat.stopping => {
                if !beat.must_stop
                    && let Verdict::Waits(leaving) = self.leaving.ask(&image, node, epoch)
                {
                    return Ok(response(false, false, Some(leaving)));
                }
                // Once this is committed, whatever can lead in its place does.
                carried_out(&self.quorum, Command::StopNode { node, epoch }).await?;
                tracing::info!(%node, %epoch, "a storage node is stopping, its leaderships have moved");
                answer(false, true)
            }
            NodeState::Fenced if beat.ready && !beat.stopping => {
                carried_out(&self.quorum, Command::UnfenceNode { node, epoch }).await?;
                tracing::info!(%node, %epoch, "a storage node is active");
                answer(false, false)
            }
            state => answer(state == NodeState::Fenced, beat.stopping),
        }
    }
}
