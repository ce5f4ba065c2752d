use futures_util::{StreamExt, stream};
use serde::Deserialize;

use crate::{
    rest::{JSON, Rest, RestError, V2},
    table::table,
};

const REQUESTS_MAX: usize = 16;

#[derive(Deserialize)]
struct Topic {
    partitions: Vec<Partition>,
}

#[derive(Deserialize)]
struct Partition {
    partition: i32,
    leader: i32,
    replicas: Vec<Replica>,
}

#[derive(Deserialize)]
struct Replica {
    broker: i32,
    in_sync: bool,
}

#[derive(Deserialize)]
struct Offsets {
    beginning_offset: i64,
    end_offset: i64,
}

#[derive(Deserialize)]
struct ConfigList {
    data: Vec<Config>,
}

#[derive(Deserialize)]
struct Config {
    name: String,
    value: Option<String>,
    is_default: bool,
}

/// Prints a topic's partitions, and the settings that are not defaults.
pub(super) async fn describe(rest: &Rest, name: &str) -> Result<(), RestError> {
    let topic: Topic = rest.get(&["topics", name], &[], V2).await?;
    let cluster = rest.cluster().await?;
    let path = ["v3", "clusters", &cluster, "topics", name, "configs"];
    let configs: ConfigList = rest.get(&path, &[], JSON).await?;
    let rows: Vec<Vec<String>> = stream::iter(&topic.partitions)
        .map(async |partition| partition.row(offsets(rest, name, partition).await))
        .buffered(REQUESTS_MAX)
        .collect()
        .await;
    let headings = ["PARTITION", "LEADER", "REPLICAS", "IN SYNC", "BEGINNING", "END"];
    print!("{}", table(&headings, &rows));
    for config in configs.data.into_iter().filter(|c| !c.is_default) {
        println!("{}={}", config.name, config.value.unwrap_or_default());
    }
    Ok(())
}

async fn offsets(rest: &Rest, topic: &str, partition: &Partition) -> Option<Offsets> {
    let number = partition.partition.to_string();
    let path = ["topics", topic, "partitions", &number, "offsets"];
    // A partition without a leader has no offsets to tell; the rest is still worth a line.
    rest.get(&path, &[], V2).await.ok()
}

impl Partition {
    fn row(&self, offsets: Option<Offsets>) -> Vec<String> {
        let brokers = |wanted: fn(&Replica) -> bool| {
            let ids: Vec<String> =
                self.replicas.iter().filter(|r| wanted(r)).map(|r| r.broker.to_string()).collect();
            ids.join(",")
        };
        let (beginning, end) = match offsets {
            Some(o) => (o.beginning_offset.to_string(), o.end_offset.to_string()),
            None => ("?".to_owned(), "?".to_owned()),
        };
        let leader = match self.leader {
            -1 => "none".to_owned(),
            leader => leader.to_string(),
        };
        vec![self.partition.to_string(), leader, brokers(|_| true), brokers(|r| r.in_sync), beginning, end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_without_a_leader_still_has_its_line() {
        let partition = Partition {
            partition: 3,
            leader: -1,
            replicas: vec![Replica { broker: 2, in_sync: true }, Replica { broker: 0, in_sync: false }],
        };
        assert_eq!(partition.row(None), ["3", "none", "2,0", "2", "?", "?"]);
    }
}
