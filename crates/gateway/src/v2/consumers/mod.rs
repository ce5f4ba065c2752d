//! Consumers with a session (`/consumers/…`). Each request stands for itself: any gateway serves it.

mod instances;
mod offsets;
mod positions;
mod records;
mod shape;
mod subscriptions;

use std::sync::Arc;

use group::{SessionError, SessionOp, SessionReply};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    ApiError, App,
    consumers::{Consumer, ConsumerError},
    place::At,
};

/// Those that answer in v2's own media type.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(instances::create))
        .routes(routes!(instances::delete))
        .routes(routes!(subscriptions::get, subscriptions::subscribe, subscriptions::unsubscribe))
        .routes(routes!(subscriptions::assignments, subscriptions::assign))
        .routes(routes!(positions::seek))
        .routes(routes!(positions::to_beginning))
        .routes(routes!(positions::to_end))
        .routes(routes!(offsets::committed, offsets::commit))
}

/// The one whose Accept picks the form of the records.
pub(super) fn records_route() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(records::poll))
}

impl At {
    /// The consumer that the path names.
    fn consumer(&self) -> Consumer {
        self.consumer_named(self.param("instance"))
    }

    fn consumer_named(&self, instance: &str) -> Consumer {
        let host = self.peer.map_or_else(|| "/unknown".to_owned(), |peer| format!("/{peer}"));
        Consumer { group: self.param("group").to_owned(), instance: instance.to_owned(), client_host: host }
    }

    async fn ask(&self, consumer: &Consumer, op: SessionOp) -> Result<SessionReply, ApiError> {
        let app = &self.app;
        let answer = app.coordinators.call(&app.backend, consumer, op).await;
        answer.map_err(|error| consumer.refused(error))
    }
}

impl Consumer {
    /// What the client is told, with the consumer's name where that is what is wrong.
    fn refused(&self, error: ConsumerError) -> ApiError {
        let (group, instance) = (&self.group, &self.instance);
        match error {
            ConsumerError::Session(SessionError::Unknown) => ApiError::unknown_instance(group, instance),
            ConsumerError::Session(SessionError::Exists) => ApiError::instance_exists(group, instance),
            error => error.into(),
        }
    }
}
