use std::{ops::Range, time::Duration};

use domain::ProducerId;
use rpc::ControllerError;
use tokio::sync::Mutex;

use super::Upstream;

/// Producer ids, taken from the controller a block at a time.
#[derive(Debug, Default)]
pub(super) struct ProducerIds {
    block: Mutex<Range<i64>>,
}

/// Enough that a gateway seldom asks; what it does not use is lost, which an `i64` can bear.
const BLOCK: i32 = 1_000;

impl ProducerIds {
    pub(super) async fn next(
        &self,
        upstream: &dyn Upstream,
        within: Duration,
    ) -> Result<ProducerId, ControllerError> {
        let mut block = self.block.lock().await;
        if let Some(id) = block.next() {
            return Ok(ProducerId(id));
        }
        let first = upstream.producer_ids(BLOCK, within).await?.0;
        *block = first + 1..first + i64::from(BLOCK);
        Ok(ProducerId(first))
    }
}
