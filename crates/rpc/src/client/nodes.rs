//! Calls about storage nodes: how full they are, who leaves, and what is moved.

use std::time::Duration;

use domain::NodeId;

use super::{ControllerClient, ControllerError, Failed, admin_service, node_service};
use crate::pb;

impl ControllerClient {
    /// Tells how full this node's disk is, and how large its replicas are. The answer says which memory has it.
    pub async fn report_usage(
        &self,
        report: &pb::ReportUsageRequest,
        within: Duration,
    ) -> Result<pb::ReportUsageResponse, ControllerError> {
        self.call(within, |channel| {
            let report = report.clone();
            async move { Ok(node_service(channel).report_usage(report).await?.into_inner()) }
        })
        .await
        .map_err(Failed::into_error)
    }

    /// Has a node give its replicas away, or keep them.
    ///
    /// # Errors
    /// `Refused`, with a `CannotDrain` that says why: the others cannot hold what the node has.
    pub async fn set_draining(
        &self,
        node: NodeId,
        draining: bool,
        ignore_racks: bool,
        validate_only: bool,
        within: Duration,
    ) -> Result<pb::SetDrainingResponse, ControllerError> {
        let request = pb::SetDrainingRequest { node: node.0, draining, ignore_racks, validate_only };
        self.call(within, |channel| async move {
            Ok(admin_service(channel).set_draining(request).await?.into_inner())
        })
        .await
        .map_err(Failed::into_error)
    }

    /// Forgets a node that was drained and is gone; the metadata version in which it is.
    pub async fn retire_node(&self, node: NodeId, within: Duration) -> Result<u64, ControllerError> {
        let request = pb::RetireNodeRequest { node: node.0 };
        self.call(within, |channel| async move {
            Ok(admin_service(channel).retire_node(request).await?.into_inner().version)
        })
        .await
        .map_err(Failed::into_error)
    }

    /// What is moved; with `planned`, also each move that is still to come.
    pub async fn describe_rebalance(
        &self,
        planned: bool,
        within: Duration,
    ) -> Result<pb::DescribeRebalanceResponse, ControllerError> {
        let request = pb::DescribeRebalanceRequest { planned };
        self.call(within, |channel| async move {
            Ok(admin_service(channel).describe_rebalance(request).await?.into_inner())
        })
        .await
        .map_err(Failed::into_error)
    }

    /// Pauses, resumes, limits or cancels moves.
    pub async fn alter_rebalance(
        &self,
        request: pb::AlterRebalanceRequest,
        within: Duration,
    ) -> Result<pb::AlterRebalanceResponse, ControllerError> {
        self.call(within, |channel| async move {
            Ok(admin_service(channel).alter_rebalance(request).await?.into_inner())
        })
        .await
        .map_err(Failed::into_error)
    }
}
