use std::{net::SocketAddr, sync::Arc, time::Instant};

use domain::NodeId;
use futures_util::FutureExt;
use metrics::{Counter, Histogram};
use rpc::{ControllerClient, WatchedImage};
use transport::{Handler, Reply, Response};
use wire::{ApiKey, FrameError, Request, RequestFrame};

use crate::{
    api,
    departed::Departed,
    disk::DiskGuard,
    doubts::Doubts,
    groups::Groups,
    producer_ids::ProducerIds,
    replication::{IsrKeeper, Sessions},
    store::Store,
    waits::CommitWaits,
};

/// Serves Kafka's protocol from the store and the metadata.
pub(crate) struct Broker {
    pub(crate) node: NodeId,
    pub(crate) store: Arc<Store>,
    pub(crate) image: WatchedImage,
    pub(crate) controllers: ControllerClient,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) traffic: Traffic,
    pub(crate) sessions: Sessions,
    pub(crate) isr: Arc<IsrKeeper>,
    pub(crate) disk: Arc<DiskGuard>,
    pub(crate) doubts: Doubts,
    pub(crate) departed: Arc<Departed>,
    pub(crate) groups: Arc<Groups>,
}

/// The numbers that are counted for every request; looked up once.
pub(crate) struct Traffic {
    pub(crate) produced_bytes: Counter,
    pub(crate) produced_batches: Counter,
    pub(crate) fetched_bytes: Counter,
    pub(crate) replicated_bytes: Counter,
    produce_seconds: Histogram,
    /// From the append to the commit.
    pub(crate) commit_seconds: Histogram,
    /// The same, for the controller.
    pub(crate) waits: Arc<CommitWaits>,
    requests: Counter,
}

impl Traffic {
    pub(crate) fn new(waits: Arc<CommitWaits>) -> Self {
        Self {
            produced_bytes: metrics::counter!("anabranch_storage_produced_bytes_total"),
            produced_batches: metrics::counter!("anabranch_storage_produced_batches_total"),
            fetched_bytes: metrics::counter!("anabranch_storage_fetched_bytes_total"),
            replicated_bytes: metrics::counter!("anabranch_storage_replicated_bytes_total"),
            produce_seconds: metrics::histogram!("anabranch_storage_produce_seconds"),
            commit_seconds: metrics::histogram!("anabranch_storage_commit_seconds"),
            waits,
            requests: metrics::counter!("anabranch_storage_requests_total"),
        }
    }
}

/// The handler that the transport calls: a shared broker.
pub(crate) struct Endpoint(pub(crate) Arc<Broker>);

impl Handler for Endpoint {
    fn handle(&self, frame: RequestFrame, peer: SocketAddr) -> Result<Reply, FrameError> {
        let broker = &self.0;
        broker.traffic.requests.increment(1);
        match frame.api {
            ApiKey::Produce => {
                let begun = Instant::now();
                let reply = api::produce::handle(broker, &frame);
                broker.traffic.produce_seconds.record(begun.elapsed());
                reply
            }
            ApiKey::Fetch => api::fetch::handle(broker.clone(), &frame),
            ApiKey::ListOffsets => {
                let (broker, request, version) = (broker.clone(), frame.decode_body()?, frame.version);
                // May search a segment on disk.
                Ok(later(&frame, async move {
                    tokio::task::block_in_place(|| api::list_offsets::answer(&broker, &request, version))
                }))
            }
            ApiKey::Metadata => {
                let request = frame.decode_body()?;
                match api::metadata::names_topics(&request) {
                    true => {
                        let answer = api::metadata::answer_checked(broker.clone(), request, frame.version);
                        Ok(later(&frame, answer))
                    }
                    false => now(&frame, &api::metadata::answer(broker, &request, frame.version)),
                }
            }
            ApiKey::ApiVersions => now(&frame, &api::api_versions::answer(frame.version)),
            ApiKey::DescribeCluster => {
                let request = frame.decode_body()?;
                now(&frame, &api::describe_cluster::answer(broker, &request))
            }
            ApiKey::OffsetForLeaderEpoch => {
                let request = frame.decode_body()?;
                now(&frame, &api::offset_for_leader_epoch::answer(broker, &request))
            }
            ApiKey::DescribeProducers => {
                let request = frame.decode_body()?;
                now(&frame, &api::describe_producers::answer(broker, &request))
            }
            ApiKey::DescribeLogDirs => {
                let (broker, request) = (broker.clone(), frame.decode_body()?);
                // Asks the file system, and every partition.
                Ok(later(&frame, async move {
                    tokio::task::block_in_place(|| api::describe_log_dirs::answer(&broker, &request))
                }))
            }
            ApiKey::ListPartitionReassignments => {
                let request = frame.decode_body()?;
                now(&frame, &api::list_partition_reassignments::answer(broker, &request))
            }
            ApiKey::DescribeConfigs => administer(broker, &frame, api::describe_configs::answer),
            ApiKey::CreateTopics => administer(broker, &frame, api::create_topics::answer),
            ApiKey::DeleteTopics => administer(broker, &frame, api::delete_topics::answer),
            ApiKey::CreatePartitions => administer(broker, &frame, api::create_partitions::answer),
            ApiKey::DeleteRecords => administer(broker, &frame, api::delete_records::answer),
            ApiKey::AlterConfigs => administer(broker, &frame, api::alter_configs::answer),
            ApiKey::IncrementalAlterConfigs => {
                administer(broker, &frame, api::incremental_alter_configs::answer)
            }
            ApiKey::ElectLeaders => administer(broker, &frame, api::elect_leaders::answer),
            ApiKey::AlterPartitionReassignments => {
                administer(broker, &frame, api::alter_partition_reassignments::answer)
            }
            ApiKey::FindCoordinator => administer(broker, &frame, api::find_coordinator::answer),
            ApiKey::InitProducerId => administer(broker, &frame, api::init_producer_id::answer),
            api if api::groups::answers(api) => api::groups::handle(broker, &frame, peer),
            api => Err(FrameError::Api { api_key: api as i16 }),
        }
    }

    fn handle_unreadable(&self, error: FrameError) -> Result<Reply, FrameError> {
        match error {
            // KIP-511: the oldest form of the answer, so that any client can read what would be understood.
            FrameError::Version { spoken, correlation_id, .. } if spoken.api == ApiKey::ApiVersions => {
                let answer = api::api_versions::unsupported();
                Ok(Reply::Now(wire::encode_response(&answer, 0, correlation_id)?.into()))
            }
            error => Err(error),
        }
    }
}

fn now<R>(frame: &RequestFrame, answer: &R) -> Result<Reply, FrameError>
where
    R: wire::Encodable + wire::HeaderVersion,
{
    Ok(Reply::Now(wire::encode_response(answer, frame.version, frame.correlation_id)?.into()))
}

fn later<R>(frame: &RequestFrame, answer: impl Future<Output = R> + Send + 'static) -> Reply
where
    R: wire::Encodable + wire::HeaderVersion,
{
    let (version, id) = (frame.version, frame.correlation_id);
    let encoded = async move { Ok(Response::from(wire::encode_response(&answer.await, version, id)?)) };
    Reply::Later(encoded.boxed())
}

/// For what the controller decides, or what takes its time.
fn administer<R, F>(
    broker: &Arc<Broker>,
    frame: &RequestFrame,
    answer: impl FnOnce(Arc<Broker>, R, i16) -> F,
) -> Result<Reply, FrameError>
where
    R: Request,
    F: Future<Output = R::Response> + Send + 'static,
{
    Ok(later(frame, answer(broker.clone(), frame.decode_body()?, frame.version)))
}
