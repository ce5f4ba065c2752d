use std::time::Duration;

use domain::{TopicId, TopicName};
use group::OFFSETS_TOPIC;
use metadata::{RefusalKind, TopicSpec};
use rpc::ControllerError;

use super::Groups;

/// How long the first group of a cluster waits for the topic.
const WITHIN: Duration = Duration::from_secs(5);

/// What the topic is made with: Kafka's own settings for it, and room for the largest group in one batch.
const CONFIGS: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("segment.bytes", "104857600"), ("max.message.bytes", "67108864")];

impl Groups {
    /// Makes `__consumer_offsets` where it does not exist, and waits until it is known here.
    ///
    /// # Errors
    /// It could not be made in time; the sentence says why.
    pub(crate) async fn ensure_topic(&self) -> Result<(), String> {
        let image = &self.context.image;
        if image.load().topics.contains_key(OFFSETS_TOPIC) {
            return Ok(());
        }
        let name = TopicName::new(OFFSETS_TOPIC).map_err(|e| e.to_string())?;
        let spec = TopicSpec {
            id: TopicId(uuid::Uuid::new_v4()),
            name,
            partitions: Some(self.partitions),
            replication_factor: None,
            assignments: Vec::new(),
            configs: CONFIGS.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        };
        match self.controllers.create_topic(&spec, false, WITHIN).await {
            Ok(_) => tracing::info!(partitions = self.partitions, "made the topic that groups are kept in"),
            // Another node was quicker.
            Err(ControllerError::Refused(refusal)) if refusal.kind == RefusalKind::TopicExists => {}
            Err(error) => return Err(format!("{OFFSETS_TOPIC} could not be made: {error}")),
        }
        let led = image.wait_for(|image| image.topics.contains_key(OFFSETS_TOPIC));
        match tokio::time::timeout(WITHIN, led).await {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("{OFFSETS_TOPIC} was made and is not known here yet")),
        }
    }
}
