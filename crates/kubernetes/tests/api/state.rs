use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// What the API server has stored, and how it misbehaves.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) version: u64,
    pub(crate) set: Option<Value>,
    /// Each change with its version, as a watch tells it.
    pub(crate) changes: Vec<(u64, Value)>,
    /// Of this version and before, a watch is told 410.
    pub(crate) forgotten: u64,
    /// The 410 comes as an event of a watch that began well, and not as its answer.
    pub(crate) forgets_late: bool,
    /// Labels by node.
    pub(crate) nodes: BTreeMap<String, BTreeMap<String, String>>,
    /// Uids by pod.
    pub(crate) pods: BTreeMap<String, String>,
    pub(crate) events: Vec<Value>,
    /// Method and path with query of each request.
    pub(crate) requests: Vec<String>,
    /// A verb and a resource that answer 403, like `create events`.
    pub(crate) forbidden: BTreeSet<&'static str>,
    /// Reads of the StatefulSet answer this one.
    pub(crate) stale_read: Option<Value>,
    /// Reads of the StatefulSet are not answered.
    pub(crate) silent: bool,
    /// Watches tell nothing.
    pub(crate) frozen: bool,
    /// Connections are closed as soon as they are there.
    pub(crate) down: bool,
}

impl State {
    pub(crate) fn create(&mut self, uid: &str, replicas: u32) {
        let set = json!({
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {
                "name": "storage-node", "namespace": "prod", "uid": uid, "generation": 1,
            },
            "spec": {
                "replicas": replicas,
                "selector": { "matchLabels": { "app": "storage-node" } },
                "serviceName": "storage-node",
                "template": { "metadata": { "labels": { "app": "storage-node" } } },
            },
        });
        self.store("ADDED", set);
    }

    pub(crate) fn scale(&mut self, replicas: u32) {
        self.change(|set| set["spec"]["replicas"] = replicas.into());
    }

    pub(crate) fn begin_deletion(&mut self) {
        self.change(|set| set["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z".into());
    }

    pub(crate) fn delete(&mut self) {
        let set = self.set.clone().expect("there is one");
        self.store("DELETED", set);
        self.set = None;
    }

    /// Forgets the changes up to now.
    pub(crate) fn forget(&mut self) {
        self.forgotten = self.version;
        self.changes.clear();
    }

    /// As of its spec: the generation grows.
    fn change(&mut self, change: impl FnOnce(&mut Value)) {
        let mut set = self.set.clone().expect("there is one");
        change(&mut set);
        set["metadata"]["generation"] = (set["metadata"]["generation"].as_i64().unwrap() + 1).into();
        self.store("MODIFIED", set);
    }

    fn store(&mut self, what: &str, mut set: Value) {
        self.version += 7;
        set["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.changes.push((self.version, json!({ "type": what, "object": set })));
        self.set = Some(set);
    }

    pub(crate) fn lists(&self) -> usize {
        self.asked("fieldSelector") - self.watches()
    }

    pub(crate) fn watches(&self) -> usize {
        self.asked("watch=true")
    }

    pub(crate) fn asked(&self, what: &str) -> usize {
        self.requests.iter().filter(|request| request.contains(what)).count()
    }
}
