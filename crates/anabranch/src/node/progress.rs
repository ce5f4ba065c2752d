use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    rebalance::{Rebalance, bytes, duration},
    rest::{JSON, Rest},
};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Where there is no terminal, a line is printed so often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Waits until the node has nothing any more, and shows meanwhile how far it is.
pub(super) async fn wait(rest: &Rest, node: i32) -> anyhow::Result<()> {
    let mut bar: Option<ProgressBar> = None;
    let (mut most, mut said) = (0, None::<Instant>);
    loop {
        let now: Rebalance = rest.get(&["admin", "v1", "rebalance"], &[], JSON).await?;
        let usage = now.nodes.iter().find(|usage| usage.node_id == node);
        let (replicas, left) = usage.map_or((0, 0), |u| (u.replicas, u.bytes_left));
        if replicas == 0 {
            bar.iter().for_each(ProgressBar::finish_and_clear);
            return Ok(());
        }
        most = most.max(left);
        let eta = usage.and_then(|u| u.seconds_left).map_or_else(|| "not known yet".to_owned(), duration);
        let stuck = match now.stuck.iter().find(|stuck| stuck.node_id == node) {
            Some(stuck) => format!("; {}-{} can go nowhere: {}", stuck.topic, stuck.partition, stuck.reason),
            None => String::new(),
        };
        let paused = if now.paused { "; paused" } else { "" };
        let message = format!(
            "{replicas} replicas left, {} at {}/s, time left: {eta}{paused}{stuck}",
            bytes(left),
            bytes(now.bytes_per_second)
        );
        let bar = bar.get_or_insert_with(new_bar);
        if bar.is_hidden() {
            if said.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
                said = Some(Instant::now());
                println!("{message}");
            }
        } else {
            bar.set_length(most.max(1));
            bar.set_position(most - left);
            bar.set_message(message);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::new(1);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent}% {msg}") {
        bar.set_style(style);
    }
    bar
}
