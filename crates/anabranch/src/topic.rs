mod describe;

use std::process::ExitCode;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    cli::TopicCommand,
    rest::{JSON, Rest, RestError},
    table::table,
};

#[derive(Deserialize)]
struct TopicList {
    data: Vec<Topic>,
}

#[derive(Deserialize)]
struct Topic {
    topic_name: String,
    partitions_count: u32,
    replication_factor: u32,
}

pub(crate) async fn run(rest: &Rest, command: &TopicCommand) -> anyhow::Result<ExitCode> {
    match command {
        TopicCommand::Create { name, partitions, replication_factor, configs } => {
            let body = creation(name, *partitions, *replication_factor, configs);
            create(rest, name, &body).await?;
        }
        TopicCommand::List => list(rest).await?,
        TopicCommand::Describe { name } => describe::describe(rest, name).await?,
        TopicCommand::Elect { name, partitions, unclean } => {
            return elect(rest, name, &json!({ "partitions": partitions, "unclean": unclean })).await;
        }
        TopicCommand::Delete { name } => {
            let cluster = rest.cluster().await?;
            rest.delete(&["v3", "clusters", &cluster, "topics", name]).await?;
            println!("deleted topic {name}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What is not said is left to the cluster.
fn creation(
    name: &str,
    partitions: Option<u32>,
    replication_factor: Option<u16>,
    configs: &[(String, String)],
) -> Value {
    let mut body = Map::new();
    body.insert("topic_name".to_owned(), name.into());
    if let Some(partitions) = partitions {
        body.insert("partitions_count".to_owned(), partitions.into());
    }
    if let Some(factor) = replication_factor {
        body.insert("replication_factor".to_owned(), factor.into());
    }
    if !configs.is_empty() {
        let configs = configs.iter().map(|(name, value)| json!({ "name": name, "value": value }));
        body.insert("configs".to_owned(), configs.collect());
    }
    Value::Object(body)
}

async fn create(rest: &Rest, name: &str, body: &Value) -> Result<(), RestError> {
    let cluster = rest.cluster().await?;
    let made: Topic = rest.post_json(&["v3", "clusters", &cluster, "topics"], body).await?;
    println!(
        "created topic {name}: partitions {}, replication factor {}",
        made.partitions_count, made.replication_factor
    );
    Ok(())
}

#[derive(Deserialize)]
struct ElectionList {
    elections: Vec<Election>,
}

#[derive(Deserialize)]
struct Election {
    partition: i32,
    elected: bool,
    message: Option<String>,
}

/// Says what came of each partition; a failure if none got another leader.
async fn elect(rest: &Rest, name: &str, body: &Value) -> anyhow::Result<ExitCode> {
    let list: ElectionList = rest.post_json(&["admin", "v1", "topics", name, "elections"], body).await?;
    for Election { partition, elected, message } in &list.elections {
        let what = if *elected { "elected" } else { message.as_deref().unwrap_or("not elected") };
        println!("partition {partition}: {what}");
    }
    Ok(if list.elections.iter().any(|e| e.elected) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn list(rest: &Rest) -> Result<(), RestError> {
    let cluster = rest.cluster().await?;
    let list: TopicList = rest.get(&["v3", "clusters", &cluster, "topics"], &[], JSON).await?;
    let row = |topic: Topic| {
        vec![topic.topic_name, topic.partitions_count.to_string(), topic.replication_factor.to_string()]
    };
    let rows: Vec<Vec<String>> = list.data.into_iter().map(row).collect();
    print!("{}", table(&["TOPIC", "PARTITIONS", "REPLICATION"], &rows));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_creation_says_only_what_was_said() {
        assert_eq!(creation("t", None, None, &[]), json!({"topic_name": "t"}));
        let configs = [("retention.ms".to_owned(), "5".to_owned())];
        assert_eq!(
            creation("t", Some(4), Some(1), &configs),
            json!({
                "topic_name": "t", "partitions_count": 4, "replication_factor": 1,
                "configs": [{"name": "retention.ms", "value": "5"}],
            })
        );
    }
}
