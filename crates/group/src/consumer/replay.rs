use std::sync::Arc;

use super::Consumer;
use crate::Entry;

impl Consumer {
    /// Takes over one record. What a record is about may come in any order: compaction keeps the last of each key.
    pub(crate) fn replay(&mut self, entry: Entry) {
        match entry {
            Entry::ConsumerGroup { value: Some(value), .. } => {
                (self.epoch, self.metadata_hash) = (value.epoch, value.metadata_hash);
            }
            Entry::ConsumerGroup { value: None, .. } => (self.epoch, self.metadata_hash) = (0, 0),
            Entry::ConsumerTarget { value, .. } => self.target_epoch = value.map_or(0, |value| value.epoch),
            Entry::ConsumerTargetMember { member, value: Some(value), .. } => {
                let id = self.id(member);
                self.target.insert(id, Arc::new(value));
            }
            Entry::ConsumerTargetMember { member, value: None, .. } => {
                self.target.remove(member.as_str());
            }
            Entry::ConsumerMember { member, value: Some(value), .. } => {
                let id = self.id(member);
                self.members.entry(id).or_default().subscription = Arc::new(value);
            }
            Entry::ConsumerMember { member, value: None, .. } => {
                self.members.remove(member.as_str());
            }
            Entry::ConsumerCurrent { member, value: Some(value), .. } => {
                let id = self.id(member);
                self.members.entry(id).or_default().current = Arc::new(value);
            }
            Entry::ConsumerCurrent { member, value: None, .. } => {
                if let Some(member) = self.members.get_mut(member.as_str()) {
                    member.current = super::Member::default().current;
                }
            }
            Entry::ConsumerRegex { regex, value: Some(_), .. } => {
                self.regexes.insert(regex);
            }
            Entry::ConsumerRegex { regex, value: None, .. } => {
                self.regexes.remove(&regex);
            }
            Entry::OffsetCommit { .. }
            | Entry::ClassicGroup { .. }
            | Entry::ConsumerPartitions { .. }
            | Entry::Session { .. } => {}
        }
    }

    /// One text for all that is kept of a member.
    fn id(&self, member: String) -> Arc<str> {
        self.members.get_key_value(member.as_str()).map_or_else(|| member.into(), |(id, _)| id.clone())
    }
}
