use std::time::Duration;

use domain::ProducerId;
use rpc::{ControllerClient, ControllerError};

/// Hands out producer ids, in blocks from the controller.
pub(crate) struct ProducerIds {
    controllers: ControllerClient,
    block: tokio::sync::Mutex<std::ops::Range<i64>>,
}

const BLOCK: i32 = 1_000;
const WAIT_MAX: Duration = Duration::from_secs(10);

impl ProducerIds {
    pub(crate) fn new(controllers: ControllerClient) -> Self {
        Self { controllers, block: tokio::sync::Mutex::new(0..0) }
    }

    /// An id that nobody else has.
    pub(crate) async fn next(&self) -> Result<ProducerId, ControllerError> {
        let mut block = self.block.lock().await;
        if block.is_empty() {
            let first = self.controllers.allocate_producer_ids(BLOCK, WAIT_MAX).await?.0;
            *block = first..first + i64::from(BLOCK);
        }
        let id = block.start;
        block.start += 1;
        Ok(ProducerId(id))
    }
}
