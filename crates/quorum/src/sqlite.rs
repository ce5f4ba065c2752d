use std::{path::Path, time::Duration};

use openraft::{AnyError, ErrorSubject, ErrorVerb, StorageIOError};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{
    Row, SqlitePool,
    sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqlitePoolOptions, SqliteSynchronous,
    },
};
use tokio::sync::oneshot;

use crate::{
    QuorumError,
    types::{FORMAT, RaftId, StorageError},
};

/// The one SQLite database of a controller. One connection: its reads and writes are ordered.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pub(crate) pool: SqlitePool,
    clock: Clock,
}

/// Whose clock runs while SQLite works on its own thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    Real,
    /// tokio's, paused by a test: it would jump ahead whenever all tasks wait for SQLite.
    Simulated,
}

/// While it lives SQLite works, and a simulated clock stands still.
pub(crate) struct Working(
    #[expect(dead_code, reason = "held until SQLite has answered")] oneshot::Sender<()>,
);

impl Clock {
    /// tokio does not advance a paused clock while a blocking task runs.
    fn working(self) -> Option<Working> {
        (self == Clock::Simulated).then(|| {
            let (working, done) = oneshot::channel();
            tokio::task::spawn_blocking(move || drop(done.blocking_recv()));
            Working(working)
        })
    }
}

const SCHEMA: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS log (position INTEGER PRIMARY KEY, entry BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS snapshot (one INTEGER PRIMARY KEY CHECK (one = 1), meta TEXT NOT NULL, data BLOB NOT NULL, crc INTEGER NOT NULL)",
];

impl Database {
    /// Opens or formats the store of the controller with this ordinal; its raft id is what was written at the format.
    pub(crate) async fn open(
        dir: &Path,
        ordinal: u32,
        fresh_id: RaftId,
        clock: Clock,
    ) -> Result<(Self, RaftId), QuorumError> {
        let working = clock.working();
        let path = dir.join("controller.sqlite");
        let failed = |reason: String| QuorumError::Store { path: path.clone(), reason };
        std::fs::create_dir_all(dir).map_err(|e| failed(e.to_string()))?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .locking_mode(SqliteLockingMode::Exclusive)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_millis(200));
        let in_use = |e: sqlx::Error| match e.to_string().contains("locked") {
            true => QuorumError::InUse { path: path.clone() },
            false => failed(e.to_string()),
        };
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await
            .map_err(in_use)?;
        let database = Self { pool, clock };
        for statement in SCHEMA {
            sqlx::query(statement).execute(&database.pool).await.map_err(in_use)?;
        }
        drop(working);
        match database.meta::<i64>("format").await.map_err(|e| failed(e.to_string()))? {
            None => database.put_meta("format", &FORMAT).await.map_err(|e| failed(e.to_string()))?,
            Some(found) if found == i64::from(FORMAT) => {}
            Some(found) => {
                return Err(QuorumError::UnknownFormat { path, found, known: FORMAT });
            }
        }
        match database.meta::<(u32, RaftId)>("identity").await.map_err(|e| failed(e.to_string()))? {
            Some((found, id)) if found == ordinal => Ok((database, id)),
            Some((found, _)) => Err(QuorumError::OtherOrdinal { path, found, expected: ordinal }),
            None => {
                let identity = (ordinal, fresh_id);
                database.put_meta("identity", &identity).await.map_err(|e| failed(e.to_string()))?;
                Ok((database, fresh_id))
            }
        }
    }

    /// To be held around every use of the pool.
    pub(crate) fn working(&self) -> Option<Working> {
        self.clock.working()
    }

    pub(crate) async fn meta<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Fault> {
        let _working = self.working();
        let row =
            sqlx::query("SELECT value FROM meta WHERE key = ?").bind(key).fetch_optional(&self.pool).await?;
        row.map(|row| Ok(serde_json::from_str(row.try_get::<&str, _>(0)?)?)).transpose()
    }

    pub(crate) async fn put_meta<T: Serialize>(&self, key: &str, value: &T) -> Result<(), Fault> {
        let _working = self.working();
        let value = serde_json::to_string(value)?;
        let insert = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        sqlx::query(insert).bind(key).bind(value).execute(&self.pool).await?;
        Ok(())
    }
}

/// The database failed, or what it holds is not what was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{0}")]
    Sql(#[from] sqlx::Error),
    #[error("stored value is broken: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Corrupt(String),
}

impl Fault {
    pub(crate) fn reading(self, what: ErrorSubject<RaftId>) -> StorageError {
        StorageIOError::new(what, ErrorVerb::Read, AnyError::new(&self)).into()
    }

    pub(crate) fn writing(self, what: ErrorSubject<RaftId>) -> StorageError {
        StorageIOError::new(what, ErrorVerb::Write, AnyError::new(&self)).into()
    }
}
