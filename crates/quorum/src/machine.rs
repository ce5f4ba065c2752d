use std::sync::Arc;

use metadata::{Changes, Delta, Image};
use openraft::{
    EntryPayload, ErrorSubject, OptionalSend, RaftSnapshotBuilder, RaftTypeConfig, Snapshot,
    storage::RaftStateMachine,
};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use tokio::sync::{broadcast, watch};

use crate::{
    sqlite::{Database, Fault},
    types::{Batch, BatchOutcome, Entry, FORMAT, LogId, SnapshotMeta, StorageError, StoredMembership, Types},
};

/// How many deltas a slow subscriber may lie behind before it must start from an image again.
const DELTAS_KEPT: usize = 1_024;

/// The state machine: an image in memory, its snapshots in SQLite.
#[derive(Debug)]
pub(crate) struct Machine {
    database: Database,
    state: State,
    published: Published,
}

/// Where the image goes whenever it changes.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) image: watch::Sender<Arc<Image>>,
    pub(crate) deltas: broadcast::Sender<Arc<Delta>>,
}

#[derive(Clone, Debug, Default)]
struct State {
    image: Image,
    applied: Option<LogId>,
    membership: StoredMembership,
}

/// A snapshot as it is stored and sent.
#[derive(Serialize, Deserialize)]
struct Encoded<I> {
    format: u32,
    image: I,
}

impl Published {
    pub(crate) fn new() -> Self {
        Self { image: watch::channel(Arc::default()).0, deltas: broadcast::channel(DELTAS_KEPT).0 }
    }

    fn publish(&self, image: &Image, delta: Delta) {
        self.image.send_replace(Arc::new(image.clone()));
        // Nobody may be listening; that is no fault.
        let _ = self.deltas.send(Arc::new(delta));
    }
}

impl Machine {
    /// Starts from the last snapshot. One that cannot be read is an error, and stays where it is.
    pub(crate) async fn open(database: Database, published: Published) -> Result<Self, Fault> {
        let mut state = State::default();
        if let Some((meta, data)) = stored_snapshot(&database).await? {
            state = State::restore(&meta, &data)?;
            published.publish(&state.image, state.image.snapshot());
        }
        Ok(Self { database, state, published })
    }

    fn apply_batch(&mut self, index: u64, batch: &Batch, changes: &mut Changes) -> BatchOutcome {
        let mut changed = Changes::default();
        let results = batch.0.iter().map(|command| {
            let outcome = self.state.image.apply(command);
            changed.merge(outcome.changes);
            outcome.result
        });
        let results = results.collect();
        if !changed.is_empty() {
            self.state.image.version = index;
            changes.merge(changed);
        }
        BatchOutcome { results, version: self.state.image.version }
    }
}

impl State {
    fn restore(meta: &SnapshotMeta, data: &[u8]) -> Result<Self, Fault> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_slice(data)?;
        if format != FORMAT {
            return Err(Fault::Corrupt(format!("snapshot has format {format}, this build knows {FORMAT}")));
        }
        let encoded: Encoded<Image> = serde_json::from_slice(data)?;
        Ok(Self { image: encoded.image, applied: meta.last_log_id, membership: meta.last_membership.clone() })
    }
}

async fn stored_snapshot(database: &Database) -> Result<Option<(SnapshotMeta, Vec<u8>)>, Fault> {
    let _working = database.working();
    let row = sqlx::query("SELECT meta, data, crc FROM snapshot").fetch_optional(&database.pool).await?;
    let Some(row) = row else { return Ok(None) };
    let data: Vec<u8> = row.try_get(1)?;
    let (stored, actual) = (row.try_get::<i64, _>(2)?, checksum(&data));
    if stored != actual {
        return Err(Fault::Corrupt(format!("snapshot has checksum {actual:08x}, {stored:08x} was written")));
    }
    Ok(Some((serde_json::from_str(row.try_get(0)?)?, data)))
}

async fn store_snapshot(database: &Database, meta: &SnapshotMeta, data: &[u8]) -> Result<(), Fault> {
    let _working = database.working();
    sqlx::query("INSERT OR REPLACE INTO snapshot (one, meta, data, crc) VALUES (1, ?, ?, ?)")
        .bind(serde_json::to_string(meta)?)
        .bind(data)
        .bind(checksum(data))
        .execute(&database.pool)
        .await?;
    Ok(())
}

fn checksum(data: &[u8]) -> i64 {
    i64::try_from(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, data)).unwrap_or(-1)
}

/// Makes a snapshot from a copy of the state, while the machine goes on.
pub(crate) struct SnapshotBuilder {
    database: Database,
    state: State,
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StorageError> {
        let encoded = Encoded { format: FORMAT, image: &self.state.image };
        let built = async {
            let data = serde_json::to_vec(&encoded)?;
            let meta = SnapshotMeta {
                last_log_id: self.state.applied,
                last_membership: self.state.membership.clone(),
                snapshot_id: self.state.applied.map_or_else(|| "empty".to_owned(), |id| id.to_string()),
            };
            store_snapshot(&self.database, &meta, &data).await?;
            Ok(Snapshot { meta, snapshot: Box::new(data) })
        };
        built.await.map_err(|e: Fault| e.writing(ErrorSubject::Snapshot(None)))
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok((self.state.applied, self.state.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<BatchOutcome>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut changes = Changes::default();
        let outcomes = entries.into_iter().map(|entry| {
            self.state.applied = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Blank => BatchOutcome::default(),
                EntryPayload::Normal(batch) => self.apply_batch(entry.log_id.index, &batch, &mut changes),
                EntryPayload::Membership(membership) => {
                    self.state.membership = StoredMembership::new(Some(entry.log_id), membership);
                    BatchOutcome::default()
                }
            }
        });
        let outcomes = outcomes.collect();
        if !changes.is_empty() {
            self.published.publish(&self.state.image, self.state.image.delta(&changes));
        }
        Ok(outcomes)
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        SnapshotBuilder { database: self.database.clone(), state: self.state.clone() }
    }

    async fn begin_receiving_snapshot(
        &mut self,
    ) -> Result<Box<<Types as RaftTypeConfig>::SnapshotData>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Vec<u8>>,
    ) -> Result<(), StorageError> {
        let failed = |e: Fault| e.writing(ErrorSubject::Snapshot(Some(meta.signature())));
        let state = State::restore(meta, &snapshot).map_err(failed)?;
        store_snapshot(&self.database, meta, &snapshot).await.map_err(failed)?;
        self.state = state;
        self.published.publish(&self.state.image, self.state.image.snapshot());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, StorageError> {
        let stored = stored_snapshot(&self.database).await;
        let stored = stored.map_err(|e| e.reading(ErrorSubject::Snapshot(None)))?;
        Ok(stored.map(|(meta, data)| Snapshot { meta, snapshot: Box::new(data) }))
    }
}
