use std::process::ExitCode;

use serde::Deserialize;

use crate::{
    cli::NodeCommand,
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
    kafka: String,
    http: String,
    rack: Option<String>,
    leaders: usize,
    replicas: usize,
}

pub(crate) async fn run(rest: &Rest, command: &NodeCommand) -> anyhow::Result<ExitCode> {
    let NodeCommand::List = command;
    let list: NodeList = rest.get(&["admin", "v1", "nodes"], &[], JSON).await?;
    let rows: Vec<Vec<String>> = list.nodes.into_iter().map(Node::row).collect();
    let headings = ["NODE", "STATE", "KAFKA", "HTTP", "RACK", "LEADS", "REPLICAS"];
    print!("{}", table(&headings, &rows));
    Ok(ExitCode::SUCCESS)
}

impl Node {
    fn row(self) -> Vec<String> {
        vec![
            self.node_id.to_string(),
            self.state,
            self.kafka,
            self.http,
            self.rack.unwrap_or_else(|| "-".to_owned()),
            self.leaders.to_string(),
            self.replicas.to_string(),
        ]
    }
}
