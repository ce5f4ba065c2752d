use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, Pod},
        events::v1::Event,
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use crate::{About, KubernetesConfig, Notice, Seen, SetSeen, error::within, limit::Limit};

/// Takes notices for as long as it lives; never waits.
pub(crate) struct Notices {
    limit: Arc<Mutex<Limit>>,
    queue: mpsc::Sender<Notice>,
}

/// Posts the notices as Events, one after the other.
///
/// kube's own `Recorder` is not used: what it takes for a repetition keeps the note of the first, and the whys differ.
pub(crate) struct Poster {
    config: KubernetesConfig,
    events: Api<Event>,
    pods: Api<Pod>,
    seen: watch::Receiver<Seen>,
    limit: Arc<Mutex<Limit>>,
    queue: mpsc::Receiver<Notice>,
    /// The last one did not arrive, which was logged.
    failing: bool,
}

const CONTROLLER: &str = "anabranch-controller";
const ANSWER_MAX: Duration = Duration::from_secs(5);
const QUEUE_MAX: usize = 64;
/// The API server refuses longer ones.
const NOTE_BYTES_MAX: usize = 1_024;

impl Notices {
    pub(crate) fn tell(&self, notice: Notice) {
        if !self.limit.lock().admit(&notice, Instant::now()) {
            return;
        }
        if let Err(mpsc::error::TrySendError::Full(notice)) = self.queue.try_send(notice) {
            self.limit.lock().failed(&notice);
            tracing::debug!(?notice, "too many Events wait already");
        }
    }
}

impl Poster {
    pub(crate) fn new(
        config: KubernetesConfig,
        client: &Client,
        seen: watch::Receiver<Seen>,
    ) -> (Notices, Self) {
        let limit = Arc::new(Mutex::new(Limit::default()));
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let events = Api::namespaced(client.clone(), &config.namespace);
        let pods = Api::namespaced(client.clone(), &config.namespace);
        let notices = Notices { limit: limit.clone(), queue: sender };
        (notices, Self { config, events, pods, seen, limit, queue, failing: false })
    }

    pub(crate) async fn run(mut self) {
        while let Some(notice) = self.queue.recv().await {
            let event = event(&self.config, &notice, self.uid(notice.about).await, Timestamp::now());
            match within(ANSWER_MAX, self.events.create(&PostParams::default(), &event)).await {
                Ok(_) => self.failing = false,
                Err(error) => {
                    self.limit.lock().failed(&notice);
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(%error, ?notice, "an Event could not be posted");
                    }
                }
            }
        }
    }

    /// `kubectl describe` shows only the Events that have the object's uid. Without it, or the right to read the pod, the
    /// Event is still among those of `kubectl get events`.
    async fn uid(&self, about: About) -> Option<String> {
        match about {
            About::StatefulSet => match &self.seen.borrow().set {
                SetSeen::Present(set) => Some(set.uid.clone()),
                SetSeen::Never | SetSeen::Absent => None,
            },
            About::Pod { .. } => {
                let name = name_of(&self.config, about);
                within(ANSWER_MAX, self.pods.get_metadata(&name)).await.ok()?.metadata.uid
            }
        }
    }
}

fn name_of(config: &KubernetesConfig, about: About) -> String {
    match about {
        About::StatefulSet => config.stateful_set.clone(),
        About::Pod { ordinal } => format!("{}-{ordinal}", config.stateful_set),
    }
}

/// The notice as `events.k8s.io/v1` has it.
fn event(config: &KubernetesConfig, notice: &Notice, uid: Option<String>, now: Timestamp) -> Event {
    let (api_version, kind) = match notice.about {
        About::StatefulSet => ("apps/v1", "StatefulSet"),
        About::Pod { .. } => ("v1", "Pod"),
    };
    let name = name_of(config, notice.about);
    let note = &notice.note[..notice.note.floor_char_boundary(NOTE_BYTES_MAX)];
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:x}", now.as_nanosecond())),
            namespace: Some(config.namespace.clone()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        regarding: Some(ObjectReference {
            api_version: Some(api_version.to_owned()),
            kind: Some(kind.to_owned()),
            namespace: Some(config.namespace.clone()),
            name: Some(name),
            uid,
            ..ObjectReference::default()
        }),
        reason: Some(notice.reason.name().to_owned()),
        action: Some(notice.reason.action().to_owned()),
        type_: Some(if notice.reason.is_warning() { "Warning" } else { "Normal" }.to_owned()),
        note: Some(note.to_owned()),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(config.pod.clone()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reason;

    #[test]
    fn a_note_ends_at_a_character_within_what_the_api_server_takes() {
        let config = KubernetesConfig {
            namespace: "prod".to_owned(),
            stateful_set: "storage-node".to_owned(),
            pod: "controller-0".to_owned(),
        };
        let notice =
            Notice { about: About::StatefulSet, reason: Reason::DrainRefused, note: "ü".repeat(600) + "x" };
        let event = event(
            &config,
            &Notice { note: format!("x{}", notice.note), ..notice },
            None,
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(event.note.unwrap().len(), 1_023);
    }
}
