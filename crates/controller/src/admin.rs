use std::sync::Arc;

use domain::{NodeId, TopicName};
use metadata::{Applied, Command, Image, Node, NodeState, Rebalance, Refusal, RefusalKind};
use quorum::Quorum;
use rpc::pb::{self, admin_service_server::AdminService};
use tonic::{Request, Response, Status};

use crate::{
    office::Office,
    rebalance::Rebalancer,
    status::{carried_out, image_of_leader, refused, tried_out},
};

/// Topics and settings, nodes that leave, and replicas that move.
pub(crate) struct Admin {
    pub(crate) quorum: Arc<Quorum>,
    pub(crate) office: Arc<Office>,
    pub(crate) rebalancer: Arc<Rebalancer>,
}

impl Admin {
    /// The newest image, of a leader who also hears from the nodes.
    async fn image_in_office(&self) -> Result<Arc<Image>, Status> {
        let image = image_of_leader(&self.quorum).await?;
        match self.office.in_office() {
            true => Ok(image),
            false => Err(rpc::not_leader(None)),
        }
    }

    async fn run(&self, command: Command, validate_only: bool) -> Result<(Applied, u64), Status> {
        match validate_only {
            true => tried_out(&self.quorum, &command).await,
            false => carried_out(&self.quorum, command).await,
        }
    }
}

/// The node, if there is one.
fn known(image: &Image, node: NodeId) -> Result<&Node, Status> {
    let unknown = || refused(Refusal::new(RefusalKind::UnknownNode, format!("node {node} never registered")));
    image.nodes.get(&node).map(|node| &**node).ok_or_else(unknown)
}

fn topic_name(name: &str) -> Result<TopicName, Status> {
    TopicName::new(name).map_err(|e| {
        let refusal = metadata::Refusal::new(metadata::RefusalKind::InvalidTopicName, e.to_string());
        rpc::refusal_status(&refusal)
    })
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn create_topic(
        &self,
        request: Request<pb::CreateTopicRequest>,
    ) -> Result<Response<pb::CreateTopicResponse>, Status> {
        let request = request.into_inner();
        let validate_only = request.validate_only;
        topic_name(&request.name)?;
        let spec = rpc::topic_spec_from_pb(request)?;
        let (applied, version) = self.run(Command::CreateTopic(spec), validate_only).await?;
        let Applied::TopicCreated { id, partitions, replication_factor } = applied else {
            return Err(Status::internal("creating a topic came to something else"));
        };
        Ok(Response::new(pb::CreateTopicResponse {
            id: id.0.as_bytes().to_vec().into(),
            partitions,
            replication_factor: replication_factor.into(),
            version,
        }))
    }

    async fn delete_topic(
        &self,
        request: Request<pb::DeleteTopicRequest>,
    ) -> Result<Response<pb::DeleteTopicResponse>, Status> {
        let name = topic_name(&request.into_inner().name)?;
        let (_, version) = self.run(Command::DeleteTopic { name }, false).await?;
        Ok(Response::new(pb::DeleteTopicResponse { version }))
    }

    async fn add_partitions(
        &self,
        request: Request<pb::AddPartitionsRequest>,
    ) -> Result<Response<pb::AddPartitionsResponse>, Status> {
        let request = request.into_inner();
        let command = Command::AddPartitions {
            topic: topic_name(&request.topic)?,
            count: request.count,
            assignments: rpc::assignments_from_pb(request.assignments),
        };
        let (_, version) = self.run(command, request.validate_only).await?;
        Ok(Response::new(pb::AddPartitionsResponse { version }))
    }

    async fn alter_configs(
        &self,
        request: Request<pb::AlterConfigsRequest>,
    ) -> Result<Response<pb::AlterConfigsResponse>, Status> {
        let request = request.into_inner();
        let changes = request.changes.into_iter().map(rpc::config_change_from_pb);
        let command = Command::AlterConfigs {
            topic: request.topic.as_deref().map(topic_name).transpose()?,
            changes: changes.collect::<Result<_, _>>()?,
        };
        let (_, version) = self.run(command, request.validate_only).await?;
        Ok(Response::new(pb::AlterConfigsResponse { version }))
    }

    async fn elect_leaders(
        &self,
        request: Request<pb::ElectLeadersRequest>,
    ) -> Result<Response<pb::ItemResults>, Status> {
        let (kind, partitions) = rpc::election_from_pb(request.into_inner())?;
        let (applied, version) = self.run(Command::ElectLeaders { kind, partitions }, false).await?;
        let Applied::Elected(results) = applied else {
            return Err(Status::internal("electing leaders came to something else"));
        };
        Ok(Response::new(rpc::items_to_pb(&results, version)))
    }

    async fn reassign(
        &self,
        request: Request<pb::ReassignRequest>,
    ) -> Result<Response<pb::ItemResults>, Status> {
        let changes = rpc::reassignment_from_pb(request.into_inner())?;
        let (applied, version) = self.run(Command::Reassign { changes }, false).await?;
        let Applied::Reassigned(results) = applied else {
            return Err(Status::internal("reassigning came to something else"));
        };
        Ok(Response::new(rpc::items_to_pb(&results, version)))
    }

    async fn describe_topic(
        &self,
        request: Request<pb::DescribeTopicRequest>,
    ) -> Result<Response<pb::DescribeTopicResponse>, Status> {
        let name = topic_name(&request.into_inner().name)?;
        let image = image_of_leader(&self.quorum).await?;
        let unknown = || {
            let message = format!("topic '{name}' does not exist");
            rpc::refusal_status(&metadata::Refusal::new(metadata::RefusalKind::UnknownTopic, message))
        };
        let topic = image.topics.get(&name).ok_or_else(unknown)?;
        let topic = Some(rpc::topic_to_pb(topic));
        Ok(Response::new(pb::DescribeTopicResponse { topic, version: image.version }))
    }

    async fn set_draining(
        &self,
        request: Request<pb::SetDrainingRequest>,
    ) -> Result<Response<pb::SetDrainingResponse>, Status> {
        let request = request.into_inner();
        let (node, draining) = (NodeId(request.node), request.draining);
        let image = self.image_in_office().await?;
        known(&image, node)?;
        let cost = match draining {
            true => image
                .check_drain(node, &self.rebalancer.usage(), request.ignore_racks)
                .map_err(refused)
                .map(Some)?,
            false => None,
        };
        let command = Command::SetDraining { node, draining, scaled_in: false };
        let (_, version) = self.run(command, request.validate_only).await?;
        if !draining && !request.validate_only {
            self.rebalancer.take_back(node).await;
        }
        let (replicas, bytes) = cost.map_or((0, 0), |cost| (cost.replicas, cost.bytes));
        let replicas = u32::try_from(replicas).unwrap_or(u32::MAX);
        Ok(Response::new(pb::SetDrainingResponse { version, replicas, bytes }))
    }

    async fn retire_node(
        &self,
        request: Request<pb::RetireNodeRequest>,
    ) -> Result<Response<pb::RetireNodeResponse>, Status> {
        let image = image_of_leader(&self.quorum).await?;
        let node = known(&image, NodeId(request.into_inner().node))?;
        if node.state != NodeState::Fenced {
            let message = format!("node {} is {}: it has to be stopped first", node.id, node.state);
            return Err(refused(Refusal::new(RefusalKind::NotDrained, message)));
        }
        let command = Command::RetireNode { node: node.id, epoch: node.epoch };
        let (_, version) = self.run(command, false).await?;
        Ok(Response::new(pb::RetireNodeResponse { version }))
    }

    async fn describe_rebalance(
        &self,
        request: Request<pb::DescribeRebalanceRequest>,
    ) -> Result<Response<pb::DescribeRebalanceResponse>, Status> {
        let image = self.image_in_office().await?;
        Ok(Response::new(self.rebalancer.describe(&image, request.into_inner().planned)))
    }

    async fn alter_rebalance(
        &self,
        request: Request<pb::AlterRebalanceRequest>,
    ) -> Result<Response<pb::AlterRebalanceResponse>, Status> {
        let request = request.into_inner();
        let before = self.image_in_office().await?.rebalance;
        let bytes_per_second_max = match request.bytes_per_second_max {
            None => before.bytes_per_second_max,
            Some(0) => None,
            set => set,
        };
        let paused = request.paused.unwrap_or(before.paused);
        let command = Command::SetRebalance(Rebalance { paused, bytes_per_second_max });
        let (_, version) = self.run(command, false).await?;
        let cancelled = if request.cancel { self.rebalancer.cancel_all().await } else { 0 };
        let cancelled = u32::try_from(cancelled).unwrap_or(u32::MAX);
        Ok(Response::new(pb::AlterRebalanceResponse { version, cancelled }))
    }

    async fn describe_controllers(
        &self,
        _: Request<pb::DescribeControllersRequest>,
    ) -> Result<Response<pb::DescribeControllersResponse>, Status> {
        let leader = self.quorum.leadership().borrow().leader;
        let voters = self.quorum.voters();
        let controllers = self.quorum.members().into_iter().map(|(id, member)| pb::Controller {
            raft_id: id,
            ordinal: member.ordinal,
            address: member.address,
            voter: voters.contains(&id),
            leader: leader == Some(id),
        });
        let mut controllers: Vec<pb::Controller> = controllers.collect();
        controllers.sort_by_key(|c| c.ordinal);
        Ok(Response::new(pb::DescribeControllersResponse { controllers }))
    }
}
