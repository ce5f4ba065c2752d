use std::{borrow::Cow, ops::Deref};

use assign::Partitions;

use super::Consumer;
use crate::{CurrentAssignment, Entry, GroupEpoch, MemberSubscription, TargetEpoch};

/// A consumer group as it will be once the records are in the log. The kept one is untouched; it is copied only when
/// there is something to write.
pub(crate) struct Draft<'a> {
    pub(crate) group: &'a str,
    state: Cow<'a, Consumer>,
    records: Vec<Entry>,
}

impl Deref for Draft<'_> {
    type Target = Consumer;
    fn deref(&self) -> &Consumer {
        &self.state
    }
}

impl<'a> Draft<'a> {
    pub(crate) fn of(group: &'a str, kept: &'a Consumer) -> Self {
        Self { group, state: Cow::Borrowed(kept), records: Vec::new() }
    }

    /// A group that is only now made; `before` are records that end what the id stood for.
    pub(crate) fn new(group: &'a str, before: Vec<Entry>) -> Self {
        Self { group, state: Cow::Owned(Consumer::default()), records: before }
    }

    pub(crate) fn into_records(self) -> Vec<Entry> {
        self.records
    }

    fn write(&mut self, entry: Entry) {
        self.state.to_mut().replay(entry.clone());
        self.records.push(entry);
    }

    fn group(&self) -> String {
        self.group.to_owned()
    }

    pub(crate) fn write_epoch(&mut self, epoch: i32, metadata_hash: i64) {
        self.write(Entry::ConsumerGroup {
            group: self.group(),
            value: Some(GroupEpoch { epoch, metadata_hash }),
        });
    }

    pub(crate) fn write_member(&mut self, member: &str, value: MemberSubscription) {
        let (group, member) = (self.group(), member.to_owned());
        self.write(Entry::ConsumerMember { group, member, value: Some(value) });
    }

    pub(crate) fn write_current(&mut self, member: &str, value: CurrentAssignment) {
        let (group, member) = (self.group(), member.to_owned());
        self.write(Entry::ConsumerCurrent { group, member, value: Some(value) });
    }

    pub(crate) fn write_target(&mut self, member: &str, value: Partitions) {
        let (group, member) = (self.group(), member.to_owned());
        self.write(Entry::ConsumerTargetMember { group, member, value: Some(value) });
    }

    pub(crate) fn write_target_epoch(&mut self, epoch: i32) {
        self.write(Entry::ConsumerTarget { group: self.group(), value: Some(TargetEpoch { epoch }) });
    }

    /// Forgets a member.
    pub(crate) fn remove_member(&mut self, member: &str) {
        let (group, member) = (self.group(), member.to_owned());
        self.write(Entry::ConsumerCurrent { group: group.clone(), member: member.clone(), value: None });
        self.write(Entry::ConsumerTargetMember { group: group.clone(), member: member.clone(), value: None });
        self.write(Entry::ConsumerMember { group, member, value: None });
    }

    /// Forgets everything, the group itself last.
    pub(crate) fn remove_group(&mut self) {
        let members: Vec<_> = self.members.keys().chain(self.target.keys()).cloned().collect();
        members.iter().for_each(|member| {
            if self.members.contains_key(member) || self.target.contains_key(member) {
                self.remove_member(member);
            }
        });
        for regex in self.regexes.clone() {
            self.write(Entry::ConsumerRegex { group: self.group(), regex, value: None });
        }
        self.write(Entry::ConsumerTarget { group: self.group(), value: None });
        self.write(Entry::ConsumerGroup { group: self.group(), value: None });
    }

    pub(crate) fn append(&mut self, entry: Entry) {
        self.records.push(entry);
    }
}
