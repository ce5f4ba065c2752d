use futures_util::{StreamExt, stream};
use serde::Deserialize;

use crate::{
    rest::{JSON, Rest, RestError, V2},
    table::table,
};

const REQUESTS_MAX: usize = 16;

#[derive(Deserialize)]
struct PartitionList {
    partitions: Vec<Partition>,
}

#[derive(Deserialize)]
struct Partition {
    partition: i32,
    leader: Option<i32>,
    replicas: Vec<i32>,
    in_sync: Vec<i32>,
    eligible: Vec<i32>,
    last_known: Vec<i32>,
    adding: Vec<i32>,
    removing: Vec<i32>,
    min_in_sync: u32,
    recovering: bool,
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
    let topic: PartitionList = rest.get(&["admin", "v1", "topics", name, "partitions"], &[], JSON).await?;
    let cluster = rest.cluster().await?;
    let path = ["v3", "clusters", &cluster, "topics", name, "configs"];
    let configs: ConfigList = rest.get(&path, &[], JSON).await?;
    let rows: Vec<Vec<String>> = stream::iter(&topic.partitions)
        .map(async |partition| partition.row(offsets(rest, name, partition).await))
        .buffered(REQUESTS_MAX)
        .collect()
        .await;
    let headings = ["PARTITION", "LEADER", "REPLICAS", "IN SYNC", "MIN", "BEGINNING", "END"];
    print!("{}", table(&headings, &rows));
    topic.partitions.iter().filter_map(Partition::note).for_each(|note| println!("{note}"));
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
        let (beginning, end) = match offsets {
            Some(o) => (o.beginning_offset.to_string(), o.end_offset.to_string()),
            None => ("?".to_owned(), "?".to_owned()),
        };
        let leader = self.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string());
        vec![
            self.partition.to_string(),
            leader,
            ids(&self.replicas),
            ids(&self.in_sync),
            self.min_in_sync.to_string(),
            beginning,
            end,
        ]
    }

    /// What is out of the ordinary about the partition.
    fn note(&self) -> Option<String> {
        let listed =
            |what: &str, nodes: &[i32]| (!nodes.is_empty()).then(|| format!("{what} {}", ids(nodes)));
        let scarce = self.in_sync.len() < self.min_in_sync as usize;
        let notes = [
            scarce.then(|| "too few in sync for acks=all".to_owned()),
            listed("may still lead:", &self.eligible),
            listed("waits for:", &self.last_known),
            listed("adding:", &self.adding),
            listed("removing:", &self.removing),
            self.recovering.then(|| "recovering: records may be missing".to_owned()),
        ];
        let notes: Vec<String> = notes.into_iter().flatten().collect();
        (!notes.is_empty()).then(|| format!("partition {}: {}", self.partition, notes.join("; ")))
    }
}

fn ids(nodes: &[i32]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_without_a_leader_still_has_its_line_and_says_whom_it_waits_for() {
        let partition = Partition {
            partition: 3,
            leader: None,
            replicas: vec![2, 0],
            in_sync: vec![],
            eligible: vec![],
            last_known: vec![2, 0],
            adding: vec![],
            removing: vec![],
            min_in_sync: 2,
            recovering: false,
        };
        assert_eq!(partition.row(None), ["3", "none", "2,0", "", "2", "?", "?"]);
        let note = "partition 3: too few in sync for acks=all; waits for: 2,0";
        assert_eq!(partition.note().as_deref(), Some(note));
        let sound = Partition { leader: Some(2), in_sync: vec![2, 0], last_known: vec![], ..partition };
        assert_eq!(sound.note(), None);
    }
}
