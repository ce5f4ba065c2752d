use std::sync::Arc;

use metadata::{Delta, Image, Partition};
use quorum::Quorum;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

/// Counts the leaders that were elected outside ISR and ELR, by `kind`: `recovering` (INVARIANTS R13) or
/// `unclean`.
const ELECTIONS: &str = "anabranch_controller_unsafe_elections_total";
/// The last raft entry that was applied here.
const APPLIED: &str = "anabranch_controller_applied_index";

/// Says loudly, on the controllers' leader, when a partition got a leader that may lack committed records.
pub(crate) async fn watch(quorum: Arc<Quorum>, stop: CancellationToken) {
    for kind in [Kind::Recovering, Kind::Unclean] {
        metrics::counter!(ELECTIONS, "kind" => kind.name()).increment(0);
    }
    let (mut image, mut deltas) = quorum.subscribe();
    loop {
        let delta = tokio::select! {
            () = stop.cancelled() => return,
            delta = deltas.recv() => delta,
        };
        match delta {
            Ok(delta) => {
                metrics::gauge!(APPLIED).set(quorum.applied_index().unwrap_or(0) as f64);
                if quorum.leadership().borrow().is_me {
                    unsafe_elections(&image, &delta).iter().for_each(Election::report);
                }
                let mut next = Image::clone(&image);
                next.adopt(&delta);
                image = Arc::new(next);
            }
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "elections may have gone unreported");
                (image, deltas) = quorum.subscribe();
            }
            Err(RecvError::Closed) => return,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Recovering,
    Unclean,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Recovering => "recovering",
            Kind::Unclean => "unclean",
        }
    }
}

#[derive(Debug)]
struct Election {
    partition: String,
    kind: Kind,
    now: Partition,
}

impl Election {
    fn report(&self) {
        metrics::counter!(ELECTIONS, "kind" => self.kind.name()).increment(1);
        tracing::error!(
            partition = %self.partition,
            leader = self.now.leader.map_or(-1, |n| n.0),
            leader_epoch = %self.now.leader_epoch,
            kind = self.kind.name(),
            "a leader was elected that was neither in sync nor eligible: records may be lost"
        );
    }
}

/// Those leaders in the delta whom neither the ISR nor the ELR before it contained.
fn unsafe_elections(before: &Image, delta: &Delta) -> Vec<Election> {
    if delta.snapshot {
        return Vec::new();
    }
    let mut elections = Vec::new();
    for topic in &delta.topics {
        let known = before.topic_by_id(topic.id);
        for (number, now) in &topic.partitions {
            let Some(was) = known.and_then(|t| t.partition(*number)) else { continue };
            let Some(leader) = now.leader.filter(|_| now.recovering && now.leader_epoch != was.leader_epoch)
            else {
                continue;
            };
            if was.isr.contains(&leader) || was.elr.contains(&leader) {
                continue;
            }
            let kind = match was.last_known.iter().any(|k| k.node == leader) {
                true => Kind::Recovering,
                false => Kind::Unclean,
            };
            elections.push(Election {
                partition: format!("{}-{number}", topic.name),
                kind,
                now: now.clone(),
            });
        }
    }
    elections
}

#[cfg(test)]
mod tests {
    use domain::{LeaderEpoch, NodeId, PartitionIndex, TopicId, TopicName};
    use metadata::{LastKnown, TopicDelta};

    use super::*;

    fn led_by(leader: Option<i32>, epoch: i32, recovering: bool) -> Partition {
        let leader = leader.map(NodeId);
        Partition {
            replicas: vec![NodeId(1), NodeId(2)],
            isr: leader.into_iter().collect(),
            leader,
            leader_epoch: LeaderEpoch(epoch),
            recovering,
            ..Partition::default()
        }
    }

    fn delta(partition: Partition) -> Delta {
        let topic = TopicDelta {
            id: TopicId(uuid::Uuid::from_u128(1)),
            name: TopicName::new("t").unwrap(),
            configs: Default::default(),
            partitions: vec![(PartitionIndex(0), partition)],
        };
        Delta { topics: vec![topic], ..Delta::default() }
    }

    fn seen(was: Partition, now: Partition) -> Vec<Kind> {
        let mut image = Image::default();
        image.adopt(&delta(was));
        unsafe_elections(&image, &delta(now)).iter().map(|e| e.kind).collect()
    }

    #[test]
    fn only_a_leader_from_outside_isr_and_elr_is_reported() {
        let lost = led_by(None, 3, false);
        assert_eq!(seen(lost.clone(), led_by(Some(1), 4, true)), [Kind::Unclean]);
        let last_known = LastKnown {
            waited_for: true,
            to_the_end: true,
            node: NodeId(1),
            directory: domain::DirectoryId(uuid::Uuid::from_u128(5)),
            position: None,
        };
        let waiting = Partition { last_known: vec![last_known], ..lost };
        assert_eq!(seen(waiting, led_by(Some(1), 4, true)), [Kind::Recovering]);
        // It restarted before its first ISR was accepted, with proof of its disk.
        let eligible = Partition { elr: vec![NodeId(1)], recovering: true, ..led_by(None, 5, false) };
        assert_eq!(seen(eligible, led_by(Some(1), 6, true)), []);
        assert_eq!(seen(led_by(Some(1), 6, true), led_by(Some(2), 7, false)), []);
    }
}
