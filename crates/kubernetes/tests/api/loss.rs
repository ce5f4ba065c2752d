use kubernetes::{SetSeen, Stop, why_it_stops};

use crate::{
    fixture::{cluster, replicas, seen_until, watching},
    logs::Logs,
    server::ApiServer,
};

#[tokio::test]
async fn a_loss_is_seen_and_what_happened_meanwhile_is_caught_up_with() {
    let (logs, _guard) = Logs::capture();
    let (server, kubernetes) = cluster(5).await;
    server.go_down();
    let seen = seen_until(&kubernetes, "the loss is seen", |seen| seen.unwatched_since.is_some()).await;
    assert_eq!(replicas(&seen), Some(5), "what was seen stays");
    assert_eq!(kubernetes.confirm(4).await, Stop::Unknown);
    assert_eq!(kubernetes.confirm(4).await, Stop::Unknown);
    server.change(|state| {
        state.scale(3);
        state.down = false;
    });
    seen_until(&kubernetes, "the watch is open", |seen| seen.unwatched_since.is_none()).await;
    let seen = seen_until(&kubernetes, "3 replicas show", |seen| replicas(seen) == Some(3)).await;
    assert_eq!(why_it_stops(&seen, 4), Stop::ScaleIn { to: 3 });
    assert_eq!(kubernetes.confirm(4).await, Stop::ScaleIn { to: 3 });
    for once in ["cannot be watched", "is watched again", "it is unknown why", "can be read again"] {
        assert_eq!(logs.count(once), 1, "{once}:\n{}", logs.text());
    }
    assert_eq!(server.read(|state| state.lists()), 1, "it went on from where it was");
}

#[tokio::test]
async fn a_quiet_set_is_watched_again_without_any_news() {
    let (server, kubernetes) = cluster(5).await;
    server.go_down();
    seen_until(&kubernetes, "the loss is seen", |seen| seen.unwatched_since.is_some()).await;
    server.change(|state| state.down = false);
    seen_until(&kubernetes, "the watch is open", |seen| seen.unwatched_since.is_none()).await;
}

#[tokio::test]
async fn nothing_is_known_until_the_api_server_is_there() {
    let server = ApiServer::start(3).await;
    server.go_down();
    let kubernetes = watching(&server);
    let before = kubernetes.seen().borrow().clone();
    assert_eq!((before.set.clone(), before.unwatched_since.is_some()), (SetSeen::Never, true));
    assert_eq!(why_it_stops(&before, 4), Stop::Unknown);
    assert_eq!(kubernetes.confirm(4).await, Stop::Unknown);
    server.change(|state| state.down = false);
    let seen = seen_until(&kubernetes, "it is there", |seen| seen.set != SetSeen::Never).await;
    assert_eq!(why_it_stops(&seen, 4), Stop::ScaleIn { to: 3 });
}

#[tokio::test]
async fn a_watch_that_is_forbidden_is_tried_until_it_is_allowed() {
    let (server, kubernetes) = cluster(5).await;
    server.change(|state| {
        state.forbidden.insert("watch statefulsets");
    });
    server.cut();
    seen_until(&kubernetes, "the loss is seen", |seen| seen.unwatched_since.is_some()).await;
    server.change(|state| state.scale(3));
    seen_until(&kubernetes, "a list shows it", |seen| replicas(seen) == Some(3)).await;
    server.change(|state| state.forbidden.clear());
    seen_until(&kubernetes, "the watch is open", |seen| seen.unwatched_since.is_none()).await;
}

#[tokio::test]
async fn shutdown_ends_the_watch() {
    let (_server, kubernetes) = cluster(5).await;
    let mut seen = kubernetes.seen();
    kubernetes.shutdown().await;
    seen.mark_unchanged();
    assert!(seen.changed().await.is_err());
}
