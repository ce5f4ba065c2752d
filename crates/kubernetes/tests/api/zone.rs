use kubernetes::ApiError;

use crate::{fixture::cluster, server::ApiServer};

const LABEL: &str = "topology.kubernetes.io/zone";

fn set_label(server: &ApiServer, node: &str, label: &str, value: &str) {
    server.change(|state| {
        state.nodes.entry(node.to_owned()).or_default().insert(label.to_owned(), value.to_owned());
    });
}

#[tokio::test]
async fn a_zone_is_read_from_the_nodes_label_once() {
    let (server, kubernetes) = cluster(3).await;
    set_label(&server, "machine-7", LABEL, "eu-1a");
    for _ in 0..3 {
        assert_eq!(kubernetes.zone_of("machine-7").await.unwrap().as_deref(), Some("eu-1a"));
    }
    assert_eq!(server.read(|state| state.asked("GET /api/v1/nodes/machine-7")), 1);
    server.go_down();
    assert_eq!(kubernetes.zone_of("machine-7").await.unwrap().as_deref(), Some("eu-1a"));
}

#[tokio::test]
async fn a_label_that_is_missing_may_come_later() {
    let (server, kubernetes) = cluster(3).await;
    set_label(&server, "machine-7", "kubernetes.io/os", "linux");
    assert_eq!(kubernetes.zone_of("machine-7").await.unwrap(), None);
    set_label(&server, "machine-7", LABEL, "eu-1b");
    assert_eq!(kubernetes.zone_of("machine-7").await.unwrap().as_deref(), Some("eu-1b"));
}

#[tokio::test]
async fn an_error_is_not_an_answer_and_may_be_asked_again() {
    let (server, kubernetes) = cluster(3).await;
    set_label(&server, "machine-7", LABEL, "eu-1a");
    server.change(|state| {
        state.forbidden.insert("get nodes");
    });
    let refused = kubernetes.zone_of("machine-7").await;
    assert!(matches!(refused, Err(ApiError::Refused { code: 403, .. })), "{refused:?}");
    server.go_down();
    let unreachable = kubernetes.zone_of("machine-7").await;
    assert!(matches!(unreachable, Err(ApiError::Unreachable(_))), "{unreachable:?}");
    server.change(|state| {
        state.forbidden.clear();
        state.down = false;
    });
    assert_eq!(kubernetes.zone_of("machine-7").await.unwrap().as_deref(), Some("eu-1a"));
}

#[tokio::test]
async fn a_name_cannot_lead_elsewhere() {
    let (server, kubernetes) = cluster(3).await;
    let refused = kubernetes.zone_of("../namespaces/prod/secrets/password").await;
    assert!(matches!(refused, Err(ApiError::BadName(_))), "{refused:?}");
    assert_eq!(server.read(|state| state.asked("secrets")), 0);
}
