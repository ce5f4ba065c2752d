use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fastrand::Rng;
use tokio_util::sync::CancellationToken;

use super::tally::Tally;
use crate::Cluster;

/// What is counted of all kills.
pub(super) const KILLS: &str = "kills";
const READY_MAX: Duration = Duration::from_secs(20);

/// Kills one of the gateways, and starts it again at once, again and again until the token is cancelled; the cluster, and how
/// long each took to be ready again, in milliseconds. While one starts, the other is left alone.
pub(super) async fn kill_gateways(
    mut cluster: Cluster,
    gateways: usize,
    every: Duration,
    mut random: Rng,
    tally: Arc<Tally>,
    stop: CancellationToken,
) -> (Cluster, Vec<f64>) {
    let client = reqwest::Client::new();
    let mut took = Vec::new();
    let mut next = Instant::now() + every;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(next.into()) => {}
            () = stop.cancelled() => return (cluster, took),
        }
        let chosen = random.usize(..gateways);
        let name = format!("gateway-{chosen}");
        let begun = Instant::now();
        cluster.kill(&name);
        cluster.start_one(&name);
        tally.count(KILLS);
        let url = cluster.rest(chosen).url("/readyz");
        while !client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            assert!(begun.elapsed() < READY_MAX, "{name} is not ready again");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        took.push(begun.elapsed().as_secs_f64() * 1e3);
        next += every;
        if next < Instant::now() {
            tally.count("kills that came late, because the one before was not ready");
            next = Instant::now();
        }
    }
}
