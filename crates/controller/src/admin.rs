use std::sync::Arc;

use domain::TopicName;
use metadata::{Applied, Command};
use quorum::Quorum;
use rpc::pb::{self, admin_service_server::AdminService};
use tonic::{Request, Response, Status};

use crate::status::{carried_out, image_of_leader, tried_out};

/// Topics and settings.
pub(crate) struct Admin {
    pub(crate) quorum: Arc<Quorum>,
}

impl Admin {
    async fn run(&self, command: Command, validate_only: bool) -> Result<(Applied, u64), Status> {
        match validate_only {
            true => tried_out(&self.quorum, &command).await,
            false => carried_out(&self.quorum, command).await,
        }
    }
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
