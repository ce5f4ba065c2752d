use std::{collections::BTreeMap, convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, Query, Request, State as Shared},
    http::StatusCode,
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::stream;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use kubernetes::Client;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{broadcast, watch},
};

use crate::state::State;

/// A part of Kubernetes' API with one StatefulSet, `storage-node` in `prod`.
#[derive(Clone)]
pub(crate) struct ApiServer {
    pub(crate) address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    cut: broadcast::Sender<()>,
}

impl ApiServer {
    pub(crate) async fn start(replicas: u32) -> Self {
        let mut state = State { version: 100, ..State::default() };
        state.create("first", replicas);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::new(watch::channel(state).0),
            cut: broadcast::channel(1).0,
        };
        tokio::spawn(server.clone().serve(listener));
        server
    }

    async fn serve(self, listener: TcpListener) {
        let routes = self.routes();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if self.read(|state| state.down) {
                continue;
            }
            let (mut cut, service) = (self.cut.subscribe(), TowerToHyperService::new(routes.clone()));
            tokio::spawn(async move {
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::select! {
                    _ = connection.serve_connection(TokioIo::new(stream), service) => {}
                    _ = cut.recv() => {}
                }
            });
        }
    }

    pub(crate) fn client(&self) -> Client {
        let address = format!("http://{}", self.address).parse().unwrap();
        Client::try_from(kube::Config::new(address)).unwrap()
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.borrow())
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(change);
    }

    /// Ends all connections that there are.
    pub(crate) fn cut(&self) {
        // There may be none.
        let _ = self.cut.send(());
    }

    pub(crate) fn go_down(&self) {
        self.change(|state| state.down = true);
        self.cut();
    }

    pub(crate) async fn wait_until(&self, what: &str, condition: impl Fn(&State) -> bool) {
        let mut states = self.state.subscribe();
        let wait = states.wait_for(|state| condition(state));
        let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
        waited.unwrap_or_else(|_| panic!("waited in vain until {what}")).unwrap();
    }

    fn routes(&self) -> Router {
        let sets = "/apis/apps/v1/namespaces/prod/statefulsets";
        Router::new()
            .route(sets, get(list_or_watch))
            .route(&format!("{sets}/{{name}}"), get(get_set))
            .route("/api/v1/nodes/{name}", get(get_node))
            .route("/api/v1/namespaces/prod/pods/{name}", get(get_pod))
            .route("/apis/events.k8s.io/v1/namespaces/prod/events", post(post_event))
            .fallback(async || failure(404, "NotFound", "no such place"))
            .layer(from_fn_with_state(self.clone(), note_request))
            .with_state(self.clone())
    }

    fn forbids(&self, what: &str) -> Option<Response> {
        let forbidden = self.read(|state| state.forbidden.contains(what));
        forbidden.then(|| failure(403, "Forbidden", &format!("cannot {what}")))
    }
}

async fn note_request(Shared(server): Shared<ApiServer>, request: Request, next: Next) -> Response {
    let line = format!("{} {}", request.method(), request.uri());
    server.change(|state| state.requests.push(line));
    next.run(request).await
}

fn failure(code: u16, reason: &str, message: &str) -> Response {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message,
    });
    (StatusCode::from_u16(code).unwrap(), Json(status)).into_response()
}

/// With `resourceNames`, RBAC lets only those list and watch who ask for that one name.
async fn list_or_watch(
    Shared(server): Shared<ApiServer>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let asked = |key: &str| query.get(key).map(String::as_str);
    let watches = asked("watch") == Some("true");
    if asked("fieldSelector") != Some("metadata.name=storage-node") {
        return failure(403, "Forbidden", "cannot list resource \"statefulsets\"");
    }
    if let Some(no) = server.forbids(if watches { "watch statefulsets" } else { "list statefulsets" }) {
        return no;
    }
    if watches {
        return watch_from(server, asked("resourceVersion").unwrap().parse().unwrap());
    }
    server.read(|state| {
        let items: Vec<&Value> = state.set.iter().collect();
        let metadata = json!({ "resourceVersion": state.version.to_string() });
        let list = json!({ "apiVersion": "apps/v1", "kind": "StatefulSetList", "metadata": metadata, "items": items });
        Json(list).into_response()
    })
}

fn watch_from(server: ApiServer, from: u64) -> Response {
    let gone = json!({
        "type": "ERROR",
        "object": { "kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old" },
    });
    match server.read(|state| (from < state.forgotten, state.forgets_late)) {
        (true, false) => return failure(410, "Expired", "too old resource version"),
        (true, true) => return Body::from(format!("{gone}\n")).into_response(),
        (false, _) => {}
    }
    let states = server.state.subscribe();
    let lines = stream::unfold((states, from), |(mut states, from)| async move {
        let (version, line) = {
            let news = |state: &State| !state.frozen && state.changes.iter().any(|(at, _)| *at > from);
            let state = states.wait_for(news).await.ok()?;
            let (version, change) = state.changes.iter().find(|(at, _)| *at > from)?;
            (*version, format!("{change}\n"))
        };
        Some((Ok::<_, Infallible>(Bytes::from(line)), (states, version)))
    });
    Body::from_stream(lines).into_response()
}

async fn get_set(Shared(server): Shared<ApiServer>, Path(name): Path<String>) -> Response {
    if let Some(no) = server.forbids("get statefulsets") {
        return no;
    }
    if server.read(|state| state.silent) {
        std::future::pending::<()>().await;
    }
    match server.read(|state| state.stale_read.clone().or_else(|| state.set.clone())) {
        Some(set) if name == "storage-node" => Json(set).into_response(),
        _ => failure(404, "NotFound", "statefulsets.apps not found"),
    }
}

async fn get_node(Shared(server): Shared<ApiServer>, Path(name): Path<String>) -> Response {
    if let Some(no) = server.forbids("get nodes") {
        return no;
    }
    match server.read(|state| state.nodes.get(&name).cloned()) {
        Some(labels) => {
            let metadata = json!({ "name": name, "labels": labels });
            Json(json!({ "apiVersion": "v1", "kind": "Node", "metadata": metadata })).into_response()
        }
        None => failure(404, "NotFound", "nodes not found"),
    }
}

async fn get_pod(Shared(server): Shared<ApiServer>, Path(name): Path<String>) -> Response {
    if let Some(no) = server.forbids("get pods") {
        return no;
    }
    match server.read(|state| state.pods.get(&name).cloned()) {
        Some(uid) => {
            let metadata = json!({ "name": name, "namespace": "prod", "uid": uid });
            Json(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata })).into_response()
        }
        None => failure(404, "NotFound", "pods not found"),
    }
}

/// Kubernetes' own rules for `events.k8s.io/v1` (`pkg/apis/core/validation/events.go`).
async fn post_event(Shared(server): Shared<ApiServer>, Json(event): Json<Value>) -> Response {
    if let Some(no) = server.forbids("create events") {
        return no;
    }
    let text = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let short = |path: &str, max: usize| (1..=max).contains(&text(path).len());
    let valid = short("/reportingController", 128)
        && short("/reportingInstance", 128)
        && short("/action", 128)
        && short("/reason", 128)
        && short("/note", 1_024)
        && ["Normal", "Warning"].contains(&text("/type"))
        && text("/metadata/namespace") == "prod"
        && text("/regarding/namespace") == "prod"
        && text("/metadata/name").starts_with(text("/regarding/name"))
        && text("/eventTime").ends_with('Z');
    if !valid {
        return failure(422, "Invalid", "Event is invalid");
    }
    server.change(|state| state.events.push(event.clone()));
    (StatusCode::CREATED, Json(event)).into_response()
}
