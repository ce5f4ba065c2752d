use std::collections::{BTreeMap, BTreeSet};

use domain::{DirectoryId, NodeEpoch, NodeId, ProducerId};
use metadata::{Applied, Command, Endpoint, Image, NodeRegistration, Standing};
use quorum::{ProposeError, Proposed, RaftId};

/// What was proposed and answered, and what each member showed, of one run.
///
/// A proposal registers a node that nobody else registers. The node epoch that it gets is its place among all that
/// were carried out, and one that was carried out twice leaves a gap in the epochs.
#[derive(Default)]
pub(crate) struct History {
    attempts: Vec<Told>,
    /// The highest that was acknowledged so far.
    acknowledged: Option<NodeEpoch>,
    producer_ids: BTreeSet<ProducerId>,
    leaders: BTreeSet<(u64, RaftId)>,
    images: BTreeMap<u64, Image>,
    pub(crate) violations: Vec<String>,
    pub(crate) counts: Counts,
}

/// How much a run tried; a run that tries nothing proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) acknowledged: usize,
    pub(crate) unknown: usize,
    pub(crate) refused: usize,
    /// Refused as "not the leader", and carried out by a later leader nevertheless.
    pub(crate) refused_yet_done: usize,
    pub(crate) confirmed: usize,
    pub(crate) leaders: usize,
    pub(crate) compared: usize,
    pub(crate) snapshots_installed: usize,
    pub(crate) faults: usize,
}

impl Counts {
    pub(crate) fn and(self, other: Counts) -> Counts {
        Counts {
            acknowledged: self.acknowledged + other.acknowledged,
            unknown: self.unknown + other.unknown,
            refused: self.refused + other.refused,
            refused_yet_done: self.refused_yet_done + other.refused_yet_done,
            confirmed: self.confirmed + other.confirmed,
            leaders: self.leaders + other.leaders,
            compared: self.compared + other.compared,
            snapshots_installed: self.snapshots_installed + other.snapshots_installed,
            faults: self.faults + other.faults,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Done(NodeEpoch),
    NotLeader,
    Unknown,
}

/// A proposal on its way.
pub(crate) struct Attempt {
    pub(crate) command: Command,
    number: Option<usize>,
    after: Option<NodeEpoch>,
    after_producer_id: Option<ProducerId>,
}

impl History {
    pub(crate) fn register(&mut self) -> Attempt {
        let number = self.attempts.len();
        self.attempts.push(Told::Nothing);
        let endpoint = Endpoint { host: "storage".to_owned(), port: 9_092 };
        let command = Command::RegisterNode(NodeRegistration {
            node: node(number),
            cluster_id: None,
            directory: DirectoryId(uuid::Uuid::from_u128(number as u128)),
            kafka: endpoint.clone(),
            http: endpoint,
            rack: None,
            previous_epoch: None,
            intact: true,
            damaged: Vec::new(),
            incarnation: None,
        });
        self.attempt(command, Some(number))
    }

    pub(crate) fn producer_id(&self) -> Attempt {
        self.attempt(Command::AllocateProducerIds { count: 1 }, None)
    }

    fn attempt(&self, command: Command, number: Option<usize>) -> Attempt {
        let after_producer_id = self.producer_ids.last().copied();
        Attempt { command, number, after: self.acknowledged, after_producer_id }
    }

    /// An answer came. Whatever was acknowledged before the question stands before it.
    pub(crate) fn answered(&mut self, attempt: &Attempt, answer: Result<Proposed, ProposeError>) {
        let told = match answer {
            Ok(Proposed { result: Ok(Applied::Registered { epoch, standing, .. }), .. }) => {
                if attempt.after.is_some_and(|after| epoch <= after) || standing != Standing::New {
                    self.violations.push(format!(
                        "{:?} was carried out as {epoch} ({standing:?}) after {:?} was acknowledged",
                        attempt.command, attempt.after
                    ));
                }
                self.acknowledged = self.acknowledged.max(Some(epoch));
                Told::Done(epoch)
            }
            Ok(Proposed { result: Ok(Applied::ProducerIds { first, .. }), .. }) => {
                let late = attempt.after_producer_id.is_some_and(|after| first <= after);
                if late || !self.producer_ids.insert(first) {
                    self.violations.push(format!("producer id {first} was handed out twice or late"));
                }
                self.counts.acknowledged += 1;
                return;
            }
            Ok(other) => {
                self.violations.push(format!("{:?} was answered {other:?}", attempt.command));
                return;
            }
            Err(ProposeError::NotLeader(_)) => Told::NotLeader,
            Err(ProposeError::Unknown(_) | ProposeError::Stopped) => Told::Unknown,
        };
        match told {
            Told::Done(_) => self.counts.acknowledged += 1,
            Told::NotLeader => self.counts.refused += 1,
            Told::Unknown | Told::Nothing => self.counts.unknown += 1,
        }
        if let Some(number) = attempt.number {
            self.attempts[number] = told;
        }
    }

    pub(crate) fn acknowledged(&self) -> Option<NodeEpoch> {
        self.acknowledged
    }

    /// A member was confirmed as the leader after `before` was acknowledged, and this is its image.
    pub(crate) fn confirmed(&mut self, member: RaftId, before: Option<NodeEpoch>, image: &Image) {
        self.counts.confirmed += 1;
        if before.is_some_and(|epoch| image.next_node_epoch <= epoch) {
            self.violations.push(format!(
                "{member} is confirmed as the leader without {before:?}, which was acknowledged before"
            ));
        }
    }

    /// A member came to know another leader. openraft orders leaders by term and id; nobody goes back in that order,
    /// and only the next in it may follow in the same term.
    pub(crate) fn leads(&mut self, member: RaftId, before: (u64, RaftId), now: (u64, RaftId)) {
        if now < before {
            self.violations.push(format!("{member} follows {now:?} (term, leader) after {before:?}"));
        }
        self.leaders.insert(now);
        self.counts.leaders = self.leaders.len();
    }

    /// A member shows an image (without what only the controller needs); all show the same at the same version.
    pub(crate) fn shows(&mut self, member: RaftId, image: &Image) {
        match self.images.get(&image.version) {
            Some(known) => {
                self.counts.compared += 1;
                if known != image {
                    self.violations
                        .push(format!("{member} has another image than others at version {}", image.version));
                }
            }
            None => drop(self.images.insert(image.version, image.clone())),
        }
    }

    /// Whether no producer id that was handed out is free in the image. A published image says nothing of the latest
    /// ones until something else changes.
    pub(crate) fn has_producer_ids_of(&self, image: &Image) -> bool {
        self.producer_ids.last().is_none_or(|id| *id < image.next_producer_id)
    }

    /// The image that everybody ended with has all that was acknowledged, in its place, and nothing twice.
    pub(crate) fn ends_with(&mut self, image: &Image) {
        for (number, told) in self.attempts.iter().enumerate() {
            let found = image.nodes.get(&node(number)).map(|n| n.epoch);
            match told {
                Told::Done(epoch) if found != Some(*epoch) => self
                    .violations
                    .push(format!("{} was acknowledged as {epoch}, the image has {found:?}", node(number))),
                Told::NotLeader if found.is_some() => self.counts.refused_yet_done += 1,
                _ => {}
            }
        }
        let strangers = image.nodes.keys().filter(|n| usize::try_from(n.0).unwrap() >= self.attempts.len());
        let strangers: Vec<_> = strangers.collect();
        let mut epochs: Vec<i64> = image.nodes.values().map(|n| n.epoch.0).collect();
        epochs.sort_unstable();
        let gaps: Vec<_> = epochs.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
        if !strangers.is_empty() || !gaps.is_empty() {
            self.violations.push(format!(
                "nobody proposed {strangers:?}; something was carried out twice between the epochs {gaps:?}"
            ));
        }
    }
}

fn node(number: usize) -> NodeId {
    NodeId(i32::try_from(number).unwrap())
}
