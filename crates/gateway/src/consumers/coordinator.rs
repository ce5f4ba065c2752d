use std::time::Duration;

use group::{SessionCall, SessionError, SessionOp, SessionReply};
use metadata::Image;
use rpc::{SessionCallError, SessionClient, WatchedImage};
use tokio::time::{Instant, timeout_at};
use wire::ResponseError;

use super::{Consumer, ConsumerError};
use crate::{
    kafka::{Backend, home, seat},
    routing::{Backoff, Route, RouteError, Target, moved, route},
};

/// Asks the coordinators of groups. A call may be made again: each of them is written so that a second time does no harm.
#[derive(Debug, Default)]
pub(crate) struct Coordinators {
    client: SessionClient,
}

/// How long a coordinator is looked for. A failover takes less, even that from a machine that went silent.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long one attempt may take: a coordinator commits what it decides.
const ATTEMPT_MAX: Duration = Duration::from_secs(6);

impl Coordinators {
    pub(crate) async fn call(
        &self,
        backend: &Backend,
        consumer: &Consumer,
        op: SessionOp,
    ) -> Result<SessionReply, ConsumerError> {
        let image = &backend.image;
        let call = SessionCall { group: consumer.group.clone(), instance: consumer.instance.clone(), op };
        let deadline = Instant::now() + PATIENCE;
        let mut backoff = Backoff::new();
        let mut lost = false;
        if seat(&image.load(), &call.group).is_none() {
            backend.make_offsets_topic(&call.group).await;
        }
        loop {
            let seated = seat(&image.load(), &call.group);
            let reason = match &seated {
                None => "no node leads the group's partition".to_owned(),
                Some((target, way)) => match self.attempt(image, &call, consumer, *target, way).await {
                    // It was deleted by the attempt whose answer was lost.
                    Attempt::Answered(Err(SessionError::Unknown)) if lost && call.op == SessionOp::Delete => {
                        return Ok(SessionReply::Done);
                    }
                    Attempt::Answered(answer) => return Ok(answer?),
                    Attempt::NotThere(reason) => reason,
                    Attempt::Lost(reason) => {
                        lost = true;
                        reason
                    }
                },
            };
            if Instant::now() >= deadline {
                return Err(match lost {
                    true => ConsumerError::Unknown(reason),
                    false => ConsumerError::Unavailable(reason),
                });
            }
            let (target, tried) = match seated {
                Some((target, way)) => (target, Ok(way)),
                None => match home(&image.load(), &call.group) {
                    Some(target) => (target, Err(RouteError::NoLeader)),
                    None => {
                        let there = image.wait_for(|image| seat(image, &call.group).is_some());
                        let _ = timeout_at(deadline, there).await;
                        continue;
                    }
                },
            };
            backoff.wait(image, target, &tried, deadline).await;
        }
    }

    async fn attempt(
        &self,
        image: &WatchedImage,
        call: &SessionCall,
        consumer: &Consumer,
        target: Target,
        way: &Route,
    ) -> Attempt {
        let Some(address) = grpc_address(&image.load(), target) else {
            return Attempt::NotThere("the coordinator's address is not known".to_owned());
        };
        let called = tokio::select! {
            biased;
            called = self.client.call(&address, call, &consumer.client_host, ATTEMPT_MAX) => called,
            // A coordinator that went silent is not waited for once there is another.
            () = moved(image, target, way) => {
                return Attempt::Lost(format!("the coordinator at {address} was replaced before it answered"));
            }
        };
        match called {
            Ok(Err(SessionError::Refused { code, message })) if is_elsewhere(code) => {
                // What was appended may be committed yet.
                match code {
                    ResponseError::NotCoordinator | ResponseError::CoordinatorLoadInProgress => {
                        Attempt::NotThere(message)
                    }
                    _ => Attempt::Lost(message),
                }
            }
            Ok(answer) => Attempt::Answered(answer),
            Err(error @ SessionCallError::NotSent { .. }) => Attempt::NotThere(error.to_string()),
            Err(error @ SessionCallError::Lost { .. }) => Attempt::Lost(error.to_string()),
        }
    }
}

enum Attempt {
    Answered(Result<SessionReply, SessionError>),
    /// It was not carried out.
    NotThere(String),
    /// It may have been.
    Lost(String),
}

/// Whether another coordinator, or the same one in a moment, may do it.
fn is_elsewhere(code: ResponseError) -> bool {
    matches!(
        code,
        ResponseError::NotCoordinator
            | ResponseError::CoordinatorNotAvailable
            | ResponseError::CoordinatorLoadInProgress
            | ResponseError::UnknownTopicId
    )
}

fn grpc_address(image: &Image, target: Target) -> Option<String> {
    route(image, target).ok()?;
    let leader = image.topic_by_id(target.topic)?.partition(target.partition)?.leader?;
    image.nodes.get(&leader).map(|node| node.http.to_string())
}
