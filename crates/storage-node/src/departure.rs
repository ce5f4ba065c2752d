//! How a node goes: it asks, waits until it may, and says meanwhile what it waits for.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use futures_util::stream::unfold;
use rpc::pb;
use tokio::sync::watch;

/// Where a node stands on its way out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Standing {
    /// The controller has not answered yet.
    #[default]
    Asks,
    Waits(pb::Leaving),
    /// Nobody needs it any more: its process may end.
    May,
}

/// Whether the node was asked to go, and how far it is.
#[derive(Clone, Debug)]
pub(crate) struct Departure {
    wanted: watch::Sender<bool>,
    standing: watch::Sender<Standing>,
}

/// What is said again though nothing is new, so that whoever waits sees that it goes on.
const SAY_EVERY: Duration = Duration::from_secs(5);

impl Departure {
    pub(crate) fn new() -> Self {
        Self { wanted: watch::channel(false).0, standing: watch::channel(Standing::Asks).0 }
    }

    pub(crate) fn wanted(&self) -> watch::Receiver<bool> {
        self.wanted.subscribe()
    }

    pub(crate) fn is_wanted(&self) -> bool {
        *self.wanted.borrow()
    }

    pub(crate) fn stands(&self, standing: Standing) {
        self.standing.send_if_modified(|now| {
            let changed = *now != standing;
            *now = standing;
            changed
        });
    }

    /// Ends once the node may go, if it was asked to.
    pub(crate) async fn may(&self) {
        let mut standing = self.standing.subscribe();
        // The sender lives as long as this does.
        let _ = standing.wait_for(|standing| *standing == Standing::May).await;
    }

    /// `POST /stop`, for the node's own host only: asks, and tells line by line what is waited for until the node may go.
    pub(crate) fn routes(&self) -> Router {
        Router::new().route("/stop", post(stop)).with_state(self.clone())
    }
}

async fn stop(ConnectInfo(peer): ConnectInfo<SocketAddr>, State(departure): State<Departure>) -> Response {
    if !peer.ip().to_canonical().is_loopback() {
        return (StatusCode::FORBIDDEN, "only the node's own host may stop it\n").into_response();
    }
    departure.wanted.send_replace(true);
    let said = (departure.standing.subscribe(), false);
    let lines = unfold(said, async |(mut standing, over)| {
        if over {
            return None;
        }
        let now = standing.borrow_and_update().clone();
        let line = line(&now);
        if now != Standing::May {
            let _ = tokio::time::timeout(SAY_EVERY, standing.changed()).await;
        }
        Some((Ok::<_, Infallible>(Bytes::from(line)), (standing, now == Standing::May)))
    });
    Body::from_stream(Box::pin(lines)).into_response()
}

/// What [`stop`] says last.
pub const MAY_STOP: &str = "may stop";

fn line(standing: &Standing) -> String {
    match standing {
        Standing::Asks => "asking the controller\n".to_owned(),
        Standing::May => format!("{MAY_STOP}\n"),
        Standing::Waits(leaving) if leaving.drains => {
            let left = match leaving.seconds_left {
                Some(seconds) => format!("about {seconds} s"),
                None => "how long is not known yet".to_owned(),
            };
            let (replicas, bytes) = (leaving.replicas_left, leaving.bytes_left);
            format!("draining: {replicas} replicas left, {bytes} bytes, {left}\n")
        }
        Standing::Waits(leaving) => format!("waiting for {}\n", leaving.waits_for),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_said() {
        let waits = |leaving| line(&Standing::Waits(leaving));
        let leaving = pb::Leaving { waits_for: "t-0 to have more in sync".to_owned(), ..Default::default() };
        assert_eq!(waits(leaving.clone()), "waiting for t-0 to have more in sync\n");
        let drains =
            pb::Leaving { drains: true, replicas_left: 3, bytes_left: 70, seconds_left: Some(9), ..leaving };
        assert_eq!(waits(drains), "draining: 3 replicas left, 70 bytes, about 9 s\n");
        assert_eq!(line(&Standing::May), "may stop\n");
    }

    #[tokio::test]
    async fn a_node_that_was_not_asked_to_go_never_may() {
        let departure = Departure::new();
        departure.stands(Standing::Asks);
        let may = tokio::time::timeout(Duration::from_millis(20), departure.may()).await;
        assert!(may.is_err() && !departure.is_wanted());
        departure.stands(Standing::May);
        departure.may().await;
    }
}
