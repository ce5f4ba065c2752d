//! Storage nodes that join, that stop for a while, and that leave for good: replicas move to the former, and off the latter, and
//! nothing is lost meanwhile.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{Cluster, ClusterSpec, Rest, binary, wait_until};

const WITHIN: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 12;
const SPEC: ClusterSpec = ClusterSpec { controllers: 1, storage_nodes: 5, gateways: 1 };
/// Moves begin at once, and at their full pace.
const MOVING: [(&str, &str); 2] =
    [("controller.rebalance.enabled", "true"), ("controller.rebalance.settle_ms", "500")];

/// A cluster of which only the first storage nodes are started.
async fn begun(storage_nodes: usize) -> Cluster {
    let mut cluster = Cluster::prepare(SPEC, &MOVING);
    cluster.start_one("controller-0");
    (0..storage_nodes).for_each(|n| cluster.start_one(&format!("storage-node-{n}")));
    cluster.start_one("gateway-0");
    cluster.ready().await;
    cluster
}

/// What `/admin/v1/nodes` says of the node.
async fn node(rest: &Rest, id: i64) -> Value {
    let (_, list) = rest.get("/admin/v1/nodes").await;
    let nodes = list["nodes"].as_array().cloned().unwrap_or_default();
    nodes.into_iter().find(|n| n["node_id"] == id).unwrap_or_default()
}

async fn replicas(rest: &Rest, id: i64) -> i64 {
    node(rest, id).await["replicas"].as_i64().unwrap_or(-1)
}

async fn create(rest: &Rest, topic: &str, min_isr: &str) {
    let body = json!({
        "topic_name": topic, "partitions_count": PARTITIONS, "replication_factor": 3,
        "configs": [{"name": "min.insync.replicas", "value": min_isr}],
    });
    let path = format!("/v3/clusters/{}/topics", rest.cluster_id().await);
    let (status, answer) = rest.post(&path, &body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
}

/// Writes `count` values of a kilobyte to each partition.
async fn fill(rest: &Rest, topic: &str, count: usize) {
    for partition in 0..PARTITIONS {
        let path = format!("/topics/{topic}/partitions/{partition}");
        // In small batches, which come whole however slowly they are to come.
        for first in (0..count).step_by(10) {
            let records = (first..count.min(first + 10)).map(|n| json!({"value": format!("{n:01000}")}));
            let records: Vec<Value> = records.collect();
            let (status, answer) = rest.produce_json(&path, &json!({"records": records})).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
        }
    }
}

/// Every partition has all that was written to it.
async fn all_is_there(rest: &Rest, topic: &str, count: i64) {
    for partition in 0..PARTITIONS {
        let (_, ends) = rest.get(&format!("/topics/{topic}/partitions/{partition}/offsets")).await;
        assert_eq!(ends["end_offset"], count, "partition {partition}: {ends}");
        let path = format!("/topics/{topic}/partitions/{partition}/records?offset={}", count - 1);
        let (status, records) = rest.read_json(&path).await;
        assert_eq!((status, records.as_array().map(Vec::len)), (StatusCode::OK, Some(1)), "{records}");
    }
}

async fn in_sync(rest: &Rest, topic: &str) -> bool {
    let (_, answer) = rest.get(&format!("/admin/v1/topics/{topic}/partitions")).await;
    let partitions = answer["partitions"].as_array().cloned().unwrap_or_default();
    let whole = |p: &Value| {
        let count = |name: &str| p[name].as_array().map_or(0, Vec::len);
        count("in_sync") == 3 && count("replicas") == 3 && count("adding") + count("removing") == 0
    };
    !partitions.is_empty() && partitions.iter().all(whole)
}

async fn drain(rest: &Rest, id: i64, body: Value) -> (StatusCode, Value) {
    rest.post(&format!("/admin/v1/nodes/{id}/drain"), &body).await
}

async fn undrain(rest: &Rest, id: i64) {
    let (status, answer) = rest.delete(&format!("/admin/v1/nodes/{id}/drain")).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{answer}");
}

async fn patch_rebalance(rest: &Rest, body: Value) -> Value {
    let path = "/admin/v1/rebalance";
    let (status, answer) = rest.send(Method::PATCH, path, "application/json", "", body.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

async fn rebalance(rest: &Rest) -> Value {
    rest.get("/admin/v1/rebalance").await.1
}

/// `storage-node pre-stop`, and what it printed so far.
struct PreStop {
    process: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl PreStop {
    fn of(cluster: &Cluster, node: usize) -> Self {
        let mut process = Command::new(binary("storage-node"))
            .args(["pre-stop", "--storage.http.listen", &cluster.storage_http_address(node)])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let to = said.clone();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| to.lock().unwrap().push(line))
        });
        Self { process, said }
    }

    fn has_said(&self, part: &str) -> bool {
        self.said.lock().unwrap().iter().any(|line| line.contains(part))
    }

    /// Whether it ended well; `None`: it has not ended.
    fn ended(&mut self) -> Option<bool> {
        self.process.try_wait().unwrap().map(|status| status.success())
    }
}

impl Drop for PreStop {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_join_fill_and_one_that_drains_empties_and_its_folder_never_comes_back() {
    let mut cluster = begun(3).await;
    let rest = cluster.rest(0);
    create(&rest, "t", "2").await;
    fill(&rest, "t", 50).await;

    cluster.start_one("storage-node-3");
    cluster.start_one("storage-node-4");
    let even = async || {
        let mut counts = Vec::new();
        for id in 0..5 {
            counts.push(replicas(&rest, id).await);
        }
        counts.iter().all(|count| (7..=8).contains(count)) && in_sync(&rest, "t").await
    };
    wait_until("36 replicas are spread over five nodes", WITHIN, even).await;
    all_is_there(&rest, "t", 50).await;

    let (status, cost) = drain(&rest, 4, json!({"validate_only": true})).await;
    assert_eq!((status, &cost["node_id"]), (StatusCode::OK, &json!(4)));
    assert_eq!(cost["replicas"], replicas(&rest, 4).await);
    assert_eq!(node(&rest, 4).await["draining"], false, "that was only asked");
    assert_eq!(drain(&rest, 4, json!({})).await.0, StatusCode::OK);
    fill(&rest, "t", 50).await;
    let empty = async || replicas(&rest, 4).await == 0 && in_sync(&rest, "t").await;
    wait_until("the drained node has nothing", WITHIN, empty).await;
    all_is_there(&rest, "t", 100).await;

    let (status, refused) = rest.delete("/admin/v1/nodes/4").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(refused["message"].as_str().unwrap().contains("stopped first"), "{refused}");
    cluster.terminate("storage-node-4");
    let (status, answer) = rest.delete("/admin/v1/nodes/4").await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{answer}");
    assert_eq!(node(&rest, 4).await, Value::Null);

    // The old disk: it begins as a new node, and fills.
    cluster.start_one("storage-node-4");
    wait_until("it has a share again", WITHIN, async || replicas(&rest, 4).await >= 7).await;
    assert!(cluster.process("storage-node-4").log().contains("emptied"), "it came back with what it had");
    wait_until("everything is in sync", WITHIN, async || in_sync(&rest, "t").await).await;
    all_is_there(&rest, "t", 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_the_others_cannot_take_is_refused_with_the_reason() {
    let cluster = begun(3).await;
    let rest = cluster.rest(0);
    create(&rest, "t", "2").await;
    let (status, refused) = drain(&rest, 2, json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("'t'") && message.contains('3') && message.contains('2'), "{message}");
    assert_eq!(node(&rest, 2).await["draining"], false);
    assert_eq!(drain(&rest, 9, json!({})).await.0, StatusCode::NOT_FOUND);
    assert_eq!(rest.post("/admin/v1/nodes/x/drain", &json!({})).await.0, StatusCode::NOT_FOUND);
    assert_eq!(rest.delete("/admin/v1/nodes/2").await.0, StatusCode::CONFLICT, "it is running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_is_taken_back_half_way_leaves_the_node_with_its_share() {
    let mut cluster = begun(3).await;
    let rest = cluster.rest(0);
    cluster.start_one("storage-node-3");
    wait_until("the fourth node is there", WITHIN, async || node(&rest, 3).await["state"] == "active").await;
    create(&rest, "t", "2").await;
    fill(&rest, "t", 200).await;
    // So slow that it is still moving when it is taken back.
    let slow = patch_rebalance(&rest, json!({"bytes_per_second_max": 20_000})).await;
    assert_eq!(slow["bytes_per_second_set"], 20_000);
    let before = replicas(&rest, 3).await;
    assert_eq!(before, 9);
    assert_eq!(drain(&rest, 3, json!({})).await.0, StatusCode::OK);
    let moving = async || !rebalance(&rest).await["under_way"].as_array().unwrap().is_empty();
    wait_until("replicas are on their way", WITHIN, moving).await;
    undrain(&rest, 3).await;
    let still = async || {
        let now = rebalance(&rest).await;
        now["under_way"] == json!([]) && now["moves_planned"] == 0
    };
    patch_rebalance(&rest, json!({"bytes_per_second_max": 0})).await;
    wait_until("nothing moves", WITHIN, still).await;
    assert_eq!(replicas(&rest, 3).await, 9);
    assert_eq!(node(&rest, 3).await["draining"], false);
    wait_until("everything is in sync", WITHIN, async || in_sync(&rest, "t").await).await;
    all_is_there(&rest, "t", 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moves_are_paused_planned_and_cancelled() {
    let mut cluster = begun(3).await;
    let rest = cluster.rest(0);
    create(&rest, "t", "2").await;
    fill(&rest, "t", 50).await;
    assert_eq!(patch_rebalance(&rest, json!({"paused": true})).await["paused"], true);
    cluster.start_one("storage-node-3");
    let planned = async || rebalance(&rest).await["moves_planned"].as_i64() == Some(9);
    wait_until("nine replicas are to move to the fourth node", WITHIN, planned).await;
    let (_, plan) = rest.get("/admin/v1/rebalance?planned=true").await;
    let moves = plan["planned"].as_array().unwrap();
    assert!(moves.iter().all(|m| m["to"].as_array().unwrap().contains(&json!(3))), "{plan}");
    assert_eq!((replicas(&rest, 3).await, plan["under_way"].clone()), (0, json!([])));
    patch_rebalance(&rest, json!({"paused": false, "bytes_per_second_max": 10_000})).await;
    let moving = async || !rebalance(&rest).await["under_way"].as_array().unwrap().is_empty();
    wait_until("replicas are on their way", WITHIN, moving).await;
    patch_rebalance(&rest, json!({"paused": true})).await;
    let (status, cancelled) = rest.delete("/admin/v1/rebalance/moves").await;
    assert_eq!(status, StatusCode::OK, "{cancelled}");
    assert_eq!(rebalance(&rest).await["under_way"], json!([]));
    patch_rebalance(&rest, json!({"paused": false, "bytes_per_second_max": 0})).await;
    wait_until("the fourth node has its share", WITHIN, async || replicas(&rest, 3).await == 9).await;
    assert_eq!(rest.get("/admin/v1/rebalance?nonsense=1").await.0, StatusCode::BAD_REQUEST);
    let too_much = json!({"bytes_per_second_max": i64::MAX.unsigned_abs() + 1}).to_string();
    let path = "/admin/v1/rebalance";
    let (status, _) = rest.send(Method::PATCH, path, "application/json", "", too_much).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    wait_until("everything is in sync", WITHIN, async || in_sync(&rest, "t").await).await;
    all_is_there(&rest, "t", 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_let_go_only_while_enough_others_are_in_sync() {
    let mut cluster = begun(3).await;
    let rest = cluster.rest(0);
    create(&rest, "t", "2").await;
    wait_until("everything is in sync", WITHIN, async || in_sync(&rest, "t").await).await;
    cluster.kill("storage-node-1");
    let fenced = async || node(&rest, 1).await["state"] == "fenced";
    wait_until("the dead node is fenced", WITHIN, fenced).await;
    let mut asked = PreStop::of(&cluster, 2);
    let waits = async || asked.has_said("to have 2 other replicas in sync, it has 1");
    wait_until("it says what it waits for", WITHIN, waits).await;
    assert_eq!(asked.ended(), None);
    assert_eq!(node(&rest, 2).await["state"], "active", "it serves meanwhile");
    fill(&rest, "t", 1).await;
    cluster.start_one("storage-node-1");
    let mut ended = None;
    let deadline = Instant::now() + WITHIN;
    while ended.is_none() && Instant::now() < deadline {
        ended = asked.ended();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ended, Some(true));
    wait_until("it says so", WITHIN, async || asked.has_said("may stop")).await;
    assert_eq!(node(&rest, 2).await["state"], "stopping");
    fill(&rest, "t", 1).await;
    let begun = Instant::now();
    cluster.terminate("storage-node-2");
    assert!(begun.elapsed() < Duration::from_secs(10), "it had handed everything over");
    all_is_there(&rest, "t", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_waits_for_the_others_and_no_longer_than_it_may() {
    let mut cluster = begun(3).await;
    let rest = cluster.rest(0);
    create(&rest, "t", "1").await;
    wait_until("everything is in sync", WITHIN, async || in_sync(&rest, "t").await).await;
    cluster.kill("storage-node-1");
    let fenced = async || node(&rest, 1).await["state"] == "fenced";
    wait_until("the dead node is fenced", WITHIN, fenced).await;
    // The tests' limit is two seconds.
    let begun = Instant::now();
    cluster.terminate("storage-node-2");
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    fill(&rest, "t", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_when_everything_is_stopped() {
    let mut cluster = Cluster::prepare(SPEC, &[("storage.stop_wait_ms_max", "60000")]);
    let names: Vec<String> = (0..3).map(|n| format!("storage-node-{n}")).collect();
    cluster.start_one("controller-0");
    names.iter().for_each(|name| cluster.start_one(name));
    cluster.start_one("gateway-0");
    cluster.ready().await;
    let rest = cluster.rest(0);
    create(&rest, "t", "2").await;
    wait_until("everything is in sync", WITHIN, async || in_sync(&rest, "t").await).await;
    names.iter().for_each(|name| cluster.process(name).signal(Signal::TERM));
    // Each is given less than the time that it would wait.
    names.iter().for_each(|name| cluster.terminate(name));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_nodes_own_host_may_ask_it_to_stop() {
    let cluster = Cluster::small().await;
    // Loopback is its own host: the route is there, and only POST is taken.
    let url = format!("http://{}/stop", cluster.storage_http_address(0));
    assert_eq!(reqwest::get(&url).await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
    let health = |path: &str| {
        let url = format!("http://{}{path}", cluster.storage_http_address(0));
        let done = Command::new(binary("anabranch")).args(["health", &url]).output().unwrap();
        (done.status.success(), String::from_utf8(done.stdout).unwrap())
    };
    assert_eq!(health("/readyz"), (true, "ready\n".to_owned()));
    assert_eq!(health("/startupz"), (true, "started\n".to_owned()));
    assert!(!health("/nothing").0);
}
