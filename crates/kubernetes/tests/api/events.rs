use kubernetes::{About, Kubernetes, Notice, Reason, Stop};
use serde_json::json;

use crate::{fixture::cluster, logs::Logs, server::ApiServer};

const POD: About = About::Pod { ordinal: 4 };

fn tell(kubernetes: &Kubernetes, about: About, reason: Reason, note: &str) {
    kubernetes.tell(Notice { about, reason, note: note.to_owned() });
}

/// Events are posted in order: when the last has come, so have all.
async fn all_are_posted(server: &ApiServer, kubernetes: &Kubernetes) {
    tell(kubernetes, About::StatefulSet, Reason::Drained, "the last");
    let last = |event: &serde_json::Value| event["note"] == "the last";
    server.wait_until("all are posted", |state| state.events.iter().any(last)).await;
}

#[tokio::test]
async fn a_refusal_is_a_warning_on_the_pod_with_the_why() {
    let (server, kubernetes) = cluster(5).await;
    server.change(|state| {
        state.pods.insert("storage-node-4".to_owned(), "pod-uid".to_owned());
    });
    let why = "replication factor 3 needs 3 nodes, and 2 would be left";
    tell(&kubernetes, POD, Reason::DrainRefused, why);
    server.wait_until("it is posted", |state| state.events.len() == 1).await;
    let event = server.read(|state| state.events[0].clone());
    assert_eq!(
        event["regarding"],
        json!({ "apiVersion": "v1", "kind": "Pod", "namespace": "prod", "name": "storage-node-4", "uid": "pod-uid" })
    );
    let said = [&event["type"], &event["reason"], &event["action"], &event["note"]];
    assert_eq!(json!(said), json!(["Warning", "DrainRefused", "Drain", why]));
    let by = [&event["reportingController"], &event["reportingInstance"]];
    assert_eq!(json!(by), json!(["anabranch-controller", "controller-1"]));
}

#[tokio::test]
async fn an_event_of_the_set_has_the_uid_that_was_seen() {
    let (server, kubernetes) = cluster(5).await;
    tell(&kubernetes, About::StatefulSet, Reason::DrainStarted, "from 5 to 3");
    server.wait_until("it is posted", |state| state.events.len() == 1).await;
    let event = server.read(|state| state.events[0].clone());
    assert_eq!(
        event["regarding"],
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "namespace": "prod", "name": "storage-node", "uid": "first",
        })
    );
    assert_eq!(event["type"], "Normal");
}

#[tokio::test]
async fn a_pod_that_cannot_be_read_is_named_without_a_uid() {
    let (server, kubernetes) = cluster(5).await;
    server.change(|state| {
        state.forbidden.insert("get pods");
    });
    tell(&kubernetes, POD, Reason::ShutdownGranted, "restart");
    server.wait_until("it is posted", |state| state.events.len() == 1).await;
    let regarding = server.read(|state| state.events[0]["regarding"].clone());
    assert_eq!(
        regarding,
        json!({ "apiVersion": "v1", "kind": "Pod", "namespace": "prod", "name": "storage-node-4" })
    );
}

#[tokio::test]
async fn a_loop_that_tells_the_same_in_each_round_posts_it_once() {
    let (server, kubernetes) = cluster(5).await;
    for round in 0..1_000 {
        tell(&kubernetes, POD, Reason::DrainStarted, "from 5 to 3");
        tell(&kubernetes, POD, Reason::DrainProgress, &format!("{round} of 1000 replicas moved"));
    }
    all_are_posted(&server, &kubernetes).await;
    let reasons =
        server.read(|state| state.events.iter().map(|event| event["reason"].clone()).collect::<Vec<_>>());
    assert_eq!(reasons, ["DrainStarted", "DrainProgress", "Drained"]);
}

#[tokio::test]
async fn a_long_note_is_cut_to_what_kubernetes_takes() {
    let (server, kubernetes) = cluster(5).await;
    tell(&kubernetes, POD, Reason::DrainRefused, &"orders-17 ".repeat(1_000));
    server.wait_until("it is posted", |state| state.events.len() == 1).await;
}

#[tokio::test]
async fn an_event_that_cannot_be_posted_is_logged_once_and_holds_nothing_up() {
    let (logs, _guard) = Logs::capture();
    let (server, kubernetes) = cluster(5).await;
    server.change(|state| {
        state.forbidden.insert("create events");
    });
    for ordinal in 0..3 {
        tell(&kubernetes, About::Pod { ordinal }, Reason::DrainStarted, "from 5 to 3");
    }
    assert_eq!(kubernetes.confirm(4).await, Stop::Restart);
    server.wait_until("all were tried", |state| state.asked("POST") == 3).await;
    server.change(|state| state.forbidden.clear());
    tell(&kubernetes, About::Pod { ordinal: 0 }, Reason::DrainStarted, "from 5 to 3");
    all_are_posted(&server, &kubernetes).await;
    assert_eq!(server.read(|state| state.events.len()), 2, "what was not heard is told again");
    assert_eq!(logs.count("an Event could not be posted"), 1, "{}", logs.text());
}
