use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
};

use domain::{LeaderEpoch, NodeEpoch, NodeId, Offset};
use parking_lot::Mutex;

use super::Key;
use crate::{
    partition::{Began, LocalPartition},
    watchers::News,
};

/// The fetch sessions of this node's followers (KIP-227): one for each node that fetches.
pub(crate) struct Sessions {
    by_node: Mutex<HashMap<NodeId, Arc<FollowerSession>>>,
    next_id: AtomicI32,
}

/// What one follower fetches here, remembered from request to request.
pub(crate) struct FollowerSession {
    pub(crate) id: i32,
    pub(crate) node: NodeId,
    pub(crate) node_epoch: NodeEpoch,
    pub(crate) news: Arc<News>,
    pub(crate) state: Mutex<SessionState>,
}

#[derive(Default)]
pub(crate) struct SessionState {
    /// The epoch of the last request that was taken.
    pub(crate) epoch: i32,
    pub(crate) slots: Vec<Slot>,
    by_key: HashMap<Key, u32>,
    free: Vec<u32>,
}

/// One partition of a session.
#[derive(Default)]
pub(crate) struct Slot {
    /// `None`: the slot is free.
    pub(crate) key: Option<Key>,
    pub(crate) offset: Offset,
    pub(crate) start: Offset,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) last_epoch: LeaderEpoch,
    pub(crate) bytes_max: i32,
    pub(crate) partition: Option<Arc<LocalPartition>>,
    pub(crate) began: Began,
    /// What the follower was told last: high watermark and log start.
    pub(crate) told: Option<(Offset, Offset)>,
}

impl Sessions {
    pub(crate) fn new() -> Self {
        // An id from an earlier life of this process must not be taken for one of this.
        let first = i32::try_from(uuid::Uuid::new_v4().as_u128() & 0x3fff_ffff).unwrap_or(0) + 1;
        Self { by_node: Mutex::default(), next_id: AtomicI32::new(first) }
    }

    /// A new session for the node, in place of the one that it had.
    pub(crate) fn open(&self, node: NodeId, node_epoch: NodeEpoch) -> Arc<FollowerSession> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        let session = Arc::new(FollowerSession {
            id: id.max(1),
            node,
            node_epoch,
            news: Arc::default(),
            state: Mutex::default(),
        });
        let former = self.by_node.lock().insert(node, session.clone());
        if let Some(former) = former {
            former.end();
        }
        session
    }

    pub(crate) fn get(&self, node: NodeId, id: i32) -> Option<Arc<FollowerSession>> {
        self.by_node.lock().get(&node).filter(|s| s.id == id).cloned()
    }

    pub(crate) fn close(&self, node: NodeId, id: i32) {
        let mut by_node = self.by_node.lock();
        if by_node.get(&node).is_some_and(|s| s.id == id)
            && let Some(session) = by_node.remove(&node)
        {
            session.end();
        }
    }
}

impl FollowerSession {
    /// Leaves every partition; a fetch that waits returns.
    fn end(&self) {
        let mut state = self.state.lock();
        for slot in std::mem::take(&mut state.slots) {
            if let Some(partition) = slot.partition {
                partition.followers.unsubscribe(&self.news);
                partition.follower_left(self.node);
            }
        }
        state.epoch = -1;
        self.news.arrived.notify_one();
    }
}

impl SessionState {
    /// The slot of a partition, made if it is new, and its number.
    pub(crate) fn slot(&mut self, key: Key) -> (u32, &mut Slot) {
        let number = match self.by_key.get(&key) {
            Some(number) => *number,
            None => {
                let number = self.free.pop().unwrap_or_else(|| {
                    self.slots.push(Slot::default());
                    u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
                });
                self.by_key.insert(key, number);
                number
            }
        };
        let slot = &mut self.slots[number as usize];
        slot.key = Some(key);
        (number, slot)
    }

    pub(crate) fn forget(&mut self, key: Key, node: NodeId, news: &Arc<News>) {
        let Some(number) = self.by_key.remove(&key) else { return };
        if let Some(partition) = std::mem::take(&mut self.slots[number as usize]).partition {
            partition.followers.unsubscribe(news);
            partition.follower_left(node);
        }
        self.free.push(number);
    }
}
