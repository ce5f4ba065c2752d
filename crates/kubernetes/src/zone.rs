use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use parking_lot::Mutex;

use crate::{ApiError, error::within};

const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// A machine's name may come back in another zone.
const FRESH: Duration = Duration::from_secs(600);
const ZONES_MAX: usize = 1_024;

/// The zones of the machines that were asked for.
pub(crate) struct Zones {
    nodes: Api<Node>,
    known: Mutex<BTreeMap<String, Zone>>,
}

#[derive(Clone)]
struct Zone {
    name: String,
    read_at: Instant,
}

impl Zones {
    pub(crate) fn new(nodes: Api<Node>) -> Self {
        Self { nodes, known: Mutex::default() }
    }

    /// Only a zone that was found is kept: a label may yet be set.
    pub(crate) async fn zone_of(&self, node: &str) -> Result<Option<String>, ApiError> {
        if !is_name(node) {
            return Err(ApiError::BadName(node.to_owned()));
        }
        let known = self.known.lock().get(node).cloned();
        if let Some(zone) = known.as_ref().filter(|zone| zone.read_at.elapsed() < FRESH) {
            return Ok(Some(zone.name.clone()));
        }
        let read = match (within(ANSWER_MAX, self.nodes.get_metadata(node)).await, known) {
            (Ok(read), _) => read,
            (Err(error), Some(zone)) => {
                tracing::debug!(node, %error, "the zone that was read before is used");
                return Ok(Some(zone.name));
            }
            (Err(error), None) => return Err(error),
        };
        let name = read.metadata.labels.and_then(|mut labels| labels.remove(ZONE_LABEL));
        let name = name.filter(|zone| !zone.is_empty());
        let mut known = self.known.lock();
        if known.len() >= ZONES_MAX {
            known.clear();
        }
        match &name {
            Some(name) => known.insert(node.to_owned(), Zone { name: name.clone(), read_at: Instant::now() }),
            None => known.remove(node),
        };
        Ok(name)
    }
}

/// A DNS subdomain (RFC 1123): nothing that would lead to another place on the API server.
fn is_name(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'.';
    (1..=253).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_nowhere_else() {
        assert!(is_name("ip-10-0-0-7.eu-central-1.compute.internal"));
        for name in ["", "..", "../pods", "a/b", "a?watch=true", "a%2f", "A", &"a".repeat(254)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
