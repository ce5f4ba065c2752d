use std::process::ExitCode;

use serde::{Deserialize, Serialize};

mod progress;

use crate::{
    cli::NodeCommand,
    rebalance::{Rebalance, Usage, bytes},
    rest::{JSON, Rest},
    table::table,
};

#[derive(Deserialize)]
struct NodeList {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    node_id: i32,
    state: String,
    draining: bool,
    kafka: String,
    http: String,
    rack: Option<String>,
    leaders: usize,
    replicas: usize,
}

#[derive(Serialize)]
struct Drain {
    ignore_racks: bool,
    validate_only: bool,
}

#[derive(Deserialize)]
struct Cost {
    replicas: u32,
    bytes: u64,
}

pub(crate) async fn run(rest: &Rest, command: &NodeCommand) -> anyhow::Result<ExitCode> {
    match command {
        NodeCommand::List => list(rest).await?,
        NodeCommand::Drain { node, wait, ignore_racks, dry_run } => {
            let path = ["admin", "v1", "nodes", &node.to_string(), "drain"];
            let wanted = Drain { ignore_racks: *ignore_racks, validate_only: *dry_run };
            let cost: Cost = rest.post_json(&path, &wanted).await?;
            let what = format!("{} replicas, {}", cost.replicas, bytes(cost.bytes));
            match dry_run {
                true => println!("node {node} could be drained: {what} would move"),
                false => println!("node {node} is draining: {what} have to move"),
            }
            if *wait && !dry_run {
                progress::wait(rest, *node).await?;
                println!("node {node} has given everything away: it can be stopped");
            }
        }
        NodeCommand::Undrain { node } => {
            rest.delete(&["admin", "v1", "nodes", &node.to_string(), "drain"]).await?;
            println!("node {node} keeps what it has");
        }
        NodeCommand::Remove { node } => {
            rest.delete(&["admin", "v1", "nodes", &node.to_string()]).await?;
            println!("node {node} is forgotten");
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(rest: &Rest) -> anyhow::Result<()> {
    let list: NodeList = rest.get(&["admin", "v1", "nodes"], &[], JSON).await?;
    // How full they are, the controllers' leader knows; who lists nodes while there is none sees the rest.
    let rebalance: Option<Rebalance> = rest.get(&["admin", "v1", "rebalance"], &[], JSON).await.ok();
    let usage =
        |node: i32| rebalance.as_ref().and_then(|r| r.nodes.iter().find(|usage| usage.node_id == node));
    let rows: Vec<Vec<String>> = list.nodes.iter().map(|node| node.row(usage(node.node_id))).collect();
    let headings = ["NODE", "STATE", "KAFKA", "HTTP", "RACK", "LEADS", "REPLICAS", "USED", "OF"];
    print!("{}", table(&headings, &rows));
    Ok(())
}

impl Node {
    fn row(&self, usage: Option<&Usage>) -> Vec<String> {
        let known = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), bytes);
        vec![
            self.node_id.to_string(),
            self.state(),
            self.kafka.clone(),
            self.http.clone(),
            self.rack.clone().unwrap_or_else(|| "-".to_owned()),
            self.leaders.to_string(),
            self.replicas.to_string(),
            known(usage.and_then(|u| u.disk_used_bytes)),
            known(usage.and_then(|u| u.disk_total_bytes)),
        ]
    }

    fn state(&self) -> String {
        match (self.draining, self.replicas) {
            (false, _) => self.state.clone(),
            (true, 0) => format!("{}, drained", self.state),
            (true, _) => format!("{}, draining", self.state),
        }
    }
}
