//! REST consumers: what gateways ask of the coordinators here, over gRPC.

use std::sync::{Arc, OnceLock};

use group::{Answer, Call, Caller, SessionError};
use rpc::{
    Status, session_call_from_pb, session_outcome_to_pb,
    storage_pb::{
        SessionRequest, SessionResponse,
        session_service_server::{SessionService, SessionServiceServer},
    },
};
use tonic::{Request, Response, server::NamedService};
use wire::ResponseError;

use crate::groups::Groups;

/// The coordinators, once this node has any.
#[derive(Clone, Default)]
pub(crate) struct RestConsumers(Arc<OnceLock<Arc<Groups>>>);

impl RestConsumers {
    pub(crate) fn begin(&self, groups: Arc<Groups>) {
        // Begun once.
        let _ = self.0.set(groups);
    }

    pub(crate) fn routes(&self) -> axum::Router {
        let path = format!("/{}/{{*method}}", SessionServiceServer::<Self>::NAME);
        axum::Router::new().route_service(&path, SessionServiceServer::new(self.clone()))
    }
}

#[tonic::async_trait]
impl SessionService for RestConsumers {
    async fn call(&self, request: Request<SessionRequest>) -> Result<Response<SessionResponse>, Status> {
        let (call, host) = session_call_from_pb(request.into_inner())?;
        let outcome = match self.0.get() {
            None => refused(ResponseError::NotCoordinator),
            Some(groups) => {
                let (group, client_id) = (call.group.clone(), call.instance.clone());
                let caller = Caller { client_id, host, version: 0 };
                match groups.call(&group, caller, Call::Session(call)).await {
                    Some(Answer::Session(outcome)) => outcome,
                    // Whether it was carried out is not known; it may be asked again.
                    Some(_) | None => return Err(Status::unavailable("the coordinator has ended")),
                }
            }
        };
        Ok(Response::new(session_outcome_to_pb(&outcome)))
    }
}

fn refused<T>(code: ResponseError) -> Result<T, SessionError> {
    Err(SessionError::Refused { code, message: code.to_string() })
}
