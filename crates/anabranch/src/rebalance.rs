use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use crate::{
    cli::RebalanceCommand,
    rest::{JSON, Rest},
    table::table,
};

/// `/admin/v1/rebalance`.
#[derive(Deserialize)]
pub(crate) struct Rebalance {
    pub(crate) paused: bool,
    bytes_per_second_max: u64,
    pub(crate) bytes_per_second: u64,
    under_way: Vec<Move>,
    moves_planned: u32,
    planned: Vec<Move>,
    bytes_left: u64,
    seconds_left: Option<u64>,
    pub(crate) stuck: Vec<Stuck>,
    pub(crate) nodes: Vec<Usage>,
}

#[derive(Deserialize)]
struct Move {
    topic: String,
    partition: i32,
    from: Vec<i32>,
    to: Vec<i32>,
    bytes: u64,
    bytes_left: u64,
    why: String,
}

#[derive(Deserialize)]
pub(crate) struct Stuck {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) node_id: i32,
    pub(crate) reason: String,
}

#[derive(Deserialize)]
pub(crate) struct Usage {
    pub(crate) node_id: i32,
    pub(crate) replicas: u32,
    pub(crate) disk_used_bytes: Option<u64>,
    pub(crate) disk_total_bytes: Option<u64>,
    pub(crate) bytes_left: u64,
    pub(crate) seconds_left: Option<u64>,
}

#[derive(Default, Serialize)]
struct Change {
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_per_second_max: Option<u64>,
}

const PATH: [&str; 3] = ["admin", "v1", "rebalance"];

pub(crate) async fn run(rest: &Rest, command: &RebalanceCommand) -> anyhow::Result<ExitCode> {
    let paused = |paused| Change { paused: Some(paused), ..Change::default() };
    let now: Rebalance = match command {
        RebalanceCommand::Status => rest.get(&PATH, &[], JSON).await?,
        RebalanceCommand::Plan => rest.get(&PATH, &[("planned", "true".to_owned())], JSON).await?,
        RebalanceCommand::Pause => rest.patch_json(&PATH, &paused(true)).await?,
        RebalanceCommand::Resume => rest.patch_json(&PATH, &paused(false)).await?,
        RebalanceCommand::Cancel => {
            // Paused first, or they would be begun again.
            let now = rest.patch_json(&PATH, &paused(true)).await?;
            rest.delete(&["admin", "v1", "rebalance", "moves"]).await?;
            let Rebalance { under_way, .. } = now;
            println!(
                "{} moves were taken back, and nothing new is begun: anabranch rebalance resume",
                under_way.len()
            );
            return Ok(ExitCode::SUCCESS);
        }
        RebalanceCommand::Limit { bytes_per_second } => {
            let change = Change { bytes_per_second_max: Some(*bytes_per_second), ..Change::default() };
            rest.patch_json(&PATH, &change).await?
        }
    };
    match command {
        RebalanceCommand::Plan => show_moves(&now.planned, "nothing is to be moved"),
        _ => show(&now),
    }
    Ok(ExitCode::SUCCESS)
}

fn show(now: &Rebalance) {
    let state = match (now.paused, now.under_way.len(), now.moves_planned) {
        (true, ..) => "paused: nothing new is begun",
        (false, 0, 0) => "everything is where it should be",
        (false, ..) => "moving",
    };
    println!("{state}");
    println!(
        "under way {}, to come {}, {} left",
        now.under_way.len(),
        now.moves_planned,
        bytes(now.bytes_left)
    );
    let (rate, most) = (bytes(now.bytes_per_second), bytes(now.bytes_per_second_max));
    let left = now.seconds_left.map_or_else(|| "not known".to_owned(), duration);
    println!("{rate}/s now, at most {most}/s into each node; time left: {left}");
    for Stuck { topic, partition, node_id, reason } in &now.stuck {
        println!("{topic}-{partition} cannot leave node {node_id}: {reason}");
    }
    show_moves(&now.under_way, "");
}

fn show_moves(moves: &[Move], none: &str) {
    if moves.is_empty() {
        if !none.is_empty() {
            println!("{none}");
        }
        return;
    }
    let ids = |nodes: &[i32]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let row = |m: &Move| {
        let why = if m.why.is_empty() { "-".to_owned() } else { m.why.clone() };
        vec![
            format!("{}-{}", m.topic, m.partition),
            ids(&m.from),
            ids(&m.to),
            bytes(m.bytes),
            bytes(m.bytes_left),
            why,
        ]
    };
    let rows: Vec<Vec<String>> = moves.iter().map(row).collect();
    print!("{}", table(&["PARTITION", "FROM", "TO", "BYTES", "LEFT", "WHY"], &rows));
}

/// As people read it, in powers of 1,024.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

pub(crate) fn duration(seconds: u64) -> String {
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_in_two_units() {
        assert_eq!(duration(5), "5 s");
        assert_eq!(duration(65), "1 min 5 s");
        assert_eq!(duration(7_260), "2 h 1 min");
    }
}
