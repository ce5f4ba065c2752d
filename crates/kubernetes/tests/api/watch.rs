use kube::{Api, api::ListParams};
use kubernetes::{SetSeen, Stop, why_it_stops};

use crate::{
    fixture::{cluster, replicas, seen_until, watching},
    server::ApiServer,
};

#[tokio::test]
async fn kubectl_scale_shows_as_a_scale_in_of_the_ordinals_beyond() {
    let (server, kubernetes) = cluster(5).await;
    assert_eq!(why_it_stops(&kubernetes.seen().borrow(), 4), Stop::Restart);
    server.change(|state| state.scale(3));
    let seen = seen_until(&kubernetes, "3 replicas show", |seen| replicas(seen) == Some(3)).await;
    assert_eq!(why_it_stops(&seen, 4), Stop::ScaleIn { to: 3 });
    assert_eq!(why_it_stops(&seen, 2), Stop::Restart);
}

#[tokio::test]
async fn a_deletion_shows_as_it_begins_and_as_it_ends() {
    let (server, kubernetes) = cluster(5).await;
    server.change(|state| {
        state.scale(3);
        state.begin_deletion();
    });
    let deleting = |seen: &kubernetes::Seen| matches!(&seen.set, SetSeen::Present(set) if set.deleting);
    let seen = seen_until(&kubernetes, "it is being deleted", deleting).await;
    assert_eq!(why_it_stops(&seen, 4), Stop::Restart);
    server.change(|state| state.delete());
    let seen = seen_until(&kubernetes, "it is gone", |seen| seen.set == SetSeen::Absent).await;
    assert_eq!(why_it_stops(&seen, 4), Stop::Restart);
    server.change(|state| state.create("second", 2));
    let seen = seen_until(&kubernetes, "there is another", |seen| replicas(seen) == Some(2)).await;
    assert_eq!(why_it_stops(&seen, 4), Stop::ScaleIn { to: 2 });
}

#[tokio::test]
async fn only_the_one_statefulset_is_asked_for() {
    let (server, _kubernetes) = cluster(5).await;
    let all: Api<k8s_openapi::api::apps::v1::StatefulSet> = Api::namespaced(server.client(), "prod");
    let refused = all.list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 403), "the Role allows no more");
    assert_eq!(server.read(|state| (state.lists(), state.watches())), (1, 1));
}

#[tokio::test]
async fn a_list_is_read_again_when_the_changes_since_are_forgotten() {
    for forgets_late in [false, true] {
        let (server, kubernetes) = cluster(5).await;
        server.change(|state| {
            state.frozen = true;
            state.scale(3);
            state.forget();
            state.forgets_late = forgets_late;
            state.frozen = false;
        });
        server.cut();
        seen_until(&kubernetes, "3 replicas show", |seen| replicas(seen) == Some(3)).await;
        seen_until(&kubernetes, "the watch is open", |seen| seen.unwatched_since.is_none()).await;
        server.change(|state| state.scale(2));
        seen_until(&kubernetes, "the watch goes on", |seen| replicas(seen) == Some(2)).await;
        assert_eq!(server.read(|state| state.lists()), 2);
    }
}

#[tokio::test]
async fn a_set_that_does_not_exist_is_known_to_be_absent() {
    let server = ApiServer::start(5).await;
    server.change(|state| state.delete());
    let kubernetes = watching(&server);
    let seen = seen_until(&kubernetes, "it was listed", |seen| seen.set != SetSeen::Never).await;
    assert_eq!(seen.set, SetSeen::Absent);
    assert_eq!(kubernetes.confirm(0).await, Stop::Restart);
}
