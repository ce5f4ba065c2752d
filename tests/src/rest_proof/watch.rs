use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{ledger::Ledger, tally::Tally};
use crate::faults::admin::Admin;

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Asks the coordinator what is committed, past every gateway, until everything is or the token is cancelled.
pub(super) async fn watch(
    admin: Admin,
    (group, topic, partitions): (&str, &str, i32),
    ledger: Arc<Ledger>,
    tally: Arc<Tally>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        match admin.committed(group, topic, partitions).await {
            Ok(told) => {
                tally.count("looks at what is committed");
                if ledger.committed(&told) {
                    return;
                }
            }
            Err(_) => tally.count("looks at what is committed that nobody answered"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
