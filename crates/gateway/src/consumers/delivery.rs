use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use group::SessionOp;
use hyper::body::{Frame, SizeHint};

use super::Consumer;
use crate::App;

/// Records on their way to a client. If they are dropped before they were all handed to the connection, the coordinator is told
/// that they did not arrive, and the next poll delivers them again.
pub(crate) struct Delivery {
    app: Arc<App>,
    consumer: Consumer,
    poll: u64,
    is_over: bool,
}

impl Delivery {
    pub(super) fn new(app: &Arc<App>, consumer: &Consumer, poll: u64) -> Self {
        Self { app: app.clone(), consumer: consumer.clone(), poll, is_over: false }
    }

    /// There is nothing to take back.
    pub(super) fn over(mut self) {
        self.is_over = true;
    }

    pub(crate) fn of(self, body: Body) -> Body {
        Body::new(DeliveryBody { body, delivery: self })
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let (app, consumer) = (self.app.clone(), self.consumer.clone());
        let op = SessionOp::Undelivered { poll: self.poll };
        // The connection may end with the runtime.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = app.coordinators.call(&app.backend, &consumer, op).await {
                    tracing::debug!(%error, "records that were not delivered could not be taken back");
                }
            });
        }
    }
}

struct DeliveryBody {
    body: Body,
    delivery: Delivery,
}

impl HttpBody for DeliveryBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let is_last = matches!(polled, Poll::Ready(None))
            || matches!(polled, Poll::Ready(Some(Ok(_)))) && self.body.is_end_stream();
        self.delivery.is_over |= is_last;
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
