use std::{collections::BTreeMap, sync::Arc};

use domain::TopicName;
use regex::{Regex, RegexBuilder};

use crate::Topics;

/// What a compiled expression may take; a client must not be able to fill the memory.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// More expressions than this are not remembered.
const REMEMBERED_MAX: usize = 1000;

/// The topics that regular expressions match, worked out once for each state of the metadata.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    version: Option<u64>,
    resolved: BTreeMap<String, Arc<Vec<TopicName>>>,
}

/// The expression must match the whole name, as in Kafka.
pub(crate) fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    let build = |pattern: &str| RegexBuilder::new(pattern).size_limit(COMPILED_BYTES_MAX).build();
    // Alone first: `a)|(b` would become legal in brackets.
    build(pattern)?;
    build(&format!("^(?:{pattern})$"))
}

/// Which of these names a subscription by this expression takes; none, if it is not one.
pub fn matching<'a>(pattern: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let Ok(regex) = compile(pattern) else { return Vec::new() };
    names.into_iter().filter(|name| regex.is_match(name)).collect()
}

impl Patterns {
    /// A pattern that was accepted once and cannot be compiled any more matches nothing.
    pub(crate) fn resolve(&mut self, pattern: &str, topics: &dyn Topics) -> Arc<Vec<TopicName>> {
        if self.version != Some(topics.version()) || self.resolved.len() >= REMEMBERED_MAX {
            self.resolved.clear();
            self.version = Some(topics.version());
        }
        if let Some(resolved) = self.resolved.get(pattern) {
            return resolved.clone();
        }
        let matches =
            |regex: Regex| topics.names().into_iter().filter(|name| regex.is_match(name.as_str())).collect();
        let resolved: Arc<Vec<TopicName>> = Arc::new(compile(pattern).map(matches).unwrap_or_default());
        self.resolved.insert(pattern.to_owned(), resolved.clone());
        resolved
    }
}
