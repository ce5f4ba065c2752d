use std::path::Path;

use sqlx::{
    Connection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteLockingMode},
};

/// All rows of a member's store: its log, its vote and identity, its snapshot.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    log: Vec<(i64, Vec<u8>)>,
    meta: Vec<(String, String)>,
    snapshot: Vec<(String, Vec<u8>, i64)>,
}

/// Cuts the last byte off the snapshot of a member that is down, and says what is there then.
pub(crate) fn corrupt_snapshot(store: &Path) -> Contents {
    on(store, async |connection| {
        let update = "UPDATE snapshot SET data = substr(data, 1, length(data) - 1)";
        let updated = sqlx::query(update).execute(&mut *connection).await.unwrap();
        assert_eq!(updated.rows_affected(), 1, "there is a snapshot");
        read(connection).await
    })
}

pub(crate) fn contents(store: &Path) -> Contents {
    on(store, read)
}

async fn read(connection: &mut SqliteConnection) -> Contents {
    let log = sqlx::query_as("SELECT position, entry FROM log ORDER BY position");
    let meta = sqlx::query_as("SELECT key, value FROM meta ORDER BY key");
    let snapshot = sqlx::query_as("SELECT meta, data, crc FROM snapshot");
    Contents {
        log: log.fetch_all(&mut *connection).await.unwrap(),
        meta: meta.fetch_all(&mut *connection).await.unwrap(),
        snapshot: snapshot.fetch_all(&mut *connection).await.unwrap(),
    }
}

fn on<T>(store: &Path, work: impl AsyncFnOnce(&mut SqliteConnection) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // SQLite waits for the thread of the member that was killed, for up to five seconds.
    let options = SqliteConnectOptions::new().filename(store).locking_mode(SqliteLockingMode::Exclusive);
    runtime.block_on(async {
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let result = work(&mut connection).await;
        connection.close().await.unwrap();
        result
    })
}
