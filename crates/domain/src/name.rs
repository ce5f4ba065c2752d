use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// Where groups and their positions are kept: Kafka's internal topic.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// A legal topic name: 1 to 249 of `[a-zA-Z0-9._-]`, neither `.` nor `..` (Kafka's rule). Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicName(Arc<str>);

/// Why a text is no topic name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicNameError {
    #[error("topic name is empty")]
    Empty,
    #[error("topic name '{0}' is reserved")]
    Reserved(String),
    #[error("topic name has {0} characters, the most is {max}", max = TopicName::LENGTH_MAX)]
    TooLong(usize),
    #[error("topic name '{0}' has a character outside [a-zA-Z0-9._-]")]
    IllegalCharacter(String),
}

impl TopicName {
    /// Kafka's limit: with the partition's suffix the name must still fit a file name.
    pub const LENGTH_MAX: usize = 249;

    pub fn new(name: &str) -> Result<Self, TopicNameError> {
        match name {
            "" => Err(TopicNameError::Empty),
            "." | ".." => Err(TopicNameError::Reserved(name.to_owned())),
            _ if name.len() > Self::LENGTH_MAX => Err(TopicNameError::TooLong(name.chars().count())),
            _ if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) => {
                Err(TopicNameError::IllegalCharacter(name.to_owned()))
            }
            _ => Ok(Self(name.into())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TopicName {
    type Err = TopicNameError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::new(s)
    }
}

impl TryFrom<String> for TopicName {
    type Error = TopicNameError;
    fn try_from(s: String) -> Result<Self, Self::Error> {
        Self::new(&s)
    }
}

impl From<TopicName> for String {
    fn from(name: TopicName) -> String {
        name.0.as_ref().to_owned()
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_kafka_takes() {
        assert!(TopicName::new("orders.v1_eu-west").is_ok());
        assert!(TopicName::new(&"x".repeat(249)).is_ok());
        assert_eq!(TopicName::new(""), Err(TopicNameError::Empty));
        assert_eq!(TopicName::new(".."), Err(TopicNameError::Reserved("..".into())));
        assert_eq!(TopicName::new(&"x".repeat(250)), Err(TopicNameError::TooLong(250)));
        assert_eq!(TopicName::new("a/b"), Err(TopicNameError::IllegalCharacter("a/b".into())));
        assert_eq!(TopicName::new("naïve"), Err(TopicNameError::IllegalCharacter("naïve".into())));
    }
}
