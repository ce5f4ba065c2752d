use serde::Serialize;
use utoipa::ToSchema;

/// A setting of something that `of` names.
#[derive(Serialize, ToSchema)]
#[schema(as = Config)]
pub(crate) struct ConfigView<O> {
    cluster_id: String,
    #[serde(flatten)]
    of: O,
    name: String,
    value: Option<String>,
    is_default: bool,
    is_read_only: bool,
    is_sensitive: bool,
    source: Source,
    synonyms: Vec<Synonym>,
}

/// A value that would be in force if what comes before it in the list were not set.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = ConfigSynonym)]
pub(crate) struct Synonym {
    pub(super) name: String,
    pub(super) value: Option<String>,
    pub(super) source: Source,
}

/// Who set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ConfigSource)]
pub(crate) enum Source {
    #[serde(rename = "DYNAMIC_TOPIC_CONFIG")]
    Topic,
    #[serde(rename = "DYNAMIC_DEFAULT_BROKER_CONFIG")]
    AllTopics,
    #[serde(rename = "STATIC_BROKER_CONFIG")]
    Start,
    #[serde(rename = "DEFAULT_CONFIG")]
    Nobody,
}

impl<O> ConfigView<O> {
    /// What comes first of the synonyms is in force.
    pub(super) fn new(cluster_id: String, of: O, name: &str, synonyms: Vec<Synonym>) -> Self {
        let in_force = synonyms.first();
        let source = in_force.map_or(Source::Nobody, |synonym| synonym.source);
        Self {
            cluster_id,
            of,
            name: name.to_owned(),
            value: in_force.and_then(|synonym| synonym.value.clone()),
            is_default: source == Source::Nobody,
            // What was given at a start stays until the next.
            is_read_only: source == Source::Start,
            is_sensitive: false,
            source,
            synonyms,
        }
    }
}

impl Synonym {
    pub(super) fn new(name: &str, value: &str, source: Source) -> Self {
        Self { name: name.to_owned(), value: Some(value.to_owned()), source }
    }
}
