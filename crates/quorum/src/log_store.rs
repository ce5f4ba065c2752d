use std::{
    fmt::Debug,
    ops::{Bound, RangeBounds},
};

use openraft::{
    ErrorSubject, LogState, OptionalSend, RaftLogId, RaftLogReader, storage::LogFlushed,
    storage::RaftLogStorage,
};
use sqlx::Row;

use crate::{
    sqlite::{Database, Fault},
    types::{Entry, LogId, StorageError, Types, Vote},
};

/// The raft log and the vote. Nothing is answered before SQLite has synced it.
#[derive(Clone, Debug)]
pub(crate) struct LogStore {
    pub(crate) database: Database,
}

const VOTE: &str = "vote";
const PURGED: &str = "purged";

impl LogStore {
    async fn entries(&self, from: i64, until: i64) -> Result<Vec<Entry>, Fault> {
        let _working = self.database.working();
        let select = "SELECT entry FROM log WHERE position >= ? AND position < ? ORDER BY position";
        let rows = sqlx::query(select).bind(from).bind(until).fetch_all(&self.database.pool).await?;
        rows.iter().map(|row| Ok(serde_json::from_slice(row.try_get::<&[u8], _>(0)?)?)).collect()
    }

    async fn last_entry(&self) -> Result<Option<Entry>, Fault> {
        let _working = self.database.working();
        let select = "SELECT entry FROM log ORDER BY position DESC LIMIT 1";
        let row = sqlx::query(select).fetch_optional(&self.database.pool).await?;
        row.map(|row| Ok(serde_json::from_slice(row.try_get::<&[u8], _>(0)?)?)).transpose()
    }

    async fn insert(&self, entries: Vec<Entry>) -> Result<(), Fault> {
        let _working = self.database.working();
        let mut transaction = self.database.pool.begin_with("BEGIN IMMEDIATE").await?;
        for entry in entries {
            let encoded = serde_json::to_vec(&entry)?;
            sqlx::query("INSERT OR REPLACE INTO log (position, entry) VALUES (?, ?)")
                .bind(position(entry.get_log_id().index))
                .bind(encoded)
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn delete_to(&self, log_id: LogId) -> Result<(), Fault> {
        let _working = self.database.working();
        let mut transaction = self.database.pool.begin_with("BEGIN IMMEDIATE").await?;
        let purged = serde_json::to_string(&log_id)?;
        sqlx::query("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)")
            .bind(PURGED)
            .bind(purged)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM log WHERE position <= ?")
            .bind(position(log_id.index))
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }
}

/// SQLite's integers are signed; a log that long is centuries away.
fn position(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let from = match range.start_bound() {
            Bound::Included(n) => position(*n),
            Bound::Excluded(n) => position(n.saturating_add(1)),
            Bound::Unbounded => 0,
        };
        let until = match range.end_bound() {
            Bound::Included(n) => position(n.saturating_add(1)),
            Bound::Excluded(n) => position(*n),
            Bound::Unbounded => i64::MAX,
        };
        self.entries(from, until).await.map_err(|e| e.reading(ErrorSubject::Logs))
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        let purged = self.database.meta(PURGED).await.map_err(|e| e.reading(ErrorSubject::Logs))?;
        let last = self.last_entry().await.map_err(|e| e.reading(ErrorSubject::Logs))?;
        Ok(LogState {
            last_purged_log_id: purged,
            last_log_id: last.map(|entry| *entry.get_log_id()).or(purged),
        })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        self.database.put_meta(VOTE, vote).await.map_err(|e| e.writing(ErrorSubject::Vote))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        self.database.meta(VOTE).await.map_err(|e| e.reading(ErrorSubject::Vote))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        self.insert(entries).await.map_err(|e| e.writing(ErrorSubject::Logs))?;
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let _working = self.database.working();
        sqlx::query("DELETE FROM log WHERE position >= ?")
            .bind(position(log_id.index))
            .execute(&self.database.pool)
            .await
            .map(drop)
            .map_err(|e| Fault::from(e).writing(ErrorSubject::Log(log_id)))
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.delete_to(log_id).await.map_err(|e| e.writing(ErrorSubject::Log(log_id)))
    }
}
