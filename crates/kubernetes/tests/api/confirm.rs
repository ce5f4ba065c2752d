use std::time::{Duration, Instant};

use kubernetes::{Stop, why_it_stops};

use crate::{
    fixture::{cluster, replicas, seen_until, watching},
    server::ApiServer,
};

#[tokio::test]
async fn a_scale_in_and_a_restart_are_told_apart() {
    let (server, kubernetes) = cluster(5).await;
    assert_eq!(kubernetes.confirm(4).await, Stop::Restart);
    server.change(|state| state.scale(3));
    assert_eq!(kubernetes.confirm(4).await, Stop::ScaleIn { to: 3 });
    assert_eq!(kubernetes.confirm(3).await, Stop::ScaleIn { to: 3 });
    assert_eq!(kubernetes.confirm(2).await, Stop::Restart);
}

#[tokio::test]
async fn the_question_names_no_version() {
    let (server, kubernetes) = cluster(5).await;
    kubernetes.confirm(4).await;
    let asked: Vec<String> = server.read(|state| {
        state.requests.iter().filter(|request| request.contains("statefulsets/")).cloned().collect()
    });
    assert_eq!(asked.len(), 1);
    assert!(!asked[0].contains("resourceVersion"), "{asked:?}");
}

#[tokio::test]
async fn scaling_out_again_cancels_though_the_watch_has_not_heard_of_it() {
    let (server, kubernetes) = cluster(5).await;
    server.change(|state| state.scale(3));
    let seen = seen_until(&kubernetes, "3 replicas show", |seen| replicas(seen) == Some(3)).await;
    assert_eq!(why_it_stops(&seen, 4), Stop::ScaleIn { to: 3 });
    server.change(|state| {
        state.frozen = true;
        state.scale(5);
    });
    assert_eq!(why_it_stops(&kubernetes.seen().borrow(), 4), Stop::ScaleIn { to: 3 }, "it lags behind");
    assert_eq!(kubernetes.confirm(4).await, Stop::Restart);
    assert_eq!(why_it_stops(&kubernetes.seen().borrow(), 4), Stop::Restart, "what was asked is seen");
}

#[tokio::test]
async fn scaling_out_by_one_cancels_for_that_one_alone() {
    let (server, kubernetes) = cluster(5).await;
    server.change(|state| state.scale(3));
    assert_eq!(kubernetes.confirm(3).await, Stop::ScaleIn { to: 3 });
    server.change(|state| state.scale(4));
    assert_eq!(kubernetes.confirm(3).await, Stop::Restart);
    assert_eq!(kubernetes.confirm(4).await, Stop::ScaleIn { to: 4 });
}

#[tokio::test]
async fn an_api_server_that_lags_behind_is_not_believed() {
    let (server, kubernetes) = cluster(5).await;
    server.change(|state| state.scale(3));
    let scaled_in = server.read(|state| state.set.clone());
    server.change(|state| state.scale(5));
    assert_eq!(kubernetes.confirm(4).await, Stop::Restart);
    server.change(|state| state.stale_read = scaled_in);
    assert_eq!(kubernetes.confirm(4).await, Stop::Unknown, "it would be a drain of a pod that is wanted");
    server.change(|state| state.stale_read = None);
    assert_eq!(kubernetes.confirm(4).await, Stop::Restart);
}

#[tokio::test]
async fn the_watch_alone_makes_an_older_answer_unbelievable() {
    let (server, kubernetes) = cluster(5).await;
    let before = server.read(|state| state.set.clone());
    server.change(|state| {
        state.scale(3);
        state.stale_read = before;
    });
    seen_until(&kubernetes, "3 replicas show", |seen| replicas(seen) == Some(3)).await;
    assert_eq!(kubernetes.confirm(4).await, Stop::Unknown);
    assert_eq!(replicas(&kubernetes.seen().borrow()), Some(3), "and it does not spoil what is known");
}

#[tokio::test]
async fn a_set_of_before_it_was_created_again_is_not_believed() {
    let (server, kubernetes) = cluster(5).await;
    server.change(|state| state.scale(3));
    let first = server.read(|state| state.set.clone());
    server.change(|state| {
        state.delete();
        state.create("second", 5);
    });
    assert_eq!(kubernetes.confirm(4).await, Stop::Restart, "a new one begins with generation 1");
    server.change(|state| state.stale_read = first);
    assert_eq!(kubernetes.confirm(4).await, Stop::Unknown);
}

#[tokio::test]
async fn a_set_that_goes_as_a_whole_is_stopped_and_not_drained() {
    let (server, kubernetes) = cluster(5).await;
    server.change(|state| state.scale(0));
    assert_eq!(kubernetes.confirm(4).await, Stop::Restart, "no replicas");
    server.change(|state| state.scale(3));
    assert_eq!(kubernetes.confirm(4).await, Stop::ScaleIn { to: 3 });
    server.change(|state| state.begin_deletion());
    assert_eq!(kubernetes.confirm(4).await, Stop::Restart, "it is being deleted");
    server.change(|state| state.delete());
    assert_eq!(kubernetes.confirm(4).await, Stop::Restart, "it is gone");
}

#[tokio::test]
async fn without_an_answer_in_two_seconds_it_is_unknown() {
    let (server, kubernetes) = cluster(5).await;
    server.change(|state| {
        state.scale(3);
        state.silent = true;
    });
    let asked_at = Instant::now();
    assert_eq!(kubernetes.confirm(4).await, Stop::Unknown);
    let waited = asked_at.elapsed();
    assert!(waited >= Duration::from_secs(2) && waited < Duration::from_secs(10), "{waited:?}");
    server.change(|state| state.silent = false);
    assert_eq!(kubernetes.confirm(4).await, Stop::ScaleIn { to: 3 });
}

#[tokio::test]
async fn a_refusal_is_unknown_whatever_the_watch_shows() {
    let (server, kubernetes) = cluster(5).await;
    server.change(|state| {
        state.scale(3);
        state.forbidden.insert("get statefulsets");
    });
    seen_until(&kubernetes, "3 replicas show", |seen| replicas(seen) == Some(3)).await;
    assert_eq!(kubernetes.confirm(4).await, Stop::Unknown);
}

#[tokio::test]
async fn it_needs_no_watch() {
    let server = ApiServer::start(3).await;
    server.change(|state| {
        state.forbidden.insert("list statefulsets");
    });
    let kubernetes = watching(&server);
    assert_eq!(kubernetes.confirm(4).await, Stop::ScaleIn { to: 3 });
    assert!(kubernetes.seen().borrow().unwatched_since.is_some());
}
