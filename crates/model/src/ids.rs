//! Small names for what the model counts: nodes, sets of nodes, epochs.

use std::fmt;

/// Replicas of the modelled partition.
pub const REPLICAS: usize = 3;

/// One of the three nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub u8);

/// The epoch of a leadership; zero is "none adopted yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaderEpoch(pub u8);

/// The epoch of a registration, handed out by the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeEpoch(pub u8);

/// The version of a partition's state at the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionEpoch(pub u8);

/// A set of nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeSet(pub u8);

impl NodeId {
    /// All nodes, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..REPLICAS as u8).map(Self)
    }

    /// Where an array keeps this node.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl LeaderEpoch {
    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl NodeSet {
    /// No node.
    pub const EMPTY: Self = Self(0);

    /// Every node.
    pub const ALL: Self = Self(0b111);

    /// Only `node`.
    #[must_use]
    pub fn only(node: NodeId) -> Self {
        Self(1 << node.0)
    }

    /// Whether `node` is a member.
    #[must_use]
    pub fn contains(self, node: NodeId) -> bool {
        self.0 & (1 << node.0) != 0
    }

    /// Members of either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Members of both.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Members of this one only.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// This set and `node`.
    #[must_use]
    pub fn with(self, node: NodeId) -> Self {
        self.union(Self::only(node))
    }

    /// This set without `node`.
    #[must_use]
    pub fn without(self, node: NodeId) -> Self {
        self.minus(Self::only(node))
    }

    /// Whether nobody is a member.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether every member is a member of `other`.
    #[must_use]
    pub fn is_subset(self, other: Self) -> bool {
        self.minus(other).is_empty()
    }

    /// How many members there are.
    #[must_use]
    pub fn len(self) -> u8 {
        self.0.count_ones() as u8
    }

    /// The members, in order.
    pub fn iter(self) -> impl Iterator<Item = NodeId> {
        NodeId::all().filter(move |node| self.contains(*node))
    }
}

impl fmt::Display for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members: Vec<String> = self.iter().map(|node| node.0.to_string()).collect();
        write!(f, "{{{}}}", members.join(","))
    }
}
