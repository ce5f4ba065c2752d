//! Kafka's clients in several languages, against a real cluster: every feature with every client on every path. What
//! comes out is the table in the README.
//!
//! `CLIENTS_ONLY=rebalance.kafkajs` runs the cells whose names contain that; `CLIENTS_README=write` writes the README's table
//! anew instead of comparing it.

use std::{path::Path, sync::Arc};

use tests::{Cluster, clients};

#[tokio::test(flavor = "multi_thread")]
async fn every_client_does_what_the_readme_says() {
    let only = std::env::var("CLIENTS_ONLY").ok();
    let cluster = Arc::new(Cluster::start(clients::SPEC).await);
    let wanted = |cell: &clients::Cell| only.as_ref().is_none_or(|only| cell.to_string().contains(only));
    let matrix = clients::run(cluster.clone(), wanted).await;
    std::fs::write(clients::Matrix::file(), matrix.markdown()).unwrap();
    assert_eq!(matrix.failed(), [""; 0], "see above, and {}", clients::Matrix::file().display());
    if only.is_none() {
        same_in_readme(&matrix);
    }
}

fn same_in_readme(matrix: &clients::Matrix) {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(&readme).unwrap();
    let placed = matrix.placed_in(&text).expect("the README has the table's markers");
    match std::env::var("CLIENTS_README").as_deref() {
        Ok("write") => std::fs::write(&readme, placed).unwrap(),
        _ => assert!(text == placed, "the README's table is another; CLIENTS_README=write writes it"),
    }
}
