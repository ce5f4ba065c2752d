use domain::{TopicId, TopicName};

/// What topics there are, as the coordinator's node knows it.
pub trait Topics {
    /// The id and the number of partitions of the topic of this name.
    fn by_name(&self, name: &str) -> Option<(TopicId, i32)>;
    /// The name and the number of partitions of the topic with this id.
    fn by_id(&self, id: TopicId) -> Option<(TopicName, i32)>;
    /// Of all topics that a regular expression may match: internal ones are left out.
    fn names(&self) -> Vec<TopicName>;
    /// Changes whenever any other answer would.
    fn version(&self) -> u64;
}
