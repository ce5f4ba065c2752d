use std::sync::Arc;

use anyhow::{Context, ensure};
use tokio::{sync::Semaphore, task::JoinSet};

use super::ledger::value_of;
use crate::{KafkaClient, batch_of, faults::admin::View};

/// Records of one batch.
const BATCH: i64 = 500;
/// Partitions that are written to at once.
const AT_ONCE: usize = 6;

/// How many records each partition gets.
pub(super) fn ends(records: i64, partitions: i32) -> Vec<i64> {
    let count = i64::from(partitions);
    (0..count).map(|p| records / count + i64::from(p < records % count)).collect()
}

/// Writes the records into an empty topic, each acknowledged by all replicas, so that each lies where its value says.
///
/// # Errors
/// A leader refuses, or a record lies elsewhere.
pub(super) async fn fill(view: &View, topic: &str, ends: &[i64]) -> anyhow::Result<()> {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut writing = JoinSet::new();
    for (partition, end) in (0..).zip(ends.iter().copied()) {
        let leader = view.nodes.get(&view.partitions[&partition].leader).context("a partition is led")?;
        let (kafka, topic, turns) = (KafkaClient::new(leader), topic.to_owned(), turns.clone());
        writing.spawn(async move {
            let _turn = turns.acquire().await?;
            write(&kafka, &topic, partition, end).await
        });
    }
    while let Some(written) = writing.join_next().await {
        written??;
    }
    Ok(())
}

async fn write(kafka: &KafkaClient, topic: &str, partition: i32, end: i64) -> anyhow::Result<()> {
    let mut next = 0;
    while next < end {
        let to = end.min(next + BATCH);
        let values: Vec<String> = (next..to).map(|offset| value_of(partition, offset)).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let written = kafka.produce(topic, partition, batch_of(&values), -1).await?;
        ensure!(written.error_code == 0, "writing to {topic}-{partition}: error {}", written.error_code);
        ensure!(
            written.base_offset == next,
            "{topic}-{partition}: {} came to lie at {next}",
            written.base_offset
        );
        next = to;
    }
    Ok(())
}
