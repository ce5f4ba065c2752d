use domain::NodeId;

/// A node, by its place in the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SiteId(pub(super) usize);

/// A rack, by its place in the layout. A node that named none is one by itself, as in placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RackId(pub(super) usize);

/// A node as a place for replicas.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) node: NodeId,
    pub(super) rack: RackId,
    /// It takes replicas.
    pub(super) placeable: bool,
    /// It is to be emptied.
    pub(super) draining: bool,
    /// What it can still take in; `None` when it never told.
    pub(super) room_bytes: Option<u64>,
    /// How many replicas it has.
    pub(super) replicas: usize,
    /// Their bytes.
    pub(super) bytes: u64,
}

impl Site {
    /// What is on it stays, though nothing is added: it is away, or stops, for a while.
    pub(super) fn is_kept(&self) -> bool {
        !self.placeable && !self.draining
    }
}
