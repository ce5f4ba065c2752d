//! openraft's own storage suite against the SQLite store.

use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;

use crate::{
    QuorumError,
    log_store::LogStore,
    machine::{Machine, Published},
    sqlite::{Clock, Database},
    types::{StorageError, Types},
};

struct Builder;

impl StoreBuilder<Types, LogStore, Machine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, Machine), StorageError> {
        let dir = tempfile::tempdir().unwrap();
        let (database, _) = Database::open(dir.path(), 0, 1, Clock::Real).await.unwrap();
        let machine = Machine::open(database.clone(), Published::new()).await.unwrap();
        Ok((dir, LogStore { database }, machine))
    }
}

#[test]
fn the_store_passes_openrafts_suite() {
    Suite::test_all(Builder).unwrap();
}

#[tokio::test]
async fn a_folder_of_another_controller_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (first, id) = Database::open(dir.path(), 0, 41, Clock::Real).await.unwrap();
    first.pool.close().await;
    let (again, same) = Database::open(dir.path(), 0, 42, Clock::Real).await.unwrap();
    assert_eq!((id, same), (41, 41), "the id is the one of the format");
    again.pool.close().await;
    let error = Database::open(dir.path(), 1, 43, Clock::Real).await.unwrap_err();
    assert!(matches!(error, QuorumError::OtherOrdinal { found: 0, expected: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_folder_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _held = Database::open(dir.path(), 0, 1, Clock::Real).await.unwrap();
    let error = Database::open(dir.path(), 0, 1, Clock::Real).await.unwrap_err();
    assert!(matches!(error, QuorumError::InUse { .. }), "{error}");
}

#[tokio::test]
async fn a_corrupt_snapshot_stops_the_start_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (database, _) = Database::open(dir.path(), 0, 1, Clock::Real).await.unwrap();
    let mut machine = Machine::open(database.clone(), Published::new()).await.unwrap();
    use openraft::{RaftSnapshotBuilder, storage::RaftStateMachine};
    machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    sqlx::query("UPDATE snapshot SET data = ?").bind(b"{".as_slice()).execute(&database.pool).await.unwrap();
    let error = Machine::open(database.clone(), Published::new()).await.unwrap_err().to_string();
    assert!(error.contains("checksum"), "{error}");
    let kept: i64 =
        sqlx::query_scalar("SELECT count(*) FROM snapshot").fetch_one(&database.pool).await.unwrap();
    assert_eq!(kept, 1);
}
